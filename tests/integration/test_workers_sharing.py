"""Large values in shared memory: read without a copy, written again only when nobody reads them any more."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path

import numpy as np
import pytest

from agentd.api.memory.segments import SegmentPool
from agentd.core.commands import RevokeTasks
from agentd.core.events import RevokeSettled
from agentd.model.task import Status
from agentd.model.values import Codec, Part, Payload
from tests.integration.workers_room import Room, arguments, value_of

CODE = """
import numpy as np, gc, time
KEPT = []

def block(fill, size): return np.full(size, fill, dtype=np.uint8)
def raw(fill, size): return bytes([fill]) * size
def listing(size): return ["x" * 10] * 2 + [str(n) for n in range(size)]
def total(array): return int(array.sum(dtype=np.int64)), array.flags.writeable
def same(value): return value
def keep(array): KEPT.append(array); return None
def kept(): return [(int(a.min()), int(a.max())) for a in KEPT]
def drop(): KEPT.clear()
def loop(array):
    cycle = [array]; cycle.append(cycle)
    return None
def fail(array): raise ValueError(len(array))
def stuck(gate):
    import os
    while not os.path.exists(gate): time.sleep(0.001)
def die(array): import os; os._exit(1)
def kind(value): return type(value).__name__, len(value)
def shelf(): import os; return len(os.listdir("/proc/self/fd")), sum("agentd-seg" in l for l in open("/proc/self/maps"))
"""
SIZE = 10_000_000


def payload_of(result_value: Payload) -> Payload:
    """Make arguments of one value that lies in shared memory."""
    body = result_value.data[2:]  # without the header, PROTO 5
    if body[:1] == b"\x95":
        body = body[9:]  # without the FRAME
    # The value, TUPLE1, EMPTY_DICT, TUPLE2, STOP: ((value,), {}), whose buffers stay where they are.
    return Payload(Codec.PICKLE, b"\x80\x05" + body[:-1] + b"\x85}\x86.", result_value.parts)


def segments_of(payload: Payload) -> set[int]:
    return {part.segment for part in payload.parts if part.segment}


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_large_results_come_in_shared_memory_and_go_on_without_a_copy(tmp_path: Path) -> None:
    """An array, bytes and a long list travel beside the pickle; another worker reads the array in place, read-only."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            await room.start_worker(2)
            array = (await room.run("block", 3, SIZE)).value
            assert segments_of(array)
            assert len(array.data) < 1000
            (task,) = room.give([room.task("total", payload_of(array))], 2)
            assert value_of((await room.result(task)).value) == (3 * SIZE, False)
            for call, kind in ((("raw", 7, SIZE), "bytes"), (("listing", 200_000), "list")):
                value = (await room.run(*call)).value
                assert segments_of(value)
                (task,) = room.give([room.task("kind", payload_of(value))], 2)
                assert value_of((await room.result(task)).value)[0] == kind

    asyncio.run(main())


def test_a_readers_array_stays_as_it_was_while_its_owner_goes_on_writing(tmp_path: Path) -> None:
    """A segment is written again only after the engine and every reader have let go; then it is."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            await room.start_worker(2)
            first = (await room.run("block", 1, SIZE)).value
            (task,) = room.give([room.task("keep", payload_of(first))], 2)
            await room.result(task)
            (segment,) = segments_of(first)
            room.supervisor.segments.release(segment)  # the engine is done; the reader is not
            for fill in range(2, 8):
                value = (await room.run("block", fill, SIZE)).value
                assert segments_of(value) != {segment}
                room.supervisor.segments.release(*segments_of(value))
                assert await room.call("kept", worker=2) == [(1, 1)]
            await room.call("drop", worker=2)
            seen = set()
            for fill in range(20):
                value = (await room.run("block", fill, SIZE)).value
                seen |= segments_of(value)
                room.supervisor.segments.release(*segments_of(value))
            assert segment in seen
            assert len(room.supervisor.segments) <= 3

    asyncio.run(main())


@pytest.mark.parametrize("function", ["total", "loop", "fail"])
def test_values_leave_nothing_behind(tmp_path: Path, function: str) -> None:
    """After 200 values of 10 MB there are no more descriptors, mappings and segments than after the first ten."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            await room.start_worker(2)
            segments = room.supervisor.segments

            async def rounds(count: int) -> None:
                for n in range(count):
                    value = (await room.run("block", n % 250, SIZE)).value
                    (task,) = room.give([room.task(function, payload_of(value))], 2)
                    await room.result(task)
                    segments.release(*segments_of(value))

            # A cycle keeps its array until the collector comes round: an idle worker calls it within a second or two.
            count = 200 if function == "total" else 20
            await rounds(10)
            before = _open_files()
            await rounds(count - 10)
            await room.soon(lambda: not any(entry.holds for entry in segments._entries.values()))
            assert len(segments) <= (3 if function != "loop" else 20)
            assert _open_files() <= before + (1 if function != "loop" else 20)
            fds, maps = await room.call("shelf", worker=2)
            assert fds < 20 + maps  # each mapping keeps its descriptor, for views that can be written
            assert maps <= (3 if function != "loop" else 20)

    asyncio.run(main())


