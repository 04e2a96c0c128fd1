"""Tasks that can be done in several ways: one is taken where the task is placed.

Law: while it waits a task has the shape that stands for all its ways; while it runs here, that of one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from schedulers.capacity import shortfalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.placing.pool import Pool
    from agentd.core.tasks.task import Shape, Task
    from schedulers.capacity import Capacity

Answer = TypeVar("Answer")


def first_way(task: Task, ask: Callable[[Task], Answer | None]) -> Answer | None:
    """Ask of a task in each of its ways in turn, the most specific first, until there is an answer that is true.

    With that the task has the shape of the way, and stays in it; without one it is as it was.
    """
    flexible = task.shape
    for way in flexible.ways:
        task.shape = way
        answer = ask(task)
        if answer:
            return answer
    task.shape = flexible
    return None


def has_way(task: Task, ask: Callable[[Task], bool]) -> bool:
    """Tell whether the answer is yes in any of its ways; the task is then as it was."""
    flexible = task.shape
    found = first_way(task, ask)
    task.shape = flexible
    return bool(found)


def could_fit(pool: Pool, shape: Shape) -> bool:
    """Tell whether a task of this shape would fit in one of its ways if everything were free."""
    if not shape.ways:
        return pool.could_fit(shape.demand)
    return any(pool.could_fit(way.demand) for way in shape.ways)


def lacking(here: Capacity, demand: Capacity) -> str:
    """Say why a demand can never fit."""
    return "; ".join(shortfalls(here, demand)) or "the processors that it needs do not fit side by side"
