"""Files of `agentd/api` that a worker uses too, loaded by path: users' code may have an `agentd` of its own."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

_PACKAGE = "_agentd_worker_api"
"""What `agentd/api` is called here: users' code has no module of that name."""


def load(name: str) -> types.ModuleType | Any:
    """Give a module of `agentd/api`, such as `memory.segments`, which needs nothing but its siblings."""
    if _PACKAGE not in sys.modules:
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [str(Path(__file__).resolve().parents[2] / "api")]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")
