"""One end of TLS as a value: bytes in and bytes out, without a socket.

Standard library only: the worker loads this file too, and may be another Python.

Law: what comes is opened wholly, but for a record that is not all there yet: nothing that could be read waits here.
"""

from __future__ import annotations

import ssl
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

_READ_BYTES = 64 * 1024
"""Of a read in the handshake (chosen: several times what one takes)."""
_RECORD_BYTES = 16 * 1024
"""Largest record's content (RFC 8446, 5.1): the library gives no more than one at a time."""
_JOIN_BYTES = 2 * _RECORD_BYTES
"""Up to here a copy costs less than a record more (chosen: two records)."""


class Records:
    """One end of TLS, by the rules of a context; `is_server` for the end that was dialled."""

    def __init__(self, context: ssl.SSLContext, *, is_server: bool = False) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)

    def shake_hands(self, sock: socket.socket, within_s: float | None = None) -> None:
        """Agree on keys, over a socket that blocks as its timeout says: all of it within so many seconds, if given.

        Raises:
            OSError: the connection is gone, somebody else answers, or the time is over.
        """
        deadline = None if within_s is None else monotonic() + within_s
        while True:
            try:
                self._object.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            if deadline is not None:
                sock.settimeout(_left_s(deadline))
            sock.sendall(self._outgoing.read())
            if is_done:
                return
            data = sock.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the other end closed the connection in the handshake")
            self._incoming.write(data)

    def sealed(self, pieces: Sequence[bytes | bytearray | memoryview]) -> bytes:
        """Give the bytes to be sent for these, and for what the protocol itself has to say."""
        if len(pieces) > 1 and sum(map(len, pieces)) <= _JOIN_BYTES:
            pieces = (b"".join(pieces),)
        write = self._object.write
        for piece in pieces:
            written = write(piece) if len(piece) else 0
            if written < len(piece):
                rest = memoryview(piece)[written:]
                while rest:
                    rest = rest[write(rest) :]
        return self._outgoing.read()

    def opened(self, data: bytes) -> bytes:
        """Give what these bytes complete; it may be nothing yet.

        Raises:
            OSError: the other end has closed the connection, or what came was tampered with.
        """
        incoming, read = self._incoming, self._object.read
        incoming.write(data)
        plain = b""
        rest: list[bytes] = []
        # To be told that there is no more costs as much as opening a short record (7 us, measured): whoever has all
        # that came does not ask.
        while incoming.pending:
            try:
                piece = read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                break
            if not piece and plain:  # what was said before the end comes first
                break
            if not piece:
                raise ConnectionResetError("the other end closed the connection")
            if plain:
                rest.append(piece)
            else:
                plain = piece
        return plain + b"".join(rest) if rest else plain


def _left_s(deadline: float) -> float:
    """Give what is left of a time.

    Raises:
        TimeoutError: nothing is.
    """
    left_s = deadline - monotonic()
    if left_s <= 0:
        raise TimeoutError("it took too long")
    return left_s
