"""Notebooks: the names with which they start and stop the runtime.

In a notebook tasks run in its own process, one after the other, as in a plain program: what a cell gives is there when
the cell has ended. For tasks side by side, put the functions into a module and call it with `agentd call`, or use
`agentd.api.AgentExecutor`, which sends a notebook's functions to the agent of this device.
"""

from __future__ import annotations

import sys
from typing import Any

_SAID = "pycompss: tasks of this notebook run in its own process; `AgentExecutor` of agentd.api sends them to an agent"
_state = {"running": False}


def start(log_level: str = "off", **options: Any) -> None:
    """Take note that the notebook wants a runtime, and say where its tasks run; options are those of PyCOMPSs."""
    if not _state["running"]:
        _state["running"] = True
        sys.stderr.write(_SAID + "\n")


def stop(sync: bool = False, _hard_stop: bool = False) -> None:
    """End what `start` began; every task has ended already, so that nothing is left to be brought."""
    _state["running"] = False


def is_running() -> bool:
    """Tell whether `start` was called and `stop` was not."""
    return _state["running"]


def current_task_graph(*_: Any, **__: Any) -> None:
    """Say how to get the graph of tasks: an agent draws it for each operation."""
    sys.stderr.write("pycompss: agentd show ID --graph out.svg draws the tasks of an operation\n")


def complete_task_graph(*_: Any, **__: Any) -> None:
    """As `current_task_graph`."""
    current_task_graph()


__all__ = ["complete_task_graph", "current_task_graph", "is_running", "start", "stop"]
