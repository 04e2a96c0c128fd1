"""What passes between this agent and its neighbours: offers, refusals, ends, leases, load.

Law: an end counts only from the neighbour that holds the attempt, under its number and lease epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import Alarm, CancelTasks, CloseLink, DeclareTemplates, Publish
from agentd.core.entries import Accepted, Cancelling, Delivered, Started
from agentd.core.ledger import Operation
from agentd.core.neighbours import LinkState, Neighbour
from agentd.core.shapes import learn
from agentd.core.tasks import Path, State, Task
from agentd.model.exchange import Offer, Refusal
from agentd.model.task import Failure, Reason, Status
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.endings import Endings
    from agentd.core.intake import Intake
    from agentd.core.state import AgentState
    from agentd.model.exchange import End


class Exchange:
    """Works with the neighbours."""

    def __init__(self, state: AgentState, endings: Endings, intake: Intake) -> None:
        self._state = state
        self._endings = endings
        self._intake = intake

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
        operation = state.operation_of(task)
        if operation is not None and operation.durable:
            number = state.outbox.record(Started((task.id,), neighbour.name))
            if not task.shape.template.idempotent:
                neighbour.book(task)
                state.outbox.after(number, lambda: self._offer_once(task, neighbour))
                return
        neighbour.book(task)
        self._offer(task, neighbour)

    def _offer_once(self, task: Task, neighbour: Neighbour) -> None:
        if task.state is State.OFFERED and task.host == neighbour.name:
            self._offer(task, neighbour)

    def _offer(self, task: Task, neighbour: Neighbour) -> None:
        state, shape, path = self._state, task.shape, task.path
        if shape.number not in neighbour.declared_shapes:
            neighbour.declared_shapes.add(shape.number)
            state.outbox.add(DeclareTemplates(neighbour.name, ((shape.number, shape.template),)))
        own = state.identity.agent_id
        offer = Offer(
            task=task.id,
            template=shape.number,
            payload=task.payload,
            attempt=task.attempt,
            epoch=state.identity.epoch,
            origin=path.origin or own,
            hops=path.hops + 1,
            visited=(*path.visited, own),
            sequence=neighbour.sequence,
        )
        state.outbox.offer(neighbour.name, offer)

    def offers_answered(self, event: e.OffersAnswered, now: float) -> None:
        """A neighbour accepted or declined; a late refusal hands an unstarted task back."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is None:
            return
        for task_id, attempt, epoch in event.accepted:
            task = neighbour.held.get(task_id)
            if task is None or task.attempt != attempt:
                continue
            if task.state is State.OFFERED:
                task.state = State.FORWARDED
            operation = self._state.operation_of(task)
            if operation is not None and not operation.started_wall:
                operation.started_wall = self._state.wall(now)
            task.epoch = epoch
        for refusal in event.refused:
            self._refused(neighbour, refusal, now)

    def _refused(self, neighbour: Neighbour, refusal: Refusal, now: float) -> None:
        state = self._state
        task = neighbour.held.get(refusal.task)
        if task is None or task.attempt != refusal.attempt:
            return
        state.counters["refused"] += 1
        neighbour.unbook(task)
        neighbour.refusals[task.shape.number] = (refusal.reason, refusal.final)
        neighbour.last_refusal = refusal.reason
        if task.state is State.STOPPING:
            self._endings.stopped(task, now)
        else:
            self._endings.repeat(task)
        state.changes.add(Change.ROOM)

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
            state.counters["late_ends"] += 1
            state.outbox.acknowledge(neighbour.name, end.task, end.attempt)
            return
        neighbour.unbook(task)
        outcome = end.outcome
        if outcome.status == Status.DONE:
            learn(task.shape, outcome.seconds, outcome.value.size_bytes)
        if task.state is State.STOPPING:
            self._endings.stopped(task, now)
        elif outcome.status == Status.FAILED:
            self._endings.user_code_raised(task, outcome, now)
        else:
            self._endings.end(task, outcome, now)
        name, number = neighbour.name, state.outbox.number
        state.outbox.after(number, lambda: state.outbox.acknowledge(name, end.task, end.attempt))

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
        known = state.ledger.get(offer.task)
        if known is not None:
            self._adopt(neighbour, link, known, offer)
            return None
        if state.identity.agent_id in offer.visited:
            return Refusal(offer.task, offer.attempt, "the task was here before on its way", final=True)
        if state.draining:
            return Refusal(offer.task, offer.attempt, "this agent is stopping")
        if state.disk_full:
            return Refusal(offer.task, offer.attempt, f"the journal's disk is full: {state.disk_full}")
        if len(state.queue) >= state.rules.most_waiting:
            return Refusal(offer.task, offer.attempt, f"{len(state.queue)} tasks wait here already")
        path = state.path(Path(offer.origin, neighbour.name, offer.hops, offer.visited))
        probe = Task(offer.task, shape, offer.payload, path, 0)
        if not state.pool.could_fit(shape.demand) and not any(row.admits(probe) for row in state.neighbourhood.rows):
            return Refusal(offer.task, offer.attempt, "no host here or beyond fits what it needs", final=True)
        self._open(neighbour, link, offer, path, now)
        return None

    def _open(self, neighbour: Neighbour, link: int, offer: Offer, path: Path, now: float) -> None:
        state = self._state
        template = state.declared[link][offer.template].template
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
        self._intake.begin(operation, entry)
        answer = (offer.task, offer.attempt, offer.epoch)
        name = neighbour.name
        state.outbox.after(operation.accepted, lambda: state.outbox.accept(name, link, answer))

    def _adopt(self, neighbour: Neighbour, link: int, operation: Operation, offer: Offer) -> None:
        """The task is known here: it goes on, or its end is told again; nothing healthy is started anew."""
        state = self._state
        operation.sender_attempt = max(operation.sender_attempt, offer.attempt)
        operation.sender_epoch = offer.epoch
        state.outbox.accept(neighbour.name, link, (offer.task, offer.attempt, offer.epoch))
        if operation.is_terminal and operation.outcome is not None:
            self._endings.deliver(operation, operation.outcome, neighbour.name)

    def ends_acknowledged(self, event: e.EndsAcknowledged, now: float) -> None:  # noqa: ARG002
        """A neighbour has recorded ends: nothing of them needs to be kept for it."""
        state = self._state
        neighbour = state.neighbourhood.get(event.neighbour)
        delivered = []
        for task_id, attempt in event.tasks:
            operation = state.ledger.get(task_id)
            if operation is None or operation.sender_attempt != attempt or operation.is_delivered:
                continue
            operation.is_delivered = True
            if operation.outcome is not None:
                self._endings.release(operation.outcome.value)
                operation.outcome = None
            if neighbour is not None:
                neighbour.ends_unacknowledged.pop(task_id, None)
            if operation.durable:
                delivered.append(task_id)
            else:
                state.ledger.forget(operation)
        if delivered:
            state.outbox.record(Delivered(tuple(delivered)))

    def cancel_received(self, event: e.CancelReceived, now: float) -> None:
        """A neighbour wants tasks stopped that it gave us."""
        state = self._state
        for task_id, _ in event.tasks:
            operation, task = state.ledger.get(task_id), state.tasks.get(task_id)
            if operation is None or task is None or operation.path.sender != event.neighbour:
                continue
            if operation.durable and not operation.is_cancelling:
                state.outbox.record(Cancelling(task_id))
            operation.is_cancelling = True
            self._intake.stop(task, now)

    # --- links ------------------------------------------------------------------------------------------------

    def link_opened(self, event: e.LinkOpened, now: float) -> None:
        """A neighbour is connected; one that has restarted meanwhile has lost what it had of ours."""
        state = self._state
        neighbour = state.neighbourhood.ensure(event.neighbour, state.rules.hop_limit)
        restarted = bool(neighbour.boot) and neighbour.boot != event.boot
        neighbour.restart()
        neighbour.agent_id, neighbour.boot, neighbour.link = event.agent_id, event.boot, event.link
        neighbour.state = LinkState.CONNECTED
        self._heard(neighbour, now)
        if restarted:
            self._lose(neighbour, "it was restarted", now)
        for task in list(neighbour.held.values()):
            if task.state is State.OFFERED:
                self._offer(task, neighbour)
            elif task.state is State.STOPPING:
                state.outbox.add(CancelTasks(neighbour.name, ((task.id, task.attempt),)))
        for task_id in list(neighbour.ends_unacknowledged):
            operation = state.ledger.get(task_id)
            if operation is not None and operation.outcome is not None:
                self._endings.deliver(operation, operation.outcome, neighbour.name)
        state.neighbourhood.arrange()
        state.changes |= {Change.ROOM, Change.PROFILE}
        state.outbox.add(Publish("neighbour", neighbour.name, {"state": neighbour.state.value}))

    def link_closed(self, event: e.LinkClosed, now: float) -> None:
        """The connection is gone: what the neighbour holds is believed in until its lease ends."""
        state = self._state
        state.declared.pop(event.link, None)
        neighbour = state.neighbourhood.get(event.neighbour)
        if neighbour is None or neighbour.link != event.link:
            return
        neighbour.link = 0
        if neighbour.state is not LinkState.LOST:
            neighbour.state = LinkState.CUT
            state.outbox.add(Publish("neighbour", neighbour.name, {"state": "cut", "reason": event.reason}))
        self._watch_lease(neighbour, now)
        state.neighbourhood.arrange()

    def neighbour_heard(self, event: e.NeighbourHeard, now: float) -> None:
        """A sign of life, with the link's figures."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is not None:
            neighbour.latency_s = event.latency_s
            neighbour.seconds_per_byte = event.seconds_per_byte
            neighbour.link_wait_s = event.link_wait_s
            self._heard(neighbour, now)

    def believe(self, neighbour: Neighbour, now: float) -> None:
        """Believe for one lease in a neighbour that has not been heard of yet."""
        neighbour.state = LinkState.CUT
        neighbour.heard_at = now
        self._watch_lease(neighbour, now)

    def _heard(self, neighbour: Neighbour, now: float) -> None:
        neighbour.heard_at = now
        if neighbour.held:
            self._watch_lease(neighbour, now)

    def _watch_lease(self, neighbour: Neighbour, now: float) -> None:
        """Make sure that the end of the lease is noticed; one watch per neighbour at a time."""
        if neighbour.is_watched:
            return
        neighbour.is_watched = True
        lease_s = self._state.rules.lease_s

        def look(now: float) -> None:
            neighbour.is_watched = False
            if neighbour.state in {LinkState.LOST, LinkState.CONNECTING}:
                return
            if now - neighbour.heard_at >= lease_s:
                self.lost(neighbour, f"no news for {lease_s:g} s", now)
            elif neighbour.held or neighbour.state is LinkState.CUT:
                self._watch_lease_at(neighbour, neighbour.heard_at + lease_s)

        neighbour.look = look
        self._state.timers.at(max(neighbour.heard_at, now) + lease_s, look)

    def _watch_lease_at(self, neighbour: Neighbour, when: float) -> None:
        neighbour.is_watched = True
        self._state.timers.at(when, neighbour.look)

    def lost(self, neighbour: Neighbour, why: str, now: float) -> None:
        """A neighbour's lease has ended: its tasks run elsewhere, under a new attempt number."""
        state = self._state
        neighbour.state = LinkState.LOST
        state.neighbourhood.arrange()
        tasks = len(neighbour.held)
        self._lose(neighbour, why, now)
        state.outbox.add(Alarm("neighbour lost", {"neighbour": neighbour.name, "reason": why, "tasks": tasks}))
        state.outbox.add(Publish("neighbour", neighbour.name, {"state": "lost", "reason": why}))
        state.changes.add(Change.LOST)
        if neighbour.link:
            state.outbox.add(CloseLink(neighbour.name, redial=True))

    def _lose(self, neighbour: Neighbour, why: str, now: float) -> None:
        failure = Failure(Reason.SIGNAL, "NeighbourLost", f"{neighbour.name}: {why}", agent=neighbour.name)
        for task in list(neighbour.held.values()):
            neighbour.unbook(task)
            self._endings.host_lost(task, failure, now, blame=False)

    # --- load -------------------------------------------------------------------------------------------------

    def load_reported(self, event: e.LoadReported, now: float) -> None:
        """A neighbour says how it stands."""
        state = self._state
        neighbour = state.neighbourhood.get(event.neighbour)
        if neighbour is None:
            return
        neighbour.take_report(event.report, now)
        self._heard(neighbour, now)
        state.changes.add(Change.PROFILE)
