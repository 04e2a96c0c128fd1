"""Objects on their way: chunks are read straight to their place, and to no place that is not theirs any more."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from agentd.core.commands import AbandonFetch, FetchObject
from agentd.core.events import Event, FetchFailed, ObjectFetched
from agentd.daemon.data import transfers
from agentd.daemon.data.arrivals import Arrivals
from agentd.daemon.data.transfers import Transfers
from agentd.daemon.data.windows import WINDOW_BYTES, Windows
from agentd.model.values import Remote
from agentd.store.disk import LocalDisk
from agentd.wire.checksum import checksum
from agentd.wire.messages import DataChunk, DataRequest
from agentd.workers.segments import Segments

SIZE = 3 << 20
REMOTE = Remote("home", "boot", 5, SIZE, ("home",))


class Session:
    """Counts how often what is coming was sent elsewhere."""

    def __init__(self) -> None:
        self.diverted = 0

    def divert(self) -> None:
        self.diverted += 1


class Link:
    """A link that keeps what is said on it."""

    number = 1

    def __init__(self) -> None:
        self.needs_hash = True
        self.is_held = False
        self.looked = asyncio.Event()
        self.session = Session()
        self.said: list[Any] = []

    def flush(self) -> None:
        """Do nothing."""

    @property
    def is_paused(self) -> bool:
        """Tell, and note that somebody asks."""
        self.looked.set()
        return self.is_held

    async def next_look(self) -> None:
        """Wait until somebody has asked, once more."""
        for _ in range(2):  # one may be under way
            self.looked.clear()
            async with asyncio.timeout(60):
                await self.looked.wait()


class Desk:
    """Transfers over one link, with real memory; the door and the engine are this test."""

    def __init__(self, folder: Path, memory_bytes: int = 1 << 40) -> None:
        self.link = Link()
        self.now_s = 0.0
        self.segments = Segments()
        self.arrivals = Arrivals(self.segments, LocalDisk(), folder, memory_bytes, Windows(self.segments))
        self.events: list[Event] = []
        self.routes: dict[type, Callable[[Any, Any], None]] = {}
        self.room: Callable[[Any, DataChunk, int], memoryview | None] = lambda *_: None
        self.transfers = Transfers(
            self,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            self.arrivals,
            self.events.append,
            lambda *_: None,
            lambda: self.now_s,
        )

    # --- as a door ----------------------------------------------------------------------------------------------

    def route(self, kind: type, taker: Callable[[Any, Any], None]) -> None:
        self.routes[kind] = taker

    def land(self, land: Callable[[Any, DataChunk, int], memoryview | None]) -> None:
        self.room = land

    def link_to(self, _: str) -> Link:
        return self.link

    def send(self, link: Link, message: DataRequest) -> None:
        link.said.append(message)

    # --- as the neighbour ---------------------------------------------------------------------------------------

    def fetch(self) -> int:
        """Ask for the object and give the stream on which it is to come."""
        self.transfers.fetch(FetchObject(REMOTE, "far"))
        return int(self.link.said[-1].stream)

    def give(self, stream: int, data: bytes, offset: int = 0, tag: bytes | None = None) -> bool:
        """Send a chunk as a link does; tell whether it was read straight to its place."""
        head = DataChunk(5, offset, SIZE, checksum((data,)) if tag is None else tag, "", memoryview(b""), stream)
        room = self.room(self.link, head, len(data))
        if room is not None:
            room[:] = data
        view = memoryview(data) if room is None else room
        self.routes[DataChunk](self.link, DataChunk(5, offset, SIZE, head.hash, "", view, stream))
        return room is not None

    def content(self, segment: int) -> bytes:
        """Read what a segment holds."""
        return os.pread(self.segments.fd(segment), SIZE, 0)


def on_loop(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Run a test on a loop, which transfers need for their timers."""

    @wraps(test)
    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    return run


@contextmanager
def desk(folder: Path, **options: int) -> Iterator[Desk]:
    """Give a desk that is cleared in the end."""
    made = Desk(folder, **options)
    try:
        yield made
    finally:
        made.transfers.close()


def arrived(rig: Desk, data: bytes) -> int:
    """Let the object come in one chunk, and give its segment."""
    rig.give(rig.fetch(), data)
    (event,) = [each for each in rig.events if isinstance(each, ObjectFetched)]
    rig.events.clear()
    return event.segment


