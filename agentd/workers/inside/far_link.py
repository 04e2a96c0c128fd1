"""A worker's end of a line to another agent: a TCP connection, on which what is sent may have to wait."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from time import monotonic

from .link import Link

SEND_S = 2.0
"""For so long what is sent may wait for the other end to read (chosen: the session does nothing else)."""


class FarLink(Link):
    """Frames in, frames out, without descriptors."""

    __slots__ = ("_writable",)

    def __init__(self, sock: socket.socket, limit: int) -> None:
        super().__init__(sock, limit)
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)

    def begin(self, ready: bytes, idle_s: float) -> bool:  # noqa: ARG002 - there is nothing to wait for
        """Say that the line is served; tell whether calls may follow, after at most so many seconds of silence.

        Raises:
            Refused: whoever is at the other end is not the session.
        """
        with suppress(OSError):  # the session is gone, which the first look at the socket finds
            self.send(ready)
        return True

    def send(self, data: bytes) -> None:
        """Send it all.

        Raises:
            OSError: the other end is gone, or does not read.
        """
        sent = self._sent(data)
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def _sent(self, data: bytes | memoryview) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    def _send_rest(self, data: memoryview) -> None:
        deadline = monotonic() + SEND_S
        while data:
            left_s = deadline - monotonic()
            if left_s <= 0 or not self._writable.poll(left_s * 1000):
                raise TimeoutError("the session does not read")
            data = data[self._sent(data) :]
