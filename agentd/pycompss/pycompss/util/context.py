"""Where this code runs: in a task of an agent, or in a plain program."""

from __future__ import annotations

import sys

from agentd.api.tasks.runtime import PORT

OUT_OF_SCOPE, MASTER, WORKER = "OUT_OF_SCOPE", "MASTER", "WORKER"


def in_pycompss() -> bool:
    """Tell whether there is a runtime."""
    return get_pycompss_context() != OUT_OF_SCOPE


def in_master() -> bool:
    """Tell whether calls of tasks are asynchronous here: an agent's program is master of its own tasks."""
    return in_pycompss()


def in_worker() -> bool:
    """Tell whether this is a worker of an agent."""
    return PORT in sys.modules


def is_nesting_enabled() -> bool:
    """Tasks may always call tasks."""
    return True


def get_pycompss_context() -> str:
    """Name it."""
    if PORT in sys.modules:
        return WORKER
    from agentd.api.tasks.runtime import current

    return OUT_OF_SCOPE if current().is_in_place else MASTER