@on_loop
async def test_memory_that_is_used_again_is_read_to_directly(tmp_path: Path) -> None:
    """Fresh memory is written to, which is cheaper; the next value in it is read straight there, and is that value."""
    with desk(tmp_path) as rig:
        rig.segments.release(arrived(rig, b"a" * SIZE))
        stream = rig.fetch()
        pieces = [(b"b" * 1_000_000, 0), (b"c" * (SIZE - 1_000_000), 1_000_000)]
        assert [rig.give(stream, data, offset) for data, offset in pieces] == [True, True]
        (event,) = rig.events
        assert isinstance(event, ObjectFetched)
        assert rig.content(event.segment) == b"".join(data for data, _ in pieces)


@on_loop
async def test_what_is_given_up_while_it_comes_goes_elsewhere(tmp_path: Path) -> None:
    """The place of an abandoned object may be the next value's at once: its chunk is diverted, and only then."""
    with desk(tmp_path) as rig:
        rig.segments.release(arrived(rig, b"a" * SIZE))
        stream = rig.fetch()
        head = DataChunk(5, 0, SIZE, b"", "", memoryview(b""), stream)
        assert rig.room(rig.link, head, SIZE) is not None
        rig.transfers.abandon(AbandonFetch(REMOTE.key))
        assert rig.link.session.diverted == 1
        again = rig.fetch()
        assert rig.room(rig.link, head, SIZE) is None
        rig.transfers.abandon(AbandonFetch(REMOTE.key))
        assert (rig.link.session.diverted, again != stream) == (1, True)


@on_loop
async def test_a_damaged_chunk_is_not_taken_although_it_is_in_its_place(tmp_path: Path) -> None:
    """Its bytes are there already, but count as not come: the neighbour has failed, and they are asked for anew."""
    with desk(tmp_path) as rig:
        rig.segments.release(arrived(rig, b"a" * SIZE))
        assert rig.give(rig.fetch(), b"b" * SIZE, tag=b"wrong")
        (event,) = rig.events
        assert isinstance(event, FetchFailed)
        assert "damaged" in event.reason
        assert rig.transfers.progress(REMOTE.key) == (0, SIZE, "far")
        rig.events.clear()
        segment = arrived(rig, b"c" * SIZE)
        assert rig.content(segment) == b"c" * SIZE


@on_loop
async def test_a_chunk_without_a_hash_is_taken_only_where_none_is_needed(tmp_path: Path) -> None:
    """Over a link on which bytes may change unseen it counts as damaged; a wrong hash is wrong on every link."""
    with desk(tmp_path) as rig:
        rig.give(rig.fetch(), b"b" * SIZE, tag=b"")
        rig.link.needs_hash = False
        rig.give(rig.fetch(), b"b" * SIZE, tag=b"wrong")
        reasons = [event.reason for event in rig.events if isinstance(event, FetchFailed)]
        assert ["damaged" in reason for reason in reasons] == [True, True]
        rig.give(rig.fetch(), b"c" * SIZE, tag=b"")
        arrived_ = rig.events[-1]
        assert isinstance(arrived_, ObjectFetched)
        assert rig.content(arrived_.segment) == b"c" * SIZE


@on_loop
async def test_no_room_is_given_for_what_was_not_asked_for(tmp_path: Path) -> None:
    """Another stream, another place, another size, more than was asked for: none of it is read to anywhere."""
    with desk(tmp_path) as rig:
        rig.segments.release(arrived(rig, b"a" * SIZE))
        stream = rig.fetch()
        nothing = memoryview(b"")
        for wrong, size in (
            (DataChunk(5, 0, SIZE, b"", "", nothing, stream + 1), SIZE),
            (DataChunk(5, 4_096, SIZE, b"", "", nothing, stream), 4_096),
            (DataChunk(5, 0, SIZE + 1, b"", "", nothing, stream), SIZE),
            (DataChunk(5, 0, SIZE, b"", "", nothing, stream), SIZE + 1),
            (DataChunk(5, 0, SIZE, b"", "no", nothing, stream), SIZE),
        ):
            assert rig.room(rig.link, wrong, size) is None
        assert rig.give(stream, b"b" * SIZE)


