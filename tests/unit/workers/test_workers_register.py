"""The daemon's register of shared memory: holds are conserved, owners are told once, hostile memory is refused."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.workers.segments import Segments
from tests.fakes.descriptors import open_files

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 4096


@pytest.fixture
def memory() -> Iterator[int]:
    fd = make(SIZE)
    yield fd
    os.close(fd)


def make(size: int, seals: int = fcntl.F_SEAL_SHRINK) -> int:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


@given(st.lists(st.sampled_from(["retain", "release"]), max_size=50))
def test_the_owner_is_told_exactly_when_the_last_hold_is_released(steps: list[str]) -> None:
    """However holds come and go, the segment is free once for each time that they come down to none."""
    fd = make(SIZE)
    freed: list[int] = []
    segments = Segments()
    number = segments.adopt(fd, SIZE, freed.append)
    os.close(fd)
    holds, expected = 0, 0
    for step in steps:
        if step == "retain":
            holds += 1
            segments.retain(number)
        else:
            expected += holds == 1
            holds = max(0, holds - 1)
            segments.release(number)
        assert freed == [number] * expected
    segments.close()


def test_the_descriptor_cannot_write(memory: int) -> None:
    """Readers get the memory for reading, whatever the owner's descriptor can do."""
    segments = Segments()
    number = segments.adopt(memory, SIZE, lambda _: None)
    assert fcntl.fcntl(segments.fd(number), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    with pytest.raises(OSError, match="descriptor"):
        os.pwrite(segments.fd(number), b"x", 0)
    segments.close()


def test_an_orphan_lives_until_its_last_hold_and_watchers_are_told(memory: int) -> None:
    """Without an owner a segment ends when nobody needs it, at once if nobody does; numbers are never used again."""
    segments, gone = Segments(), list[int]()
    segments.on_gone(gone.append)
    first, second = (segments.adopt(memory, SIZE, lambda _: pytest.fail("no owner is left")) for _ in range(2))
    segments.retain(first)
    segments.disown(first)
    segments.disown(second)
    assert gone == [second]
    segments.release(first)
    assert gone == [second, first]
    segments.release(first)
    segments.disown(first)
    assert len(segments) == 0
    assert segments.adopt(memory, SIZE, lambda _: None) > second
    with pytest.raises(KeyError):
        segments.retain(first)
    segments.close()


@pytest.mark.parametrize(
    ("size", "seals", "claimed"),
    [
        (SIZE, 0, SIZE),
        (SIZE, fcntl.F_SEAL_GROW, SIZE),
        (SIZE, fcntl.F_SEAL_SHRINK, SIZE + 1),
        (SIZE, 4, 0),
        (SIZE, 4, -1),
    ],
)
def test_memory_that_could_be_cut_off_is_refused(size: int, seals: int, claimed: int) -> None:
    """A reader must never meet a missing page: unsealed, too small and impossible sizes are refused, and not kept."""
    fd = make(size, seals)
    before = open_files()
    segments = Segments()
    with pytest.raises(ValueError, match="segment"):
        segments.adopt(fd, claimed, lambda _: None)
    assert open_files() <= before
    os.close(fd)


def test_what_is_no_memory_is_refused() -> None:
    """A pipe is not shared memory."""
    ends = os.pipe()
    with pytest.raises(ValueError, match="no shared memory"):
        Segments().adopt(ends[0], SIZE, lambda _: None)
    for fd in ends:
        os.close(fd)


def test_a_file_is_taken_where_it_may_be_one(tmp_path: Path) -> None:
    """It counts as no memory, is told from memory, and lives as long as its holds: its owner's descriptor may go."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    segments = Segments()
    freed: list[int] = []
    with path.open("rb") as file:
        with pytest.raises(ValueError, match="cut off"):
            segments.adopt(file.fileno(), 7, freed.append)
        number = segments.adopt(file.fileno(), 7, freed.append, may_be_file=True)
    assert segments.is_file(number)
    assert segments.total_bytes == 0
    segments.retain(number)
    segments.disown(number)
    assert os.pread(segments.fd(number), 7, 0) == b"content"
    segments.release(number)
    assert (number in segments, freed, segments.total_bytes) == (False, [], 0)
