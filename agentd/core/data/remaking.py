"""Values that were lost with another agent, made again by running what made them.

Law: a task reads nothing that is lost; it waits, without a host, until that is there again or has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.data.versions import PENDING, Child, await_version
from agentd.core.families.family import Group
from agentd.core.tasks.task import State
from agentd.model.graph import Standing
from agentd.model.task import Failure, Reason
from agentd.model.values import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.data.lineage import Record
    from agentd.core.data.versions import Version, Wait
    from agentd.core.families.family import Family
    from agentd.core.state import AgentState
    from agentd.core.tasks.task import Task

    Release = Callable[[Family, list[Child], float], None]
    Cancel = Callable[[Family, list[int], Failure | None, float], None]
    Tell = Callable[[Family, list[Child | Wait], list[Child], float, Failure], None]

UNSTARTED = frozenset({State.WAITING, State.LACKING})
"""Where a task is that may be put back until what it reads is there; one that fetched what was lost waits again."""


class Remaking:
    """Makes lost versions again, and lets tasks wait for that."""

    def __init__(self, state: AgentState, release: Release, cancel: Cancel, tell: Tell) -> None:
        self._state = state
        self._release = release
        self._cancel = cancel
        self._tell = tell
        self._doomed: list[tuple[int, int]] = []
        """Tasks that came back and read what has failed meanwhile, by parent and number."""
        self._turns: list[tuple[int, Child]] = []
        """Tasks that came back and wait for what they read, and have had a turn in a chain, with their parents."""

    def settle(self, now: float) -> None:
        """Look after all that was found to be lost since this was asked last."""
        state = self._state
        while state.lineage.lost or self._doomed or self._turns:
            lost, state.lineage.lost = state.lineage.lost, {}
            for parent, numbers in lost.items():
                family = state.families.get(parent)
                if family is not None:
                    self._mend(family, numbers, now)
            doomed, self._doomed = self._doomed, []
            turns, self._turns = self._turns, []
            for parent, passer in turns:
                family = state.families.get(parent)
                following = family.gives_up_turn(passer) if family is not None else None
                if family is not None and following is not None:
                    self._release(family, [following], now)
            for parent, number in doomed:
                family = state.families.get(parent)
                child = family.children.get(number) if family is not None else None
                if family is not None and child is not None:
                    self._cancel(family, [number], child.why, now)

    # --- what was lost ----------------------------------------------------------------------------------------

    def _mend(self, family: Family, lost: set[int], now: float) -> None:
        """Make lost versions of a family again, as far as that can be."""
        refusal = "the task that asked for it is being stopped" if family.refusal is not None else ""
        plan = self._state.lineage.plan(family.versions, lost, refusal)
        remade, ready = set(plan.remade), list[Child]()
        readers = [child for child in family.children.values() if not remade.isdisjoint(child.spawned.reads)]
        fresh = [self._again(family, record, now) for record in plan.again if record.task not in family.children]
        for number in plan.remade:
            self._open(family, number)
        for child in fresh:
            for number in child.spawned.reads:
                version = family.versions.find(number)
                if version is not None and version.standing == PENDING:
                    await_version(version, child)
            if not child.missing:
                ready.append(child)
        for child in readers:
            self._put_back(family, child, remade, ready)
        for number, words, agent in plan.failed:
            self._fail(family, number, words, agent, ready, now)
        self._release(family, ready, now)

    def _again(self, family: Family, record: Record, now: float) -> Child:
        """Have a task that has ended run again, as another attempt: as if it were asked for now."""
        state, spawned = self._state, record.spawned
        record.attempt += 1
        family.spawned += 1
        family.has_remade = True
        child = Child(record.task, spawned, family.spawned, now, again=record)
        state.objects.retain(spawned.payload)
        family.children[child.id] = child
        family.shapes[child.id] = record.shape
        if family.track is not None:
            family.track.asked += 1
        for number in spawned.groups:
            family.groups.setdefault(number, Group()).children.add(child.id)
        for number in spawned.reads:
            version = family.versions.find(number)
            if version is not None:
                version.readers += 1
        state.counters["remade"] += 1
        return child

    def _open(self, family: Family, number: int) -> None:
        """A version is yet to come once more; who waits for its value goes on waiting."""
        version = family.versions.find(number)
        if version is not None:
            version.standing = PENDING
            self._let_go(family, number, version)

    def _let_go(self, family: Family, number: int, version: Version) -> None:
        value = version.value
        self._state.lineage.part(family.versions, number, version)
        version.value = NO_VALUE
        self._state.lineage.release(value)

    def _put_back(self, family: Family, child: Child, remade: set[int], ready: list[Child]) -> None:
        """A task that has not started reads what is made again: it waits for that, and lets others of its chain go on.

        One that has started has its bytes; one that a neighbour has comes back if it lacks them.
        """
        if not self._is_unstarted(family, child.id):
            return
        task = self._state.tasks.get(child.id)
        if task is not None and task.state is State.WAITING:
            self._state.queue.take(task)
            self._state.move(task, State.LACKING)
            task.lacks = True
        for number in child.spawned.reads:
            version = family.versions.find(number)
            if number in remade and version is not None:
                await_version(version, child)
        following = family.gives_up_turn(child)
        if following is not None:
            ready.append(following)

    def _is_unstarted(self, family: Family, number: int) -> bool:
        """Tell whether a child needs no bytes yet: it has not become a task, or waits for a host."""
        task = self._state.tasks.get(number)
        return task.state in UNSTARTED if task is not None else number in family.shapes

    def _fail(self, family: Family, number: int, words: str, agent: str, ready: list[Child], now: float) -> None:
        """A version is lost for good: whoever needs it is to know why."""
        version = family.versions.find(number)
        if version is None:
            return
        words = f"a value is lost with {agent}, and {words}"
        failure = Failure(Reason.SIGNAL, "DataLost", words, agent=agent)
        waiting, version.waiting = version.waiting or [], None
        version.standing, version.failure = Standing.FAILED, failure
        self._let_go(family, number, version)
        readers = [child.id for child in family.children.values() if number in child.spawned.reads]
        unstarted = [one for one in readers if self._is_unstarted(family, one)]
        if unstarted:
            family.untold.append(failure)
        self._tell(family, waiting, ready, now, failure)
        self._cancel(family, unstarted, failure, now)

    # --- tasks that wait for it -------------------------------------------------------------------------------

    def provide(self, task: Task) -> bool:
        """Give a task that is to wait for a host what it reads, as it stands now; False: something is not there."""
        family = self._state.families.get(task.family)
        child = family.children.get(task.id) if family is not None else None
        if family is None or child is None:
            return True
        versions, is_doomed = family.versions, False
        for number in child.spawned.reads:
            version = versions.get(number)
            if version.standing == PENDING:
                await_version(version, child)
            elif version.standing != Standing.THERE:
                child.why, is_doomed = version.failure, True
        if not child.missing and not is_doomed:
            task.inputs = versions.inputs(child.spawned.reads)
            return True
        task.state, task.lacks = State.LACKING, True
        if is_doomed:
            self._doomed.append((family.parent, task.id))
        if child.spawned.chain:
            self._turns.append((family.parent, child))
        return False
