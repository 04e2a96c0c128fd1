"""Stopping what runs: by flag, by SIGINT, by SIGKILL; never the wrong task."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from agentd.core.commands import InterruptTask
from agentd.core.events import WorkerLost
from agentd.model.task import Reason, Status
from tests.integration.workers_room import Room, arguments, value_of

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import os, signal, sys, time

def inc(x): return x + 1
def sleep(seconds): time.sleep(seconds)
def await_file(path):
    while not os.path.exists(path): time.sleep(0.001)
def polite():
    cancelled = sys.modules["_agentd_worker_task"].cancelled
    while not cancelled(): time.sleep(0.001)
    return "ended by itself"
def finishes(ready, caught):
    try:
        open(ready, "w").close()
        while True: time.sleep(0.001)
    except KeyboardInterrupt:
        open(caught, "w").close()
        return "too late"
def sleep_at(ready):
    open(ready, "w").close()
    time.sleep(60)
def loses_the_first(ready):
    heard = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, heard))
    open(ready, "w").close()
    time.sleep(600)
def cleans_up(ready, times):
    open(ready, "w").close()
    try:
        time.sleep(600)
    except KeyboardInterrupt as first:
        try:
            time.sleep(0.5)
        except KeyboardInterrupt:
            with open(times, "a") as file: file.write("again")
        raise first
def stubborn(ready):
    while True:
        try:
            open(ready, "w").close()
            while True: time.sleep(0.01)
        except KeyboardInterrupt:
            pass
def unheard(ready):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    open(ready, "w").close()
    while not signal.sigpending(): time.sleep(0.001)
    value = "done, though"
    return value
def spin(n):
    total = 0
    for i in range(n): total += i
    return total
"""


def test_the_flag_is_seen_by_users_code_of_that_task_alone(tmp_path: Path) -> None:
    """Level 0 asks; the task ends by itself with its value, and the next one sees no flag."""

    async def main() -> None:
        async with Room(tmp_path, CODE + "def flag(): return sys.modules['_agentd_worker_task'].cancelled()\n") as room:
            await room.start_worker()
            (task,) = room.give([room.task("polite")])
            await room.running(task)
            room.supervisor.interrupt(InterruptTask(1, task.id, 0))
            result = await room.result(task)
            assert (result.status, value_of(result.value)) == (Status.DONE, "ended by itself")
            assert await room.call("flag") is False

    asyncio.run(main())


def test_sigint_cancels_the_task_and_the_worker_lives_on(tmp_path: Path) -> None:
    """Level 1 ends the task as cancelled, or as out of time; the next one runs in the same process."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            pid = await room.start_worker()
            for timed_out in (False, True):
                ready = tmp_path / f"ready {timed_out}"
                (task,) = room.give([room.task("sleep_at", arguments(str(ready)))])
                await room.soon(ready.exists)
                room.supervisor.interrupt(InterruptTask(1, task.id, 1, timed_out))
                result = await room.result(task)
                if timed_out:
                    assert result.status == Status.FAILED
                    assert result.failure is not None
                    assert result.failure.reason == Reason.TIMED_OUT
                    assert "in sleep_at" in result.failure.traceback
                else:
                    assert (result.status, result.failure) == (Status.CANCELLED, None)
            assert await room.call("inc", 1) == 2
            assert room.supervisor.pids()[1] == pid

    asyncio.run(main())


def test_a_signal_that_is_lost_is_sent_again_and_one_that_was_heard_is_not(tmp_path: Path) -> None:
    """It can come where no interpreter looks for it any more; but what it reached may clean up in peace."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            again = tmp_path / "again"
            for function, *more in (("loses_the_first",), ("cleans_up", str(again))):
                ready = tmp_path / function
                (task,) = room.give([room.task(function, arguments(str(ready), *more))])
                await room.soon(ready.exists)
                room.supervisor.interrupt(InterruptTask(1, task.id, 1))
                assert (await room.result(task)).status == Status.CANCELLED
            assert not again.exists()

    asyncio.run(main())


