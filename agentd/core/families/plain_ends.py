"""Children that ended well and brought little: what becomes of their families, worked out once for many of them.

Law: what becomes of a family is what would become of it if its children had ended one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.data.versions import Child, Wait
from agentd.core.tasks.task import ENDED
from agentd.core.tasks.tracks import row_of
from agentd.model.errors import BrokenInvariant
from agentd.model.graph import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentd.core.families.family import Family
    from agentd.core.placing.gangs import Gangs
    from agentd.core.state import AgentState
    from agentd.core.tasks.task import Task
    from agentd.model.task import Outcome

    Ended = tuple[Task, Outcome]


class PlainEnds:
    """Ends children, many at once."""

    def __init__(
        self,
        state: AgentState,
        gangs: Gangs,
        satisfied: Callable[[Family, Wait, float], None],
        release: Callable[[Family, Iterable[Child], float], None],
        is_left: Callable[[Family], None],
    ) -> None:
        """Make it; `release` lets children wait for a host, `is_left` is told of a family that has no more of them."""
        self._state = state
        self._gangs = gangs
        self._satisfied = satisfied
        self._release = release
        self._is_left = is_left

    def take(self, ended: Iterable[Ended], now: float) -> list[Ended]:
        """End the children that are plain; gives the others, which are to be ended one by one.

        None of them has a family of its own.
        """
        others: list[Ended] = []
        by_parent: dict[int, list[Ended]] = {}
        for one in ended:
            task, outcome = one
            if outcome.status or outcome.failure is not None or outcome.has_parts or task.payload.parts:
                others.append(one)
            else:
                by_parent.setdefault(task.family, []).append(one)
        for parent, its_own in by_parent.items():
            family = self._state.families.get(parent)
            if family is None:
                raise BrokenInvariant(f"tasks of task {parent} ended, which has no family")
            others += self._end(family, its_own, now)
        return others

    def _end(self, family: Family, ended: list[Ended], now: float) -> list[Ended]:
        """End children of one family; gives those whose end means more than that."""
        tasks, children, versions = self._state.tasks, family.children, family.versions
        others: list[Ended] = []
        over: list[Child] = []
        waiting: list[Child | Wait] = []
        rows = []
        for one in ended:
            task, outcome = one
            child = children.get(task.id)
            if child is None:
                raise BrokenInvariant(f"task {task.id} ended, which is no child of task {task.family}")
            spawned = child.spawned
            if spawned.chain or len(outcome.made) != len(spawned.makes) or task.id in family.replicas:
                others.append(one)
                continue
            task.state = ENDED
            del tasks[task.id]
            for number, value in zip(spawned.makes, outcome.made, strict=True):
                waiting += versions.settle(number, Standing.THERE, value, None)
            if family.track is not None:
                rows.append(row_of(child, task, outcome, now))
            child.is_over = True
            del children[task.id]
            over.append(child)
            if spawned.reads:
                versions.unread(spawned.reads)
            for number in spawned.groups:
                family.groups[number].children.discard(child.id)
        self._state.counters["ended"] += len(over)
        if family.track is not None:
            self._state.ledger.tracks.add_done(family.root, family.track, rows)
        self._go_on(family, over, waiting, now)
        return others

    def _go_on(self, family: Family, over: list[Child], waiting: list[Child | Wait], now: float) -> None:
        """Let go on what waited for children, or for what they made."""
        if self._gangs.running:
            for child in over:
                self._gangs.over(child.id, now)
        if over and not family.children:
            self._is_left(family)
        ready: list[Child] = []
        for who in waiting:
            who.missing -= 1
            if who.missing:
                continue
            if type(who) is Wait:
                self._satisfied(family, who, now)
            elif type(who) is Child:
                ready.append(who)
        for wait in list(family.waits):
            wait.missing -= sum([family.is_waited_for(child, wait) for child in over])
            if not wait.missing:
                family.waits.remove(wait)
                self._satisfied(family, wait, now)
        if ready:
            self._release(family, ready, now)
