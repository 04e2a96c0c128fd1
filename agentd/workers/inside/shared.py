"""The shared memory of `agentd/api`, both sides of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .borrowed import load

if TYPE_CHECKING:
    from agentd.api.copying import clone, copy_range
    from agentd.api.segment_map import SegmentMap
    from agentd.api.segments import SegmentPool
else:
    SegmentMap = load("segment_map").SegmentMap
    SegmentPool = load("segments").SegmentPool
    _copying = load("copying")
    clone, copy_range = _copying.clone, _copying.copy_range

__all__ = ["SegmentMap", "SegmentPool", "clone", "copy_range"]
