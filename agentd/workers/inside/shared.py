"""The shared memory of `agentd/api`, both sides of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .borrowed import load

if TYPE_CHECKING:
    from agentd.api.memory.file_copies import clone, copy_range
    from agentd.api.memory.segment_map import SegmentMap
    from agentd.api.memory.segments import SegmentPool
else:
    SegmentMap = load("memory.segment_map").SegmentMap
    SegmentPool = load("memory.segments").SegmentPool
    _copying = load("memory.file_copies")
    clone, copy_range = _copying.clone, _copying.copy_range

__all__ = ["SegmentMap", "SegmentPool", "clone", "copy_range"]
