"""What this agent gives its neighbours: offers, and what becomes of them.

Law: an end counts only from the neighbour that holds the attempt, under its number and lease epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.commands import DeclareTemplates
from agentd.core.data.collecting import Collecting
from agentd.core.journal.entries import Returned, Started
from agentd.core.journal.ledger import Operation
from agentd.core.neighbours.lots import Lots
from agentd.core.neighbours.taking import NOWHERE, TRUE_ENDS, Taking
from agentd.core.neighbours.travelling import MOST_BYTES
from agentd.core.placing.ways import could_fit
from agentd.core.tasks.estimates import learn, learn_all
from agentd.core.tasks.task import State, Task
from agentd.model.exchange import End, Offer, Refusal
from agentd.model.task import Failure, Outcome, Reason, Status
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core import events as e
    from agentd.core.data.supply import Supply
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.intake import Intake
    from agentd.core.tasks.task import Shape

DECLARED_MOST = 4096
"""Templates told over one link before they are told anew (the other end remembers at least so many)."""
PARDON_S = 1.0
"""After a refusal that is not for good, until tasks of that shape are offered again (chosen: no ping-pong)."""


class Exchange:
    """Gives tasks to the neighbours, and takes their ends."""

    def __init__(self, state: AgentState, endings: Endings, intake: Intake, supply: Supply) -> None:
        self._state = state
        self._endings = endings
        self._intake = intake
        self._supply = supply
        self._collecting = Collecting(state, endings, supply)
        self.taking = Taking(state, endings, intake, supply)
        """The other direction: what neighbours give us."""
        self.lots = Lots(state, self)
        """Both directions, of tasks that are alike."""
        self._gated: set[int] = set()
        """Tasks that may run only once, booked at a neighbour, of which the start is not on the disk yet."""

    # --- giving -----------------------------------------------------------------------------------------------

    def forward(self, task: Task, neighbour: Neighbour, now: float, most: int = 1) -> None:
        """Offer a waiting task to a neighbour, and up to `most` in all of those behind it that are alike."""
        state = self._state
        state.queue.place(task)
        tasks = [task]
        neighbour.send(task)
        if most > 1 and state.queue.size:
            room = min(most, neighbour.room(task.shape)) - 1
            following, _ = state.queue.take_alike(task, room, MOST_BYTES)
            if following and neighbour.are_light(following):
                tasks += following
                following = []
            for one in following:
                if neighbour.objection(one) is None and neighbour.has_way(one):
                    tasks.append(one)
                    neighbour.send(one)
                else:
                    state.wait(one)
        if len(tasks) > 1:
            state.queue.charge(task, len(tasks) - 1)
        state.counters["forwarded"] += len(tasks)
        neighbour.book(*tasks)
        name, offered, operations = neighbour.name, State.OFFERED, state.ledger.operations
        for one in tasks:
            one.state = offered
            one.host, one.placed_at, one.epoch = name, now, 0
        if len(tasks) > 1 and self.lots.offer(tasks, neighbour):
            return
        for one in tasks:
            operation = None if one.caller or one.family else operations.get(one.id)
            if operation is not None and operation.durable:
                self._offer_durable(one, operation, neighbour)
            else:
                self.offer(one, neighbour)

    def _offer_durable(self, task: Task, operation: Operation, neighbour: Neighbour) -> None:
        """Offer a task that must survive: its start is written, and waited for where there may be only one."""
        state = self._state
        state.acceptances.write(operation)
        number = state.outbox.record(Started((task.id,), neighbour.name))
        if task.shape.template.idempotent:
            self.offer(task, neighbour)
        else:
            self._gated.add(task.id)
            state.outbox.after(number, lambda: self._offer_once(task, neighbour))

    def _offer_once(self, task: Task, neighbour: Neighbour) -> None:
        self._gated.discard(task.id)
        if task.state is State.OFFERED and task.host == neighbour.name:
            self.offer(task, neighbour)

    def is_gated(self, task: Task) -> bool:
        """Tell whether a task that may run only once waits for the disk before it is offered."""
        return task.id in self._gated

    def resume(self, neighbour: Neighbour) -> None:
        """Over a new link to who tells no inventory: offer again what was not answered, stop what is not wanted."""
        for task in list(neighbour.held.values()):
            if task.state is State.STOPPING:
                self._state.outbox.cancel(neighbour.name, task.id, task.attempt)
            elif task.state is State.OFFERED and task.id not in self._gated:
                self.offer(task, neighbour)

    def deliver_again(self, neighbour: Neighbour) -> None:
        """Over a new link: tell the ends that were not confirmed."""
        state = self._state
        for task_id in list(neighbour.ends_unacknowledged):
            operation = state.ledger.get(task_id)
            if operation is not None and operation.outcome is not None:
                self._endings.deliver(operation, operation.outcome, neighbour.name)

    def offer(self, task: Task, neighbour: Neighbour) -> None:
        """Offer a task that is booked there, once over each link."""
        state, shape, path = self._state, task.shape, task.path
        self.declare(shape, neighbour)
        identity, payload, inputs = state.identity, task.payload, task.inputs
        own = identity.agent_id
        if payload.parts and neighbour.fetches:
            task.payload = state.objects.share(payload)
            payload = state.objects.wire(task.payload)
        if inputs:
            inputs = tuple(map(state.objects.wire, inputs))
        offer = Offer(
            task.id,
            shape.number,
            payload,
            task.attempt,
            identity.epoch,
            path.origin or own,
            path.hops + 1,
            (*path.visited, own),
            neighbour.unseen.sequence,
            inputs,
            task.makes,
        )
        state.outbox.offer(neighbour.name, offer)

    def declare(self, shape: Shape, neighbour: Neighbour) -> None:
        """Tell a neighbour the template of tasks that it is offered, once over each link."""
        declared = neighbour.declared_shapes
        if shape.number not in declared:
            if len(declared) >= DECLARED_MOST:
                declared.clear()
            declared.add(shape.number)
            self._state.outbox.add(DeclareTemplates(neighbour.name, ((shape.number, shape.template),)))

    def offers_answered(self, event: e.OffersAnswered, now: float) -> None:
        """A neighbour accepted or declined, or hands unstarted tasks back."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is None:
            return
        is_timed = False
        for task_id, attempt, epoch in event.accepted:
            task = neighbour.held.get(task_id)
            if task is None or task.attempt != attempt:
                continue
            if task.state is State.OFFERED and not is_timed and not task.shape.template.holds:
                neighbour.answered(now - task.placed_at)
                is_timed = True
            self.accepted(task, neighbour, now)
            task.epoch = epoch
        for refusal in event.refused:
            self._refused(neighbour, refusal, now)
        for refusal in event.returned:
            held = neighbour.held.get(refusal.task)
            # What was accepted over an earlier link comes back while it is offered again over this one: the offer
            # is still to be answered, and may be accepted, so the task must not go to another neighbour meanwhile.
            if held is not None and held.state is not State.OFFERED:
                self._refused(neighbour, refusal, now)

    def accepted(self, task: Task, neighbour: Neighbour, now: float) -> None:
        """A neighbour has a task of ours."""
        if neighbour.travelling.bytes and neighbour.travelling.arrived(task.id):
            self._state.changes.add(Change.ROOM)
        if task.state is State.OFFERED:
            task.state = State.FORWARDED
        operation = self._state.operation_of(task)
        if operation is not None and not operation.started_wall:
            operation.started_wall = self._state.wall(now)

    def _refused(self, neighbour: Neighbour, refusal: Refusal, now: float) -> None:
        state = self._state
        task = neighbour.held.get(refusal.task)
        if task is None or task.attempt != refusal.attempt:
            return
        state.counters["refused"] += 1
        neighbour.unbook(task)
        if not task.shape.template.is_line:  # which is declined for itself: that says nothing of the next one
            neighbour.declined(task.shape, refusal.reason, is_final=refusal.final)
            self._pardon_later(neighbour, now)
        if task.state is State.STOPPING:
            self._endings.stopped(task, now)
        elif task.shape.template.is_line:
            self._endings.fail(task, Failure(Reason.UNSCHEDULABLE, "NoLine", refusal.reason, agent=neighbour.name), now)
        else:
            self._endings.repeat(task)
            if refusal.final:
                self._fits_nowhere(task, now)
            if refusal.lacks and task.state is State.WAITING:
                self._supply.has_bytes(task, now)  # they come here first, or are found to be lost
        state.changes.add(Change.ROOM)

    def _fits_nowhere(self, task: Task, now: float) -> None:
        """A neighbour will never take a task that waits: where nobody else can either, it goes back to who gave it."""
        state = self._state
        if task.shape.only:
            self._endings.families.spreading.unbind(task, now)
            return
        sender = state.neighbourhood.get(task.path.sender or "")
        if task.state is not State.WAITING or sender is None or not sender.link:
            return
        if could_fit(state.pool, task.shape) or any(row.admits(task) for row in state.neighbourhood.rows):
            return
        state.queue.drop(task)
        self._endings.hand_back(task, sender, NOWHERE, final=True)

    def _pardon_later(self, neighbour: Neighbour, now: float) -> None:
        """Offer again after a while: what made it decline may have passed without a report that says so."""

        def pardon(_: float) -> None:
            neighbour.is_pardoned = False
            neighbour.pardon()
            self._state.changes.add(Change.ROOM)

        if not neighbour.is_pardoned:
            neighbour.is_pardoned = True
            self._state.timers.at(now + PARDON_S, pardon)

    def ends_received(self, event: e.EndsReceived, now: float) -> None:
        """Tasks that a neighbour held have ended; the neighbour may forget them once that is on our disk."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is None:
            return
        plain = {} if self._state.stopping else self._plain(neighbour, event.ends)
        if plain:  # before those that may have others given up, which have ended as well
            self.end_plain(neighbour, [task for task, _ in plain.values()], [end for _, end in plain.values()], now)
        if len(plain) < len(event.ends):
            for end in event.ends:
                if end.task not in plain:
                    self._end_received(neighbour, end, now)
        self._state.changes.add(Change.ROOM)

    @staticmethod
    def _plain(neighbour: Neighbour, ends: Sequence[End]) -> dict[int, tuple[Task, Outcome]]:
        """Find the ends of tasks that it holds which went well and brought nothing large, by task: the common case."""
        plain = {}
        for end in ends:
            task, outcome = neighbour.held.get(end.task), end.outcome
            if task is None or task.attempt != end.attempt or task.host != neighbour.name:
                continue
            if outcome.status == 0 and outcome.failure is None and not outcome.has_parts:
                attempts = task.attempt
                plain[end.task] = task, outcome if outcome.attempts == attempts else replace(outcome, attempts=attempts)
        return plain

    def end_plain(self, neighbour: Neighbour, tasks: list[Task], outcomes: list[Outcome], now: float) -> None:
        """End tasks that went well there and brought nothing large; those of a lot are all of one attempt."""
        outbox = self._state.outbox
        neighbour.unbook(*tasks)
        if neighbour.had_one and tasks[0].state is State.OFFERED:
            # The answer to a brief task's offer comes behind its end; this one was alone there, and waited for nobody.
            neighbour.answered(now - tasks[0].placed_at - outcomes[0].seconds)
        before = outbox.number
        if len(tasks) == 1 and tasks[0].caller:  # a session's call, alone
            self._state.queue.used(tasks[0], outcomes[0].seconds)
            learn(tasks[0].shape, outcomes[0].seconds, len(outcomes[0].value.data))
            self._endings.end(tasks[0], outcomes[0], now)
        else:
            self._state.queue.used_all(tasks, outcomes, 1.0)
            learn_all(tasks, outcomes, 1.0)
            self._endings.end_all(tasks, outcomes, now)
        if neighbour.takes_lots and outbox.number == before and len({task.attempt for task in tasks}) == 1:
            numbers, attempt = [task.id for task in tasks], tasks[0].attempt
            outbox.after(before, lambda: outbox.acknowledge_lot(neighbour.name, attempt, numbers))
            return
        named = [(task.id, task.attempt) for task in tasks]
        if outbox.number > before and (early := self._unrecorded(tasks)):  # they need not wait for the others' entries
            told, named = named[:early], named[early:]
            outbox.after(before, lambda: outbox.acknowledge_all(neighbour.name, told))
        outbox.after(outbox.number, lambda: outbox.acknowledge_all(neighbour.name, named))

    def _unrecorded(self, tasks: list[Task]) -> int:
        """Count the tasks before the first of which the end is written down."""
        found = map(self._state.operation_of, tasks)
        return next((index for index, one in enumerate(found) if one is not None and one.durable), 0)

    def _end_received(self, neighbour: Neighbour, end: End, now: float) -> None:
        state = self._state
        task = neighbour.held.get(end.task)
        if task is None or task.attempt != end.attempt or task.host != neighbour.name:
            for value in end.outcome.values:
                state.objects.give_back(value, neighbour.name)
            if self._supply.is_collecting(end.task):
                return
            state.counters["late_ends"] += 1
            if task is None or task.attempt < end.attempt:
                state.outbox.acknowledge(neighbour.name, end.task, end.attempt)
            return  # else it is about to be told again, under the attempt that was offered there anew
        neighbour.unbook(task)
        for value in end.outcome.values:
            state.objects.take(value, neighbour.name, is_leased=True)

        def ended(outcome: Outcome, now: float) -> None:
            self._ended(task, outcome, neighbour, now)

        def over() -> None:
            self._note_used_up(task)
            self._acknowledge_safely(neighbour, end, may_wait=False)

        if self._collecting.wants(task, end.outcome):
            self._collecting.collect(task, end.outcome, neighbour.name, ended, over, now)
        else:
            ended(end.outcome, now)
            self._acknowledge_safely(neighbour, end)

    def _acknowledge_safely(self, neighbour: Neighbour, end: End, *, may_wait: bool = True) -> None:
        """Tell a neighbour that it may forget an end, once what came of it is on our disk."""
        outbox, name = self._state.outbox, neighbour.name
        outbox.after(outbox.number, lambda: outbox.acknowledge(name, end.task, end.attempt, may_wait=may_wait))

    def _ended(self, task: Task, outcome: Outcome, neighbour: Neighbour, now: float) -> None:
        """Take an end as the task's own, or as that of one attempt, of which there may be more."""
        if outcome.status in TRUE_ENDS:
            self._state.queue.used(task, outcome.seconds)
        if outcome.status == Status.DONE:
            learn(task.shape, outcome.seconds, outcome.value.size_bytes)
        if task.id in self._state.stopping:
            self._endings.release_outcome(outcome)
            self._endings.stopped(task, now)
        elif outcome.status not in TRUE_ENDS:
            self._endings.release_outcome(outcome)
            unsaid = Failure(Reason.SIGNAL, "Lost", f"{neighbour.name} gave no reason", agent=neighbour.name)
            blame = outcome.status == Status.QUARANTINED
            self._endings.host_lost(task, outcome.failure or unsaid, now, blame=blame)
            self._note_used_up(task)
        else:
            self._endings.end(task, replace(outcome, attempts=task.attempt), now)

    def _note_used_up(self, task: Task) -> None:
        """Write down that an attempt has ended at a neighbour, which forgets it: after a crash it is not asked for."""
        operation = self._state.operation_of(task)
        if task.state is State.WAITING and operation is not None and operation.durable:
            self._state.outbox.record(Returned((task.id,)))
            self._state.outbox.record(Started((task.id,)))
