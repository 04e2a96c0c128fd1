"""A worker's end of a line to another agent over TLS, which begins after a plain word that the line is served.

Law: nothing that comes is looked at as a frame before the session has said its secret, within TLS.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from functools import lru_cache
from hmac import compare_digest
from time import monotonic
from typing import TYPE_CHECKING, Any

from .borrowed import load
from .failures import Reason, Refused
from .far_link import FarLink
from .link import READ_BYTES

if TYPE_CHECKING:
    import socket

_records = load("calls.records")


@lru_cache(maxsize=2)
def _context(key: bytes) -> ssl.SSLContext:
    """Give the context of a key with its certificate (PEM), from memory: no file holds it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nobody comes back to this end
    descriptor = os.memfd_create("agentd-line", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


class TlsLink(FarLink):
    """Frames in, frames out, over TLS. `key` is PEM, the key with its certificate."""

    __slots__ = ("_early", "_handshake_s", "_records", "_secret")

    def __init__(self, sock: socket.socket, limit: int, key: bytes, secret: bytes, handshake_s: float) -> None:
        super().__init__(sock, limit)
        self._records: Any = _records.Records(_context(key), is_server=True)
        self._secret = secret
        self._handshake_s = handshake_s
        self._early = b""
        """What came with the secret."""

    def begin(self, ready: bytes, idle_s: float) -> bool:
        """Say in plain that the line is served; then agree on keys with the session, and hear its secret.

        Raises:
            Refused: whoever is at the other end does not know it, or does not say it in time.
        """
        with suppress(OSError):  # the session is gone, which the first look at the socket finds
            super().send(ready)
        if not self.poll(idle_s):
            return False
        try:
            said = self._heard(monotonic() + self._handshake_s)
        except (OSError, ValueError) as error:
            raise Refused(
                Reason.NOT_DECODABLE, f"whoever called over this line did not make it secret: {error}"
            ) from None
        if len(said) < len(self._secret):
            return False
        if not compare_digest(said[: len(self._secret)], self._secret):
            raise Refused(Reason.NOT_DECODABLE, "whoever called over this line is not the session that asked for it")
        self._early = said[len(self._secret) :]
        return True

    def _heard(self, deadline: float) -> bytes:
        """Agree on keys and give what is said first: less than the secret only where nothing more can come.

        Raises:
            OSError: the connection is gone, the other end breaks TLS, or the time is over.
        """
        self._records.shake_hands(self.socket, deadline - monotonic())
        self.socket.setblocking(False)
        said: bytes = self._records.opened(b"")
        while len(said) < len(self._secret):
            left_s = deadline - monotonic()
            if left_s <= 0 or not super().poll(left_s):
                raise TimeoutError("it took too long")
            data = self.socket.recv(READ_BYTES)
            if not data:
                break
            said += self._records.opened(data)
        return said

    def take(self) -> list[tuple[int, memoryview]]:
        """Give the frames that the bytes complete which are there, possibly none.

        Raises:
            EOFError: the session is gone.
            OSError: it has ended TLS, or what came was tampered with.
        """
        if self._early:
            plain, self._early = self._early, b""
        else:
            data = self.socket.recv(READ_BYTES)
            if not data:
                raise EOFError("the session closed the connection")
            plain = self._records.opened(data)
        return self._reader.feed(plain) if plain else []

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Tell whether something can be read within so many seconds: some of it may have been by now."""
        return bool(self._early) or super().poll(timeout_s)

    def send(self, data: bytes) -> None:
        """Send it all; as any line.

        Raises:
            OSError: the other end is gone, or does not read.
        """
        super().send(self._records.sealed((data,)))
