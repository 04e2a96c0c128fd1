"""Families: a task and the tasks that its code asks for, in the order that their versions demand.

Law: a child runs when all that it needs is there, and never when something of that failed; every child ends once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.data.remaking import Remaking
from agentd.core.data.versions import Child, Wait, failure_of
from agentd.core.families.blames import BLAMES, Blames
from agentd.core.families.family import Family, Group
from agentd.core.families.parting import Parting, given_up
from agentd.core.families.plain_ends import PlainEnds
from agentd.core.placing.spreading import Spreading
from agentd.core.tasks.task import HERE, State, Task
from agentd.core.tasks.tracks import lost_row, row_of
from agentd.core.workers.following import Following
from agentd.model.errors import BrokenInvariant
from agentd.model.graph import Standing
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import NO_VALUE
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentd.core import events as e
    from agentd.core.placing.gangs import Gangs
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings

UNTOLD_MOST = 100
"""Failures of children that are kept until their parent asks (chosen: it fails by the first)."""


class Families:
    """Takes what running tasks ask for."""

    def __init__(
        self,
        state: AgentState,
        endings: Endings,
        stop: Callable[[Task, float], None],
        satisfied: Callable[[Family, Wait, float], None],
        bring: Callable[[Family, int, Wait, float], bool],
        gangs: Gangs,
    ) -> None:
        self._state = state
        self._endings = endings
        self._stop = stop
        self._satisfied = satisfied
        self._bring = bring
        self._remaking = Remaking(state, self._release, self._cancel, self._told)
        self.provide = self._remaking.provide
        self.following = Following(state, endings, stop)
        self.spreading = Spreading(state, endings)
        self.blames = Blames(state)
        self.gangs = gangs
        self._parting = parting = Parting(state, endings, self.blames, self._cancel, self._remaking.settle)
        self.give_up, self.join, self.again = parting.give_up, parting.join, parting.again
        self.cancel_joining, self.settle = parting.cancel_joining, parting.settle
        self.end_plain = PlainEnds(state, gangs, satisfied, self._release, parting.left.append).take

    # --- what running tasks ask -------------------------------------------------------------------------------

    def of(self, parent: int, worker: int) -> Family | None:
        """Find or found the family of a task whose code asks for something; None when the task is not wanted."""
        state = self._state
        family = state.families.get(parent)
        if family is None:
            task = state.tasks.get(parent)
            if task is None or task.worker != worker or task.state not in {State.RUNNING, State.STOPPING}:
                return None
            family = state.families[parent] = self._found(task, worker)
            state.crew.alone(worker)
            if task.state is State.STOPPING:
                family.refusal = given_up("the task that asked for it is being stopped")
        return family

    def _found(self, task: Task, worker: int) -> Family:
        """Begin the family of a task."""
        state = self._state
        above = state.families.get(task.family) if task.family else None
        root = above.root if above is not None else task.id
        tracks, is_shown = state.ledger.tracks, state.ledger.get(root) is not None
        track = tracks.open(root) if is_shown else None
        return Family(task.id, root, track, worker, state.lineage, task.caller or task.share)

    def tasks_spawned(self, event: e.TasksSpawned, now: float) -> None:
        """A running task asks for tasks."""
        state = self._state
        family = self.of(event.parent, event.worker)
        if family is None:
            for spawned in event.tasks:
                self._endings.release(spawned.payload)
            return
        shapes = state.declared.get(-event.worker, {})
        ids, children, versions = state.ids, family.children, family.versions
        ready: list[Child] = []
        if family.track is not None:
            family.track.asked += len(event.tasks)
        for spawned in event.tasks:
            family.spawned += 1
            child = Child(next(ids), spawned, family.spawned, now)
            children[child.id] = child
            versions.open(spawned.makes, child.id)
            for number in spawned.groups:
                family.groups.setdefault(number, Group()).children.add(child.id)
            shape = shapes.get(spawned.template)
            lost = versions.read(child) if spawned.reads or spawned.after else None
            failure = family.refusal or (lost.failure if lost is not None else None)
            if shape is None:
                words = f"template {spawned.template} was not declared by the worker"
                failure = Failure(Reason.NOT_CALLABLE, "RequestError", words, agent=state.identity.name)
            if failure is not None or lost is not None or shape is None:
                self._lose(family, child, failure, now)
                continue
            if shape.template.nodes > 1 and (failure := self.gangs.objection(shape)) is not None:
                family.untold.append(failure)
                self._lose(family, child, failure, now, Standing.FAILED)
                continue
            family.shapes[child.id] = shape
            if not child.missing:
                ready.append(child)
        self._release(family, ready, now)

    def versions_put(self, event: e.VersionsPut, now: float) -> None:  # noqa: ARG002 - all handlers are alike
        """A running task gives values."""
        family = self.of(event.parent, event.worker)
        for put in event.values:
            if family is None:
                self._endings.release(put.value)
            else:
                family.versions.put(put.version, self._state.objects.share(put.value))

    def versions_released(self, event: e.VersionsReleased, now: float) -> None:  # noqa: ARG002
        """A running task will not ask for these any more."""
        family = self._state.families.get(event.parent)
        if family is not None:
            family.versions.give_up(event.versions)

    def group_cancelled(self, event: e.GroupCancelled, now: float) -> None:
        """A running task gives a group up, or all that it asked for."""
        family = self._state.families.get(event.parent)
        if family is None:
            return
        group = family.groups.get(event.group)
        chosen = list(family.children) if not event.group else list(group.children) if group is not None else []
        self._cancel(family, chosen, given_up("its group was cancelled"), now)

    # --- becoming ready ---------------------------------------------------------------------------------------

    def _release(self, family: Family, ready: Iterable[Child], now: float) -> None:
        """Let children wait for a host, all that they need being there; those of a chain one at a time."""
        state, shapes, versions = self._state, family.shapes, family.versions
        tasks, orders, parent = state.tasks, state.orders, family.parent
        fresh: list[Task] = []
        doomed: list[Task] = []
        for child in ready:
            spawned = child.spawned
            if child.is_over or (spawned.chain and not family.takes_turn(child)):
                continue
            shape = shapes.pop(child.id, None)
            if shape is None:
                self.following.complete(tasks[child.id], versions.inputs(spawned.reads))
                continue
            if shape.template.spread and child.again is None:
                shape = self.spreading.spread(family, child, shape, now)
            task = Task(child.id, shape, spawned.payload, HERE, next(orders))
            task.family, task.submitted_at, task.makes, task.share = parent, now, len(spawned.makes), family.share
            if spawned.reads:
                task.inputs = versions.inputs(spawned.reads)
                task.places = state.fetches.places(task.inputs)
            if child.again is not None:
                child.again.count(task)
            tasks[task.id] = task
            if self.blames.by_root and child.again is None and self.blames.recall(task) >= BLAMES:
                doomed.append(task)
                continue
            if shape.template.nodes > 1:
                self.gangs.wait(task)
            if fresh and (fresh[0].shape is not shape or fresh[0].places != task.places):
                state.queue.extend(fresh)
                fresh = []
            fresh.append(task)
        if fresh:
            state.queue.extend(fresh)
            state.changes.add(Change.READY)
        for task in doomed:
            self._endings.fail(task, self.blames.why(task), now, Status.QUARANTINED)

    # --- ending -----------------------------------------------------------------------------------------------

    def ended(self, task: Task, outcome: Outcome, now: float) -> None:
        """A child has its outcome."""
        family = self._state.families.get(task.family)
        child = family.children.get(task.id) if family is not None else None
        if family is None or child is None:
            raise BrokenInvariant(f"task {task.id} ended, which is no child of task {task.family}")
        if family.replicas and task.id in family.replicas and self.spreading.hold(family, child, task, outcome):
            return
        self._endings.release(outcome.value)
        makes = child.spawned.makes
        if outcome.status == Status.DONE and len(outcome.made) < len(makes):
            words = f"it gave {len(outcome.made)} values and was to make {len(makes)}"
            failure = Failure(Reason.NOT_ENCODABLE, "NotMade", words, agent=outcome.agent, attempt=outcome.attempts)
            for value in outcome.made:
                self._endings.release(value)
            outcome = Outcome(Status.FAILED, failure=failure, agent=outcome.agent)
        ready: list[Child] = []
        if outcome.status == Status.DONE:
            for number, value in zip(makes, outcome.made, strict=False):
                shared = self._state.objects.share(value)
                waiting = family.versions.settle(number, Standing.THERE, shared, None)
                self._told(family, waiting, ready, now, number=number)
            for value in outcome.made[len(makes) :]:
                self._endings.release(value)
            if task.host:
                self._state.lineage.note(family.versions, child.spawned, task, outcome.agent)
            if outcome.failure is not None and outcome.failure.reason == Reason.GROUP_EXCEPTION:
                self._end_groups(family, child, failure_of(outcome, "", task.attempt), now)
        else:
            self._unmade(family, child, task, outcome, ready, now)
        if family.track is not None:
            row = row_of(child, task, outcome, now)
            self._state.ledger.tracks.add(family.root, family.track, row, _COUNTED[outcome.status])
        lead = self.spreading.over(family, child, outcome) if task.id in family.replicas else None
        self._leave(family, child, ready, now)
        self._release(family, ready, now)
        if lead is not None:
            self.ended(*lead, now)
            self._endings.release(lead[0].payload)

    def _unmade(
        self, family: Family, child: Child, task: Task, outcome: Outcome, ready: list[Child], now: float
    ) -> None:
        """A child has no values: whoever needs them is cancelled, and the parent is to know."""
        for value in outcome.made:
            self._endings.release(value)
        failure = child.why or failure_of(outcome, "cancelled before it ended", task.attempt + task.retries)
        standing = Standing.FAILED
        if outcome.status == Status.CANCELLED or task.shape.template.on_failure == "CANCEL_SUCCESSORS":
            standing = Standing.CANCELLED
        else:
            for number in child.spawned.groups:
                family.groups[number].failure = family.groups[number].failure or failure
            if len(family.untold) < UNTOLD_MOST:
                family.untold.append(failure)
        for number in child.spawned.makes:
            self._told(family, family.versions.settle(number, standing, NO_VALUE, failure), ready, now, failure)

    def _told(
        self,
        family: Family,
        waiting: list[Child | Wait],
        ready: list[Child],
        now: float,
        failure: Failure | None = None,
        number: int = 0,
    ) -> None:
        """A version has come, `number`, or never will: tell who waits for it."""
        for who in waiting:
            if number and type(who) is Wait and self._bring(family, number, who, now):
                continue
            who.missing -= 1
            if type(who) is Wait:
                if not who.missing:
                    self._satisfied(family, who, now)
            elif type(who) is Child:
                if failure is not None:
                    self._lose(family, who, failure, now)
                elif not who.missing:
                    ready.append(who)

    def _lose(
        self,
        family: Family,
        child: Child,
        failure: Failure | None,
        now: float,
        standing: Standing = Standing.CANCELLED,
    ) -> None:
        """End a child that has not become a task, and all that need what it was to make.

        `standing`: what becomes of what it was to make itself; all else is cancelled.
        """
        lost = [child]
        while lost:
            one = lost.pop()
            if one.is_over:
                continue
            task = self._state.tasks.get(one.id) if one.id not in family.shapes else None
            if task is not None:
                self.following.drop(one, task, failure, now)
                continue
            shape = family.shapes.pop(one.id, None)
            self._endings.release(one.spawned.payload)
            if one.id in family.replicas:
                self.spreading.over(family, one, None)
            if family.track is not None:
                row = lost_row(family.parent, one, shape, failure, now)
                self._state.ledger.tracks.add(family.root, family.track, row, 2)
            for number in one.spawned.makes:
                own = standing if one is child else Standing.CANCELLED
                for who in family.versions.settle(number, own, NO_VALUE, failure):
                    who.missing -= 1
                    if type(who) is Child:
                        lost.append(who)
                    elif type(who) is Wait and not who.missing:
                        self._satisfied(family, who, now)
            ready: list[Child] = []
            self._leave(family, one, ready, now)
            self._release(family, ready, now)

    def _leave(self, family: Family, child: Child, ready: list[Child], now: float) -> None:
        """A child is over: forget it, and let go on what waited for it to be so."""
        child.is_over = True
        if self.gangs.running:
            self.gangs.over(child.id, now)
        del family.children[child.id]
        if not family.children:
            self._parting.left.append(family)
        spawned = child.spawned
        if spawned.reads:
            family.versions.unread(spawned.reads)
        for number in spawned.groups:
            family.groups[number].children.discard(child.id)
        following = family.passes_turn(child) if spawned.chain else None
        if following is not None:
            ready.append(following)
        for wait in list(family.waits):
            if family.is_waited_for(child, wait):
                wait.missing -= 1
                if not wait.missing:
                    family.waits.remove(wait)
                    self._satisfied(family, wait, now)

    def _end_groups(self, family: Family, child: Child, failure: Failure, now: float) -> None:
        """A child raised what ends its groups: the others in them are given up, and whoever waits for them is told."""
        for number in child.spawned.groups:
            group = family.groups[number]
            group.failure = failure
            others = [one for one in group.children if one != child.id]
            self._cancel(family, others, failure, now)

    def _cancel(self, family: Family, chosen: list[int], failure: Failure | None, now: float) -> None:
        """Give children up: what has not started never will, what runs is stopped."""
        tasks = self._state.tasks
        for number in chosen:
            child = family.children.get(number)
            if child is None:
                continue
            task = tasks.get(number)
            if task is None:
                self._lose(family, child, failure, now)
            elif task.state is not State.STOPPING:
                child.why = failure
                self._stop(task, now)
            else:
                self.gangs.forget(task)

    def refuse(self, family: Family, failure: Failure, now: float) -> None:
        """Take nothing more of a family, and give up what has not ended."""
        family.refusal = failure
        self._cancel(family, list(family.children), failure, now)


_COUNTED: dict[int, int] = {
    Status.DONE: 0,
    Status.FAILED: 1,
    Status.CANCELLED: 2,
    Status.LOST_UNKNOWN: 1,
    Status.QUARANTINED: 1,
}
