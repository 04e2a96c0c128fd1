"""What passes between this agent and its neighbours: offers, refusals, ends, cancellations.

Law: an end counts only from the neighbour that holds the attempt, under its number and lease epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.collecting import Collecting
from agentd.core.commands import DeclareTemplates
from agentd.core.entries import Accepted, Cancelling, Delivered, Forgotten, Returned, Started
from agentd.core.ledger import Operation
from agentd.core.shapes import learn
from agentd.core.tasks import Path, Shape, State, Task
from agentd.core.ways import could_fit
from agentd.model.exchange import End, Offer, Refusal
from agentd.model.task import Failure, Outcome, Reason, Status
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.endings import Endings
    from agentd.core.intake import Intake
    from agentd.core.neighbours import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.supply import Supply

DECLARED_MOST = 4096
"""Templates told over one link before they are told anew (the other end remembers at least so many)."""
PARDON_S = 1.0
"""After a refusal that is not for good, until tasks of that shape are offered again (chosen: no ping-pong)."""
TRUE_ENDS = frozenset({Status.DONE, Status.FAILED})
"""Ends that say something of the task itself, whoever asked for it; the others end one attempt."""


class Exchange:
    """Works with the neighbours."""

    def __init__(self, state: AgentState, endings: Endings, intake: Intake, supply: Supply) -> None:
        self._state = state
        self._endings = endings
        self._intake = intake
        self._supply = supply
        self._collecting = Collecting(state, endings, supply)
        self._gated: set[int] = set()
        """Tasks that may run only once, booked at a neighbour, of which the start is not on the disk yet."""

    # --- giving -----------------------------------------------------------------------------------------------

    def forward(self, task: Task, neighbour: Neighbour, now: float) -> None:
        """Offer a waiting task to a neighbour."""
        state = self._state
        state.queue.take(task)
        task.state = State.OFFERED
        task.host = neighbour.name
        task.placed_at = now
        task.epoch = 0
        state.counters["forwarded"] += 1
        neighbour.book(task)
        operation = state.operation_of(task)
        if operation is not None and operation.durable:
            state.acceptances.write(operation)
            number = state.outbox.record(Started((task.id,), neighbour.name))
            if not task.shape.template.idempotent:
                self._gated.add(task.id)
                state.outbox.after(number, lambda: self._offer_once(task, neighbour))
                return
        self.offer(task, neighbour)

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
        if shape.number not in neighbour.declared_shapes:
            if len(neighbour.declared_shapes) >= DECLARED_MOST:
                neighbour.declared_shapes.clear()
            neighbour.declared_shapes.add(shape.number)
            state.outbox.add(DeclareTemplates(neighbour.name, ((shape.number, shape.template),)))
        own = state.identity.agent_id
        payload = task.payload
        if payload.parts and neighbour.fetches:
            task.payload = state.objects.share(payload)
            payload = state.objects.wire(task.payload)
        offer = Offer(
            task=task.id,
            template=shape.number,
            payload=payload,
            attempt=task.attempt,
            epoch=state.identity.epoch,
            origin=path.origin or own,
            hops=path.hops + 1,
            visited=(*path.visited, own),
            sequence=neighbour.unseen.sequence,
            inputs=tuple(map(state.objects.wire, task.inputs)) if task.inputs else (),
            makes=task.makes,
        )
        state.outbox.offer(neighbour.name, offer)

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
            if task.state is State.OFFERED and not is_timed:
                neighbour.answered(now - task.placed_at)
                is_timed = True
            self.accepted(task, now)
            task.epoch = epoch
        for refusal in event.refused:
            self._refused(neighbour, refusal, now)
        for refusal in event.returned:
            held = neighbour.held.get(refusal.task)
            # What was accepted over an earlier link comes back while it is offered again over this one: the offer
            # is still to be answered, and may be accepted, so the task must not go to another neighbour meanwhile.
            if held is not None and held.state is not State.OFFERED:
                self._refused(neighbour, refusal, now)

    def accepted(self, task: Task, now: float) -> None:
        """A neighbour has a task of ours."""
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
        neighbour.declined(task.shape, refusal.reason, is_final=refusal.final)
        self._pardon_later(neighbour, now)
        if task.state is State.STOPPING:
            self._endings.stopped(task, now)
        else:
            self._endings.repeat(task)
            if refusal.final and task.shape.only:
                self._endings.families.spreading.unbind(task, now)
            if refusal.lacks and task.state is State.WAITING:
                self._supply.has_bytes(task, now)  # they come here first, or are found to be lost
        state.changes.add(Change.ROOM)

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
        for end in event.ends:
            self._end_received(neighbour, end, now)
        self._state.changes.add(Change.ROOM)

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
            self._acknowledge_safely(neighbour, end)

        if self._collecting.wants(task, end.outcome):
            self._collecting.collect(task, end.outcome, neighbour.name, ended, over, now)
        else:
            ended(end.outcome, now)
            self._acknowledge_safely(neighbour, end)

    def _acknowledge_safely(self, neighbour: Neighbour, end: End) -> None:
        """Tell a neighbour that it may forget an end, once what came of it is on our disk."""
        outbox = self._state.outbox
        outbox.after(outbox.number, lambda: outbox.acknowledge(neighbour.name, end.task, end.attempt))

    def _ended(self, task: Task, outcome: Outcome, neighbour: Neighbour, now: float) -> None:
        """Take an end as the task's own, or as that of one attempt, of which there may be more."""
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

    # --- taking -----------------------------------------------------------------------------------------------

    def offers_received(self, event: e.OffersReceived, now: float) -> None:
        """A neighbour asks us to run tasks."""
        state = self._state
        neighbour = state.neighbourhood.ensure(event.neighbour, state.rules.hop_limit)
        for offer in event.offers:
            neighbour.received_sequence = max(neighbour.received_sequence, offer.sequence)
            refusal = self._take(neighbour, event.link, offer, now)
            if refusal is not None:
                state.counters["refused"] += 1
                state.outbox.refuse(event.neighbour, event.link, refusal)
        state.changes.add(Change.READY)

    def _take(self, neighbour: Neighbour, link: int, offer: Offer, now: float) -> Refusal | None:
        state = self._state
        shape = state.declared.get(link, {}).get(offer.template)
        if shape is None:
            return Refusal(offer.task, offer.attempt, f"template {offer.template} was not declared on this link")
        if state.identity.agent_id in offer.visited:
            return Refusal(offer.task, offer.attempt, "the task was here before on its way")
        known = state.ledger.get(offer.task)
        if known is not None:
            words = self._meet(neighbour, link, known, offer)
            if words is not None:
                return Refusal(offer.task, offer.attempt, words) if words else None
        elif offer.task in state.tasks:
            return Refusal(offer.task, offer.attempt, "a task of this agent has the same number")
        refusal = self._refusal(neighbour, offer, shape)
        if refusal is None:
            self._open(neighbour, link, offer, shape, now)
        return refusal

    def _refusal(self, neighbour: Neighbour, offer: Offer, shape: Shape) -> Refusal | None:
        """Say why a task that is not known here is not taken; None: it may be."""
        state, rules = self._state, self._state.rules
        waiting = len(state.queue)
        if state.draining:
            return Refusal(offer.task, offer.attempt, "this agent is stopping")
        if neighbour.is_leaving:
            return Refusal(offer.task, offer.attempt, "this agent takes no more work of yours: it lets the link go")
        if state.disk_full:
            return Refusal(offer.task, offer.attempt, f"the journal's disk is full: {state.disk_full}")
        if waiting >= rules.most_waiting or state.queue.bytes >= rules.most_waiting_bytes:
            return Refusal(offer.task, offer.attempt, f"{waiting} tasks wait here already")
        if _hops(offer) > rules.hop_limit:
            words = f"the task has made {_hops(offer)} hops, the limit is {rules.hop_limit}"
            return Refusal(offer.task, offer.attempt, words)
        probe = Task(offer.task, shape, offer.payload, _path(neighbour, offer), 0, inputs=offer.inputs)
        if not could_fit(state.pool, shape) and not any(row.admits(probe) for row in state.neighbourhood.rows):
            return Refusal(offer.task, offer.attempt, "no host here or beyond fits what it needs", final=True)
        return None

    def _open(self, neighbour: Neighbour, link: int, offer: Offer, shape: Shape, now: float) -> None:
        state, template = self._state, shape.template
        path = state.path(_path(neighbour, offer))
        entry = Accepted(
            offer.task,
            template,
            offer.payload,
            now,
            state.wall(now),
            name=template.name,
            path=path,
            attempt=offer.attempt,
        )
        operation = Operation(
            id=offer.task,
            template=template,
            submitted_at=now,
            submitted_wall=entry.wall_s,
            name=template.name,
            path=path,
            durable=template.durable,
            sender_attempt=offer.attempt,
            sender_epoch=offer.epoch,
            accepted=state.outbox.record(entry) if template.durable else 0,
        )
        state.ledger.open(operation)
        state.counters["accepted"] += 1
        for value in (offer.payload, *offer.inputs):
            state.objects.take(value, neighbour.name)
        self._intake.begin(operation, offer.payload, inputs=offer.inputs, makes=offer.makes)
        self._accept(neighbour, link, operation, offer)

    def _accept(self, neighbour: Neighbour, link: int, operation: Operation, offer: Offer) -> None:
        """Say yes once the acceptance is on the disk, unless the task was handed back meanwhile."""
        state, name = self._state, neighbour.name

        def say() -> None:
            if state.ledger.get(operation.id) is operation:
                state.outbox.accept(name, link, (offer.task, offer.attempt, offer.epoch))

        state.outbox.after(operation.accepted, say)

    def _meet(self, neighbour: Neighbour, link: int, operation: Operation, offer: Offer) -> str | None:
        """A task that is known here is offered: it goes on, or its end is told again; nothing healthy starts anew.

        Returns:
            Why it is refused; empty when it was accepted; None when nothing of it is left that could be told, so that
            it is to be taken as a new one.
        """
        is_newer = offer.attempt > operation.sender_attempt
        if operation.path.sender != neighbour.name:
            if operation.path.sender is None or not operation.is_terminal:
                return "the task is here already, on another way"
        elif offer.attempt < operation.sender_attempt:
            return f"attempt {operation.sender_attempt} of the task is here already"
        elif not operation.is_terminal:
            if is_newer and (operation.is_cancelling or operation.is_ending):
                return f"attempt {operation.sender_attempt} of the task is ending here"
            self._adopt(neighbour, link, operation, offer)
            return ""
        elif operation.outcome is not None and (not is_newer or operation.status in TRUE_ENDS):
            self._adopt(neighbour, link, operation, offer)
            self._endings.deliver(operation, operation.outcome, neighbour.name)
            return ""
        self._forget(operation)
        return None

    def _adopt(self, neighbour: Neighbour, link: int, operation: Operation, offer: Offer) -> None:
        operation.sender_attempt, operation.sender_epoch = offer.attempt, offer.epoch
        operation.orphan_since = None
        task = self._state.tasks.get(operation.id)
        is_large = bool(offer.payload.parts) or bool(offer.inputs)
        if task is not None and is_large and task.state is State.WAITING:
            self._supply.renew(task, offer.payload, offer.inputs, neighbour.name)
        self._accept(neighbour, link, operation, offer)

    def _forget(self, operation: Operation) -> None:
        """Keep nothing of an attempt that has ended: the task comes anew."""
        state = self._state
        sender = state.neighbourhood.get(operation.path.sender or "")
        if sender is not None:
            sender.ends_unacknowledged.pop(operation.id, None)
        if operation.outcome is not None:
            self._endings.release_outcome(operation.outcome)
        state.ledger.forget(operation)
        if operation.durable:
            state.outbox.record(Forgotten((operation.id,)))

    def ends_acknowledged(self, event: e.EndsAcknowledged, now: float) -> None:  # noqa: ARG002
        """A neighbour has recorded ends: nothing of them needs to be kept for it."""
        state = self._state
        neighbour = state.neighbourhood.get(event.neighbour)
        delivered = []
        for task_id, attempt in event.tasks:
            operation = state.ledger.get(task_id)
            if operation is None or operation.sender_attempt != attempt or not operation.is_terminal:
                continue
            if operation.is_delivered or operation.path.sender != event.neighbour:
                continue
            operation.is_delivered = True
            if operation.outcome is not None:
                self._endings.release_outcome(operation.outcome)
                operation.outcome = None
            if neighbour is not None:
                neighbour.ends_unacknowledged.pop(task_id, None)
            if operation.durable:
                delivered.append(task_id)
                state.ledger.spare(operation)
            else:
                state.ledger.forget(operation)
        if delivered:
            state.outbox.record(Delivered(tuple(delivered)))

    def cancel_received(self, event: e.CancelReceived, now: float) -> None:
        """A neighbour wants tasks stopped that it gave us; of those that are not here it is told that they are not."""
        state = self._state
        for task_id, attempt in event.tasks:
            operation = state.ledger.get(task_id)
            if operation is None or operation.path.sender != event.neighbour or operation.is_delivered:
                failure = Failure(Reason.NONE, "Cancelled", "it is not here", agent=state.identity.name)
                outcome = Outcome(Status.CANCELLED, failure=failure, agent=state.identity.name)
                state.outbox.end(event.neighbour, End(task_id, attempt, 0, outcome))
            elif attempt >= operation.sender_attempt:
                self.stop(operation, now)

    def stop(self, operation: Operation, now: float) -> None:
        """Stop what a neighbour gave us and does not want any more."""
        task = self._state.tasks.get(operation.id)
        if task is None:
            return
        if operation.durable and not operation.is_cancelling:
            self._state.outbox.record(Cancelling(operation.id))
        operation.is_cancelling = True
        self._intake.stop(task, now)


def _hops(offer: Offer) -> int:
    """Count the links it has crossed; a neighbour cannot make it fewer than the agents that it names."""
    return max(offer.hops, len(offer.visited))


def _path(neighbour: Neighbour, offer: Offer) -> Path:
    return Path(offer.origin, neighbour.name, _hops(offer), offer.visited)
