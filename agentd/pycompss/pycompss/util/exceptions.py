"""The exceptions that programs catch."""

from agentd.api.decorators.errors import DefinitionError, Unavailable
from agentd.api.tasks.errors import TaskCancelled

PyCOMPSsException = DefinitionError
MissingImplementedException = Unavailable
CancelError = TaskCancelled


class NotInPyCOMPSsException(Unavailable):
    """There is no runtime here, and this needs one."""


class NotImplementedException(Unavailable):
    """This is not offered."""


class TimeOutError(Exception):
    """A task ran longer than its `time_out`."""


__all__ = [
    "CancelError",
    "MissingImplementedException",
    "NotImplementedException",
    "NotInPyCOMPSsException",
    "PyCOMPSsException",
    "TimeOutError",
]
