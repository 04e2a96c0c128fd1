"""Programs with tasks, run by agents in the tests: each function is an operation."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentd import api
from agentd.api.tasks.definition import Content, Direction
from agentd.api.tasks.errors import GroupException
from tests.fakes.marked import INOUT, marked, of
from tests.fakes.task_programs import Run


def run_program(steps: list[Any]) -> Any:
    """Run a random program of `task_programs`."""
    with tempfile.TemporaryDirectory() as folder:
        return Run(Path(folder)).result(steps)


@marked(returns=1)
def process() -> Any:
    time.sleep(0.05)  # users' code that takes its time: both workers are needed
    return os.getpid(), os.environ["COMPSS_TASK_ID"]


def where_tasks_run() -> Any:
    """Give own process, and those of tasks that ran at the same time, with the ids that they were told."""
    return os.getpid(), api.wait_on([process() for _ in range(6)])


@marked(returns=1)
def fibonacci(number: int) -> Any:
    if number < 2:
        return number
    left, right = api.wait_on(fibonacci(number - 1), fibonacci(number - 2))
    return left + right


@marked(order=INOUT)
def note(order: list[int], value: int) -> None:
    order.append(value)


def in_order(count: int) -> Any:
    """Give what a chain of tasks wrote."""
    order: list[int] = []
    for value in range(count):
        note(order, value)
    return order


@marked(returns=1)
def address(array: Any) -> Any:
    return int(array[0]), os.getpid()


@marked(array=INOUT)
def add_one(array: Any) -> None:
    array += 1


def share_an_array() -> Any:
    """Read one large array in many tasks, write it, and write to it where it is only read."""
    import numpy as np

    array = np.zeros(2_000_000)
    before = [address(array) for _ in range(4)]
    add_one(array)
    after = [address(array), spoil(array), address(array)]
    found = api.wait_on(before), api.wait_on(after)
    api.wait_on(array)
    array[0] = 7.0
    return [row[0] for row in found[0]], [found[1][0][0], found[1][1], found[1][2][0]], float(array.sum())


@marked(returns=1)
def spoil(array: Any) -> Any:
    array[0] = 99  # only read, by its definition: nobody else sees this
    return int(array[0])


@marked(returns=1, on_failure="FAIL")
def fail() -> Any:
    raise ZeroDivisionError("on purpose")


@marked(returns=1)
def after_it(value: Any) -> Any:
    return value


def wait_for_a_failure() -> Any:
    return api.wait_on(fail())


def see_failures() -> Any:
    """Give what waiting for a failed task, and for one behind it, raises."""
    failed = fail()
    behind = after_it(failed)
    seen = []
    for future in (failed, behind):
        try:
            api.wait_on(future)
        except (ZeroDivisionError, api.TaskCancelled) as error:
            seen.append([type(error).__name__, str(error), [*getattr(error, "__notes__", [])], bool(error.__cause__)])
    return seen


@marked(returns=1, on_failure="IGNORE", failure_defaults={"returns": "instead"}, timeout_s=1.0)
def too_long() -> Any:
    while True:
        time.sleep(0.01)


@marked(returns=1, on_failure="IGNORE", failure_defaults={"returns": "instead"})
def fails_softly() -> Any:
    raise ValueError


@marked(returns=1, on_failure="IGNORE", failure_defaults={"returns": "instead"}, timeout_s=0.5)
def hears_nothing() -> Any:
    while True:
        with suppress(KeyboardInterrupt):
            time.sleep(0.01)


@marked(returns=1, on_failure="IGNORE", failure_defaults={"returns": "instead"})
def leaves(how: str) -> Any:
    if how == "exit":
        sys.exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


def ignore_what_was_killed() -> Any:
    return api.wait_on(hears_nothing(), leaves("exit"), leaves("kill"))


def ignore_failures() -> Any:
    return api.wait_on(fails_softly(), fails_softly())


def ignore_what_is_late() -> Any:
    return api.wait_on(too_long())


@marked(returns=1)
def ends_its_group() -> Any:
    raise GroupException("enough")


@marked(returns=1)
def slow() -> Any:
    time.sleep(60)


def end_a_group() -> Any:
    try:
        with api.TaskGroup("group"):
            slow()
            ends_its_group()
    except GroupException as error:
        ended = str(error)
    with api.TaskGroup("other", implicit_barrier=False):
        future = slow()
    api.cancel_group("other")
    try:
        api.wait_on(future)
    except api.TaskCancelled as error:
        return ended, type(error).__name__
    return ended, "nothing"


@marked(path=of(Content.FILE, Direction.OUT))
def write(path: str, text: str) -> None:
    Path(path).write_text(text)


@marked(returns=1, path=of(Content.FILE))
def read(path: str) -> str:
    return Path(path).name + ":" + Path(path).read_text()[:3] + str(Path(path).stat().st_size)


def files(folder: str, size: int) -> Any:
    """Write files in tasks and read them in others; the last is left to the end of the operation."""
    first, last = f"{folder}/first.txt", f"{folder}/last.txt"
    write(first, "x" * size)
    found = read(first)
    write(last, "y" * size)
    return found, api.wait_on_file(first) == first, Path(first).stat().st_size


@marked(returns=1)
def echo(value: Any) -> Any:
    return value


def many_small(count: int) -> int:
    """Give how many bytes came back of so many values of 1 KiB."""
    return sum(map(len, api.wait_on([echo(os.urandom(1024)) for _ in range(count)])))


def many_large(count: int) -> int:
    """Send so many arrays of 10 MB through tasks, a few at a time."""
    import numpy as np

    total = 0
    for start in range(0, count, 10):
        arrays = api.wait_on([echo(np.full(1_250_000, number)) for number in range(start, start + 10)])
        total += sum(int(array[0]) for array in arrays)
    return total


def from_threads() -> Any:
    """Call tasks and wait for them in four threads at a time."""
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda start=start: found.extend(api.wait_on([echo(start + n) for n in range(20)])))
        for start in range(0, 80, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found) == list(range(80))


def in_a_fork() -> Any:
    """Call tasks in a process that this one forks."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.write(write_end, str(echo(7)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(read_end, 10).decode(), api.wait_on(echo(8))


def nobody_asks() -> str:
    """End well although a task failed that nobody waited for."""
    fail()
    return "well"
