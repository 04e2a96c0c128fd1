"""What can go wrong, by whose fault it is."""

from __future__ import annotations


class AgentdError(Exception):
    """Root of all that this product raises on purpose."""


class ConfigError(AgentdError):
    """The operator's setting is wrong; the start stops and the message names file, line and setting."""


class RequestError(AgentdError):
    """The user's request cannot be taken: a reason, what to do, and the HTTP status that says the same.

    Attributes:
        status: HTTP status, 4xx or 5xx.
        retry_after_s: when to come back, where that helps.
    """

    def __init__(self, message: str, *, status: int = 422, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class PeerError(AgentdError):
    """The other end broke the protocol; its connection is dropped."""


class Unreachable(AgentdError):
    """Nobody answers there; trying again may help."""


class TaskFailed(AgentdError):
    """Users' code raised, or its process died; carries the remote traceback as text.

    Attributes:
        kind: name of the exception's type, or the exit reason.
        traceback: text of the remote traceback, empty when there is none.
    """

    def __init__(self, message: str, *, kind: str = "Error", traceback: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback


class StateInUse(ConfigError):
    """Another daemon holds the state folder, or a port is taken; exit code 5."""


class DiskError(AgentdError):
    """The disk did not do what it said; never retried; exit code 74."""


class BrokenInvariant(AgentdError):
    """The engine is in a state that cannot be; the daemon ends with a traceback and exit code 70."""
