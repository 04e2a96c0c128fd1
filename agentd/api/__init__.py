"""What users import: the executor and the clients; each name is loaded when it is first asked for.

Law: importing this package costs next to nothing, so that a worker or a command pays for what it uses only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentd.api.client import Agent, connect
    from agentd.api.client_async import AsyncAgent, connect_async
    from agentd.api.executor import AgentExecutor
    from agentd.api.tasks.errors import GroupException, TaskCancelled, WallClockReached
    from agentd.api.tasks.functions import (
        TaskGroup,
        barrier,
        barrier_group,
        cancel_group,
        delete_file,
        delete_object,
        file_exists,
        number_of_resources,
        open_file,
        set_wall_clock,
        wait_on,
        wait_on_directory,
        wait_on_file,
    )
    from agentd.model.errors import AgentdError, RequestError, TaskFailed, Unreachable
    from agentd.model.task import Constraints

_HOMES = {
    "Agent": "agentd.api.client",
    "AgentExecutor": "agentd.api.executor",
    "AgentdError": "agentd.model.errors",
    "AsyncAgent": "agentd.api.client_async",
    "Constraints": "agentd.model.task",
    "GroupException": "agentd.api.tasks.errors",
    "RequestError": "agentd.model.errors",
    "TaskCancelled": "agentd.api.tasks.errors",
    "TaskFailed": "agentd.model.errors",
    "TaskGroup": "agentd.api.tasks.functions",
    "Unreachable": "agentd.model.errors",
    "WallClockReached": "agentd.api.tasks.errors",
    "barrier": "agentd.api.tasks.functions",
    "barrier_group": "agentd.api.tasks.functions",
    "cancel_group": "agentd.api.tasks.functions",
    "connect": "agentd.api.client",
    "connect_async": "agentd.api.client_async",
    "delete_file": "agentd.api.tasks.functions",
    "delete_object": "agentd.api.tasks.functions",
    "file_exists": "agentd.api.tasks.functions",
    "number_of_resources": "agentd.api.tasks.functions",
    "open_file": "agentd.api.tasks.functions",
    "set_wall_clock": "agentd.api.tasks.functions",
    "wait_on": "agentd.api.tasks.functions",
    "wait_on_directory": "agentd.api.tasks.functions",
    "wait_on_file": "agentd.api.tasks.functions",
}

__all__ = [
    "Agent",
    "AgentExecutor",
    "AgentdError",
    "AsyncAgent",
    "Constraints",
    "GroupException",
    "RequestError",
    "TaskCancelled",
    "TaskFailed",
    "TaskGroup",
    "Unreachable",
    "WallClockReached",
    "barrier",
    "barrier_group",
    "cancel_group",
    "connect",
    "connect_async",
    "delete_file",
    "delete_object",
    "file_exists",
    "number_of_resources",
    "open_file",
    "set_wall_clock",
    "wait_on",
    "wait_on_directory",
    "wait_on_file",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Tell an interactive shell what there is."""
    return sorted(__all__)
