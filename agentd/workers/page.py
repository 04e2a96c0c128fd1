"""The page of memory that a worker and the daemon share: what runs now, since when, and what is asked of it.

Standard library only. Words of 8 bytes in the machine's order. The worker writes the first four, `CALLS` and
`HEARD_AT`, the daemon the others; each word has one writer, and readers must expect any value in the worker's words.
"""

from __future__ import annotations

import mmap
import os

SIZE = 4096
RUNNING = 0
"""Task whose users' code runs, 0 between tasks."""
STARTED = 1
"""When it began: a double, seconds of the monotonic clock of this machine."""
OUT_START = 2
"""Where its part of the worker's stdout file begins, in bytes."""
ERR_START = 3
FLAGGED = 4
"""Task that is asked to end by itself."""
INTERRUPTED = 5
"""Task that is to be stopped by SIGINT."""
TIMED_OUT = 6
"""Task that is stopped because its time is over."""
HOSTS = 7
"""How many agents can take tasks, this one among them."""
BROUGHT = 8
"""Grows when other tasks have written for the operation of a task in this worker's line."""
WANTED = 9
"""Task that serves a session directly, and is to end after the call at hand: others wait for its core."""
CALLS = 10
"""Calls that sessions have made directly in this worker; written by the worker."""
HEARD_AT = 11
"""When the task that runs was last reached by a SIGINT that was meant for it: a double, seconds of the same clock."""


class Page:
    """One mapping of the page."""

    __slots__ = ("_mapping", "seconds", "words")

    def __init__(self, fd: int) -> None:
        self._mapping = mmap.mmap(fd, SIZE)
        self.words = memoryview(self._mapping).cast("Q")
        self.seconds = memoryview(self._mapping).cast("d")

    def close(self) -> None:
        """Unmap it."""
        self.words.release()
        self.seconds.release()
        self._mapping.close()


def make_page() -> int:
    """Make a page full of zeros and give its descriptor."""
    fd = os.memfd_create("agentd-page", os.MFD_CLOEXEC)
    os.truncate(fd, SIZE)
    return fd
