"""Where the bytes of objects go that are fetched: pooled shared memory, and files on the disk beyond a limit.

Law: what has arrived is a segment like any other; a file among them has no name, so nothing is left of it by a crash.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from agentd.api.memory.segments import SegmentPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agentd.daemon.data.windows import Windows
    from agentd.store.disk import Disk
    from agentd.wire.framing import Buffer
    from agentd.workers.segments import Segments

    Written = Callable[[OSError | None], None]

FREE_BYTES = 256 << 20
"""What is left of the disk for everybody else (chosen, as for uploads)."""
IDLE_S = 30.0
"""How long memory is kept for the next value."""

log = logging.getLogger("agentd")


class Place(Protocol):
    """Room for one object."""

    def room(self, offset: int, size: int) -> memoryview | None:
        """Give memory of the place to be read into, where that is faster than `write`."""
        ...

    def write(self, offset: int, pieces: Sequence[Buffer], written: Written) -> None:
        """Put pieces there; `written` is told when, at once or later, and of the error if there was one."""
        ...

    def finish(self) -> int:
        """All is written: give the segment that it lies in, which is held once."""
        ...

    def drop(self) -> None:
        """It is not wanted any more."""
        ...


class Arrivals:
    """Gives room for objects that come."""

    def __init__(self, segments: Segments, disk: Disk, folder: Path, memory_bytes: int, windows: Windows) -> None:
        """Begin with nothing.

        Args:
            segments: the register of this device.
            disk: where it is asked how much is free.
            folder: for files; on the disk of the state.
            memory_bytes: that all segments may have together before new values go to the disk.
            windows: what is mapped to be read into.
        """
        self._segments = segments
        self._disk = disk
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._numbers: dict[int, int] = {}
        """By number in the pool: the number in the register."""
        self._windows = windows
        self._pool = SegmentPool(self._announce, self._withdraw, idle_limit_bytes=memory_bytes // 4)
        self._writer = ThreadPoolExecutor(1, "agentd-spill")
        self.spilled_bytes = 0
        """On the disk now."""
        self.spilled_total = 0
        """Values that went to the disk since the start."""

    def close(self) -> None:
        """Give all memory back; what is mapped stays with whoever mapped it."""
        self._writer.shutdown(wait=True)
        self._pool.close()

    def trim(self) -> None:
        """Give back memory that nobody has used for a while."""
        self._pool.trim(IDLE_S)
        self._windows.trim()

    def make(self, size: int, *, on_disk: bool = False) -> Place:
        """Give room for an object; `on_disk`: it is a file, and memory is not wanted for it.

        Raises:
            OSError: there is none.
        """
        fits = not on_disk and self._segments.total_bytes + size <= self._memory_bytes
        if fits or (not on_disk and self._pool.has_idle(size)):
            reserved = self._pool.reserve(size)
            if reserved is not None:
                return _Memory(self, *reserved, size)
        return self._spill(size)

    # --- memory -----------------------------------------------------------------------------------------------

    def _announce(self, number: int, fd: int, size: int) -> None:
        self._numbers[number] = self._segments.adopt(fd, size, lambda _: self._pool.free(number))

    def _withdraw(self, number: int) -> None:
        self._segments.disown(self._numbers.pop(number))

    def finished(self, number: int) -> int:
        """Hold a segment of the pool once, and give its number in the register."""
        segment = self._numbers[number]
        self._segments.retain(segment)
        return segment

    def view(self, number: int, fd: int, offset: int, size: int, end: int) -> memoryview:
        """Give memory of a segment of the pool, to be written.

        Raises:
            OSError: it cannot be mapped.
        """
        return self._windows.view(self._numbers[number], fd, end, offset, size, writable=True)

    def unused(self, number: int) -> None:
        """Take a segment of the pool back."""
        self._pool.free(number)

    # --- disk -------------------------------------------------------------------------------------------------

    def _spill(self, size: int) -> Place:
        free = self._disk.free_bytes(self._folder)
        if free < size + FREE_BYTES:
            raise OSError(f"no room for {size} bytes: the disk of {self._folder} has {free} left")
        fd = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            os.close(fd)
            raise
        self.spilled_bytes += size
        self.spilled_total += 1
        log.info("a value of %d bytes goes to the disk: shared memory holds %d", size, self._segments.total_bytes)
        return _File(self, fd, size)

    def write_later(self, write: Callable[[], None], written: Written) -> None:
        """Write in the thread that may wait for the disk, in order; `written` is told on the loop."""
        future = asyncio.get_running_loop().run_in_executor(self._writer, write)

        def told(done: asyncio.Future[None]) -> None:
            error = None if done.cancelled() else done.exception()
            if error is not None and not isinstance(error, OSError):
                raise error
            written(error)

        future.add_done_callback(told)

    def registered(self, fd: int, size: int) -> int:
        """Make a segment of a file that is written, held once; the descriptor is not needed any more."""

        def free(segment: int) -> None:
            self.spilled_bytes -= size
            self._segments.disown(segment)

        segment = self._segments.adopt_own(fd, size, free)
        self._segments.retain(segment)
        return segment

    def unspilled(self, size: int) -> None:
        """A file was given up before it was whole."""
        self.spilled_bytes -= size


class _Memory:
    """Room in a segment of the pool, of which `touched` bytes have memory behind them."""

    def __init__(self, arrivals: Arrivals, number: int, fd: int, touched: int, size: int) -> None:
        self._arrivals = arrivals
        self._number = number
        self._fd = fd
        self._touched = touched
        self._size = size

    def room(self, offset: int, size: int) -> memoryview | None:
        if offset + size > self._touched:
            return None  # fresh pages are cheaper to make by writing the file (as `agentd.api.memory.segments` does)
        return self._arrivals.view(self._number, self._fd, offset, size, self._size)

    def write(self, offset: int, pieces: Sequence[Buffer], written: Written) -> None:
        try:
            write_at(self._fd, offset, pieces)
        except OSError as error:
            written(error)
        else:
            written(None)

    def finish(self) -> int:
        return self._arrivals.finished(self._number)

    def drop(self) -> None:
        self._arrivals.unused(self._number)


class _File:
    """Room in a file without a name."""

    def room(self, offset: int, size: int) -> memoryview | None:
        del offset, size
        return None  # the disk may make us wait

    def __init__(self, arrivals: Arrivals, fd: int, size: int) -> None:
        self._arrivals = arrivals
        self._fd = fd
        self._size = size
        self._writing = 0
        self._is_dropped = False

    def write(self, offset: int, pieces: Sequence[Buffer], written: Written) -> None:
        self._writing += 1

        def told(error: OSError | None) -> None:
            self._writing -= 1
            if self._is_dropped:
                self._close()
            else:
                written(error)

        self._arrivals.write_later(lambda: write_at(self._fd, offset, pieces), told)

    def finish(self) -> int:
        try:
            return self._arrivals.registered(self._fd, self._size)
        finally:
            os.close(self._fd)

    def drop(self) -> None:
        if not self._is_dropped:
            self._is_dropped = True
            self._arrivals.unspilled(self._size)
            self._close()

    def _close(self) -> None:
        if not self._writing:
            with suppress(OSError):
                os.close(self._fd)


def write_at(fd: int, offset: int, pieces: Sequence[Buffer]) -> None:
    """Write pieces, one after the other, all of them.

    Raises:
        OSError: the disk failed, or is full.
    """
    left = [memoryview(piece) for piece in pieces if len(piece)]
    while left:
        count = os.pwritev(fd, left[:512], offset)
        offset += count
        while count and left:
            if len(left[0]) > count:
                left[0] = left[0][count:]
                count = 0
            else:
                count -= len(left.pop(0))
