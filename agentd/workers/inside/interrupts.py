"""SIGINT as a KeyboardInterrupt in users' code, and in nothing else.

Law: a SIGINT raises only while the very task runs that the daemon wants stopped; it never ends the worker and never
meets the next task, however late it comes. One may be lost: it comes while the worker's own code runs, or in the moment
in which the interpreter has looked for signals and not yet begun the system call that sleeps. So the daemon sends it
until `HEARD_AT` says that it arrived.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from ..page import FLAGGED, HEARD_AT, INTERRUPTED, RUNNING

if TYPE_CHECKING:
    from types import FrameType

    from ..page import Page

_IMPORTING = "<frozen importlib._bootstrap>"
"""The file of the code of all imports that load something, as the interpreter calls it."""
_AGAIN_S = 0.2
"""A task that swallowed the exception is interrupted again after this; chosen: longer than its way out takes."""


class Guard:
    """Says which task may be interrupted. `task` is set just before users' code and cleared just after it.

    `has_cut_import`: an import was interrupted. Of a package that is half loaded some modules stay and others go, and
    it can be loaded again by nobody in this process.
    """

    __slots__ = ("_raised_at", "_raised_in", "_seconds", "_words", "has_cut_import", "task")

    def __init__(self, page: Page) -> None:
        self._words = page.words
        self._seconds = page.seconds
        self._raised_in = 0
        self._raised_at = 0.0
        self.has_cut_import = False
        self.task = 0

    def install(self) -> None:
        """Take over SIGINT."""
        signal.signal(signal.SIGINT, self._on_sigint)

    def check(self, task: int) -> None:
        """Give way where a task is to be stopped: in the worker's own code, which no SIGINT interrupts.

        Raises:
            KeyboardInterrupt: it is.
        """
        if task and self._words[INTERRUPTED] == task:
            self._raised_in, self._raised_at = task, time.monotonic()
            self._seconds[HEARD_AT] = self._raised_at
            raise KeyboardInterrupt

    def _on_sigint(self, _signal: int, frame: FrameType | None) -> None:
        task = self.task
        if not task or self._words[INTERRUPTED] != task:
            return
        self._seconds[HEARD_AT] = now = time.monotonic()
        if task != self._raised_in or now - self._raised_at > _AGAIN_S:
            self._raised_in, self._raised_at = task, now
            self.has_cut_import = self.has_cut_import or _is_importing(frame)
            raise KeyboardInterrupt

    def is_cancelled(self) -> bool:
        """Tell users' code whether the task that runs is asked to end."""
        task = self._words[RUNNING]
        return bool(task) and task in {self._words[FLAGGED], self._words[INTERRUPTED]}


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != _IMPORTING:
        frame = frame.f_back
    return frame is not None
