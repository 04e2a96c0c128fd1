"""Pools and maps of shared memory: reuse only after release, views that outlive everything but their reader."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.api.memory.file_copies import copy_range
from agentd.api.memory.segment_map import SegmentMap
from agentd.api.memory.segments import ALIGNMENT, ROOMY, SMALLEST, SegmentPool, layout
from tests.fakes.descriptors import open_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("small_heap")


class Desk:
    """An owner and a reader side by side, as if a daemon stood between them."""

    def __init__(self, **limits: int) -> None:
        self.released: list[int] = []
        self.withdrawn: list[int] = []
        self.sizes: dict[int, int] = {}
        self.now = 0.0
        self.map = SegmentMap(self.released.append)
        self.pool = SegmentPool(self._announce, self._withdraw, clock=lambda: self.now, **limits)

    def close(self) -> None:
        self.pool.close()
        self.map.close()

    def _announce(self, number: int, fd: int, size: int) -> None:
        self.sizes[number] = size
        read_only = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        self.map.add(number, read_only, size)
        os.close(read_only)

    def _withdraw(self, number: int) -> None:
        self.withdrawn.append(number)
        self.map.drop(number)

    def put(self, *values: bytes) -> tuple[int, list[memoryview]]:
        placed = self.pool.put([memoryview(value) for value in values])
        assert placed is not None
        number, offsets = placed
        return number, self.map.lend(number, [(o, len(v)) for o, v in zip(offsets, values, strict=True)])

    def settle(self) -> None:
        """Carry the releases to the owner."""
        gc.collect()
        while self.released:
            self.pool.free(self.released.pop())


@pytest.fixture
def desk() -> Iterator[Desk]:
    it = Desk()
    yield it
    it.close()


def test_a_segment_is_written_again_only_after_its_last_view_is_gone(desk: Desk) -> None:
    """Slices, casts and arrays of a view keep the value as it was; when the last is gone the segment is reused."""
    number, (view,) = desk.put(b"a" * 1000)
    array = np.frombuffer(view, dtype=np.uint8)[10:20]
    piece = memoryview(view)[5:6].cast("c")
    del view
    desk.settle()
    other, (second,) = desk.put(b"b" * 1000)
    assert other != number
    del piece
    desk.settle()
    assert array.tobytes() == b"a" * 10
    del array
    desk.settle()
    again, (third,) = desk.put(b"c" * 1000)
    assert again == number
    assert (second.tobytes(), third.tobytes()) == (b"b" * 1000, b"c" * 1000)


def test_what_arrives_cannot_be_written(desk: Desk) -> None:
    """Views are read-only, and so are arrays made of them."""
    _, (view,) = desk.put(b"abc")
    assert view.readonly
    assert not np.frombuffer(view, dtype=np.uint8).flags.writeable
    with pytest.raises(TypeError):
        view[0] = 1


def test_each_lease_is_released_once(desk: Desk) -> None:
    """Two tasks that read one value release it twice, each when its own views are gone."""
    number, first = desk.put(b"abc")
    second = desk.map.lend(number, [(0, 1), (1, 2)])
    assert desk.map.lent == 2
    first.clear()
    assert desk.released == [number]
    second.pop()
    assert desk.released == [number]
    second.pop()
    assert desk.released == [number, number]
    assert desk.map.lent == 0


def test_a_dropped_segment_is_unmapped_after_its_last_lease(desk: Desk) -> None:
    """What a reader still holds stays readable after the owner gave the segment up."""
    gc.collect()
    before = _mapped()
    number, (view,) = desk.put(b"abc" * 100_000)
    desk.map.drop(number)
    assert bytes(view[:3]) == b"abc"
    assert _mapped() == before + 1
    with pytest.raises(KeyError):
        desk.map.lend(number, [(0, 1)])
    del view
    desk.close()
    assert _mapped() == before


def _mapped() -> int:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return sum("agentd-segment" in line for line in maps)


@pytest.mark.parametrize("span", [(-1, 1), (0, SMALLEST + 1), (SMALLEST, 1), (0, -1)])
def test_a_value_outside_of_its_segment_is_refused(desk: Desk, span: tuple[int, int]) -> None:
    """A hostile offset never becomes a view, and takes no lease."""
    number, views = desk.put(b"abc")
    with pytest.raises(ValueError, match="outside"):
        desk.map.lend(number, [span])
    assert desk.map.lent == len(views)


def test_idle_memory_is_bounded_and_the_oldest_goes_first() -> None:
    """Above the bound what was idle for longest is given up, and readers are told."""
    desk = Desk(idle_limit_bytes=3 * SMALLEST)
    numbers = []
    for _ in range(5):
        number, _views = desk.put(bytes(SMALLEST))
        numbers.append((number, _views))
    for n, (number, views) in enumerate(numbers):
        desk.now = float(n)
        views.clear()
        del views
        desk.pool.free(number)
    assert desk.withdrawn == [numbers[0][0], numbers[1][0]]
    assert desk.pool.idle_bytes == 3 * SMALLEST
    desk.now = 10.0
    desk.pool.trim(older_than_s=7.0)
    assert desk.withdrawn[2:] == [numbers[2][0], numbers[3][0]]
    desk.close()


def test_bounds_send_values_another_way_but_large_ones_only_at_the_end() -> None:
    """Above the count small values get no segment and large ones do; above the total nothing does."""
    desk = Desk(count_limit=1, total_limit_bytes=3 * ROOMY)
    assert desk.pool.put([memoryview(bytes(10))])
    assert desk.pool.put([memoryview(bytes(10))]) is None
    assert desk.pool.put([memoryview(bytes(ROOMY))])
    assert desk.pool.put([memoryview(bytes(2 * ROOMY))]) is None
    assert desk.pool.used == 2
    desk.close()


def test_a_segment_that_cannot_be_announced_is_not_kept() -> None:
    """When the reader cannot be told, the descriptor is closed and the pool is as before."""
    before = open_files()

    def announce(number: int, fd: int, size: int) -> None:
        raise OSError("gone")

    pool = SegmentPool(announce, lambda number: None)
    with pytest.raises(OSError, match="gone"):
        pool.put([memoryview(b"abc")])
    assert pool.used == 0
    assert open_files() <= before


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_buffers_lie_aligned_and_apart(sizes: list[int]) -> None:
    """Offsets are aligned, in order, and no buffer reaches into the next."""
    offsets, total = layout(sizes)
    for offset, size, following in zip(offsets, sizes, [*offsets[1:], total], strict=True):
        assert offset % ALIGNMENT == 0
        assert offset + size <= following


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 600_000)), max_size=12))
def test_any_history_of_values_reads_back_what_was_written(steps: list[tuple[int, int]]) -> None:
    """However values are written, held and let go, each reader sees its own value until it lets go."""
    desk = Desk(idle_limit_bytes=1_000_000)
    held: dict[int, tuple[bytes, list[memoryview]]] = {}
    for n, (slot, size) in enumerate(steps):
        held.pop(slot, None)
        desk.settle()
        value = bytes([n]) * size
        held[slot] = (value, desk.put(value)[1])
        assert all(views[0] == expected for expected, views in held.values())
    held.clear()
    desk.settle()
    assert desk.pool.used == 0
    assert desk.pool.idle_bytes <= 1_000_000
    desk.close()


def test_views_may_be_dropped_on_another_thread(desk: Desk) -> None:
    """A client library lets go wherever its user does."""
    held = [desk.put(b"abc")[1] for _ in range(20)]
    threads = [threading.Thread(target=held.pop) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(desk.released) == list(range(1, 21))


@pytest.mark.parametrize("is_memory", [False, True])
def test_a_range_is_copied_by_the_kernel(tmp_path: Path, is_memory: bool) -> None:
    """From a file or from memory, to where the other file stands; a source that ends too early is told."""
    source = os.memfd_create("test") if is_memory else os.open(tmp_path / "source", os.O_RDWR | os.O_CREAT)
    os.write(source, bytes(range(100)))
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    os.write(target, b"before")
    copy_range(source, 10, 50, target)
    assert os.pread(target, 100, 0) == b"before" + bytes(range(10, 60))
    with pytest.raises(OSError, match="too early"):
        copy_range(source, 90, 20, target)
    os.close(source)
    os.close(target)


def test_a_file_that_is_lent_is_given_up_when_it_is_freed() -> None:
    """It is announced once under a number of its own, and not kept for the next value."""
    told: list[tuple[int, int, int]] = []
    withdrawn: list[int] = []
    pool = SegmentPool(lambda *row: told.append(row), withdrawn.append)
    first = pool.put([memoryview(bytes(10))])
    assert first is not None
    number = pool.lend_file(5, 77)
    assert told[-1] == (number, 5, 77)
    assert number != first[0]
    pool.free(number)
    pool.free(number)
    assert withdrawn == [number]
    pool.close()
