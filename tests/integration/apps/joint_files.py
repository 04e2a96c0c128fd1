"""Tasks that write one file, or one object, side by side."""

import fcntl
import os
from pathlib import Path

from meeting import until

from agentd.api import CONCURRENT, FILE_CONCURRENT, FILE_IN, FILE_INOUT, barrier, task, wait_on, wait_on_file


@task(path=FILE_CONCURRENT, returns=list)
def meet(path, name, count):
    """Write who is here, and go on when all are."""
    with open(path, "a") as file:
        file.write(f"{name}\n")
    until(lambda: len(Path(path).read_text().split()) >= count)
    return [os.getpid(), os.stat(path).st_ino]


@task(path=FILE_CONCURRENT)
def count_up(path, times):
    """Count under a lock of the file."""
    for _ in range(times):
        with open(path, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number = int(file.read())
            file.seek(0)
            file.write(str(number + 1))


@task(path=FILE_CONCURRENT)
def replace_when(path, text, waits_for, content):
    """Replace the file by another one, as editors do, when it holds what it is to hold."""
    until(lambda: Path(path).read_text() == waits_for)
    fresh = Path(path + ".new")
    fresh.write_text(content + text)
    fresh.replace(path)


@task(path=FILE_CONCURRENT)
def fail(path):
    with open(path, "a") as file:
        file.write("before it failed\n")
    raise ValueError("a writer failed")


@task(path=FILE_CONCURRENT)
def die_once(path):
    """Kill its own worker the first time."""
    with open(path, "a") as file:
        file.write("x")
    if Path(path).stat().st_size == 1:
        os.kill(os.getpid(), 9)


@task(path=FILE_IN, returns=str)
def read(path):
    return Path(path).read_text()


@task(path=FILE_INOUT)
def sign(path, text):
    with open(path, "a") as file:
        file.write(text)


@task(values=CONCURRENT, returns=list)
def meet_at(values, folder, name, count):
    """As `meet`, with an object: the file is beside it."""
    Path(folder, name).touch()
    until(lambda: len(os.listdir(folder)) >= count)
    before = list(values)
    values.append(name)
    return before


def meeting(path):
    """Two meet in the file; a reader has what both wrote, and what a writer adds behind them is behind them."""
    Path(path).write_text("")
    rows = [meet(path, name, 2) for name in "ab"]
    seen = read(path)
    sign(path, "signed\n")
    again = [meet(path, name, 5) for name in "cd"]
    wait_on_file(path)
    (one, other), later = wait_on(rows), wait_on(again)
    lines = Path(path).read_text().split()
    return {
        "processes": len({one[0], other[0]}),
        "inodes": len({one[1], other[1]}),
        "seen": sorted(wait_on(seen).split()),
        "lines": [sorted(lines[:2]), lines[2], sorted(lines[3:])],
        "later": len({row[0] for row in later}),
    }


def counted(path, tasks, times):
    Path(path).write_text("0")
    for _ in range(tasks):
        count_up(path, times)
    return wait_on(read(path))


def replaced(path):
    Path(path).write_text("0")
    replace_when(path, "b", "0a", "0a")
    replace_when(path, "a", "0", "0")
    wait_on_file(path)
    return Path(path).read_text()


def failed(path):
    """What a failed writer left is nobody's: the file is what it was, and who waits is told."""
    Path(path).write_text("mine")
    meet(path, "a", 1)
    fail(path)
    after = read(path)
    said = []
    for wait in (lambda: wait_on_file(path), lambda: wait_on(after)):
        try:
            wait()
        except Exception as error:  # noqa: BLE001 - what it is, is told
            said.append(f"{type(error).__name__}: {error}")
    return [*said, Path(path).read_text()]


def died(path):
    Path(path).write_text("")
    die_once(path)
    barrier()
    wait_on_file(path)
    return Path(path).read_text()


def at_the_end(path):
    """Nobody waits for it: it is there when the program has ended."""
    Path(path).write_text("")
    for name in "ab":
        meet(path, name, 2)


def objects(folder):
    values = ["first"]
    rows = [meet_at(values, folder, name, 2) for name in "ab"]
    return [wait_on(rows), wait_on(values)]
