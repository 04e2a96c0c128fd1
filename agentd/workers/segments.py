"""The daemon's register of shared memory: who made a segment, who still needs the value in it.

Law: a segment goes back to its owner when the last hold is released, once; it is never read by the daemon.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 1 << 44
"""Bytes of the largest segment that is believed; chosen: above any machine."""


class _Entry:
    __slots__ = ("fd", "free", "holds", "is_file", "is_orphan", "is_socket", "size")

    def __init__(self, fd: int, size: int, free: Callable[[int], None]) -> None:
        self.fd = fd
        self.size = size
        self.free = free
        self.holds = 0
        self.is_file = False
        self.is_socket = False
        self.is_orphan = False


class Segments:
    """All segments of this device that the daemon knows, under numbers of its own, which are never used again.

    A hold is counted for each value in a segment that the engine keeps, and for each task that reads it. When the last
    one is released the owner may write the next value. Segments of an owner that is gone live until then.
    """

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._numbers = itertools.count(1)
        self.total_bytes = 0
        """What all of them may hold together."""
        self._watchers: list[Callable[[int], None]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: object) -> bool:
        return number in self._entries

    def adopt(self, fd: int, size: int, free: Callable[[int], None], *, may_be_file: bool = False) -> int:
        """Register a segment, or a file where it may be one.

        `free(number)` is called each time when its last hold is released. The descriptor stays the caller's. Readers
        get one that cannot write.

        Raises:
            ValueError: it is no file, and no memory, of that size that its owner cannot cut off.
            OSError: this process cannot open more files.
        """
        if not 0 < size <= LARGEST:
            raise ValueError(f"a segment of {size} bytes was offered")
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size < size:
            raise ValueError("what was offered as a segment is no shared memory, and no file, of that size")
        seals = _seals(fd)
        is_file = not seals & fcntl.F_SEAL_SHRINK
        if is_file and not (may_be_file and seals):
            raise ValueError("a segment was offered that its owner could cut off: it must be sealed against shrinking")
        number = self.adopt_own(fd, size, free)
        if is_file:
            self._entries[number].is_file = True
            self.total_bytes -= size
        return number

    def adopt_own(self, fd: int, size: int, free: Callable[[int], None]) -> int:
        """As `adopt`, for memory or a file that this process made and will not cut off.

        Raises:
            OSError: this process cannot open more files.
        """
        descriptor = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        number = next(self._numbers)
        self._entries[number] = _Entry(descriptor, size, free)
        self.total_bytes += size
        return number

    def adopt_socket(self, fd: int) -> int:
        """Register an end of a connection, held once, until it is taken or that hold is released.

        The descriptor stays the caller's.

        Raises:
            ValueError: it is no socket.
            OSError: this process cannot open more files.
        """
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise ValueError("what was offered as a direct line is no socket")
        number = next(self._numbers)
        entry = self._entries[number] = _Entry(os.dup(fd), 0, lambda _: None)
        entry.is_socket = entry.is_orphan = True
        entry.holds = 1
        return number

    def take_socket(self, number: int) -> int | None:
        """Give a connection away, once: the descriptor is the caller's. None: it is none, or was taken before."""
        entry = self._entries.get(number)
        if entry is None or not entry.is_socket:
            return None
        del self._entries[number]
        return entry.fd

    def is_file(self, number: int) -> bool:
        """Tell whether it is a file of its owner's, which may be cut off at any time: it must not be mapped here.

        Raises:
            KeyError: there is no such segment.
        """
        return self._entries[number].is_file

    def on_gone(self, watcher: Callable[[int], None]) -> None:
        """Call `watcher(number)` for each segment that no value will be in again: readers may unmap it."""
        self._watchers.append(watcher)

    def fd(self, number: int) -> int:
        """Give the read-only descriptor, which stays the register's.

        Raises:
            KeyError: there is no such segment.
        """
        return self._entries[number].fd

    def size(self, number: int) -> int:
        """Give its size in bytes.

        Raises:
            KeyError: there is no such segment.
        """
        return self._entries[number].size

    def retain(self, number: int) -> None:
        """Count one hold.

        Raises:
            KeyError: there is no such segment.
        """
        self._entries[number].holds += 1

    def release(self, number: int) -> None:
        """Take back one hold. Segments that are gone are ignored; so is a hold too many."""
        entry = self._entries.get(number)
        if entry is None or not entry.holds:
            return
        entry.holds -= 1
        if entry.holds:
            return
        if entry.is_orphan:
            self._remove(number)
        else:
            entry.free(number)

    def disown(self, number: int) -> None:
        """Note that the owner is gone or has given it up: it ends with its last hold."""
        entry = self._entries.get(number)
        if entry is None:
            return
        entry.is_orphan = True
        if not entry.holds:
            self._remove(number)

    def close(self) -> None:
        """Let everything go."""
        for number in list(self._entries):
            self._remove(number)

    def _remove(self, number: int) -> None:
        entry = self._entries.pop(number)
        self.total_bytes -= 0 if entry.is_file else entry.size
        with suppress(OSError):
            os.close(entry.fd)
        for watcher in self._watchers:
            watcher(number)


def _seals(fd: int) -> int:
    """Give the seals of memory, 0 where it could be sealed and is not; of a file that no more seals can be added."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        return fcntl.F_SEAL_SEAL
