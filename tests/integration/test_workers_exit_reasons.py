"""Every way in which a worker's process can end is told apart, at once, and blames the task that ran."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from agentd.core.commands import InterruptTask, RevokeTasks
from agentd.core.events import TasksEnded, WorkerLost
from agentd.model.task import Reason, Status
from agentd.workers import deaths, supervisor
from agentd.workers.deaths import OutOfMemoryCount, has_ended
from tests.integration.workers_room import Room, arguments

CODE = """
import ctypes, os, signal, sys, time

def leave(code): os._exit(code)
def crash(): ctypes.string_at(0)
def signalled(number): os.kill(os.getpid(), number); time.sleep(60)
def burn():
    while True: pass
def sleep(seconds): time.sleep(seconds)
def inc(x): return x + 1
def deaf():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in range(3, 64):
        try: os.close(fd)
        except OSError: pass
    time.sleep(60)
def orphan():
    if not os.fork(): time.sleep(60); os._exit(0)
    os._exit(1)
def start(): import subprocess; return subprocess.Popen(["sleep", "60"]).pid
def hungry(): return bytes(1 << 32)
"""


@pytest.mark.parametrize(
    ("call", "reason", "says"),
    [
        (("leave", 3), Reason.EXIT, "exit code 3"),
        (("leave", 0), Reason.EXIT, "exit code 0"),
        (("crash",), Reason.SIGNAL, "SIGSEGV"),
        (("signalled", signal.SIGTERM), Reason.SIGNAL, "SIGTERM"),
        (("signalled", signal.SIGKILL), Reason.SIGNAL, "SIGKILL"),
        (("deaf",), Reason.SIGNAL, "connection"),
        (("orphan",), Reason.EXIT, "exit code 1"),
    ],
)
def test_a_death_says_its_reason_and_blames_what_ran(
    tmp_path: Path, call: tuple[object, ...], reason: Reason, says: str
) -> None:
    """The task that ran is named; those before it have their results, those behind it are not blamed."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            before = room.give([room.task("inc", n) for n in map(arguments, range(3))])
            name, *args = call
            guilty = room.task(str(name), arguments(*args))
            behind = room.task("inc", arguments(1))
            room.give([guilty, behind])
            lost = await room.lost()
            assert (lost.running, lost.failure.reason) == (guilty.id, reason)
            assert says in lost.failure.message
            assert [room.results()[task.id].status for task in before] == [Status.DONE] * 3
            assert isinstance(room.events[-1], WorkerLost)
            assert behind.id not in room.results()
            assert room.supervisor.pids().keys() == {0}

    asyncio.run(main())


def test_a_reason_that_comes_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine the process that reaps workers is slow: a death has its reason all the same."""
    monkeypatch.setattr(supervisor, "STATUS_S", 0.0)

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            spawner = room.supervisor.pids()[0]
            looked: list[int] = []
            monkeypatch.setattr(deaths, "has_ended", lambda pid: looked.append(pid) or has_ended(pid))
            os.kill(spawner, signal.SIGSTOP)
            try:
                (task,) = room.give([room.task("leave", arguments(3))])
                await room.soon(lambda: looked)
                assert room.of(WorkerLost) == []
            finally:
                os.kill(spawner, signal.SIGCONT)
            lost = await room.lost()
            assert (lost.running, lost.failure.reason) == (task.id, Reason.EXIT)

    asyncio.run(main())


def test_what_a_worker_had_sent_is_told_before_its_death(tmp_path: Path) -> None:
    """Results that wait unread when the news of the death comes are read first."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            room.supervisor._processes[1].connection.pause_reading()
            first, guilty = room.give([room.task("inc", arguments(1)), room.task("leave", arguments(1))])
            lost = await room.lost()
            assert lost.running == guilty.id
            assert room.results()[first.id].status == Status.DONE
            assert [type(event) for event in room.events[-2:]] == [TasksEnded, WorkerLost]

    asyncio.run(main())


@pytest.mark.parametrize("end", ["leave", "killed by us"])
def test_programs_that_a_task_started_end_with_its_worker(tmp_path: Path, end: str) -> None:
    """What runs in the group of a dead worker is killed, however the worker died."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            pid = await room.call("start")
            assert _lives(pid)
            if end == "leave":
                room.give([room.task("leave", arguments(1))])
            else:
                (task,) = room.give([room.task("sleep", arguments(60))])
                await room.running(task)
                room.supervisor.interrupt(InterruptTask(1, task.id, 2))
            await room.lost()
            await room.soon(lambda: not _lives(pid))

    asyncio.run(main())


def test_a_crash_leaves_its_last_words(tmp_path: Path) -> None:
    """What a dying process wrote to stderr is in the failure and in the task's output."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            (task,) = room.give([room.task("crash")])
            lost = await room.lost()
            assert "Segmentation fault" in lost.failure.traceback
            assert b"Segmentation fault" in room.supervisor.output.read(task.id, "err", 0, 9999)

    asyncio.run(main())


