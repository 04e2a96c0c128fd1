"""Taking tasks back from the end of a worker's line: each runs here or not at all."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from agentd.core.commands import RevokeTasks
from agentd.core.events import RevokeSettled, TasksRevoked
from agentd.model.task import Status
from tests.integration.workers_room import Room, arguments

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import ctypes

def inc(x): return x + 1
def deep(gate): ctypes.PyDLL(None).open(gate.encode(), 0)  # holds the interpreter until the other end is opened
def mark(path): open(path, "a").write("x")
"""


def test_tasks_are_taken_back_at_once_even_while_the_worker_is_stuck_in_c(tmp_path: Path) -> None:
    """The answer does not wait for the worker; what was taken back never runs, what was left does."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            marks = [tmp_path / f"{n}" for n in range(6)]
            gate = tmp_path / "gate"
            os.mkfifo(gate)
            deep = room.task("deep", arguments(str(gate)))
            rest = [room.task("mark", arguments(str(path))) for path in marks]
            room.give([deep, *rest])
            await room.running(deep)
            room.supervisor.revoke(RevokeTasks(1, 4))
            assert [event.count for event in room.of(TasksRevoked)] == [4]
            assert not room.of(RevokeSettled)
            room.supervisor.flush()
            with gate.open("r+b", buffering=0):
                await room.until(lambda: bool(room.of(RevokeSettled)))
                await room.result(rest[1])
            assert [path.exists() for path in marks] == [True, True, False, False, False, False]
            assert (await room.run("inc", 1)).status == Status.DONE
            assert set(room.results()) == {deep.id, rest[0].id, rest[1].id, rest[5].id + 1}

    asyncio.run(main())


def test_revoking_again_takes_more_and_settles_each_once(tmp_path: Path) -> None:
    """A second revocation may come before the first is settled; both settle only when the worker knows of both."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            gate = tmp_path / "gate"
            os.mkfifo(gate)
            deep = room.task("deep", arguments(str(gate)))
            tasks = [room.task("inc", arguments(n)) for n in range(5)]
            room.give([deep, *tasks])
            await room.running(deep)
            for count in (2, 1, 9, 9):
                room.supervisor.revoke(RevokeTasks(1, count))
            assert [event.count for event in room.of(TasksRevoked)] == [2, 1, 2, 0]
            assert not room.of(RevokeSettled)
            room.supervisor.flush()
            with gate.open("r+b", buffering=0):
                await room.until(lambda: len(room.of(RevokeSettled)) == 4)
                assert (await room.run("inc", 1)).status == Status.DONE
            assert not {task.id for task in tasks} & set(room.results())

    asyncio.run(main())


def test_a_revocation_that_yields_nothing_settles_at_once(tmp_path: Path) -> None:
    """Of an idle worker nothing is taken back, and it may be given more in the same turn."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            room.supervisor.revoke(RevokeTasks(1, 3))
            assert [event.count for event in room.of(TasksRevoked)] == [0]
            assert len(room.of(RevokeSettled)) == 1

    asyncio.run(main())


def test_no_task_is_lost_or_doubled_when_revocations_race_with_starts(tmp_path: Path) -> None:
    """Of tasks that are given and taken back again and again, each runs exactly once, or was taken back."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            path = tmp_path / "runs"
            given, taken = 0, 0
            for n in range(150):
                room.give([room.task("mark", arguments(str(path))) for _ in range(8)])
                given += 8
                for _ in range(n % 7):
                    await asyncio.sleep(0)
                before = len(room.of(TasksRevoked))
                room.supervisor.revoke(RevokeTasks(1, n % 9))
                taken += room.of(TasksRevoked)[before].count
                room.supervisor.flush()
                await room.until(lambda count=n + 1: len(room.of(RevokeSettled)) == count)
            await room.until(lambda: len(room.results()) == given - taken)
            assert taken
            assert len(path.read_text()) == given - taken
            assert room.supervisor.running(1) is None

    asyncio.run(main())
