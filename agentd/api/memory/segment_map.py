"""Shared memory for large values, the side of who reads them: each segment is mapped once.

Standard library only: loaded by the client library and, by path, by workers.

Law: a segment is let go of once for each value that was lent, when the last view of that value is gone.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from pickle import PickleBuffer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROT_READ, PROT_WRITE, MAP_SHARED, _MAP_PRIVATE = 1, 2, 1, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
FAILED = ctypes.c_void_p(-1).value


class _Mapped:
    """A segment that is mapped read-only, and how many leases on it live."""

    __slots__ = ("address", "dropped", "fd", "kind", "leases", "size")

    def __init__(self, fd: int, size: int, *, keeps: bool) -> None:
        address = libc.mmap(None, size, PROT_READ, MAP_SHARED, fd, 0)
        if address is None or address == FAILED:
            error = ctypes.get_errno()
            raise OSError(error, f"cannot map {size} bytes of shared memory: {os.strerror(error)}")
        self.address: int = address
        self.size = size
        self.fd = os.dup(fd) if keeps else -1
        self.leases = 0
        self.dropped = False
        self.kind = ctypes.c_ubyte * size
        """The type of the object that all views of a lease rest on; its end is the end of the lease."""

    def close(self) -> None:
        libc.munmap(self.address, self.size)
        if self.fd >= 0:
            os.close(self.fd)


class SegmentMap:
    """The reader's side: maps each segment once and lends read-only views of the values in it.

    `released(number)` is called once for each `lend`, when the last view of that value is gone; from whatever thread
    drops it, possibly from within a garbage collection, so it must only take a note.
    """

    def __init__(self, released: Callable[[int], None]) -> None:
        self._released = released
        self._mapped: dict[int, _Mapped] = {}
        self._lock = threading.RLock()
        self._lent = 0

    @property
    def lent(self) -> int:
        """How many values are in use."""
        return self._lent

    def add(self, number: int, fd: int, size: int, *, keeps: bool = False) -> None:
        """Map a segment; the descriptor stays the caller's and may be closed.

        Only what `keeps` a descriptor of its own can be lent privately.

        Raises:
            OSError: it cannot be mapped.
        """
        mapped = _Mapped(fd, size, keeps=keeps)
        with self._lock:
            self._mapped[number] = mapped

    def lend(self, number: int, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Give read-only views of (offset, size) of the value that is now in the segment, without a copy.

        Raises:
            LookupError: no such segment was added.
            ValueError: a span is not within it.
        """
        mapped = self._lease(number, spans)
        base = mapped.kind.from_address(mapped.address)
        weakref.finalize(base, self._return, number, mapped).atexit = False
        whole = PickleBuffer(base).raw().toreadonly()
        return [whole[offset : offset + size] for offset, size in spans]

    def lend_private(self, number: int, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """As `lend`, views that can be written: who writes gets pages of its own, and nobody else sees that.

        Nothing is copied that is only read: it costs a mapping, not the bytes.

        Raises:
            LookupError: no such segment was added.
            ValueError: a span is not within it.
            OSError: it cannot be mapped once more.
        """
        mapped = self._lease(number, spans)
        low = min([offset for offset, _ in spans]) // mmap.PAGESIZE * mmap.PAGESIZE
        size = max(1, max([offset + size for offset, size in spans]) - low)
        address = libc.mmap(None, size, PROT_READ | PROT_WRITE, _MAP_PRIVATE, mapped.fd, low)
        if address is None or address == FAILED:
            self._return(number, mapped)
            error = ctypes.get_errno()
            raise OSError(error, f"cannot map {size} bytes of shared memory: {os.strerror(error)}")
        base = (ctypes.c_ubyte * size).from_address(address)
        weakref.finalize(base, self._return_private, number, mapped, address, size).atexit = False
        whole = PickleBuffer(base).raw()
        return [whole[offset - low : offset - low + size] for offset, size in spans]

    def _lease(self, number: int, spans: Sequence[tuple[int, int]]) -> _Mapped:
        with self._lock:
            mapped = self._mapped[number]
            if any(offset < 0 or size < 0 or offset + size > mapped.size for offset, size in spans):
                raise ValueError(f"a value is said to lie outside of its segment of {mapped.size} bytes")
            mapped.leases += 1
            self._lent += 1
        return mapped

    def _return_private(self, number: int, mapped: _Mapped, address: int, size: int) -> None:
        libc.munmap(address, size)
        self._return(number, mapped)

    def fd(self, number: int) -> int:
        """Give the descriptor of a segment that keeps one; it stays ours.

        Raises:
            KeyError: no such segment was added.
        """
        return self._mapped[number].fd

    def drop(self, number: int) -> None:
        """Unmap a segment once no value in it is in use; unknown numbers are ignored."""
        with self._lock:
            mapped = self._mapped.pop(number, None)
            if mapped is None:
                return
            mapped.dropped = True
            if not mapped.leases:
                mapped.close()

    def close(self) -> None:
        """Unmap every segment, each when nothing in it is in use any more."""
        for number in list(self._mapped):
            self.drop(number)

    def _return(self, number: int, mapped: _Mapped) -> None:
        with self._lock:
            mapped.leases -= 1
            self._lent -= 1
            if mapped.dropped and not mapped.leases:
                mapped.close()
        self._released(number)
