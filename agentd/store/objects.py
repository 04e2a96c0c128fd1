"""Values on the disk that are too large for the journal: what users upload, and large results.

Law: an object that has a number is whole, is on the disk, and never changes; anything else is removed at the start.

Each object is a file whose name tells its number, size and hash. Readers get a descriptor to map, so no bytes pass
through here. Usable from several threads at once.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import threading
from collections.abc import Callable, Collection
from hashlib import blake2b
from pathlib import Path

from msgspec.structs import replace

from agentd.model.errors import AgentdError, DiskError, RequestError
from agentd.model.values import Part, Payload
from agentd.store.disk import Disk
from agentd.store.uploads import CHUNK_BYTES, DIGEST_BYTES, Limits, Room, Stored, Upload, translated

_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{1,16})-([0-9a-f]{32})")
_UPLOAD = "upload-"


class SegmentLost(AgentdError):
    """A segment of shared memory is gone, or shorter than it was said to be."""


class Objects:
    """The folder of objects."""

    def __init__(self, disk: Disk, folder: Path, clock: Callable[[], float], limits: Limits | None = None) -> None:
        """Take stock of the folder, which is made if need be; uploads that a crash cut off are removed.

        Args:
            disk: through which everything is done.
            folder: for objects alone, inside the state folder.
            clock: gives the agent time in seconds.
            limits: how much may be stored.

        Raises:
            DiskError: the disk failed.
        """
        self.alarms: list[str] = []
        self._disk = disk
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._objects: dict[int, Stored] = {}
        self._unclaimed: dict[int, float] = {}
        self._room = Room(disk, folder, Limits() if limits is None else limits)
        try:
            disk.make_folder(folder)
            disk.sync_folder(folder.parent)
            for name in disk.names(folder):
                self._take_stock(name)
        except OSError as error:
            raise DiskError(f"{folder}: {error.strerror}") from error

    def _take_stock(self, name: str) -> None:
        path = self._folder / name
        match = _NAME.fullmatch(name)
        if match is None:
            if name.startswith(_UPLOAD):
                self._disk.unlink(path)
            return
        stored = Stored(int(match[1], 16), int(match[2], 16), match[3])
        size = self._disk.size(path)
        if size != stored.size:
            self.alarms.append(f"object {stored.id} has {size} bytes instead of {stored.size}: it was set aside")
            self._disk.rename(path, self._folder / f"damaged-{name}")
            return
        self._enter(stored)

    def _enter(self, stored: Stored) -> None:
        with self._lock:
            self._objects[stored.id] = stored
            self._unclaimed[stored.id] = self._clock()
        self._room.take(stored.size)

    # --- coming

    async def create(self) -> Upload:
        """Begin an upload; use it as a context, which abandons it if it was not finished.

        Raises:
            RequestError: 507, there is no space.
            DiskError: the disk failed.
        """
        with translated(self._folder):
            return await asyncio.to_thread(self._draft)

    def _draft(self) -> Upload:
        path = self._folder / f"{_UPLOAD}{secrets.token_hex(8)}"
        return Upload(self._disk, path, self._room, self._name_it)

    def store_segment(self, fd: int, offset: int, size: int) -> int:
        """Copy a range of a file in memory to the disk, and give the number of the object, which is claimed.

        No space is refused for a result that is there already; a full disk still is a full disk.

        Raises:
            SegmentLost: the range is not there.
            OSError: the disk failed, or is full; nothing is left behind.
        """
        upload = self._draft()
        try:
            buffer = memoryview(bytearray(min(CHUNK_BYTES, size)))
            end = offset + size
            while offset < end:
                count = os.preadv(fd, [buffer[: end - offset]], offset)
                if count <= 0:
                    raise SegmentLost(f"shared memory ended {end - offset} bytes early: whoever made it shortened it")
                upload.append(buffer[:count])
                offset += count
            stored = upload.seal()
        finally:
            upload.drop()
        self.claim((stored.id,))
        return stored.id

    def _name_it(self, draft: Path, size: int, digest: str) -> Stored:
        """Give a written and synced file its number and its name."""
        stored = Stored(secrets.randbits(63) or 1, size, digest)
        self._disk.rename(draft, self._folder / stored.name)
        self._disk.sync_folder(self._folder)
        self._enter(stored)
        return stored

    # --- there

    def open(self, number: int) -> tuple[int, int]:
        """Give a read-only descriptor of an object, which the caller closes, and its size in bytes.

        Raises:
            RequestError: 404, there is no such object.
            DiskError: the disk failed.
        """
        with self._lock:
            stored = self._objects.get(number)
        try:
            if stored is not None:
                return self._disk.open(self._folder / stored.name), stored.size
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DiskError(f"object {number}: {error.strerror}") from error
        raise RequestError(f"there is no object {number}: it has expired, or never was here", status=404)

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Read a piece of an object; fewer bytes where it ends before.

        Raises:
            RequestError: 404, there is no such object.
            DiskError: the disk failed.
        """
        fd, _ = self.open(number)
        try:
            pieces = []
            while size > 0 and (piece := self._disk.read(fd, size, offset)):
                pieces.append(piece)
                offset += len(piece)
                size -= len(piece)
            return b"".join(pieces)
        finally:
            self._disk.close(fd)

    def is_sound(self, number: int) -> bool:
        """Read an object through and tell whether it still has its hash; for a thread that may wait for the disk.

        Raises:
            RequestError: 404, there is no such object.
            DiskError: the disk failed.
        """
        fd, _ = self.open(number)
        try:
            digest, at = blake2b(digest_size=DIGEST_BYTES), 0
            while chunk := self._disk.read(fd, CHUNK_BYTES, at):
                digest.update(chunk)
                at += len(chunk)
        except OSError as error:
            raise DiskError(f"object {number}: {error.strerror}") from error
        finally:
            self._disk.close(fd)
        return digest.hexdigest() == self._objects[number].digest

    @property
    def total_bytes(self) -> int:
        """What all objects take, those on their way included."""
        return self._room.taken_bytes

    def keep(self, payload: Payload, descriptor: Callable[[int], int]) -> Payload:
        """Put objects in the place of a payload's segments, and claim all objects that it names.

        Args:
            payload: of an entry that is about to be written to the journal.
            descriptor: gives the descriptor of a segment, which stays its owner's.

        Raises:
            SegmentLost: a segment is not what it was said to be.
            OSError: the disk failed, or is full; whatever was stored is claimed by nobody and expires.
        """
        self.claim([part.stored for part in payload.parts if part.stored])
        if not any(part.segment for part in payload.parts):
            return payload
        return replace(payload, parts=tuple(self._kept(part, descriptor) for part in payload.parts))

    def _kept(self, part: Part, descriptor: Callable[[int], int]) -> Part:
        if not part.segment:
            return part
        return Part(size=part.size, stored=self.store_segment(descriptor(part.segment), part.offset, part.size))

    # --- going

    def claim(self, numbers: Collection[int]) -> None:
        """Keep these until they are deleted: an operation refers to them."""
        with self._lock:
            for number in numbers:
                self._unclaimed.pop(number, None)

    def delete(self, numbers: Collection[int]) -> None:
        """Remove objects; whoever has one open keeps what is in it. One that is not there is no error.

        Raises:
            DiskError: the disk failed.
        """
        with self._lock:
            gone = self._struck(numbers)
        self._remove(gone)

    def expire(self, age_s: float) -> list[int]:
        """Remove what nobody has claimed within `age_s` of its coming, or of the start, and tell which.

        Raises:
            DiskError: the disk failed.
        """
        now = self._clock()
        with self._lock:
            gone = self._struck([number for number, since in self._unclaimed.items() if now - since >= age_s])
        self._remove(gone)
        return [stored.id for stored in gone]

    def _struck(self, numbers: Collection[int]) -> list[Stored]:
        """Strike objects off the list, under the lock, so that nobody can claim them any more."""
        gone = [stored for number in numbers if (stored := self._objects.pop(number, None)) is not None]
        for stored in gone:
            self._unclaimed.pop(stored.id, None)
        return gone

    def _remove(self, gone: Collection[Stored]) -> None:
        for stored in gone:
            self._room.leave(stored.size)
            with translated(self._folder):
                self._disk.unlink(self._folder / stored.name)
