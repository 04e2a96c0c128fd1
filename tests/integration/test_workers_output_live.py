"""What users' code writes: each task's own, to the byte, while it runs and after it has ended or died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agentd.model.errors import ConfigError
from tests.integration.workers_room import Room, arguments

if TYPE_CHECKING:
    from pathlib import Path

CODE = r"""
import os, subprocess, sys, time

def say(text, complaint=""):
    sys.stdout.write(text)
    sys.stderr.write(complaint)
def everything(mark):
    print(mark, "print")
    os.write(1, f"{mark} write\n".encode())
    subprocess.run(["sh", "-c", f"echo {mark} program; echo {mark} complaint >&2"])
def quiet(): pass
def slowly(path):
    print("first")
    while not os.path.exists(path): time.sleep(0.001)
    print("second")
def dying():
    print("before")
    print("lost?", end="")
    sys.stdout.flush()
    os._exit(1)
def much(size): sys.stdout.write("x" * size)
def flood(path):
    for _ in range(40): os.write(1, b"y" * 1_000_000)
    while not os.path.exists(path): time.sleep(0.001)
"""


def test_each_task_has_exactly_what_it_wrote(tmp_path: Path) -> None:
    """Whatever way it is written, also without a newline and by other programs, it is the task's and nobody else's."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            read = room.supervisor.output.read
            tasks = room.give(
                [
                    task
                    for n in range(20)
                    for task in (
                        room.task("say", arguments(f"no newline {n}", f"complaint {n}")),
                        room.task("quiet"),
                        room.task("everything", arguments(n)),
                    )
                ]
            )
            await room.result(tasks[-1])
            for n in range(20):
                said, quiet, everything = (task.id for task in tasks[3 * n : 3 * n + 3])
                assert read(said, "out", 0, 999) == f"no newline {n}".encode()
                assert read(said, "err", 0, 999) == f"complaint {n}".encode()
                assert read(quiet, "out", 0, 999) == read(quiet, "err", 0, 999) == b""
                assert read(everything, "out", 0, 999) == f"{n} print\n{n} write\n{n} program\n".encode()
                assert read(everything, "err", 0, 999) == f"{n} complaint\n".encode()
                assert room.results()[quiet].output_bytes == 0
                assert room.results()[said].output_bytes == len(f"no newline {n}complaint {n}")
                assert read(said, "out", 3, 7) == f"no newline {n}".encode()[3:10]
            room.supervisor.output.forget_all([tasks[0].id])
            assert read(tasks[0].id, "out", 0, 999) == b""

    asyncio.run(main())


def test_what_tasks_of_an_operation_write_follows_what_it_has_written(tmp_path: Path) -> None:
    """Who reads on at the same offset gets each byte once: of the operation, of its tasks, and from elsewhere."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            await room.start_worker(2)
            output = room.supervisor.output
            (root,) = room.give([room.task("slowly", arguments(str(tmp_path / "go")))], worker=1)
            output.root_of = lambda task: root.id
            await room.soon(lambda: output.read(root.id, "out", 0, 999) == b"first\n")
            (child,) = room.give([room.task("say", arguments("child", "trouble"))], worker=2)
            await room.result(child)
            assert output.read(root.id, "out", 0, 999) == b"first\nchild"
            output.add(root.id, "out", b" elsewhere\n")
            assert output.read(root.id, "out", 6, 999) == b"child elsewhere\n"
            (tmp_path / "go").touch()
            await room.result(root)
            assert output.read(root.id, "out", 0, 999) == b"first\nchild elsewhere\nsecond\n"
            assert output.read(root.id, "err", 0, 999) == b"trouble"
            assert output.read(child.id, "out", 0, 999) == b""

    asyncio.run(main())


def test_what_nobody_can_ask_for_is_forgotten(tmp_path: Path) -> None:
    """At the second look, so that who reads at the end of a session comes to it; what is known stays."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            one, other = room.give([room.task("say", arguments(text)) for text in ("one", "other")])
            await room.result(other)
            output = room.supervisor.output
            for kept in (b"one", b""):
                output.trim(lambda task: task == other.id)
                assert output.read(one.id, "out", 0, 9) == kept
            assert output.read(other.id, "out", 0, 9) == b"other"

    asyncio.run(main())


