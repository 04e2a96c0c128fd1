"""The shared memory of `agentd/api/segments.py`, loaded by path: users' code may have an `agentd` of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.api.segments import SegmentMap, SegmentPool
else:
    _NAME = "_agentd_worker.segments_of_api"
    _PATH = Path(__file__).resolve().parents[2] / "api" / "segments.py"
    _spec = importlib.util.spec_from_file_location(_NAME, _PATH)
    _module = importlib.util.module_from_spec(_spec)
    sys.modules[_NAME] = _module
    _spec.loader.exec_module(_module)
    SegmentMap = _module.SegmentMap
    SegmentPool = _module.SegmentPool

__all__ = ["SegmentMap", "SegmentPool"]
