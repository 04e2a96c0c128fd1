"""While a program is loaded for its tasks: its own work, which begins where it calls a task, is not done again."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentd.api.tasks import runtime

if TYPE_CHECKING:
    from collections.abc import Iterator


class ProgramReached(BaseException):
    """A statement of the program itself, which only the program's own process carries out."""


class Loading:
    """The runtime of the thread that loads a program: every question to it ends the statement that asks."""

    is_in_place = False

    def __init__(self, real: runtime.Runtime) -> None:
        self._real = real
        self._thread = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        if threading.get_ident() == self._thread:
            raise ProgramReached(name)
        return getattr(self._real, name)


@contextmanager
def loading() -> Iterator[None]:
    """Have calls of tasks by this thread raise `ProgramReached`."""
    runtime.use(Loading(runtime.current()))
    try:
        yield
    finally:
        runtime.use(None)
