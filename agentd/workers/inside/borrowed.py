"""Files of `agentd/api` that a worker uses too, loaded by path: users' code may have an `agentd` of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_API = Path(__file__).resolve().parents[2] / "api"


def load(name: str) -> ModuleType | Any:
    """Give a module of `agentd/api`, such as `segments` or `tasks.culprits`, which itself needs nothing of ours."""
    known = f"_agentd_worker.api.{name}"
    module = sys.modules.get(known)
    if module is None:
        spec = importlib.util.spec_from_file_location(known, _API.joinpath(*name.split(".")).with_suffix(".py"))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[known] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
