"""Programs with tasks for the benchmarks."""

from __future__ import annotations

from agentd.api import constraint, task, wait_on

FAR_GB = 1
"""Memory that a task demands which is to run at the neighbour."""


@task(returns=1)
def noop():
    """Do nothing."""


@constraint(memory_size=FAR_GB)
@task(returns=1)
def far_noop():
    """Do nothing, where there is much memory."""


@task(returns=1)
def increment(number):
    """Add one."""
    return number + 1


@task(returns=1)
def add(left, right):
    """Add two."""
    return left + right


def many(count: int) -> int:
    """Call a task so many times and wait for all."""
    return len(wait_on([noop() for _ in range(count)]))


def many_far(count: int) -> int:
    """Call a task so many times that only another agent has room for, and wait for all."""
    return len(wait_on([far_noop() for _ in range(count)]))


def chain(count: int) -> int:
    """Call tasks each of which needs the one before."""
    value = 0
    for _ in range(count):
        value = increment(value)
    return wait_on(value)


def tree(leaves: int) -> int:
    """Add up numbers pair by pair."""
    level = [increment(number) for number in range(leaves)]
    while len(level) > 1:
        level = [add(*level[at : at + 2]) for at in range(0, len(level), 2)]
    return wait_on(level[0])
