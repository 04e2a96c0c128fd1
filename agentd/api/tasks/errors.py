"""What goes wrong with tasks on the side of users' code: wrong definitions, what a device lacks, ended groups."""

from __future__ import annotations

from typing import Any


class TasksError(Exception):
    """Root of what the programming model raises on purpose."""


class DefinitionError(TasksError, TypeError):
    """A decorator or a call of a task is wrong; said before anything runs, with what to do."""


class Unavailable(TasksError):
    """This device does not have, or its operator does not allow, what the task needs; the task did not run.

    Trying it again on the same device is of no use.
    """

    is_final = True


class CommandFailed(TasksError):
    """A command that a task ran ended with an exit code other than 0, or was ended by a signal.

    Attributes:
        code: the exit code; negative for a signal.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the code when it travels to the caller."""
        return type(self), (str(self), self.code)


class COMPSsException(Exception):
    """Raised by a task to end its groups: the task counts as done, the other tasks of its groups are cancelled.

    Whoever waits for the group is given this exception.

    Attributes:
        message: what the task has to say.
        target_direction: direction of the task's target object; None leaves it as it was declared.
    """

    def __init__(self, message: Any = "", target_direction: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.target_direction = target_direction

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the direction when it travels to the caller."""
        return type(self), (self.message, self.target_direction)


class TimeOutError(TasksError):
    """A task ran longer than its `time_out`."""


class CancelError(TasksError):
    """A task was cancelled."""
