"""What can go wrong with tasks inside operations, for those who call them."""

from __future__ import annotations

from agentd.model.errors import AgentdError


class GroupException(Exception):
    """Raised in a task: the task counts as done, all others of its groups are cancelled, the group's barrier raises.

    `target_direction` is kept for programs that give it, and changes nothing.
    """

    ends_group = True
    """How a worker knows it, which does not import this module."""

    def __init__(self, message: str = "", target_direction: int = -1) -> None:
        super().__init__(message)
        self.message = message
        self.target_direction = target_direction

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.target_direction)


class TaskCancelled(AgentdError):
    """There is no such value: its task was cancelled, or what the task needed never came to be."""


class WallClockReached(TaskCancelled):
    """There is no such value: the program's wall clock limit came first."""


class NotOfKind(TypeError):
    """An argument cannot be what its parameter says; the text says the rest of a sentence about it."""
