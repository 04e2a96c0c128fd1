"""A Unix connection on a loop: bytes and descriptors in order, nothing blocks, the end is told once."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest
import uvloop

from agentd.comm.carrying.unix import MAX_FDS, READ_BYTES, UnixConnection
from tests.fakes.descriptors import open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

RUNNERS = [asyncio.run, uvloop.run]


class End:
    """One end of a pair and what it was told."""

    def __init__(self, sock: socket.socket) -> None:
        self.chunks: list[tuple[bytes, list[int]]] = []
        self.reasons: list[str] = []
        self.changed = asyncio.Event()
        self.connection = UnixConnection(asyncio.get_running_loop(), sock, self._on_bytes, self._on_closed)

    def _on_bytes(self, data: bytes, fds: list[int]) -> None:
        self.chunks.append((data, fds))
        self.changed.set()

    def _on_closed(self, reason: str) -> None:
        self.reasons.append(reason)
        self.changed.set()

    @property
    def data(self) -> bytes:
        return b"".join(data for data, _ in self.chunks)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


def ends() -> tuple[End, End]:
    left, right = socket.socketpair()
    return End(left), End(right)


def both(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[Callable[..., None]], None]:
    """Run a test on the loop of the standard library and on the fast one."""

    @pytest.mark.parametrize("run", RUNNERS, ids=["asyncio", "uvloop"])
    def run_it(run: Callable[..., None]) -> None:
        run(test())

    run_it.__doc__ = test.__doc__
    return run_it


def name_of(fd: int) -> str:
    return os.read(fd, 100).decode()


def file_named(text: str) -> int:
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    os.write(fd, text.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@both
async def test_bytes_arrive_in_order_whatever_their_sizes() -> None:
    """Small and large writes, far beyond what the kernel holds, arrive whole, in order, in bounded reads."""
    left, right = ends()
    pieces = [bytes([n % 251]) * size for n, size in enumerate([1, 100, 70_000, 0, 3, 2_000_000, 5, 300_000] * 5)]
    for piece in pieces:
        left.connection.write(piece)
    left.connection.flush()
    assert left.connection.pending_bytes > 0
    await right.until(lambda: len(right.data) == sum(map(len, pieces)))
    assert right.data == b"".join(pieces)
    assert max(len(data) for data, _ in right.chunks) <= READ_BYTES
    assert left.connection.pending_bytes == 0
    left.connection.close()
    right.connection.close()


@both
async def test_descriptors_come_in_order_and_not_after_their_data() -> None:
    """Whoever claims descriptors in order, each where its own first byte is, always finds the right one."""
    left, right = ends()
    for n in range(50):
        left.connection.write(b"a" * (n * 5000))
        fd = file_named(str(n))
        left.connection.write(b"F" + b"b" * (n * 3000), [fd])
        os.close(fd)
        left.connection.write(b"c" * n)
    left.connection.flush()
    total = sum(n * 5000 + 1 + n * 3000 + n for n in range(50))
    await right.until(lambda: len(right.data) == total)
    seen, due = [], 0
    for data, fds in right.chunks:
        for fd in fds:
            assert not os.get_inheritable(fd)
            seen.append(name_of(fd))
            os.close(fd)
        due += data.count(b"F")
        assert len(seen) >= due
    assert seen == [str(n) for n in range(50)]
    assert right.data.count(b"F") == 50
    left.connection.close()
    right.connection.close()


@both
async def test_what_a_peer_sent_before_it_died_is_read_before_the_end_is_told() -> None:
    """Also when writing to it fails first: the end comes once, after the last byte."""
    left, right = ends()
    left.connection.write(b"last words")
    left.connection.flush()
    left.connection.close()
    for _ in range(3):
        right.connection.write(b"x" * 1000)
        right.connection.flush()
    await right.until(lambda: bool(right.reasons))
    await asyncio.sleep(0)
    assert right.data == b"last words"
    assert len(right.reasons) == 1
    assert left.reasons == ["closed here"]
    right.connection.write(b"nobody is there")
    right.connection.flush()
    right.connection.close()
    assert len(right.reasons) == 1
    assert right.connection.pending_bytes == 0


@both
async def test_a_paused_reader_holds_its_writer_back() -> None:
    """While reading is paused the writer's bytes wait with it; resumed, all of them come."""
    left, right = ends()
    right.connection.pause_reading()
    left.connection.write(b"x" * 5_000_000)
    left.connection.flush()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not right.chunks
    assert left.connection.pending_bytes > 3_000_000
    right.connection.resume_reading()
    await right.until(lambda: len(right.data) == 5_000_000)
    left.connection.close()
    right.connection.close()


@both
async def test_a_reader_may_close_from_within_what_it_is_told() -> None:
    """Closing while bytes are being handed over reads no more of them and raises nothing."""
    left, right = ends()
    right.connection._on_bytes = lambda data, fds: right.connection.close("enough")
    left.connection.write(b"x" * 1_000_000)
    left.connection.flush()
    await right.until(lambda: bool(right.reasons))
    right.connection.drain()
    assert right.reasons == ["enough"]
    await left.until(lambda: bool(left.reasons))


@both
async def test_unsent_descriptors_are_closed_with_the_connection() -> None:
    """Whatever waits when the end comes leaves no descriptor open, nor does what a peer sent and nobody read."""
    before = open_files()
    left, right = ends()
    right.connection.pause_reading()
    left.connection.write(b"x" * 5_000_000)
    for _ in range(10):
        fd = file_named("lost")
        left.connection.write(b"F", [fd])
        os.close(fd)
    left.connection.flush()
    left.connection.close()
    right.connection.close()
    assert open_files() <= before


@both
async def test_descriptors_need_a_byte_and_have_a_limit() -> None:
    """What the kernel would refuse is refused where it is written."""
    left, right = ends()
    with pytest.raises(ValueError, match="at least one byte"):
        left.connection.write(b"", [0])
    with pytest.raises(ValueError, match=f"at most {MAX_FDS}"):
        left.connection.write(b"x", [0] * (MAX_FDS + 1))
    left.connection.write(b"x", [0] * MAX_FDS)
    left.connection.flush()
    await right.until(lambda: bool(right.chunks))
    assert len(right.chunks[0][1]) == MAX_FDS
    for fd in right.chunks[0][1]:
        os.close(fd)
    left.connection.close()
    right.connection.close()


@both
async def test_a_hostile_half_close_ends_the_connection() -> None:
    """A peer that stops reading but never closes is given up at the first write that fails."""
    left, raw = socket.socketpair()
    end = End(left)
    raw.shutdown(socket.SHUT_RD)
    end.connection.write(b"x")
    end.connection.flush()
    await end.until(lambda: bool(end.reasons))
    assert len(end.reasons) == 1
    raw.close()


@both
async def test_foreign_control_messages_are_no_descriptors() -> None:
    """Descriptors that come in several messages stay with their own bytes; ones sent by hand are understood."""
    left, raw = socket.socketpair()
    end = End(left)
    for n in range(3):
        fd = file_named(str(n))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        raw.sendmsg([b"abc"], rights)
        os.close(fd)
    await end.until(lambda: len(end.data) == 9)
    assert [name_of(fd) for _, fds in end.chunks for fd in fds] == ["0", "1", "2"]
    for _, fds in end.chunks:
        for fd in fds:
            os.close(fd)
    raw.close()
    end.connection.close()
