"""Shared memory for large values: who writes them pools segments, who reads them maps each segment once.

Standard library only: loaded by the client library and, by path, by workers.

A fresh segment per value is slower than a socket, because each of its pages is faulted in by both sides; a segment
that is kept, faulted in and mapped by both sides is as fast as memory (measured: 1.2 against 10 GB/s).

Law: a segment holds one value, or several that were put behind each other, and what was written is written over only
after every reader of every value in it has let go.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import threading
import time
import weakref
from contextlib import suppress
from pickle import PickleBuffer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ALIGNMENT = 64
"""Buffers begin at multiples of this, in bytes: a cache line, and what vector code likes."""
SMALLEST = 256 * 1024
"""Size of the smallest segment in bytes."""
ROOMY = 4 * 1024 * 1024
"""From this size on a value gets a segment even when many are in use."""
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""A reader must never meet a page that its owner cut off."""
_PROT_READ, _PROT_WRITE, _MAP_SHARED, _MAP_PRIVATE = 1, 2, 1, 2
_PUT_BYTES = 64 * 1024 * 1024
"""Largest single pwrite."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


def layout(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Lay buffers of these sizes behind each other: their offsets, and the bytes they need together."""
    offsets, position = [], 0
    for size in sizes:
        offsets.append(position)
        position += -(-size // ALIGNMENT) * ALIGNMENT
    return offsets, position


class _Segment:
    """One piece of shared memory of the owner: written through the file first, through a mapping from then on."""

    __slots__ = ("_fd", "_mapping", "idle_since", "number", "size", "touched", "view")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.touched = 0
        """Bytes from the start that have memory behind them."""
        self.idle_since = 0.0
        self.view: memoryview | None = None
        self._mapping: mmap.mmap | None = None
        self._fd = os.memfd_create("agentd-segment", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.truncate(self._fd, size)
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, SEALS)
        except OSError:
            os.close(self._fd)
            raise

    @property
    def fd(self) -> int:
        return self._fd

    def fill(self, buffers: Sequence[memoryview], offsets: Sequence[int], total: int) -> None:
        """Write the buffers, which end at `total`.

        Fresh pages are cheaper to make by writing the file than by faults (measured: 2 times).
        """
        if total > self.touched:
            for buffer, offset in zip(buffers, offsets, strict=True):
                self._put(buffer, offset)
            self.touched = total
            return
        view = self.whole()
        for buffer, offset in zip(buffers, offsets, strict=True):
            view[offset : offset + len(buffer)] = buffer

    def _put(self, buffer: memoryview, offset: int) -> None:
        position = 0
        while position < len(buffer):
            position += os.pwrite(self._fd, buffer[position : position + _PUT_BYTES], offset + position)

    def whole(self) -> memoryview:
        """Give all of it."""
        return self.view or self._map()

    def _map(self) -> memoryview:
        self._mapping = mmap.mmap(self._fd, self.size)
        self.view = memoryview(self._mapping)
        return self.view

    def close(self) -> None:
        if self.view is not None and self._mapping is not None:
            self.view.release()
            with suppress(BufferError):  # somebody still looks: it goes with the last look
                self._mapping.close()
        os.close(self._fd)


class SegmentPool:
    """The owner's side: segments in sizes of powers of two, kept for the next value.

    `announce(number, fd, size)` is called when a segment is made: the reader's side must get the descriptor, which
    stays the pool's. `withdraw(number)` is called when an idle one is given up. Safe to use from several threads.
    """

    def __init__(
        self,
        announce: Callable[[int, int, int], None],
        withdraw: Callable[[int], None],
        *,
        idle_limit_bytes: int = 256 * 1024 * 1024,
        total_limit_bytes: int = 1 << 40,
        count_limit: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._announce = announce
        self._withdraw = withdraw
        self._idle_limit = idle_limit_bytes
        self._total_limit = total_limit_bytes
        self._count_limit = count_limit
        self._clock = clock
        self._lock = threading.RLock()
        self._idle: dict[int, list[_Segment]] = {}
        self._used: dict[int, _Segment] = {}
        self._files: set[int] = set()
        """Numbers of files that were lent."""
        self._next = 1
        self._idle_bytes = 0
        self._used_bytes = 0

    @property
    def used(self) -> int:
        """How many segments hold a value that somebody may read."""
        return len(self._used)

    @property
    def idle_bytes(self) -> int:
        """Memory that is kept for the next values."""
        return self._idle_bytes

    def put(self, buffers: Sequence[memoryview]) -> tuple[int, list[int]] | None:
        """Copy the buffers of one value (contiguous, of bytes) into a segment: its number and their offsets.

        The segment stays in use until `free` is called with its number. None when the pool's bounds are reached:
        the value has to travel another way.
        """
        offsets, total = layout([len(buffer) for buffer in buffers])
        with self._lock:
            segment = self._take(total)
            if segment is None:
                return None
            before = segment.touched
            try:
                segment.fill(buffers, offsets, total)
            except BaseException:
                self.free(segment.number)
                raise
            self._used_bytes += segment.touched - before
            return segment.number, offsets

    def reserve(self, total: int) -> tuple[int, int, int] | None:
        """Give a segment for a value that others write into it.

        That is its number, its descriptor, which stays the pool's, and how many bytes from its start have memory behind
        them already. As with `put` it stays in use until `free`, and there is none when the pool's bounds are reached.
        """
        with self._lock:
            segment = self._take(total)
            if segment is None:
                return None
            touched = segment.touched
            if total > touched:
                self._used_bytes += total - touched
                segment.touched = total
            return segment.number, segment.fd, touched

    def open(self, size: int) -> int | None:
        """Give the number of a segment for several values, in use from now on; None as for `put`."""
        with self._lock:
            segment = self._take(size)
            return None if segment is None else segment.number

    def add(self, number: int, start: int, buffers: Sequence[memoryview]) -> list[int]:
        """Copy the buffers of one more value into a segment in use, from `start` on, and give their offsets.

        There must be room for them: `layout` tells how much they need.

        Raises:
            KeyError: it is not in use.
        """
        offsets, total = layout([len(buffer) for buffer in buffers])
        offsets = [start + offset for offset in offsets]
        with self._lock:
            segment = self._used[number]
            before = segment.touched
            segment.fill(buffers, offsets, start + total)
            self._used_bytes += segment.touched - before
        return offsets

    def lend_file(self, fd: int, size: int, prepare: Callable[[int], object] = id) -> int:
        """Announce a file that nobody writes any more as a segment, after `prepare(number)`; gives its number."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            prepare(number)
            self._announce(number, fd, size)
            self._files.add(number)
            return number

    def has_idle(self, total: int) -> bool:
        """Tell whether a value of so many bytes would find a segment that needs not be made."""
        return bool(self._idle.get(self._class(total)))

    def look(self, number: int, offset: int, size: int) -> memoryview:
        """Give what a segment in use holds, to be read only; it must not be kept longer than the value is.

        Raises:
            KeyError: it is not in use.
        """
        with self._lock:
            return self._used[number].whole()[offset : offset + size].toreadonly()

    def free(self, number: int) -> None:
        """Take a segment back: every reader of its value has let go. Unknown numbers are ignored."""
        with self._lock:
            if number in self._files:
                self._files.discard(number)
                self._withdraw(number)
            segment = self._used.pop(number, None)
            if segment is None:
                return
            self._used_bytes -= segment.touched
            self._idle_bytes += segment.touched
            segment.idle_since = self._clock()
            self._idle.setdefault(segment.size, []).append(segment)
            if self._idle_bytes > self._idle_limit:
                self._trim_to(self._idle_limit)

    def trim(self, older_than_s: float) -> None:
        """Give up the segments that have been idle for longer than this."""
        with self._lock:
            limit = self._clock() - older_than_s
            for segment in [s for row in self._idle.values() for s in row if s.idle_since <= limit]:
                self._give_up(segment)

    def close(self) -> None:
        """Give up everything; readers keep what they have mapped."""
        with self._lock:
            for segment in [*self._used.values(), *(s for row in self._idle.values() for s in row)]:
                segment.close()
            self._used.clear()
            self._idle.clear()
            self._idle_bytes = self._used_bytes = 0

    @staticmethod
    def _class(total: int) -> int:
        return max(SMALLEST, 1 << (total - 1).bit_length())

    def _take(self, total: int) -> _Segment | None:
        size = self._class(total)
        row = self._idle.get(size)
        if row:
            segment = row.pop()
            self._idle_bytes -= segment.touched
        else:
            if total < ROOMY and len(self._used) >= self._count_limit:
                return None
            if self._used_bytes + self._idle_bytes + total > self._total_limit:
                self._trim_to(max(0, self._total_limit - self._used_bytes - total))
                if self._used_bytes + total > self._total_limit:
                    return None
            segment = self._make(size)
        self._used[segment.number] = segment
        self._used_bytes += segment.touched
        return segment

    def _make(self, size: int) -> _Segment:
        segment = _Segment(self._next, size)
        self._next += 1
        try:
            self._announce(segment.number, segment.fd, size)
        except BaseException:
            segment.close()
            raise
        return segment

    def _trim_to(self, limit: int) -> None:
        """Give up what has been idle for longest until at most `limit` bytes are."""
        for segment in sorted((s for row in self._idle.values() for s in row), key=lambda s: s.idle_since):
            if self._idle_bytes <= limit:
                return
            self._give_up(segment)

    def _give_up(self, segment: _Segment) -> None:
        self._idle[segment.size].remove(segment)
        self._idle_bytes -= segment.touched
        segment.close()
        self._withdraw(segment.number)


class _Mapped:
    """A segment that is mapped read-only, and how many leases on it live."""

    __slots__ = ("address", "dropped", "fd", "kind", "leases", "size")

    def __init__(self, fd: int, size: int, *, keeps: bool) -> None:
        address = _libc.mmap(None, size, _PROT_READ, _MAP_SHARED, fd, 0)
        if address is None or address == _FAILED:
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
        _libc.munmap(self.address, self.size)
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
        address = _libc.mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE, mapped.fd, low)
        if address is None or address == _FAILED:
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
        _libc.munmap(address, size)
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
