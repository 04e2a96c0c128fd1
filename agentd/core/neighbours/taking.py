"""What neighbours give this agent: their offers, their cancellations, and what they have recorded.

Law: a task that is known here is never begun again under the same attempt; its end is told until it is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.journal.entries import Accepted, Cancelling, Delivered, Forgotten
from agentd.core.journal.ledger import Operation
from agentd.core.placing.ways import could_fit
from agentd.core.tasks.task import HERE, Path, Shape, State, Task
from agentd.model.exchange import End, Offer, Refusal
from agentd.model.figures import counted
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import Payload
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.data.supply import Supply
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.intake import Intake
    from agentd.model.exchange import Lot

BRIEF_S = 0.001
"""Below this run time a task's end is the better answer to its offer (chosen: twice what a frame of its own costs)."""
FEW = 8
"""Offers at once above which each is answered as it comes: a neighbour with so many has others that wait (chosen)."""
NOWHERE = "no host here or beyond fits what it needs"
HOPE_S = 2.0
"""How often it is looked whether what only hosts beyond fit still has one (chosen: some reports of load)."""
KEPT_BYTES = 1 << 20
"""Of a delivered result: what is larger is let go at once with all that is known of its task, as whoever asked has it.
Chosen: a helper's disk is not filled with what others have, and its list still shows most of what it did of late."""
UNHELD = 1 << 62
"""Stands for the entry of the acceptance of what is to hold cores, until it does: nobody may count on it."""
TRUE_ENDS = frozenset({Status.DONE, Status.FAILED})
"""Ends that say something of the task itself, whoever asked for it; the others end one attempt."""


