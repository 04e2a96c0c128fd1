"""Tasks that go to certain hosts: one run on each of them, or one host after the other.

Law: a task that runs on each host has ended when all of its runs have; a run on a host that is gone is not waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.data.versions import Child
from agentd.core.placing.ways import could_fit
from agentd.core.tasks.task import HERE, State, Task
from agentd.model.task import Failure, Outcome, Spread, Status
from agentd.model.values import NO_VALUE
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core.families.family import Family
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Shape


class Replicas:
    """The runs of one task on its hosts. One of them, the lead, is the task; the others make nothing."""

    __slots__ = ("ended", "failure", "lead", "left")

    def __init__(self, lead: int) -> None:
        self.lead = lead
        self.left: set[int] = set()
        """The other runs that have not ended."""
        self.ended: tuple[Task, Outcome] | None = None
        """The lead and how it ended, until all have."""
        self.failure: Failure | None = None
        """Why one of the others failed."""


class Spreading:
    """Chooses hosts for tasks that are not the scheduler's to place."""

    def __init__(self, state: AgentState, endings: Endings) -> None:
        self._state = state
        self._endings = endings

    def _hosts(self, shape: Shape, child: Child) -> list[str]:
        """Name the hosts that fit, this agent first, as the empty name."""
        state = self._state
        own = [""] if shape.is_here and could_fit(state.pool, shape) else []
        probe = Task(child.id, shape, child.spawned.payload, HERE, 0)
        return [*own, *[row.name for row in state.neighbourhood.rows if row.admits(probe)]]

    def spread(self, family: Family, child: Child, shape: Shape, now: float) -> Shape:
        """Give the shape under which a child waits; where it runs on each host, let the other runs wait too."""
        hosts = self._hosts(shape, child)
        if not hosts or child.id in family.replicas:
            return shape
        bound = self._state.shapes.bound
        if shape.template.spread == Spread.IN_TURN:
            shape.turn += 1
            return bound(shape, hosts[(shape.turn - 1) % len(hosts)])
        if len(hosts) > 1:
            replicas = family.replicas[child.id] = Replicas(child.id)
            for host in hosts[1:]:
                self._replicate(family, child, replicas, bound(shape, host), now)
        return bound(shape, hosts[0])

    def _replicate(self, family: Family, child: Child, replicas: Replicas, shape: Shape, now: float) -> None:
        """Let one more run of a child wait: it reads the same, and makes nothing that anybody is given."""
        state, spawned = self._state, child.spawned
        other = Child(next(state.ids), replace(spawned, makes=(), after=(), chain=0), child.index, now)
        family.children[other.id] = other
        family.replicas[other.id] = replicas
        replicas.left.add(other.id)
        family.versions.read(other)
        if family.track is not None:
            family.track.asked += 1
        for number in spawned.groups:
            family.groups[number].children.add(other.id)
        for wait in family.waits:
            wait.missing += family.is_waited_for(other, wait)
        task = Task(other.id, shape, spawned.payload, HERE, state.next_order())
        state.objects.retain(spawned.payload)
        task.family, task.submitted_at, task.makes = family.parent, now, len(spawned.makes)
        task.share = family.share
        if spawned.reads:
            task.inputs = family.versions.inputs(spawned.reads)
            task.places = state.fetches.places(task.inputs)
        state.tasks[task.id] = task
        state.queue.extend([task])
        state.changes.add(Change.READY)

    # --- ending -----------------------------------------------------------------------------------------------

    def hold(self, family: Family, child: Child, task: Task, outcome: Outcome) -> bool:
        """The lead of several runs has ended: tells whether others have not, so that its end is kept for later."""
        replicas = family.replicas[child.id]
        if child.id != replicas.lead or not replicas.left:
            return False
        replicas.ended = task, outcome
        self._state.objects.retain(task.payload)
        child.spawned = replace(child.spawned, payload=NO_VALUE)  # the task has it, and lets it go in the end
        return True

    def over(self, family: Family, child: Child, outcome: Outcome | None) -> tuple[Task, Outcome] | None:
        """A run is over; gives the lead and how it ended, if that was kept for this one."""
        replicas = family.replicas.pop(child.id)
        if child.id == replicas.lead:
            if replicas.ended is not None:
                self._endings.release_outcome(replicas.ended[1])
                self._endings.release(replicas.ended[0].payload)
                replicas.ended = None
            return None
        replicas.left.discard(child.id)
        if outcome is not None and outcome.status not in {Status.DONE, Status.CANCELLED}:
            replicas.failure = replicas.failure or outcome.failure
        if replicas.left or replicas.ended is None:
            return None
        (task, found), replicas.ended = replicas.ended, None
        if replicas.failure is not None and found.status == Status.DONE:
            self._endings.release_outcome(found)
            found = Outcome(Status.FAILED, failure=replicas.failure, agent=found.agent, attempts=found.attempts)
        return task, found

    # --- hosts that go ----------------------------------------------------------------------------------------

    def host_gone(self, name: str, now: float) -> None:
        """A neighbour is not there any more: what waits for it alone goes elsewhere, or is not needed."""
        for bucket in list(self._state.queue.buckets()):
            if bucket.shape.only == name:
                while (task := bucket.first()) is not None:
                    self.unbind(task, now)

    def unbind(self, task: Task, now: float) -> None:
        """Let a waiting task run anywhere, its one host being out of the question; a further run of one just ends."""
        state, base = self._state, task.shape.of
        if task.state is not State.WAITING or task.shape.only is None or base is None:
            return
        state.queue.take(task)
        if task.shape.template.lasts:
            self._endings.cancel(task, now)
            return
        family = state.families.get(task.family)
        replicas = family.replicas.get(task.id) if family is not None else None
        if replicas is not None and replicas.lead != task.id:
            self._endings.cancel(task, now)
            return
        task.shape = base
        state.queue.add(task)
        state.changes.add(Change.READY)
