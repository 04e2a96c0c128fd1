"""Functions that are called one at a time, for what a direct line does with each kind."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from agentd.api import task, wait_on

_count = 0


def double(number: int) -> int:
    """Be quick."""
    return 2 * number


def where() -> tuple[int, str]:
    """Tell which process this is, and which task it runs."""
    return os.getpid(), os.environ["COMPSS_TASK_ID"]


def count_up() -> int:
    """Keep something from call to call."""
    global _count  # noqa: PLW0603 - what is tested
    _count += 1
    return _count


def refuse(number: int) -> None:
    """Raise."""
    raise ValueError(f"not {number}")


def leave(code: int) -> None:
    """End the interpreter politely."""
    sys.exit(code)


def mark(path: str) -> int:
    """Leave a mark for each run."""
    with Path(path).open("a") as file:
        file.write("x")
    return len(Path(path).read_text())


def die_once(path: str, way: str) -> int:
    """Leave a mark, and kill the worker at the first."""
    runs = mark(path)
    if runs == 1:
        if way == "exit":
            os._exit(7)
        os.kill(os.getpid(), signal.SIGSEGV if way == "segv" else signal.SIGKILL)
    return runs


def die(path: str) -> None:
    """Leave a mark, and kill the worker each time."""
    mark(path)
    os._exit(7)


def devour(path: str) -> None:
    """Leave a mark, and take memory until there is none."""
    mark(path)
    taken = []
    while True:
        taken.append(b"x" * (16 << 20))


def sleep(begun: str, seconds: float) -> str:
    """Say that it has begun, and take long."""
    Path(begun).touch()
    time.sleep(seconds)
    return "slept"


def stubborn(begun: str, seconds: float) -> str:
    """Say that it has begun, and not be stopped by an exception."""
    Path(begun).touch()
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        return "stopped"
    return "slept"


def await_file(begun: str, path: str) -> str:
    """Say that it has begun, and take until a file is there; gives its name."""
    Path(begun).touch()
    while not Path(path).exists():
        time.sleep(0.001)
    return path


def say_and_await(word: str, path: str) -> None:
    """Print, and take until a file is there."""
    print(word, flush=True)
    while not Path(path).exists():
        time.sleep(0.001)


def large(size: int) -> bytes:
    """Return much."""
    return b"x" * size


def lament(size: int) -> None:
    """Raise with much to say."""
    raise ValueError("x" * size, "y" * size)


def say(word: str) -> None:
    """Print."""
    print(word)


def fork() -> int:
    """Have a child that comes back from here as well."""
    parent = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return int(os.getpid() == parent)


@task(returns=int)
def square(number: int) -> int:
    """Be a task."""
    return number * number


@task(returns=int)
def half(number: int) -> int:
    """Fail as a task, where the number is odd."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def squares(count: int) -> int:
    """Ask for tasks, and wait for them."""
    return sum(wait_on([square(number) for number in range(count)]))


def promise(number: int) -> Any:
    """Ask for a task, and return what is still to come."""
    return square(number)


def halves(number: int) -> int:
    """Ask for a task that may fail."""
    return int(wait_on(half(number)))
