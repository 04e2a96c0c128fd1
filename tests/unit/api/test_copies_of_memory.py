"""Copies of large memory: whole, by however many threads, and over when they are over."""

from __future__ import annotations

import _thread
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.api.memory import copies
from agentd.api.memory.copies import LOCKED_BYTES, SHARED_BYTES, copy

if TYPE_CHECKING:
    from collections.abc import Callable

SOME = random.Random(7).randbytes(SHARED_BYTES + 3 * LOCKED_BYTES)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let this process have so many processors."""

    def have(count: int) -> None:
        monkeypatch.setattr(copies, "_cores", lambda: count)

    return have


@pytest.mark.parametrize("count", [1, 2, 3, 64])
@pytest.mark.parametrize("size", [0, 1, LOCKED_BYTES, LOCKED_BYTES + 1, SHARED_BYTES - 1, SHARED_BYTES, len(SOME) - 5])
def test_each_byte_arrives_and_none_beside(cores: Callable[[int], None], count: int, size: int) -> None:
    """Whatever the size and the number of processors, the target holds the source and its surroundings stay."""
    cores(count)
    room = bytearray(b"\xaa" * (size + 64))
    copy(memoryview(room)[32 : 32 + size], memoryview(SOME)[3 : 3 + size])
    assert room[:32] == room[-32:] == b"\xaa" * 32
    assert room[32:-32] == SOME[3 : 3 + size]


@given(size=st.integers(SHARED_BYTES, len(SOME) - 64), at=st.integers(0, 63), to=st.integers(0, 63))
def test_where_the_memory_begins_does_not_matter(size: int, at: int, to: int) -> None:
    """Sources and targets may begin and end anywhere within a page."""
    room = bytearray(size + 64)
    copy(memoryview(room)[to : to + size], memoryview(SOME)[at : at + size])
    assert room[to : to + size] == SOME[at : at + size]


def test_a_process_that_may_have_no_more_threads_copies_alone(
    cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be refused a thread costs time, not the copy."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    cores(4)
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    room = bytearray(len(SOME))
    copy(memoryview(room), memoryview(SOME))
    assert room == SOME


def test_an_interrupted_copy_is_over_when_it_raises(
    cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is interrupted finds that no thread still writes: the memory may be given to another value at once."""
    main, begun, may_go = _thread.get_ident(), _thread.allocate_lock(), _thread.allocate_lock()
    written: list[str] = []
    begun.acquire()
    may_go.acquire()

    def move(*_: object) -> None:
        if _thread.get_ident() == main:
            begun.acquire()  # another thread is in the middle of its piece
            may_go.release()
            raise KeyboardInterrupt
        begun.release()
        may_go.acquire()
        written.append("a piece")

    cores(2)
    monkeypatch.setattr(copies, "_move", move)
    with pytest.raises(KeyboardInterrupt):
        copy(memoryview(bytearray(len(SOME))), memoryview(SOME))
    assert written == ["a piece"]


@pytest.mark.parametrize("other", [len(SOME) - 1, len(SOME) + 1])
def test_another_size_is_refused(other: int) -> None:
    """Nothing is written beyond what was given, and nothing is left out unsaid."""
    with pytest.raises(ValueError, match="bytes cannot be copied"):
        copy(memoryview(bytearray(other)), memoryview(SOME))


def test_what_is_only_to_be_read_is_not_written() -> None:
    """Memory that says that it is only to be read stays as it is."""
    with pytest.raises(ValueError, match="only to be read"):
        copy(memoryview(bytes(len(SOME))), memoryview(SOME))
