"""A line between a program and an agent that is cut where a test says, in the middle of what is sent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

READ_BYTES = 1 << 16


class CutLine:
    """Listens at one address, carries what comes to another one, and counts it.

    The first connections are cut when so many bytes have gone up, or down, over them; those after them are not. With
    `is_half` the far end is not told that a connection is over: it stays, silent.

    Attributes:
        address: where it listens, `host:port`.
        up: bytes carried to the far end, of each connection.
        down: bytes carried from it.
    """

    def __init__(
        self,
        near: tuple[str, int],
        far: tuple[str, int],
        *,
        up: Sequence[int] = (),
        down: Sequence[int] = (),
        is_half: bool = False,
    ) -> None:
        self._far = far
        self._limits = list(up), list(down)
        self._is_half = is_half
        self._listener = socket.create_server(near, reuse_port=False)
        self.address: str = "{}:{}".format(*self._listener.getsockname())
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.up: list[int] = []
        self.down: list[int] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for sock in (self._listener, *self._open):
                _end(sock)

    def cut(self) -> None:
        """Cut all connections now."""
        with self._lock:
            while self._open:
                _end(self._open.pop())

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._far)
            except OSError:
                return
            with self._lock:
                self._open += [near, far]
                number = len(self.up)
                self.up.append(0)
                self.down.append(0)
            up, down = ((limits[number] if number < len(limits) else None) for limits in self._limits)
            threading.Thread(target=self._carry, args=(near, far, self.up, number, up), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, self.down, number, down), daemon=True).start()

    def _carry(
        self, source: socket.socket, sink: socket.socket, counts: list[int], number: int, limit: int | None
    ) -> None:
        near = source if counts is self.up else sink
        with contextlib.suppress(OSError):
            while data := source.recv(READ_BYTES):
                if limit is not None and counts[number] + len(data) > limit:
                    data = data[: limit - counts[number]]
                sink.sendall(data)
                counts[number] += len(data)
                if counts[number] == limit:
                    break
        for sock in (near,) if self._is_half and limit is not None else (source, sink):
            _end(sock)


def _end(sock: socket.socket) -> None:
    """End a connection at once, for whoever reads it here, too."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
