"""Waking a thread that sleeps on a socket or a time."""

from __future__ import annotations

import os
import select
from contextlib import suppress


class Bell:
    """One thread rests; any other, also a finaliser, may ring.

    Attributes:
        has_rung: somebody rang since the last rest; ringing again costs nothing.
    """

    def __init__(self) -> None:
        self.has_rung = False
        self._counter = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Wake the thread that rests, or have it not rest at all."""
        if not self.has_rung:
            self.has_rung = True
            with suppress(OSError, ValueError):  # it is closed: nobody rests any more
                os.eventfd_write(self._counter, 1)

    def rest(self, seconds: float | None, descriptor: int = -1, events: int = 0, beside: int = -1) -> None:
        """Sleep until somebody rings, the descriptor has one of the events, or the time is over; None: without end.

        Bytes that another descriptor has, `beside`, end it too.
        """
        poll = select.poll()
        poll.register(self._counter, select.POLLIN)
        if descriptor >= 0:
            poll.register(descriptor, events)
        if beside >= 0:
            poll.register(beside, select.POLLIN)
        if not self.has_rung:
            poll.poll(None if seconds is None else seconds * 1000)
        self.has_rung = False  # before reading: who rings in between is seen at the next rest
        with suppress(BlockingIOError):
            os.eventfd_read(self._counter)

    def close(self) -> None:
        """Give the counter back. May be called twice."""
        counter, self._counter = self._counter, -1
        if counter >= 0:
            os.close(counter)
