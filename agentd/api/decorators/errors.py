"""What is wrong with the definition of a task, and what a device lacks for it."""

from __future__ import annotations

from typing import Any

from agentd.model.errors import AgentdError


class DefinitionError(AgentdError, TypeError):
    """A decorator, or a call of a task, is wrong; said before anything runs, with what to do."""


class Unavailable(AgentdError):
    """This device lacks, or its operator does not allow, what the task needs; the task did not run."""

    is_final = True
    """Trying again on this device is of no use: a worker, which does not import this module, goes by it."""


class CommandFailed(AgentdError):
    """A command that a task ran ended with an exit code other than 0, or was ended by a signal.

    Attributes:
        code: the exit code; negative for a signal.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.code)
