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
    from agentd.model.errors import AgentdError, RequestError, TaskFailed, Unreachable
    from agentd.model.task import Constraints

_HOMES = {
    "Agent": "agentd.api.client",
    "AgentExecutor": "agentd.api.executor",
    "AgentdError": "agentd.model.errors",
    "AsyncAgent": "agentd.api.client_async",
    "Constraints": "agentd.model.task",
    "RequestError": "agentd.model.errors",
    "TaskFailed": "agentd.model.errors",
    "Unreachable": "agentd.model.errors",
    "connect": "agentd.api.client",
    "connect_async": "agentd.api.client_async",
}

__all__ = [
    "Agent",
    "AgentExecutor",
    "AgentdError",
    "AsyncAgent",
    "Constraints",
    "RequestError",
    "TaskFailed",
    "Unreachable",
    "connect",
    "connect_async",
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
