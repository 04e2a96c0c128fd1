"""The engine: events in, commands out; one drain of the lane is one batch.

Law: it is a deterministic function of its events and the times given with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentd.core import events as e
from agentd.core.commands import Alarm, Stop
from agentd.core.endings import Endings
from agentd.core.entries import Forgotten
from agentd.core.exchange import Exchange
from agentd.core.execution import Execution
from agentd.core.intake import Intake
from agentd.core.links import Links
from agentd.core.placing import OwnSide, Placing, Window
from agentd.core.resources import Resources
from agentd.core.restoring import Restoring
from agentd.core.state import AgentState, Identity, Rules
from agentd.core.tasks import State
from agentd.model.errors import BrokenInvariant
from agentd.model.exchange import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentd.core.commands import Command
    from agentd.core.recovery import Recovered
    from agentd.core.tasks import Task
    from agentd.model.task import Outcome
    from schedulers.capacity import Capacity
    from schedulers.view import Scheduler

EXPIRY_S = 60.0
"""How often ended operations are looked through for those that may go."""


class Engine:
    """One agent's whole behaviour, without the world."""

    def __init__(
        self,
        identity: Identity,
        capacity: Capacity,
        scheduler: Scheduler,
        ids: Iterator[int],
        rules: Rules | None = None,
    ) -> None:
        state = self.state = AgentState(identity, capacity, rules or Rules(), ids)
        self._endings = Endings(state)
        self._execution = Execution(state, self._endings)
        self._intake = Intake(state, self._execution, self._endings)
        self._exchange = Exchange(state, self._endings, self._intake)
        self._links = Links(state, self._endings, self._exchange)
        self._resources = Resources(state, self._links)
        self._now = 0.0
        self.window = Window(OwnSide(state.crew, state.queue, state.rules.speed), state.queue, state.neighbourhood)
        self.placing = Placing(
            scheduler,
            self.window,
            run=lambda task: self._execution.run(task, self._now),
            forward=lambda task, neighbour: self._exchange.forward(task, neighbour, self._now),
            neighbourhood=state.neighbourhood,
        )
        self._violations_told = 0
        self._grace_ends: float | None = None
        self._handlers: dict[type[e.Event], Callable[[Any, float], None]] = {
            e.TemplatesDeclared: self._intake.templates_declared,
            e.CallsSubmitted: self._intake.calls_submitted,
            e.CallsCancelled: self._intake.calls_cancelled,
            e.CallerLeft: self._intake.caller_left,
            e.OperationSubmitted: self._intake.operation_submitted,
            e.OperationsSubmitted: self._intake.operations_submitted,
            e.OperationWatched: self._intake.operation_watched,
            e.WatchAbandoned: self._intake.watch_abandoned,
            e.CancelRequested: self._intake.cancel_requested,
            e.ResultRead: self._intake.result_read,
            e.CallbackEnded: self._intake.callback_ended,
            e.WorkerStarted: self._execution.worker_started,
            e.TasksEnded: self._execution.tasks_ended,
            e.TasksRevoked: self._execution.tasks_revoked,
            e.RevokeSettled: self._execution.revoke_settled,
            e.WorkerLost: self._execution.worker_lost,
            e.Committed: self._committed,
            e.DiskFilled: self._disk_filled,
            e.DiskFreed: self._disk_freed,
            e.LinkOpened: self._links.link_opened,
            e.LinkClosed: self._links.link_closed,
            e.NeighbourHeard: self._links.neighbour_heard,
            e.LoadReported: self._links.load_reported,
            e.OffersReceived: self._exchange.offers_received,
            e.OffersAnswered: self._exchange.offers_answered,
            e.EndsReceived: self._exchange.ends_received,
            e.EndsAcknowledged: self._exchange.ends_acknowledged,
            e.CancelReceived: self._exchange.cancel_received,
            e.ResourceAdded: self._resources.added,
            e.ResourceReduced: self._resources.reduced,
            e.ResourceRemoved: self._resources.removed,
            e.ClockRead: self._clock_read,
            e.ModulesListed: self._modules_listed,
            e.Ticked: lambda _event, _now: None,
            e.DrainRequested: self._drain_requested,
        }

    # --- the two doors ----------------------------------------------------------------------------------------

    def handle(self, event: e.Event, now: float) -> None:
        """Take in one event; `now` is the agent's monotonic time in seconds and never falls."""
        self._now = now
        self._handlers[type(event)](event, now)

    def drain(self, now: float) -> list[Command]:
        """After the events of a batch: do what is due, place what is ready, and say what is wanted."""
        self._now = now
        state = self.state
        state.timers.fire(now)
        if state.changes and (len(state.queue) or state.crew.lines):
            self._place(now)
        elif state.changes:
            state.changes.clear()
        if self._grace_ends is not None:
            self._drained(now)
        self._resources.report(now)
        return state.outbox.drain()

    @property
    def next_wakeup(self) -> float | None:
        """When `Ticked` is wanted, in agent time; None: only events matter."""
        return self.state.timers.next

    def _place(self, now: float) -> None:
        state = self.state
        changes = frozenset(state.changes)
        state.changes.clear()
        if len(state.queue) and not state.draining:
            self.placing.plan(now, changes)
            if self.placing.violations > self._violations_told:
                self._violations_told = self.placing.violations
                state.outbox.add(Alarm("the scheduler's wish was refused", {"wish": self.placing.last_violation}))
        if not len(state.queue):
            self._execution.balance()
        self._execution.note_started()
        self._execution.trim()

    # --- start ------------------------------------------------------------------------------------------------

    def restore(self, recovered: Recovered, outcomes: dict[int, Outcome], now: float) -> None:
        """Take up what the journal holds, before the first event; `outcomes`: ends that neighbours did not confirm."""
        Restoring(self.state, self._intake, self._endings, self._links).restore(recovered, outcomes, now)
        self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Let expired operations go, now and ever again."""
        gone = self.state.ledger.expired(now)
        if gone:
            self.state.outbox.record(Forgotten(tuple(gone)))
        self.state.timers.at(now + EXPIRY_S, self._sweep)

    # --- the agent itself -------------------------------------------------------------------------------------

    def _committed(self, event: e.Committed, now: float) -> None:  # noqa: ARG002 - all handlers are alike
        self.state.outbox.commit(event.up_to)

    def _disk_filled(self, event: e.DiskFilled, now: float) -> None:  # noqa: ARG002
        self.state.disk_full = event.message
        self.state.outbox.add(Alarm("the journal's disk is full", {"message": event.message}))

    def _disk_freed(self, event: e.DiskFreed, now: float) -> None:  # noqa: ARG002
        self.state.disk_full = ""
        self.state.outbox.add(Alarm("the journal's disk has room again", {}))

    def _clock_read(self, event: e.ClockRead, now: float) -> None:  # noqa: ARG002
        self.state.wall_offset_s = event.wall_offset_s

    def _modules_listed(self, event: e.ModulesListed, now: float) -> None:  # noqa: ARG002
        self.state.modules = event.modules

    def _drain_requested(self, event: e.DrainRequested, now: float) -> None:
        """Take no more; hand back what neighbours gave and has not started; give the rest a grace."""
        state = self.state
        if self._grace_ends is not None:
            self._grace_ends = min(self._grace_ends, now + event.grace_s)
            return
        state.draining = True
        self._grace_ends = now + event.grace_s
        state.timers.at(self._grace_ends, lambda _: None)
        for task in list(state.tasks.values()):
            if task.state is State.WAITING and task.path.sender is not None:
                self._hand_back(task)

    def _hand_back(self, task: Task) -> None:
        state = self.state
        operation = state.ledger.get(task.id)
        sender = task.path.sender
        if operation is None or sender is None:
            raise BrokenInvariant(f"task {task.id} of {sender} has no operation")
        neighbour = state.neighbourhood.get(sender)
        if neighbour is None or not neighbour.link:
            return
        state.queue.drop(task)
        del state.tasks[task.id]
        task.state = State.ENDED
        if operation.durable:
            state.outbox.record(Forgotten((task.id,)))
        state.ledger.forget(operation)
        refusal = Refusal(task.id, operation.sender_attempt, "this agent is stopping")
        state.outbox.refuse(sender, neighbour.link, refusal)

    def _drained(self, now: float) -> None:
        """Say that the daemon may end once nothing runs here, or the grace is over."""
        state = self.state
        busy = state.crew.running() or any(row.held for row in state.neighbourhood.by_name.values())
        if self._grace_ends is not None and (not busy or now >= self._grace_ends):
            self._grace_ends = None
            state.outbox.after(state.outbox.number, lambda: state.outbox.add(Stop()))
