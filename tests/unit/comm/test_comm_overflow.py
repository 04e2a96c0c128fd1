"""Frames for an end that does not keep up: on the disk above a limit, in order, whole, and gone when they are read."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.comm.carrying.outbox import Outbox
from agentd.comm.carrying.overflow import FILE_BYTES, Overflow
from tests.fakes.descriptors import open_files

MIB = 1 << 20


def drained(outbox: Outbox, most: int = 1_000) -> bytes:
    out = b""
    while outbox.pending_bytes:
        pieces, _ = outbox.take(most)
        out += b"".join(pieces)
    return out


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=60), st.integers(0, 80)), max_size=40), st.integers(0, 120))
def test_a_stream_is_the_same_with_a_limit_and_without(steps: list[tuple[bytes, int]], most: int) -> None:
    """However frames come and go, what is read is what was put, in its order; nothing is counted that is not there."""
    outbox, given_bytes, out = Outbox(most), b"", b""
    for frame, room in steps:
        outbox.put([frame[:3], frame[3:]])
        given_bytes += frame
        assert outbox.held_bytes <= max(most, 0) + 60 + 60
        if room and outbox.pending_bytes:
            pieces, _ = outbox.take(room)
            out += b"".join(pieces)
        assert outbox.pending_bytes == len(given_bytes) - len(out)
    assert out + drained(outbox) == given_bytes
    assert (outbox.pending_bytes, outbox.held_bytes) == (0, 0)


def test_urgent_frames_pass_what_waits_on_the_disk() -> None:
    """A heartbeat waits for no file; descriptors stay with their frame."""
    outbox = Outbox(10)
    outbox.put([b"a" * 10])
    outbox.put([b"b" * 10], fds=(7,))
    outbox.put([b"c" * 10])
    outbox.put([b"beat"], urgent=True)
    assert outbox.held_bytes == 14
    assert outbox.take(14) == ([b"beat", b"a" * 10], ())
    assert outbox.take(100) == ([b"b" * 10], (7,))
    assert outbox.take(100) == ([b"c" * 10], ())


def test_memory_stays_at_the_limit(tmp_path: Path) -> None:
    """Of a hundred megabytes that nobody reads four are kept in memory; the files have no names, and go when read."""
    outbox = Outbox(4 * MIB, tmp_path)
    before = open_files()
    tracemalloc.start()
    begin = tracemalloc.get_traced_memory()[0]
    for number in range(100):
        outbox.put([bytes([number]) * MIB])
    held = tracemalloc.get_traced_memory()[0] - begin
    tracemalloc.stop()
    assert held < 6 * MIB
    assert list(tmp_path.iterdir()) == []
    assert len(open_files() - before) == -(-96 * MIB // FILE_BYTES)
    for number in range(100):
        pieces, _ = outbox.take(MIB)
        assert b"".join(pieces) == bytes([number]) * MIB
    assert open_files() <= before


def test_what_is_thrown_away_leaves_nothing(tmp_path: Path) -> None:
    """The files are closed with the connection, and its last words are still said."""
    outbox = Outbox(10, tmp_path)
    before = open_files()
    for _ in range(5):
        outbox.put([b"x" * 10])
    outbox.discard()
    outbox.put([b"bye"])
    assert drained(outbox) == b"bye"
    assert open_files() <= before


@pytest.mark.parametrize("fails", ["pwritev", "pread"])
def test_a_disk_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """A frame that is lost ends the stream there: nothing behind it is sent as if it had not been."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    outbox = Outbox(10)
    outbox.put([b"a" * 10])
    if fails == "pread":
        outbox.put([b"b" * 10])
    monkeypatch.setattr(os, fails, full)
    outbox.put([b"b" * 10])
    out = drained(outbox)
    assert out == b"a" * 10
    assert "No space left on device" in outbox.fault
    outbox.put([b"c"])
    assert outbox.pending_bytes == 0
    outbox.discard()


def test_a_frame_that_was_half_written_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk took a part and then no more, the next frame is whole again."""
    overflow, write = Overflow(), os.pwritev
    overflow.put([b"first"], ())
    answers: list[Callable[..., int]] = [lambda fd, pieces, at: write(fd, [bytes(pieces[0])[:2]], at)]

    def partly(fd: int, pieces: list[memoryview], at: int) -> int:
        if answers:
            return answers.pop()(fd, pieces, at)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwritev", partly)
    with pytest.raises(OSError, match="full"):
        overflow.put([b"second"], ())
    monkeypatch.setattr(os, "pwritev", write)
    overflow.put([b"third"], ())
    assert [overflow.take()[0], overflow.take()[0]] == [[b"first"], [b"third"]]
    assert (len(overflow), overflow.bytes) == (0, 0)
