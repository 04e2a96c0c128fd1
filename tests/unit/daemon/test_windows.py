"""Windows onto shared memory: the same memory is mapped once, and never more than a bound is kept."""

from __future__ import annotations

import os

import pytest

from agentd.daemon.data.windows import MOST_BYTES, WINDOW_BYTES, Windows, piece
from agentd.workers.segments import Segments

SIZE = 3 * MOST_BYTES


class Desk:
    """Segments of this process, and windows onto them."""

    def __init__(self) -> None:
        self.segments = Segments()
        self.windows = Windows(self.segments)
        self.owned: dict[int, int] = {}

    def segment(self, size: int = SIZE) -> int:
        """Make a segment of zeros, of which nothing takes memory."""
        descriptor = os.memfd_create("value", os.MFD_ALLOW_SEALING)
        os.truncate(descriptor, size)
        number = self.segments.adopt_own(descriptor, size, lambda _: None)
        self.owned[number] = descriptor
        return number

    def view(self, number: int, offset: int, size: int, end: int = SIZE) -> memoryview:
        return self.windows.view(number, self.owned[number], end, offset, size, writable=True)

    def close(self) -> None:
        for descriptor in self.owned.values():
            os.close(descriptor)
        self.segments.close()


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.close()


def test_the_same_memory_is_mapped_once(desk):
    """Pieces of one window are views of one mapping, and what is written there is in the segment."""
    number = desk.segment()
    first, second = desk.view(number, 10, 100), desk.view(number, WINDOW_BYTES - 5, 5)
    assert first.obj is second.obj
    first[:] = b"x" * 100
    assert os.pread(desk.owned[number], 100, 10) == b"x" * 100
    assert desk.windows.bytes == WINDOW_BYTES


def test_no_more_than_the_bound_is_kept(desk):
    """A value that is far larger goes through; the windows that were used last are those that stay."""
    number = desk.segment()
    for offset in range(0, SIZE // 2, WINDOW_BYTES):
        desk.view(number, offset, 1)
    assert MOST_BYTES - WINDOW_BYTES < desk.windows.bytes <= MOST_BYTES
    last = desk.view(number, offset, 1).obj
    assert desk.view(number, offset + 1, 1).obj is last


def test_a_piece_across_windows_is_given_and_not_kept(desk):
    """It is what is in the segment there, wherever it begins."""
    number = desk.segment()
    os.pwrite(desk.owned[number], b"across", WINDOW_BYTES - 3)
    assert bytes(desk.view(number, WINDOW_BYTES - 3, 6)) == b"across"
    assert bytes(piece(desk.owned[number], WINDOW_BYTES - 3, 6)) == b"across"
    assert desk.windows.bytes == 0


def test_no_memory_is_made_behind_the_end_of_a_value(desk):
    """A window ends with the value; a longer value in the same memory has a window of its own length."""
    number = desk.segment()
    desk.view(number, 0, 10, end=4_096)
    assert desk.windows.bytes == 4_096
    assert os.fstat(desk.owned[number]).st_blocks * 512 <= 4_096
    assert len(desk.view(number, 4_090, 100, end=8_192)) == 100
    assert desk.windows.bytes == 8_192


def test_windows_go_with_their_segment_or_with_time(desk):
    """What is not used between two looks is unmapped; views that are in use stay good."""
    number, other = desk.segment(), desk.segment()
    kept = desk.view(number, 0, 3)
    desk.view(other, 0, 3)
    desk.segments.disown(other)
    assert desk.windows.bytes == WINDOW_BYTES
    desk.windows.trim()
    assert desk.windows.bytes == WINDOW_BYTES
    desk.windows.trim()
    assert desk.windows.bytes == 0
    kept[:] = b"abc"
    assert os.pread(desk.owned[number], 3, 0) == b"abc"
