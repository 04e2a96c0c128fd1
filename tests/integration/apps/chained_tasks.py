"""Programs whose tasks read what the task before makes; without an agent they give what they have to give with one."""

from __future__ import annotations

import os
import random
from pathlib import Path

from meeting import until

from agentd.api import INOUT, TaskCancelled, TaskGroup, cancel_group, task, wait_on

SIZES = (0, 10, 3_000, 40_000, 600_000)
"""Of what a task makes: kept by its worker, sent with the next task, or in shared memory."""


@task(returns=1)
def grown(value: bytes, size: int) -> bytes:
    """Make a value of another size that depends on each byte of the one before."""
    return f"{sum(value) + len(value)} ".encode() * (size // 8 + 1)


@task(returns=1)
def joined(left: bytes, right: bytes) -> bytes:
    """Read two."""
    return left[:100] + right[-100:]


@task(returns=2)
def parted(value: bytes) -> tuple[bytes, bytes]:
    """Make two."""
    return value[: len(value) // 2], value[len(value) // 2 :]


@task(found=INOUT)
def noted(found: list[int], value: bytes) -> None:
    """Write into an object."""
    found.append(sum(value))


@task(returns=1)
def deeper(value: bytes) -> bytes:
    """Ask for tasks, and wait for one of them."""
    first = grown(value, 10)
    wait_on(first)
    return wait_on(grown(first, 20))


def mixed(seed: int, count: int) -> list[int]:
    """Run a random chain of all these."""
    source = random.Random(seed)
    found: list[int] = []
    before, value = b"a", b"b"
    for _ in range(count):
        which = source.choice((grown, grown, grown, joined, parted, noted, deeper))
        if which is grown:
            before, value = value, grown(value, source.choice(SIZES))
        elif which is joined:
            before, value = value, joined(before, value)
        elif which is parted:
            before, value = parted(value)
        elif which is noted:
            noted(found, value)
        else:
            value = deeper(value)
    noted(found, value)
    return list(wait_on(found))


@task(returns=1)
def step(path: str, number: int, fails_at: int) -> int:
    """Note that it ran, and fail if it is to."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, b"%d\n" % number)
    os.close(file)
    if number == fails_at:
        raise ValueError(f"step {number} fails on purpose")
    return number + 1


@task(returns=1, on_failure="FAIL")
def last_step(path: str, number: int, fails_at: int) -> int:
    """As `step`, tried once."""
    return step.__wrapped__(path, number, fails_at)


def failing(path: str, count: int, fails_at: int) -> tuple[str, list[int]]:
    """Run a chain of which one task fails; give what its caller sees, and which of them ran."""
    value = 0
    for number in range(count):
        value = (last_step if number == fails_at else step)(path, value, fails_at)
    try:
        wait_on(value)
    except (TaskCancelled, ValueError) as error:
        return str(error), [int(line) for line in Path(path).read_text().split()]
    return "nothing", []


@task(returns=1)
def held(path: str) -> int:
    """End only once its caller has gone on."""
    until(Path(f"{path}.go").exists)
    return 0


def cancelled(path: str, count: int) -> tuple[bool, bool]:
    """Cancel a chain; tell whether its end is cancelled, and whether another one goes on."""
    other = 0
    with TaskGroup("chain", implicit_barrier=False):
        value = held(path)
        for _ in range(count):
            value = step(path, value, -1)
    for _ in range(count):
        other = step(f"{path}.other", other, -1)
    cancel_group("chain")
    Path(f"{path}.go").touch()
    try:
        wait_on(value)
    except TaskCancelled:
        return True, wait_on(other) == count
    return False, wait_on(other) == count


def killed(path: str, count: int, dies_at: int) -> int:
    """Run a chain one task of which kills its worker the first time."""
    value = 0
    for number in range(count):
        value = deadly(path, value) if number == dies_at else step(path, value, -1)
    return wait_on(value)


@task(returns=1)
def deadly(path: str, number: int) -> int:
    """End its process, once."""
    try:
        Path(f"{path}.died").touch(exist_ok=False)
    except FileExistsError:
        return number + 1
    os.kill(os.getpid(), 9)
    return -1
