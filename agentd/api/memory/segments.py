"""Shared memory for large values, the side of who writes them: segments are pooled, and kept mapped.

Standard library only: loaded by the client library and, by path, by workers.

A fresh segment per value is slower than a socket, because each of its pages is faulted in by both sides; a segment
that is kept, faulted in and mapped by both sides is as fast as memory (measured: 1.2 against 10 GB/s).

Law: a segment holds one value, or several that were put behind each other, and what was written is written over only
after every reader of every value in it has let go.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from .copies import copy

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
_MADV_POPULATE_WRITE = 23
"""madvise(2): map the pages that are there, to be written, by one call (measured: 8 against 34 ms
for 100 MB)."""
_PUT_BYTES = 64 * 1024 * 1024
"""Largest single pwrite."""


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
            copy(view[offset : offset + len(buffer)], buffer)

    def _put(self, buffer: memoryview, offset: int) -> None:
        position = 0
        while position < len(buffer):
            position += os.pwrite(self._fd, buffer[position : position + _PUT_BYTES], offset + position)

    def whole(self) -> memoryview:
        """Give all of it."""
        return self.view or self._map()

    def _map(self) -> memoryview:
        self._mapping = mmap.mmap(self._fd, self.size)
        with suppress(OSError, ValueError):  # Linux before 5.14: each page is faulted in when it is written
            self._mapping.madvise(_MADV_POPULATE_WRITE, 0, -(-self.touched // mmap.PAGESIZE) * mmap.PAGESIZE)
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
