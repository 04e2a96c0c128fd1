"""An object on its way to the disk: room for it, its bytes, its hash."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from agentd.model.errors import DiskError, RequestError
from agentd.store.disk import Disk, is_full, write_all

CHUNK_BYTES = 1 << 20
"""Chosen: what is held in memory of an object on its way."""

DIGEST_BYTES = 16
"""Of an object's hash: 128 bits, which tell damage and equal values apart from all others."""


class Limits(Struct, frozen=True):
    """How much the objects may take of the disk."""

    object_bytes: int = 16 << 30
    total_bytes: int = 64 << 30
    free_bytes: int = 256 << 20
    """What uploads leave free for everybody else, the journal first."""


class Stored(Struct, frozen=True):
    """An object that is on the disk."""

    id: int
    size: int
    digest: str
    """BLAKE2b of 16 bytes, in hexadecimal digits."""

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.id:016x}-{self.size:x}-{self.digest}"


class Room:
    """How much of the disk is taken by objects, and how much more may be."""

    def __init__(self, disk: Disk, folder: Path, limits: Limits) -> None:
        self._disk = disk
        self._folder = folder
        self._limits = limits
        self._lock = threading.Lock()
        self.taken_bytes = 0

    def admit(self, size: int, more: int) -> None:
        """See that an upload of `size` bytes may grow by `more`, and take that room.

        Raises:
            RequestError: 413, larger than any object may be; 507, there is no room for it now.
        """
        limits = self._limits
        if size + more > limits.object_bytes:
            raise RequestError(f"an object may have up to {limits.object_bytes} bytes: split it", status=413)
        if self._disk.free_bytes(self._folder) < limits.free_bytes + more:
            raise RequestError("the disk of this agent has no space for this object", status=507, retry_after_s=60)
        with self._lock:
            if self.taken_bytes + more > limits.total_bytes:
                message = f"all objects of this agent may have {limits.total_bytes} bytes: let some expire first"
                raise RequestError(message, status=507, retry_after_s=60)
            self.taken_bytes += more

    def take(self, size: int) -> None:
        """Take room for what is there already."""
        with self._lock:
            self.taken_bytes += size

    def leave(self, size: int) -> None:
        """Give room back."""
        with self._lock:
            self.taken_bytes -= size


class Upload:
    """An object on its way. Memory holds one chunk of it, whatever its size."""

    def __init__(self, disk: Disk, path: Path, room: Room, named: Callable[[Path, int, str], Stored]) -> None:
        """Make the file.

        Args:
            disk: through which it is written.
            path: of the file while it is not whole.
            room: where its bytes are taken from.
            named: makes an object of the file, given its path, size and digest.

        Raises:
            OSError: the disk failed, or is full.
        """
        self._disk = disk
        self._path = path
        self._room = room
        self._named = named
        self._fd: int | None = disk.create(path)
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._lock = threading.Lock()
        self._taken = 0
        self.size = 0

    async def write(self, chunk: bytes | memoryview) -> None:
        """Add bytes. Cancelling this leaves the upload to be abandoned.

        Raises:
            RequestError: 413, larger than any object may be; 507, there is no space; 409, it has ended.
            DiskError: the disk failed.
        """
        await asyncio.to_thread(self._admitted, chunk)

    async def finish(self, *, size: int | None = None, digest: str | None = None) -> Stored:
        """Make an object of what was written; it is on the disk when this returns.

        Raises:
            RequestError: 400, it has not the size or the hash (BLAKE2b of 16 bytes, hexadecimal) that was told;
                409, it has ended.
            DiskError: the disk failed.
        """
        found = self._digest.hexdigest()
        if size is not None and size != self.size:
            raise RequestError(f"{self.size} bytes came instead of {size}: send it again", status=400)
        if digest is not None and digest.lower() != found:
            raise RequestError("what came has another hash than was told: send it again", status=400)
        return await asyncio.to_thread(self._finished)

    async def abandon(self) -> None:
        """Remove what was written; nothing happens to an upload that was finished."""
        await asyncio.to_thread(self.drop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.shield(self.abandon())

    # --- the same, for a thread that may wait for the disk

    def _admitted(self, chunk: bytes | memoryview) -> None:
        with self._lock, translated(self._path):
            self._file()
            self._room.admit(self.size, len(chunk))
            self._taken += len(chunk)
            self._append(chunk)

    def _finished(self) -> Stored:
        with translated(self._path):
            return self.seal()

    def append(self, chunk: bytes | memoryview) -> None:
        """Add bytes without asking for room.

        Raises:
            OSError: the disk failed, or is full.
        """
        with self._lock:
            self._append(chunk)

    def _append(self, chunk: bytes | memoryview) -> None:
        write_all(self._disk, self._file(), chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def _file(self) -> int:
        if self._fd is None:
            raise RequestError("the upload has ended already: begin a new one", status=409)
        return self._fd

    def seal(self) -> Stored:
        """Make an object of what was written.

        Raises:
            OSError: the disk failed, or is full.
        """
        with self._lock:
            fd = self._file()
            self._disk.sync(fd)
            stored = self._named(self._path, self.size, self._digest.hexdigest())
            self._fd = None
            self._room.leave(self._taken)
            self._disk.close(fd)
            return stored

    def drop(self) -> None:
        """Remove what was written and not sealed."""
        with self._lock:
            if self._fd is None:
                return
            fd, self._fd = self._fd, None
            self._room.leave(self._taken)
            with suppress(OSError):  # what is left behind is removed at the next start
                self._disk.close(fd)
                self._disk.unlink(self._path)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn a full disk into a refusal, and any other error of the disk into ours.

    Raises:
        RequestError: 507, the disk is full.
        DiskError: the disk failed.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise RequestError("the disk of this agent is full", status=507, retry_after_s=60) from error
        raise DiskError(f"{path}: {error.strerror}") from error