def test_the_dead_hold_nothing_and_what_they_made_can_still_be_read(tmp_path: Path) -> None:
    """The holds of a dead reader are dropped; a dead owner's value is read until it is released, then it is gone."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            await room.start_worker(2)
            segments = room.supervisor.segments
            value = (await room.run("block", 5, SIZE)).value
            room.give([room.task("die", payload_of(value))], 2)
            await room.lost(2)
            (segment,) = segments_of(value)
            assert segments._entries[segment].holds == 1
            room.give([room.task("die", arguments(1))])
            await room.lost(1)
            await room.start_worker(3)
            (task,) = room.give([room.task("total", payload_of(value))], 3)
            assert value_of((await room.result(task)).value) == (5 * SIZE, False)
            segments.release(segment)
            await room.soon(lambda: not len(segments))
            (task,) = room.give([room.task("total", payload_of(value))], 3)
            failure = (await room.result(task)).failure
            assert failure is not None
            assert "no longer on this agent" in failure.message

    asyncio.run(main())


def test_arguments_of_revoked_and_cancelled_tasks_are_let_go(tmp_path: Path) -> None:
    """A task that never ran holds no argument."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            value = (await room.run("block", 5, SIZE)).value
            (segment,) = segments_of(value)
            gate = tmp_path / "gate"
            stuck = room.task("stuck", arguments(str(gate)))
            room.give([stuck, *(room.task("total", payload_of(value)) for _ in range(4))])
            await room.running(stuck)
            holds = room.supervisor.segments._entries[segment]
            assert holds.holds == 5
            room.supervisor.revoke(RevokeTasks(1, 4))
            room.supervisor.flush()
            gate.touch()
            await room.until(lambda: bool(room.of(RevokeSettled)))
            await room.soon(lambda: holds.holds == 1)

    asyncio.run(main())


def test_a_client_that_owns_memory_lends_it_to_workers(tmp_path: Path) -> None:
    """Memory that a pool outside of any worker made is mapped by workers and comes back free when they are done."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            segments = room.supervisor.segments
            numbers: dict[int, int] = {}
            pool: SegmentPool

            def announce(number: int, fd: int, size: int) -> None:
                numbers[number] = segments.adopt(fd, size, lambda _: pool.free(number))

            pool = SegmentPool(announce, lambda number: segments.disown(numbers.pop(number)))
            for fill in range(5):
                buffers: list[pickle.PickleBuffer] = []
                array = np.full(SIZE, fill, dtype=np.uint8)
                data = pickle.dumps(((array,), {}), 5, buffer_callback=buffers.append)
                placed = pool.put([buffer.raw() for buffer in buffers])
                assert placed is not None
                segment = numbers[placed[0]]
                segments.retain(segment)
                payload = Payload(Codec.PICKLE, data, (Part(SIZE, None, segment, placed[1][0]),))
                (task,) = room.give([room.task("total", payload)])
                result = await room.result(task)
                assert (result.status, value_of(result.value)) == (Status.DONE, (fill * SIZE, False))
                segments.release(segment)
                await room.soon(lambda: not pool.used)
            assert len(numbers) == 1
            pool.close()

    asyncio.run(main())


def test_an_idle_worker_gives_memory_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker keeps for its next results is bounded, and what is above the bound is given up at once."""

    async def main() -> None:
        async with Room(tmp_path, CODE, idle_segment_bytes=2 * SIZE) as room:
            await room.start_worker(1)
            segments = room.supervisor.segments
            values = [(await room.run("block", n, SIZE)).value for n in range(6)]
            assert len(segments) == 6
            for value in values:
                segments.release(*segments_of(value))
            await room.soon(lambda: len(segments) <= 2)

    asyncio.run(main())
