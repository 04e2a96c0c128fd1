"""References to data versions inside of pickles: written where a future or a tracked object stands, read as its value.

Law: a pickle names a version by its position among what the task reads, never by its number.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.tasks.data import Datum


class _Active(threading.local):
    """What this thread's pickling is for."""

    refer: Callable[[Datum], int] | None = None
    """Gives the position of a datum among what a call reads."""
    give: Callable[[int], Any] | None = None
    """Gives the value at a position."""


active = _Active()


def itself(value: Any) -> Any:
    """Give the value: what a future that is known leaves in a pickle."""
    return value


def given(position: int) -> Any:
    """Give the value at a position; named in pickles, and called while a task's call is read.

    Raises:
        LookupError: no call is being read.
    """
    if active.give is None:
        raise LookupError("this is the call of a task, which only the task itself can read")
    return active.give(position)


class Reference:
    """Stands for the value at a position."""

    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position

    def __reduce__(self) -> tuple[Any, ...]:
        return given, (self.position,)


class Received:
    """The content of a file or folder, as it came to a task; its workplace makes a path of it."""

    def __init__(self, codec: int, parts: Any) -> None:
        self.codec = codec
        self.parts = parts


class Path:
    """Stands for a path in a call: of a file that the task reads, writes, or both, with the name that it has."""

    __slots__ = ("is_folder", "is_written", "joint", "name", "source")

    def __init__(self, source: Any, name: str, *, is_written: bool, is_folder: bool, joint: str = "") -> None:
        self.source = source
        """A reference, and when it was read what was received; None where nothing is read."""
        self.name = name
        self.is_written = is_written
        self.is_folder = is_folder
        self.joint = joint
        """Name of the folder in which tasks share the file; empty: it is the task's own."""

    def __reduce__(self) -> tuple[Any, ...]:
        fields = self.source, self.name, self.is_written, self.is_folder
        return path, (*fields, self.joint) if self.joint else fields


def path(source: Any, name: str, is_written: bool, is_folder: bool, joint: str = "") -> Path:
    """Read a path again; named in pickles."""
    return Path(source, name, is_written=is_written, is_folder=is_folder, joint=joint)
