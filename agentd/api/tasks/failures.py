"""From what an agent says of a failed task to the exception that its caller gets."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

from agentd.api.tasks.errors import TaskCancelled, WallClockReached
from agentd.api.tasks.port import CANCELLED
from agentd.model.errors import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMED_OUT = 5
"""As `agentd.model.task.Reason`."""


class RemoteTraceback(Exception):
    """The traceback of the process in which the function ran, shown as the cause of what it raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def exception_of(standing: int, data: bytes, pickled: bytes) -> BaseException:
    """Build what stands for a value that never came to be: the task's own exception where that can be read."""
    told: Mapping[str, Any] = json.loads(data) if data else {}
    kind, message = str(told.get("type", "")), str(told.get("message", ""))
    if standing == CANCELLED:
        is_limit = kind == "WallClockLimit"
        error: BaseException = (WallClockReached if is_limit else TaskCancelled)(_cancelled(kind, message))
    else:
        error = unpickled(pickled) or _named(told, kind, message)
    if told.get("traceback"):
        error.__cause__ = RemoteTraceback(str(told["traceback"]))
    if told.get("agent"):
        _note(error, f"Raised on agent {told['agent']}, attempt {told.get('attempt') or 1}.")
    return error


def _cancelled(kind: str, message: str) -> str:
    if not kind and not message:
        return "the task was cancelled"
    return f"the task was cancelled: {kind}: {message}" if message else f"the task was cancelled: {kind}"


def _named(told: Mapping[str, Any], kind: str, message: str) -> BaseException:
    if told.get("reason") == TIMED_OUT:
        return TimeoutError(message)
    text = message or kind or "the agent gave no reason"
    return TaskFailed(text, kind=kind or "Error", traceback=str(told.get("traceback", "")))


def unpickled(data: bytes) -> BaseException | None:
    """Give the exception that a worker pickled; None where it cannot be had in this process."""
    if not data:
        return None
    try:
        error = pickle.loads(data)
    except Exception:  # noqa: BLE001 - users' code runs here; the text of the failure is told instead
        return None
    return error if isinstance(error, BaseException) else None


def _note(error: BaseException, text: str) -> None:
    """Add a note, also where Python is too old to show it; once, however many tasks it went through."""
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        if text not in notes:
            notes.append(text)
    else:
        error.__notes__ = [text]
