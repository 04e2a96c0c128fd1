"""Connections of lines that are expected: each comes with a ticket, which is good once, and for a moment.

Law: a connection is handed to whoever expects its ticket, once; whoever brings another is nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from socket import socket

TICKETS_MOST = 64
"""That are expected at a time, from all neighbours (chosen: as many as there may be strangers)."""
Arrived = Callable[[socket], None]
"""Is given the connection, which is its own from then on."""


class Tickets:
    """What is expected, by ticket."""

    def __init__(self) -> None:
        self._expected: dict[bytes, Arrived] = {}

    def __len__(self) -> int:
        return len(self._expected)

    @property
    def is_full(self) -> bool:
        """Tell whether no more can be expected."""
        return len(self._expected) >= TICKETS_MOST

    def expect(self, ticket: bytes, arrived: Arrived) -> bool:
        """Expect a connection until it comes or is forgotten; false where there is no room, or the same is expected."""
        if self.is_full or self._known(ticket) is not None:
            return False
        self._expected[ticket] = arrived
        return True

    def forget(self, ticket: bytes) -> None:
        """Expect it no more."""
        self._expected.pop(ticket, None)

    def present(self, ticket: bytes, sock: socket) -> bool:
        """Hand a connection on by its ticket; tell whether somebody expected it."""
        known = self._known(ticket)
        if known is None:
            return False
        self._expected.pop(known)(sock)
        return True

    def _known(self, ticket: bytes) -> bytes | None:
        """Find a ticket, in a time that does not tell how much of it was right."""
        found = None
        for one in self._expected:
            if compare_digest(one, ticket):
                found = one
        return found
