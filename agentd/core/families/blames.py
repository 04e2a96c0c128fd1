"""What is remembered of tasks that killed their workers, while those that asked for them run again.

Law: a task that is asked for once more, by code that has started anew, is the same task: the deaths of workers while it
ran are counted on, and nobody else is blamed for them.

Code that runs again asks for the same tasks in the same order, so a child is known by its place among the children, and
by what it calls with which arguments; where code does otherwise, nothing is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.model.task import Failure, Reason

if TYPE_CHECKING:
    from agentd.core.state import AgentState
    from agentd.core.tasks.task import Task

BLAMES = 3
"""Deaths of workers while one task ran that make it quarantined."""
ROOTS_MOST = 1000
"""Operations of which blames are remembered (chosen: few have any; the one blamed longest ago is forgotten first)."""

Way = tuple[int, ...]
"""Of each task from the root down, the root left out: the how-manieth child it is."""


class Blame(Struct, gc=False):
    """What one task did to its workers."""

    function: str
    arguments: bytes
    count: int = 0
    failure: Failure | None = None


class Blames:
    """Blames of children, by the root of their families and the way down from it."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self.by_root: OrderedDict[int, dict[Way, Blame]] = OrderedDict()

    def note(self, task: Task, failure: Failure) -> None:
        """A worker died while a child ran; the child's own count has it already."""
        found = self._way(task)
        if found is None:
            return
        root, way = found
        its_own = self.by_root.setdefault(root, {})
        self.by_root.move_to_end(root)
        blame = its_own.get(way)
        if blame is None or not _is_of(blame, task):
            blame = its_own[way] = Blame(task.function, task.payload.data)
        blame.count = task.blames = max(blame.count + 1, task.blames)
        blame.failure = failure
        while len(self.by_root) > ROOTS_MOST:
            self.by_root.popitem(last=False)

    def recall(self, task: Task) -> int:
        """Give a child that is about to wait the blames that it had before; gives how many."""
        blame = self._of(task)
        if blame is not None:
            task.blames = blame.count
        return task.blames

    def why(self, task: Task) -> Failure:
        """Say how the worker of a child died the last time."""
        blame = self._of(task)
        unsaid = Failure(Reason.SIGNAL, "WorkerDied", "its workers died while it ran")
        return blame.failure or unsaid if blame is not None else unsaid

    def forget(self, task: Task) -> None:
        """A task has ended; if it is a root, nothing below it is asked for any more."""
        self.by_root.pop(task.id, None)

    def _of(self, task: Task) -> Blame | None:
        found = self._way(task)
        if found is None:
            return None
        root, way = found
        blame = self.by_root.get(root, {}).get(way)
        return blame if blame is not None and _is_of(blame, task) else None

    def _way(self, task: Task) -> tuple[int, Way] | None:
        """Find the root above a child and the way down to it; None where its place says nothing."""
        state, way = self._state, list[int]()
        while task.family:
            family, above = state.families.get(task.family), state.tasks.get(task.family)
            child = family.children.get(task.id) if family is not None else None
            if family is None or above is None or child is None or family.has_remade or task.id in family.replicas:
                return None  # what was made again was counted among the children, and runs of one task are as one
            way.append(child.index)
            task = above
        return task.id, tuple(reversed(way))


def _is_of(blame: Blame, task: Task) -> bool:
    return blame.function == task.function and blame.arguments == task.payload.data
