"""What this process has mapped of shared memory to move values: kept for the next value in the same memory.

To map, fault in and unmap costs about half of what moving the bytes does (measured), and memory is used over and over.
Law: no more than `MOST_BYTES` are mapped for longer than they are in use.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.workers.segments import Segments

WINDOW_BYTES = 4 << 20
"""What is mapped at a time (chosen: what one request asks for)."""
MOST_BYTES = 100 << 20
"""Chosen: one value of 100 MB, and a daemon that moves larger ones stays below 200 MB."""

_Key = tuple[int, int, bool]
"""Segment, where the window begins, whether it can be written."""


class Windows:
    """Windows onto segments, those that were used last."""

    def __init__(self, segments: Segments) -> None:
        self._kept: OrderedDict[_Key, memoryview] = OrderedDict()
        self._bytes = 0
        self._was_used = False
        segments.on_gone(self._gone)

    @property
    def bytes(self) -> int:
        """How much is mapped here."""
        return self._bytes

    def view(self, segment: int, fd: int, end: int, offset: int, size: int, *, writable: bool = False) -> memoryview:
        """Give a piece of a value that ends at `end` in its segment; the descriptor stays the caller's.

        Raises:
            OSError: it cannot be mapped.
        """
        start = offset - offset % WINDOW_BYTES
        if offset + size > start + WINDOW_BYTES:
            return piece(fd, offset, size, writable=writable)
        self._was_used = True
        key = segment, start, writable
        found = self._kept.get(key)
        if found is None or offset + size > start + len(found):
            found = self._keep(key, mapped(fd, start, min(WINDOW_BYTES, end - start), writable=writable))
        else:
            self._kept.move_to_end(key)
        return found[offset - start : offset - start + size]

    def _keep(self, key: _Key, window: memoryview) -> memoryview:
        self._drop(key)
        self._kept[key] = window
        self._bytes += len(window)
        while self._bytes > MOST_BYTES and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))
        return window

    def _drop(self, key: _Key) -> None:
        """Forget a window; it is unmapped when nobody uses it any more."""
        window = self._kept.pop(key, None)
        if window is not None:
            self._bytes -= len(window)

    def _gone(self, segment: int) -> None:
        if self._kept:
            for key in [key for key in self._kept if key[0] == segment]:
                self._drop(key)

    def trim(self) -> None:
        """Forget everything if nothing was used since the last time."""
        if not self._was_used:
            self._kept.clear()
            self._bytes = 0
        self._was_used = False


def piece(fd: int, offset: int, size: int, *, writable: bool = False) -> memoryview:
    """Map a range of a file for as long as the view lives, wherever it begins.

    Raises:
        OSError: it cannot be mapped.
    """
    low = offset - offset % mmap.ALLOCATIONGRANULARITY
    return mapped(fd, low, offset + size - low, writable=writable)[offset - low :]


def mapped(fd: int, start: int, size: int, *, writable: bool = False) -> memoryview:
    """Map a range of a file for as long as the view lives, its pages at once; `start` is that of a page.

    Raises:
        OSError: it cannot be mapped.
    """
    if not size:
        return memoryview(b"")
    rights = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    return memoryview(mmap.mmap(fd, size, mmap.MAP_SHARED | mmap.MAP_POPULATE, rights, offset=start))