def test_a_value_that_comes_after_the_interrupt_counts_as_cancelled(tmp_path: Path) -> None:
    """Users' code that catches the exception, or never sees it, and returns anyway was cancelled all the same."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            caught = tmp_path / "caught"
            for function, *more in (("finishes", str(caught)), ("unheard",)):
                ready = tmp_path / function
                (task,) = room.give([room.task(function, arguments(str(ready), *more))])
                await room.soon(ready.exists)
                room.supervisor.interrupt(InterruptTask(1, task.id, 1))
                assert (await room.result(task)).status == Status.CANCELLED
            assert caught.exists()

    asyncio.run(main())


def test_sigkill_ends_what_does_not_listen(tmp_path: Path) -> None:
    """Level 2 ends the process; the loss says that it was cancelled, or out of time, and names the task."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            for worker, timed_out in ((1, False), (2, True)):
                await room.start_worker(worker)
                ready = tmp_path / f"{worker}"
                (task,) = room.give([room.task("stubborn", arguments(str(ready)))], worker)
                await room.soon(ready.exists)
                room.supervisor.interrupt(InterruptTask(worker, task.id, 1, timed_out))
                room.supervisor.interrupt(InterruptTask(worker, task.id, 2, timed_out))
                lost = await room.lost(worker)
                assert lost.running == task.id
                assert lost.failure.reason == (Reason.TIMED_OUT if timed_out else Reason.SIGNAL)
                assert lost.failure.type == ("TimedOut" if timed_out else "Cancelled")

    asyncio.run(main())


def test_a_kill_that_meets_another_task_than_was_meant_blames_nobody(tmp_path: Path) -> None:
    """When the doomed task ended just before the SIGKILL, the one that had begun instead is innocent."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            pid = await room.start_worker()
            (task,) = room.give([room.task("sleep", arguments(60))])
            await room.running(task)
            room.supervisor._processes[1].killed = task.id + 1, False
            os.kill(pid, signal.SIGKILL)
            assert (await room.lost()).running == 0

    asyncio.run(main())


def test_a_task_that_has_not_started_is_cancelled_without_running(tmp_path: Path) -> None:
    """Interrupting what waits behind another touches the other not at all."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            gate = tmp_path / "gate"
            first, second = room.give(
                [room.task("await_file", arguments(str(gate))), room.task("sleep", arguments(60))]
            )
            await room.running(first)
            for level in (1, 2):
                room.supervisor.interrupt(InterruptTask(1, second.id, level))
            gate.touch()
            assert (await room.result(second)).status == Status.CANCELLED
            assert room.results()[first.id].status == Status.DONE
            assert not room.of(WorkerLost)

    asyncio.run(main())


def test_a_late_sigint_ends_neither_the_worker_nor_the_next_task(tmp_path: Path) -> None:
    """SIGINTs between tasks, into tasks that nobody wants stopped, and for tasks that have ended are nothing."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            pid = await room.start_worker()
            (old,) = room.give([room.task("inc", arguments(1))])
            await room.result(old)
            process = room.supervisor._processes[1]
            process.mark_interrupted(old.id, timed_out=False)
            for _ in range(50):
                tasks = room.give([room.task("spin", arguments(300)) for _ in range(20)])
                for _ in range(5):
                    os.kill(pid, signal.SIGINT)
                    await asyncio.sleep(0)
                assert (await room.result(tasks[-1])).status == Status.DONE
            assert {result.status for result in room.results().values()} == {Status.DONE}
            assert not room.of(WorkerLost)

    asyncio.run(main())


def test_every_task_that_is_interrupted_at_its_end_is_done_or_cancelled(tmp_path: Path) -> None:
    """A SIGINT that races with the end of its task cancels it or comes too late, and never harms another."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            hit = []
            for n in range(300):
                tasks = room.give([room.task("spin", arguments(200 + 20 * (n % 50))), room.task("inc", arguments(n))])
                await asyncio.sleep(0)
                room.supervisor.interrupt(InterruptTask(1, tasks[0].id, 1))
                assert value_of((await room.result(tasks[1])).value) == n + 1
                hit.append(room.results()[tasks[0].id].status)
            assert set(hit) <= {Status.DONE, Status.CANCELLED}
            assert Status.CANCELLED in hit
            assert not room.of(WorkerLost)

    asyncio.run(main())