@on_loop
async def test_a_long_value_is_mapped_in_windows(tmp_path: Path) -> None:
    """No more than a window is mapped at a time, whatever the value's size, and chunks may lie anywhere."""
    size = 3 * WINDOW_BYTES
    with desk(tmp_path) as rig:
        place = rig.arrivals.make(size)
        assert place.room(0, 4_096) is None
        segment = place.finish()
        rig.segments.release(segment)
        place = rig.arrivals.make(size)
        for offset, length in ((0, 70_000), (70_000, WINDOW_BYTES), (size - 5, 5)):
            room = place.room(offset, length)
            assert room is not None
            assert len(room.obj) <= WINDOW_BYTES + mmap.ALLOCATIONGRANULARITY
            room[:] = b"z" * length
        assert os.pread(rig.segments.fd(place.finish()), length, offset) == b"z" * length


@on_loop
async def test_what_goes_to_the_disk_is_not_read_to_directly(tmp_path: Path) -> None:
    """A page of a file may make us wait for the disk, which the thread for that does."""
    with desk(tmp_path, memory_bytes=0) as rig:
        assert rig.arrivals.make(SIZE).room(0, SIZE) is None


@on_loop
async def test_who_gives_nothing_of_use_is_taken_not_to_have_it(tmp_path: Path) -> None:
    """One fault is tried again, as what was sound is kept; who has sent rubbish often in a row is asked no more."""
    with desk(tmp_path) as rig:
        for sound in range(2):
            for _ in range(transfers.FAULTS_MOST - 1):
                rig.give(rig.fetch(), bytes(1 << 20), sound << 20, tag=bytes(16))
            rig.give(rig.fetch(), bytes(1 << 20), sound << 20)
        assert not any(event.is_gone for event in rig.events if isinstance(event, FetchFailed))
        for _ in range(transfers.FAULTS_MOST):
            rig.give(rig.fetch(), bytes(1 << 20), 0)  # not what was asked for
        failures = [event for event in rig.events if isinstance(event, FetchFailed)]
        assert [event.is_gone for event in failures[-2:]] == [False, True]
        assert "was not asked for" in failures[-1].reason


class Program:
    """Who waits for an object of a program."""

    def __init__(self) -> None:
        self.segment = 0
        self.why = ""
        self.told = asyncio.Event()

    def arrived(self, segment: int) -> None:
        self.segment = segment
        self.told.set()

    def failed(self, why: str, *, is_damaged: bool, is_no_room: bool) -> None:
        assert not is_no_room
        self.why = f"{why}{', damaged' if is_damaged else ''}"
        self.told.set()


def pulled(rig: Desk) -> tuple[Program, int]:
    """Have an object of a program fetched; gives who waits for it, and the stream."""
    program = Program()
    rig.transfers.pull(("", "1", 9), rig.link, Remote("", "", 5, SIZE), program)  # type: ignore[arg-type]
    request = rig.link.said[-1]
    assert (request.object, request.home, request.boot) == (5, "", "")
    return program, request.stream


@on_loop
async def test_an_object_of_a_program_is_told_to_who_waits_for_it(tmp_path: Path) -> None:
    """Not to the engine; what was damaged is asked for again from where it was sound."""
    with desk(tmp_path) as rig:
        program, stream = pulled(rig)
        data = os.urandom(SIZE)
        rig.give(stream, data[: 1 << 20])
        rig.give(stream, data[1 << 20 : 2 << 20], 1 << 20, b"?")
        assert "damaged" in program.why
        rig.transfers.again(("", "1", 9), rig.link)  # type: ignore[arg-type]
        again = rig.link.said[-1]
        assert again.offset == 1 << 20
        rig.give(again.stream, data[1 << 20 :], 1 << 20)
        assert rig.content(program.segment) == data
        assert rig.events == []


@on_loop
async def test_a_program_that_gives_nothing_is_given_up(tmp_path: Path) -> None:
    """After its own time, which is longer than a neighbour's; none passes while it is this agent that does not read."""
    with desk(tmp_path) as rig, pytest.MonkeyPatch.context() as patched:
        patched.setattr(transfers, "STALLED_S", 0.003)  # between two looks
        program, _ = pulled(rig)
        rig.link.is_held = True
        rig.now_s = 2 * transfers.PROGRAM_STALLED_S
        await rig.link.next_look()
        rig.link.is_held = False
        rig.now_s += transfers.PROGRAM_STALLED_S / 2
        await rig.link.next_look()
        assert program.why == ""
        rig.now_s += transfers.PROGRAM_STALLED_S / 2
        async with asyncio.timeout(60):
            await program.told.wait()
        assert "nothing came from its program for 60 s" in program.why