class Taking:
    """Takes tasks of neighbours."""

    def __init__(self, state: AgentState, endings: Endings, intake: Intake, supply: Supply) -> None:
        self._state = state
        self._endings = endings
        self._intake = intake
        self._supply = supply
        self._last_path = HERE
        """The way on which the last offer came."""
        self._is_idle = False
        """Nothing waits for a host here, and what is being taken is little: it is begun in this very drain."""
        self._fresh: list[Task] = []
        """Of the offers at hand the last ones that were taken, all alike: they are about to be queued."""
        self._fresh_bytes = 0
        """Of their arguments."""
        self._fitting: Shape | None = None
        """Of the offers at hand the kind that was last found to fit here."""
        self._is_looking = False
        """A timer looks after what only hosts beyond this one fit."""

    def offers_received(self, event: e.OffersReceived, now: float) -> None:
        """A neighbour asks us to run tasks."""
        state = self._state
        neighbour = state.neighbourhood.ensure(event.neighbour, state.rules.hop_limit)
        self._is_idle = len(event.offers) <= FEW and not state.queue.size
        self._fitting = None
        for offer in event.offers:
            neighbour.received_sequence = max(neighbour.received_sequence, offer.sequence)
            refusal = self._take(neighbour, event.link, offer, now)
            if refusal is not None:
                state.counters["refused"] += 1
                state.outbox.refuse(event.neighbour, event.link, refusal)
                brought = tuple([part.segment for part in offer.payload.parts if part.segment])
                if brought:  # the connection of a line, which nobody will serve
                    state.outbox.release(brought)
        self._queue_fresh()
        state.changes.add(Change.READY)

    def _let_wait(self, task: Task) -> None:
        """Let a task wait for a host, together with those like it; all do when the offers at hand are taken."""
        fresh = self._fresh
        if fresh:
            last = fresh[-1]
            if last.shape is not task.shape or last.path is not task.path or last.places != task.places:
                self._queue_fresh()
        self._fresh.append(task)
        self._fresh_bytes += task.payload.size_bytes

    def _queue_fresh(self) -> None:
        if self._fresh:
            self._state.queue.extend(self._fresh)
            self._fresh, self._fresh_bytes = [], 0

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
        refusal = self._refusal(neighbour, offer, shape, now)
        if refusal is None:
            self._open(neighbour, link, offer, shape, now)
        return refusal

    def _refusal(self, neighbour: Neighbour, offer: Offer, shape: Shape, now: float) -> Refusal | None:
        """Say why a task that is not known here is not taken; None: it may be."""
        state, rules = self._state, self._state.rules
        waiting = state.queue.size + len(self._fresh)
        if state.draining:
            return Refusal(offer.task, offer.attempt, "this agent is stopping")
        if neighbour.is_leaving:
            return Refusal(offer.task, offer.attempt, "this agent takes no more work of yours: it lets the link go")
        if state.disk_full:
            return Refusal(offer.task, offer.attempt, f"the journal's disk is full: {state.disk_full}")
        if waiting >= rules.most_waiting or state.queue.bytes + self._fresh_bytes >= rules.most_waiting_bytes:
            return Refusal(offer.task, offer.attempt, f"{counted(waiting, 'task', 'wait')} here already")
        if (hops := _hops(offer)) > rules.hop_limit:
            words = f"the task has made {hops} hops, the limit is {rules.hop_limit}"
            return Refusal(offer.task, offer.attempt, words)
        if shape is self._fitting:
            return None
        if could_fit(state.pool, shape):
            self._fitting = shape
            return None
        probe = Task(offer.task, shape, offer.payload, _path(neighbour, offer), 0, inputs=offer.inputs)
        if any(row.admits(probe) for row in state.neighbourhood.rows):
            self._look_later(now)
            return None
        return Refusal(offer.task, offer.attempt, NOWHERE, final=True)

    def fitting(self, neighbour: Neighbour, link: int, lot: Lot) -> Shape | None:
        """Give the kind of tasks that may all be taken at once: nothing stands against any; None: look at each."""
        state, rules, tasks = self._state, self._state.rules, lot.tasks
        shape = state.declared.get(link, {}).get(lot.template)
        if shape is None or shape.template.durable or shape.template.lasts:
            return None
        if state.identity.agent_id in lot.visited or _hops(lot) > rules.hop_limit:
            return None
        if state.draining or neighbour.is_leaving or state.disk_full or not could_fit(state.pool, shape):
            return None
        if state.queue.size + len(tasks) > rules.most_waiting:
            return None
        if state.queue.bytes + sum(map(len, lot.arguments)) > rules.most_waiting_bytes:
            return None
        is_new = state.tasks.keys().isdisjoint(tasks) and state.ledger.operations.keys().isdisjoint(tasks)
        return shape if is_new else None

    def open_lot(self, neighbour: Neighbour, shape: Shape, lot: Lot, now: float) -> None:
        """Take tasks that are alike and let them wait for a host, in one pass over them."""
        state, template = self._state, shape.template
        path, wall, name = self._path_of(neighbour, lot), state.wall(now), template.name
        codec, attempt, epoch, numbers = lot.codec, lot.attempt, lot.epoch, lot.tasks
        opened = [
            Operation(
                number, template, now, wall, "", b"", name, "", path, False, sender_attempt=attempt, sender_epoch=epoch
            )
            for number in numbers
        ]
        share, waits = state.senders.number("", neighbour.name), State.WAITING
        payloads = [Payload(codec, data) for data in lot.arguments]
        new = zip(numbers, payloads, state.orders)  # noqa: B905 - the orders have no end
        fresh = [
            Task(number, shape, payload, path, order, 0, 0, now, waits, attempt, makes=lot.makes, share=share)
            for number, payload, order in new
        ]
        state.ledger.operations.update(zip(numbers, opened, strict=True))
        state.tasks.update(zip(numbers, fresh, strict=True))
        state.counters["accepted"] += len(fresh)
        state.queue.extend(fresh)
        self._intake.watch_queue(now)

    def _look_later(self, now: float) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._state.timers.at(now + HOPE_S, self._give_up)

    def _give_up(self, now: float) -> None:
        """Give back what no host here or beyond fits any more, now that more is known of them."""
        state, self._is_looking = self._state, False
        for bucket in list(state.queue.buckets()):
            task, sender = bucket.first(), state.neighbourhood.get(bucket.path.sender or "")
            if task is None or sender is None or could_fit(state.pool, task.shape):
                continue
            self._look_later(now)
            while task is not None and sender.link and not any(row.admits(task) for row in state.neighbourhood.rows):
                state.queue.drop(task)
                self._endings.hand_back(task, sender, NOWHERE)
                task = bucket.first()

    def _open(self, neighbour: Neighbour, link: int, offer: Offer, shape: Shape, now: float) -> None:
        state, template = self._state, shape.template
        path, wall = self._path_of(neighbour, offer), state.wall(now)
        operation = Operation(
            id=offer.task,
            template=template,
            submitted_at=now,
            submitted_wall=wall,
            name=template.name,
            path=path,
            durable=template.durable,
            sender_attempt=offer.attempt,
            sender_epoch=offer.epoch,
        )
        if template.durable:
            entry = Accepted(offer.task, template, offer.payload, now, wall, "", b"", template.name, "", path)
            operation.accepted = state.outbox.record(replace(entry, attempt=offer.attempt))
        if template.holds:
            operation.accepted = UNHELD
        state.ledger.open(operation)
        state.counters["accepted"] += 1
        for value in (offer.payload, *offer.inputs):
            if value.parts:
                state.objects.take(value, neighbour.name)
        inputs, makes, let_wait = offer.inputs, offer.makes, self._let_wait
        self._intake.begin(
            operation, offer.payload, offer.attempt, inputs=inputs, makes=makes, shape=shape, let_wait=let_wait
        )
        may_wait = self._is_idle and shape.estimate_s is not None and shape.estimate_s < BRIEF_S
        self._accept(neighbour, link, operation, offer, may_wait=may_wait)

    def _path_of(self, neighbour: Neighbour, offer: Offer | Lot) -> Path:
        """Give the one object that stands for the way of an offer; most have come like the one before."""
        path, hops = self._last_path, _hops(offer)
        if (path.sender, path.hops, path.visited, path.origin) != (neighbour.name, hops, offer.visited, offer.origin):
            path = self._last_path = self._state.path(_path(neighbour, offer))
        return path

    def _accept(
        self, neighbour: Neighbour, link: int, operation: Operation, offer: Offer, *, may_wait: bool = False
    ) -> None:
        """Say yes once the acceptance is on the disk, unless the task was handed back meanwhile.

        To what is to hold cores yes is said when it does.
        """
        state, name = self._state, neighbour.name
        if operation.accepted == UNHELD:
            return
        if operation.accepted <= state.outbox.committed:
            state.outbox.accept(name, link, (offer.task, offer.attempt, offer.epoch), may_wait=may_wait)
            return

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
            sender.confirmed(operation.id)
        if operation.outcome is not None:
            self._endings.release_outcome(operation.outcome)
        state.ledger.forget(operation)
        if operation.durable:
            state.outbox.record(Forgotten((operation.id,)))

    def ends_acknowledged(self, event: e.EndsAcknowledged, now: float) -> None:  # noqa: ARG002
        """A neighbour has recorded ends: nothing of them needs to be kept for it."""
        state = self._state
        neighbour = state.neighbourhood.get(event.neighbour)
        delivered, forgotten = [], []
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
            if neighbour is not None and neighbour.confirmed(task_id):
                state.changes.add(Change.ROOM)
            if operation.durable and operation.result_bytes <= KEPT_BYTES:
                delivered.append(task_id)
                state.ledger.spare(operation)
                continue
            if operation.durable:
                forgotten.append(task_id)
            state.ledger.forget(operation)
        if delivered:
            state.outbox.record(Delivered(tuple(delivered)))
        if forgotten:
            state.outbox.record(Forgotten(tuple(forgotten)))

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

    def forget_unheld(self, neighbour: Neighbour, now: float) -> None:
        """Let nothing be held later for what a neighbour offered over a link that is gone: it can ask again."""
        for task in [one for one in self._state.queue.holders() if one.path.sender == neighbour.name]:
            self._intake.stop(task, now)

    def stop(self, operation: Operation, now: float) -> None:
        """Stop what a neighbour gave us and does not want any more."""
        task = self._state.tasks.get(operation.id)
        if task is None:
            return
        if operation.durable and not operation.is_cancelling:
            self._state.outbox.record(Cancelling(operation.id))
        operation.is_cancelling = True
        sender = self._state.neighbourhood.get(operation.path.sender or "")
        if operation.accepted == UNHELD and sender is not None and sender.link:
            self._state.queue.drop(task)
            self._endings.hand_back(task, sender, "it waited in vain")  # the offer is still to be answered
            return
        self._intake.stop(task, now)


def _hops(offer: Offer | Lot) -> int:
    """Count the links it has crossed; a neighbour cannot make it fewer than the agents that it names."""
    return max(offer.hops, len(offer.visited))


def _path(neighbour: Neighbour, offer: Offer | Lot) -> Path:
    return Path(offer.origin, neighbour.name, _hops(offer), offer.visited)
