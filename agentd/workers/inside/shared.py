"""The shared memory of `agentd/api/segments.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .borrowed import load

if TYPE_CHECKING:
    from agentd.api.copying import clone, copy_range
    from agentd.api.segments import SegmentMap, SegmentPool
else:
    _segments = load("segments")
    SegmentMap = _segments.SegmentMap
    SegmentPool = _segments.SegmentPool
    _copying = load("copying")
    clone, copy_range = _copying.clone, _copying.copy_range

__all__ = ["SegmentMap", "SegmentPool", "clone", "copy_range"]