def test_what_an_earlier_agent_kept_is_forgotten_too(tmp_path: Path) -> None:
    """Files of tasks that ended before a restart are found, and go when their operation does."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            (task,) = room.give([room.task("say", arguments("kept"))])
            await room.result(task)
            assert room.supervisor.output.read(task.id, "out", 0, 999) == b"kept"
        async with Room(tmp_path, CODE) as room:
            room.supervisor.output.forget_all([task.id + 1])
            assert room.supervisor.output.read(task.id, "out", 0, 999) == b"kept"
            room.supervisor.output.forget_all([task.id])
            assert room.supervisor.output.read(task.id, "out", 0, 999) == b""

    asyncio.run(main())


def test_a_running_task_is_read_live_and_goes_on_at_the_same_offset(tmp_path: Path) -> None:
    """A reader that follows gets every byte once, across the end of the task."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            read = room.supervisor.output.read
            earlier, task = room.give(
                [room.task("say", arguments("earlier\n")), room.task("slowly", arguments(str(tmp_path / "go")))]
            )
            await room.running(task)
            await room.soon(lambda: read(task.id, "out", 0, 999) == b"first\n")
            assert read(task.id, "out", 2, 2) == b"rs"
            assert read(task.id, "out", 6, 999) == b""
            await room.soon(lambda: read(earlier.id, "out", 0, 999) == b"earlier\n")
            (tmp_path / "go").touch()
            await room.result(task)
            assert read(task.id, "out", 6, 999) == b"second\n"

    asyncio.run(main())


def test_output_of_a_dying_task_is_kept_and_the_next_attempt_adds_to_it(tmp_path: Path) -> None:
    """What a task wrote before its worker died is not lost, nor is it mixed with that of others."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker(1)
            other, task = room.give([room.task("say", arguments("other\n")), room.task("dying")])
            assert (await room.lost(1)).running == task.id
            assert room.supervisor.output.read(task.id, "out", 0, 999) == b"before\nlost?"
            assert room.supervisor.output.read(other.id, "out", 0, 999) in {b"other\n", b""}
            await room.start_worker(2)
            again = room.task("dying")
            again.id = task.id
            room.give([again], 2)
            await room.lost(2)
            assert room.supervisor.output.read(task.id, "out", 0, 999) == b"before\nlost?before\nlost?"

    asyncio.run(main())


def test_much_output_is_copied_whole_or_cut_with_a_note(tmp_path: Path) -> None:
    """Up to the limit every byte is kept, also while it is still being copied; above it a note says so."""

    async def main() -> None:
        async with Room(tmp_path, CODE, output_bytes=10_000_000) as room:
            await room.start_worker()
            read = room.supervisor.output.read
            whole = await room.run("much", 9_999_999)
            assert read(whole.task, "out", 0, 1 << 30) == b"x" * 9_999_999  # before all of it is copied
            await room.soon(lambda: not room.supervisor._outputs._copies)
            assert read(whole.task, "out", 0, 1 << 30) == b"x" * 9_999_999
            cut = await room.run("much", 12_000_000)
            await room.soon(lambda: not room.supervisor._outputs._copies)
            kept = read(cut.task, "out", 0, 1 << 30)
            assert kept.startswith(b"x" * 10_000_000 + b"\n[")
            assert len(kept) < 10_000_200

    asyncio.run(main())


def test_the_disk_gets_back_what_was_copied_and_what_is_too_much(tmp_path: Path) -> None:
    """A worker's own file does not grow on the disk with the tasks that it ran, nor with what one task writes."""

    async def main() -> None:
        async with Room(tmp_path, CODE, output_bytes=1_000_000) as room:
            await room.start_worker()
            file = tmp_path / "log" / "workers" / "1.out"
            for _ in range(20):
                await room.run("much", 1_000_000)
            await room.soon(lambda: not room.supervisor._outputs._copies)
            assert file.stat().st_size == 20_000_000
            if file.stat().st_blocks * 512 >= 20_000_000:
                pytest.skip("this file system cannot punch holes")
            assert file.stat().st_blocks * 512 < 10_000_000
            (task,) = room.give([room.task("flood", arguments(str(tmp_path / "go")))])
            await room.running(task)
            await room.soon(lambda: file.stat().st_size == 60_000_000 and file.stat().st_blocks * 512 < 12_000_000)
            (tmp_path / "go").touch()
            await room.result(task)
            kept = room.supervisor.output.read(task.id, "out", 0, 1 << 30)
            assert kept.startswith(b"y" * 1_000_000 + b"\n[")

    asyncio.run(main())


def test_log_folders_that_others_can_write_are_refused(tmp_path: Path) -> None:
    """A planted link, or a folder open to others, ends the start with what to do."""

    async def main() -> None:
        (tmp_path / "log").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "log" / "workers").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConfigError, match="must be a folder of our own"):
            await Room(tmp_path, CODE).__aenter__()
        (tmp_path / "log" / "workers").unlink()
        (tmp_path / "log" / "workers").mkdir()
        (tmp_path / "log" / "workers").chmod(0o777)
        with pytest.raises(ConfigError, match="chmod go-w"):
            await Room(tmp_path, CODE).__aenter__()

    asyncio.run(main())
