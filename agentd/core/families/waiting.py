"""Tasks that wait for what they asked for: they give their cores back, and win them again before anything new starts.

Law: a task that waits holds no cores; what it waited for is told once, when it has its cores again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import Resume
from agentd.core.data.bringing import Bringing
from agentd.core.data.versions import PENDING, Wait
from agentd.core.placing.ways import has_way
from agentd.core.tasks.task import State
from agentd.model.graph import Known, Standing

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.commands import Binding
    from agentd.core.families.families import Families
    from agentd.core.families.family import Family
    from agentd.core.state import AgentState
    from agentd.core.tasks.task import Task
    from agentd.core.workers.execution import Execution
    from agentd.model.task import Failure


LOOK_MOST = 100
"""Children looked at in search of one that may start (if none of a family runs, the oldest may)."""


class Waiting:
    """Lets tasks wait, and go on."""

    families: Families
    """Joined by the engine: each of the two needs the other."""

    def __init__(self, state: AgentState, execution: Execution) -> None:
        self._state = state
        self._execution = execution
        self.bringing = Bringing(state, self.satisfied)
        self.winners: list[Task] = []
        """Tasks that may go on as soon as there are cores, those first that have been so for longest."""

    # --- events -----------------------------------------------------------------------------------------------

    def versions_awaited(self, event: e.VersionsAwaited, now: float) -> None:
        """A running task waits for versions."""
        family = self.families.of(event.parent, event.worker)
        if family is not None:
            wait = Wait(event.parent, event.worker, event.token, event.versions, event.wants_values)
            family.versions.await_all(wait)
            if event.wants_values:
                self.bringing.bring_all(family, wait, now)
            self._begin(family, wait, now)

    def tasks_awaited(self, event: e.TasksAwaited, now: float) -> None:
        """A running task waits for tasks."""
        family = self.families.of(event.parent, event.worker)
        if family is None:
            return
        wait = Wait(event.parent, event.worker, event.token, group=event.group, upto=family.spawned, is_for_tasks=True)
        group = family.groups.get(event.group)
        wait.missing = len(family.children) if not event.group else len(group.children) if group is not None else 0
        if wait.missing:
            family.waits.append(wait)
        self._begin(family, wait, now)

    def _begin(self, family: Family, wait: Wait, now: float) -> None:
        if not wait.missing:
            self._answer(family, wait)
            return
        task = self._state.tasks[family.parent]
        if task.state is State.RUNNING:
            self._execution.block(task, now)

    def satisfied(self, family: Family, wait: Wait, now: float) -> None:  # noqa: ARG002 - as all that is called back
        """What a task waited for is there."""
        task = self._state.tasks.get(family.parent)
        if task is None:
            return
        if task.state is State.RUNNING:
            self._answer(family, wait)
        elif task.state is State.BLOCKED:  # in any other state its code has ended, or is about to be
            if not family.over:
                self.winners.append(task)
            family.over.append(wait)

    # --- running on top ---------------------------------------------------------------------------------------

    def stack(self, now: float, only: Task | None = None) -> None:
        """Where no worker is left for free cores: let tasks run on top of those that wait for them, or this one only.

        The deepest of all that wait has a child that is ready, or one that runs; so something always goes on. What
        only holds cores needs no worker, and is not kept by what does and stands before it.
        """
        state = self._state
        bearers = state.crew.bearers()
        if bearers and only is None:
            for holder in list(state.queue.holders()):
                self._execution.holding.hold(holder, now)
        for line in bearers:
            top = line.tasks[-1]
            family = state.families.get(top.id)
            if line.revoking or line.asked or top.state is not State.BLOCKED or family is None or family.over:
                continue
            task = self._ready(family, only)
            if task is not None:
                self._execution.run_on_top(line, task, now)

    def _ready(self, family: Family, only: Task | None) -> Task | None:
        """Find a task that a family waits for and that waits for a host itself: any, or this one."""
        state, families, patience = self._state, [family], LOOK_MOST
        while families:
            one = families.pop()
            for number in one.children:
                task = state.tasks.get(number)
                if task is not None and task.state is State.WAITING:
                    is_meant = only is None or task is only
                    if is_meant and task.shape.is_here and self._may_stack(task) and self._fits_now(task):
                        return task
                elif task is not None and task.state is State.JOINING:
                    families.append(state.families[number])
                patience -= only is None and (task is None or task.state is State.WAITING)
                if not patience:
                    return None
        return None

    def _may_stack(self, task: Task) -> bool:
        """Tell whether a task may share a worker: one that killed its own waits for another, if there can be one."""
        return not task.blames or not self._state.crew.may_have_more

    def _fits_now(self, task: Task) -> bool:
        fits = self._state.pool.fits_now
        return has_way(task, lambda one: fits(one.demand)) if task.shape.ways else fits(task.shape.demand)

    # --- winning cores again ----------------------------------------------------------------------------------

    def win(self, now: float) -> None:
        """Let those go on that may, in order; while one lacks cores, nothing new is given any."""
        left: list[Task] = []
        is_promised = False
        for task in self.winners:
            if task.state is State.BLOCKED and not is_promised and self._execution.is_on_top(task):
                is_promised = not self._execution.unblock(task, now)
            if task.state is State.BLOCKED:
                left.append(task)
            elif task.state is State.RUNNING:
                self._answer_all(task)
        self.winners = left
        self._state.crew.is_promised = is_promised

    def _answer_all(self, task: Task) -> None:
        family = self._state.families.get(task.id)
        if family is not None:
            binding = self._state.crew.lines[task.worker].binding
            waits, family.over = family.over, []
            for wait in waits:
                self._answer(family, wait, binding)

    def _answer(self, family: Family, wait: Wait, binding: Binding | None = None) -> None:
        if wait.is_for_tasks:
            rows = [_standing(family, wait.group)]
        else:
            rows = [self._row(family, wait, number) for number in wait.versions]
        self._state.outbox.add(Resume(wait.worker, wait.token, rows, family.parent, binding))

    def _row(self, family: Family, wait: Wait, number: int) -> Known:
        """Say how a version stands; a failure that is told is not the parent's any more."""
        version = family.versions.get(number)
        if version.standing in {Standing.THERE, PENDING}:
            if not wait.wants_values:
                return Known(number)
            if not self._state.objects.lies_elsewhere(version.value):
                return Known(number, Standing.THERE, self._state.objects.localized(version.value))
            return Known(number, Standing.FAILED, failure=version.failure)  # it cannot be brought here
        _tell(family, version.failure)
        return Known(number, version.standing, failure=version.failure)


def _standing(family: Family, number: int) -> Known:
    """Say how a group stands, or the whole family."""
    if not number:
        failure = family.untold[0] if family.untold else None
        family.untold.clear()
    else:
        group = family.groups.get(number)
        failure = group.failure if group is not None else None
        if group is not None:
            group.failure = None
        _tell(family, failure)
    return Known(0, Standing.THERE if failure is None else Standing.FAILED, failure=failure)


def _tell(family: Family, failure: Failure | None) -> None:
    family.untold = [one for one in family.untold if one is not failure]
