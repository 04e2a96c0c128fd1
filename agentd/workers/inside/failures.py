"""What is told of a task that did not end well, and how exceptions become it."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path

MESSAGE_LIMIT = 16 * 1024
TRACEBACK_LIMIT = 64 * 1024
EXCEPTION_LIMIT = 64 * 1024
"""Bytes of a failure's parts that are kept; chosen: what a person reads, and what a log can bear."""

DONE, FAILED, CANCELLED = 0, 1, 2
"""As `agentd.model.task.Status`, which this side cannot import."""


class Reason:
    """As `agentd.model.task.Reason`, which this side cannot import."""

    EXCEPTION = 1
    EXIT = 2
    OUT_OF_MEMORY = 4
    TIMED_OUT = 5
    NOT_CALLABLE = 6
    NOT_DECODABLE = 7
    NOT_ENCODABLE = 8
    GROUP_EXCEPTION = 10


class Refused(Exception):
    """A task cannot be carried out, and it is not its code that failed; the message is for its owner."""

    def __init__(self, reason: int, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Failure:
    """As `agentd.model.task.Failure`."""

    __slots__ = ("exception", "message", "reason", "traceback", "type")

    def __init__(self, reason: int, kind: str, message: str, trace: str = "", exception: bytes = b"") -> None:
        self.reason = reason
        self.type = kind[:512]
        self.message = shortened(message, MESSAGE_LIMIT)
        self.traceback = shortened(trace, TRACEBACK_LIMIT)
        self.exception = exception


_REASON_NAMES = {
    Reason.NOT_CALLABLE: "NotCallable",
    Reason.NOT_DECODABLE: "NotDecodable",
    Reason.NOT_ENCODABLE: "NotEncodable",
}
_OWN = os.path.join(Path(__file__).parents[2], "")
"""The folder of our package, with `pycompss` in it."""


def shortened(text: str, limit: int) -> str:
    """Keep the beginning and the end of a text that is too long."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def failure_of(error: BaseException) -> Failure:
    """Say what an exception that users' code let out means for the task."""
    if isinstance(error, Refused):
        cause = error.__cause__
        return Failure(error.reason, _REASON_NAMES[error.reason], str(error), _trace(cause) if cause else "")
    if isinstance(error, SystemExit):
        return Failure(Reason.EXIT, "SystemExit", f"the task ended itself with exit code {error.code!r}", _trace(error))
    kind = type(error).__qualname__
    if type(error).__module__ not in {"builtins", "__main__", "__agentd_main__"}:
        kind = f"{type(error).__module__}.{kind}"
    reason = Reason.OUT_OF_MEMORY if isinstance(error, MemoryError) else Reason.EXCEPTION
    if getattr(error, "is_final", False) is True:  # it says itself that trying again here is of no use
        reason = Reason.NOT_CALLABLE
    return Failure(reason, kind, _text(error), _trace(error), _pickled(error))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - users' code runs here
        return f"<its text cannot be had: {type(second).__name__}>"


def _trace(error: BaseException) -> str:
    """Write the traceback as far as it is users' code."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__)
        _leave_out_own(told)
        return "".join(told.format(chain=True))
    except Exception as second:  # noqa: BLE001 - users' code runs here
        return f"<the traceback cannot be had: {type(second).__name__}>\n"


def _leave_out_own(told: traceback.TracebackException) -> None:
    """Take our frames out of it, and out of all that it was caused by or brings together.

    What is left of one that was raised in our code, as by arguments that do not fit, is its last line: what was wrong.
    """
    left, seen = [told], set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        one.stack[:] = [frame for frame in one.stack if not frame.filename.startswith(_OWN)]
        left += [each for each in (one.__cause__, one.__context__, *(one.exceptions or ())) if each is not None]


def _pickled(error: BaseException) -> bytes:
    """Pickle an exception if that gives back one of its type; else nothing."""
    for dumps in (pickle.dumps, getattr(sys.modules.get("cloudpickle"), "dumps", None)):
        if dumps is None:
            continue
        try:
            data: bytes = dumps(error, protocol=5)
            if len(data) <= EXCEPTION_LIMIT and type(pickle.loads(data)).__qualname__ == type(error).__qualname__:
                return data
        except Exception:  # noqa: BLE001, S112 - users' code runs here; an exception that cannot travel is told as text
            continue
    return b""
