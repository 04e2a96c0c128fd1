"""The floor for anything with a daemon in the middle: client, daemon, worker, length-prefixed msgpack, no scheduling.

The daemon and the workers are processes of their own; the daemon runs on uvloop, the workers and the client block.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

WORKERS = 2
_LENGTH = struct.Struct("!I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def frames(buffer: bytearray) -> list[bytes]:
    """Take the whole frames out of a buffer."""
    found, start = [], 0
    while len(buffer) - start >= 4:
        (length,) = _LENGTH.unpack_from(buffer, start)
        if len(buffer) - start - 4 < length:
            break
        found.append(bytes(buffer[start + 4 : start + 4 + length]))
        start += 4 + length
    del buffer[:start]
    return found


def framed(value: object) -> bytes:
    """Make a frame of a value."""
    body = _encode(value)
    return _LENGTH.pack(len(body)) + body


class _End(asyncio.Protocol):
    def __init__(self, relay: _Relay, *, is_worker: bool) -> None:
        self.relay, self.is_worker, self.buffer = relay, is_worker, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.is_worker:
            self.relay.join(self)
        else:
            self.relay.client = self

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        for frame in frames(self.buffer):
            number, payload = _decode(frame)
            if self.is_worker:
                self.relay.client.transport.write(framed([number, payload]))
            else:
                worker = self.relay.workers[number % len(self.relay.workers)]
                worker.transport.write(framed([number, payload]))


class _Relay:
    def __init__(self, folder: str) -> None:
        self.workers: list[_End] = []
        self.client: _End
        self._folder = folder

    def join(self, worker: _End) -> None:
        """Take a worker; with the last one the relay may be used."""
        self.workers.append(worker)
        if len(self.workers) == WORKERS:
            Path(self._folder, "staffed").touch()


def _serve(folder: str) -> None:
    import uvloop

    async def main() -> None:
        relay, loop = _Relay(folder), asyncio.get_running_loop()
        for name, is_worker in (("worker", True), ("client", False)):
            await loop.create_unix_server(
                lambda is_worker=is_worker: _End(relay, is_worker=is_worker), f"{folder}/{name}.sock"
            )
        Path(folder, "ready").touch()  # noqa: ASYNC240 - nothing is being served yet
        await asyncio.Event().wait()

    uvloop.run(main())


def _work(folder: str) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"{folder}/worker.sock")
    buffer = bytearray()
    while data := sock.recv(1 << 18):
        buffer += data
        for frame in frames(buffer):
            number, payload = _decode(frame)
            sock.sendall(framed([number, payload]))


class Relay:
    """A running relay with two workers; a context."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        folder = self._folder.name
        self.pids = [_forked(_serve, folder)]
        _await(Path(folder, "ready"))
        self.pids += [_forked(_work, folder) for _ in range(WORKERS)]
        _await(Path(folder, "staffed"))
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(f"{folder}/client.sock")
        self._buffer = bytearray()
        self.call()
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._folder.cleanup()

    def call(self) -> None:
        """One call and its return."""
        self._sock.sendall(framed([0, b"x" * 32]))
        self._gather(1)

    def many(self, count: int) -> None:
        """Many calls at once, all returns gathered."""
        self._sock.setblocking(False)
        pending = memoryview(b"".join(framed([number, b"x" * 32]) for number in range(count)))
        left = count
        while left:
            if pending:
                with suppress(BlockingIOError):
                    pending = pending[self._sock.send(pending[: 1 << 18]) :]
            try:
                self._buffer += self._sock.recv(1 << 18)
            except BlockingIOError:
                continue
            for frame in frames(self._buffer):
                _decode(frame)
                left -= 1
        self._sock.setblocking(True)

    def _gather(self, count: int) -> None:
        while count:
            self._buffer += self._sock.recv(1 << 18)
            for frame in frames(self._buffer):
                _decode(frame)
                count -= 1


def _await(file: Path) -> None:
    while not file.exists():
        signal.sigtimedwait([], 0.01)


def _forked(target: object, folder: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            target(folder)  # type: ignore[operator]
        finally:
            os._exit(0)
    return pid


if __name__ == "__main__":
    sys.exit(__doc__)