def test_more_cpu_or_memory_than_allowed_has_its_own_reason(tmp_path: Path) -> None:
    """The CPU limit counts per task and ends the process; the memory limit fails the task alone."""

    async def main() -> None:
        async with Room(tmp_path, CODE, cpu_seconds=1, memory_bytes=2 << 30) as room:
            await room.start_worker()
            assert (await room.fail("hungry")).reason == Reason.OUT_OF_MEMORY
            (task,) = room.give([room.task("burn")])
            lost = await room.lost()
            assert (lost.running, lost.failure.type) == (task.id, "CpuLimit")

    asyncio.run(main())


def test_a_kill_by_the_kernel_for_want_of_memory_is_told(tmp_path: Path) -> None:
    """A SIGKILL that is not ours, when the kernel's count of such kills has risen, is want of memory."""

    async def main() -> None:
        count = tmp_path / "vmstat"
        count.write_text("nr_free 1\noom_kill 4\n")
        async with Room(tmp_path, CODE) as room:
            room.supervisor._oom = OutOfMemoryCount(count)
            pid = await room.start_worker()
            (task,) = room.give([room.task("sleep", arguments(60))])
            await room.running(task)
            count.write_text("nr_free 1\noom_kill 5\n")
            os.kill(pid, signal.SIGKILL)
            lost = await room.lost()
            assert (lost.running, lost.failure.reason) == (task.id, Reason.OUT_OF_MEMORY)
            pid = await room.start_worker(2)
            os.kill(pid, signal.SIGKILL)
            lost = await room.lost(2)
            assert (lost.running, lost.failure.reason) == (0, Reason.SIGNAL)

    asyncio.run(main())


def test_the_death_of_the_spawner_is_the_death_of_its_workers_and_another_takes_over(tmp_path: Path) -> None:
    """Workers die with the process that forked them; the next worker finds a new one."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            pid = await room.start_worker()
            os.kill(room.supervisor.pids()[0], signal.SIGKILL)
            lost = await room.lost()
            assert lost.failure.type in {"WorkerLost", "ProcessKilled"}
            await room.soon(lambda: not _lives(pid))
            await room.start_worker(2)
            assert await room.call("inc", 1, worker=2) == 2

    asyncio.run(main())


def test_an_idle_worker_stops_when_asked(tmp_path: Path) -> None:
    """A stop is no failure, blames nobody, and lets what is in the line end first."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            (task,) = room.give([room.task("inc", arguments(1))])
            room.supervisor.stop_worker(1)
            lost = await room.lost()
            assert (lost.running, lost.failure.reason) == (0, Reason.NONE)
            kinds = [type(event) for event in room.events]
            assert kinds.index(TasksEnded) < kinds.index(WorkerLost)
            assert task.id in room.results()

    asyncio.run(main())


def test_whatever_is_asked_of_a_worker_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """After a death no command raises, and none makes an event: the loss has answered for all."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            room.give([room.task("leave", arguments(1))])
            await room.lost()
            count = len(room.events)
            room.give([room.task("inc", arguments(1))])
            room.supervisor.revoke(RevokeTasks(1, 1))
            room.supervisor.interrupt(InterruptTask(1, 1, 2))
            room.supervisor.stop_worker(1)
            assert room.supervisor.running(1) is None
            assert len(room.events) == count

    asyncio.run(main())


def test_an_interpreter_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    """The error names the setting, or what the interpreter wrote."""

    async def main() -> None:
        from agentd.model.errors import ConfigError

        with pytest.raises(ConfigError, match="--python_interpreter"):
            await Room(tmp_path, interpreter=str(tmp_path / "nothing")).__aenter__()
        broken = tmp_path / "broken"
        broken.write_text("#!/bin/sh\necho no python here >&2\nexit 1\n")
        broken.chmod(0o700)
        with pytest.raises(ConfigError, match="no python here"):
            await Room(tmp_path, interpreter=str(broken)).__aenter__()

    asyncio.run(main())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
