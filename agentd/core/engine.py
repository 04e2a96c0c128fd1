"""The engine: events in, commands out; one drain of the lane is one batch.

Law: it is a deterministic function of its events and the times given with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentd.core import events as e
from agentd.core.commands import Alarm, Stop
from agentd.core.data.supply import Supply
from agentd.core.families.families import Families
from agentd.core.families.limits import Limits
from agentd.core.families.waiting import Waiting
from agentd.core.journal.entries import Forgotten
from agentd.core.journal.ledger import numbers_of
from agentd.core.journal.restoring import Restoring
from agentd.core.leaving import Leaving
from agentd.core.line_events import CallsAnnounced, LineCallsEnded
from agentd.core.lot_events import LotAccepted, LotAcknowledged, LotEnded, LotOffered
from agentd.core.neighbours.exchange import Exchange
from agentd.core.neighbours.links import Links
from agentd.core.neighbours.reports import Reports
from agentd.core.placing.gangs import Gangs
from agentd.core.placing.plan import OwnSide, Placing, Window
from agentd.core.placing.resources import Resources
from agentd.core.state import AgentState, Identity, Rules
from agentd.core.tasks.endings import Endings
from agentd.core.tasks.intake import Intake
from agentd.core.workers.execution import Execution
from agentd.core.workers.overruns import Overruns
from agentd.core.workers.rides import Rides
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentd.core.commands import Command
    from agentd.core.data.objects import Object
    from agentd.core.journal.recovery import Recovered
    from agentd.core.tasks.task import Task
    from agentd.model.task import Outcome
    from schedulers.capacity import Capacity
    from schedulers.view import Scheduler

EXPIRY_S = 60.0
"""How often ended operations are looked through for those that are too old (chosen)."""
EXPIRY_MOST = 1000
"""Operations that go in one batch (chosen: a millisecond)."""
EXPIRY_AGAIN_S = 0.1
"""Pause before the next batch, while there is more to go."""


class Engine:
    """One agent's whole behaviour, without the world."""

    def __init__(
        self,
        identity: Identity,
        capacity: Capacity,
        scheduler: Scheduler,
        ids: Iterator[int],
        rules: Rules | None = None,
        object_ids: Iterator[int] | None = None,
    ) -> None:
        """Make the agent of this identity.

        Args:
            identity: who it is.
            capacity: of this device.
            scheduler: decides where tasks go.
            ids: numbers of tasks, positive, none twice.
            rules: settings.
            object_ids: numbers of objects, hard to guess, since who knows one may fetch it; None: those of `ids`.
        """
        state = self.state = AgentState(identity, capacity, rules or Rules(), ids, object_ids)
        self._crew = state.crew
        self._endings = Endings(state)
        self._supply = Supply(state, self._endings)
        self._execution = Execution(state, self._endings, self._supply)
        self._overruns = Overruns(state, self._execution)
        self._intake = Intake(state, self._execution, self._endings, self._supply)
        self._waiting = Waiting(state, self._execution)
        self._rides = self._endings.rides = Rides(state, self._endings, self._execution, self._intake)
        waiting = self._waiting
        stop = self._intake.stop
        self._gangs = Gangs(state, self._endings, self._execution, self._supply, stop, waiting.stack)
        bring = waiting.bringing.bring
        self._families = Families(state, self._endings, stop, waiting.satisfied, bring, self._gangs)
        self._waiting.families = self._endings.families = self._families
        self._exchange = Exchange(state, self._endings, self._intake, self._supply)
        self._links = Links(state, self._endings, self._exchange)
        self._resources = Resources(state, self._links, self._execution)
        self._reports = Reports(state)
        is_deaf = state.neighbourhood.asked.is_deaf
        own = OwnSide(state.crew, state.queue, state.rules.speed, self._supply.may_fetch, is_deaf)
        self.window = Window(own, state.queue, state.neighbourhood)
        self.placing = Placing(
            scheduler,
            self.window,
            run=self._execution.run,
            forward=self._exchange.forward,
            neighbourhood=state.neighbourhood,
        )
        self._violations_told = 0
        self._leaving = Leaving(state, self._endings, self._execution, self._intake, self._supply)
        self._handlers = self._table()

    def _table(self) -> dict[type[e.Event], Callable[[Any, float], None]]:
        """Say who answers for which event."""
        state = self.state
        return {
            e.TemplatesDeclared: self._intake.templates_declared,
            e.CallsSubmitted: self._intake.calls_submitted,
            CallsAnnounced: self._rides.announced,
            LineCallsEnded: self._rides.calls_ended,
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
            e.TasksPassed: self._execution.tasks_passed,
            e.RevokeSettled: self._execution.revoke_settled,
            e.WorkerLost: self._execution.losses.worker_lost,
            e.TasksSpawned: self._families.tasks_spawned,
            e.VersionsPut: self._families.versions_put,
            e.VersionsAwaited: self._waiting.versions_awaited,
            e.TasksAwaited: self._waiting.tasks_awaited,
            e.VersionsReleased: self._families.versions_released,
            e.GroupCancelled: self._families.group_cancelled,
            e.LimitSet: Limits(state, self._families).limit_set,
            e.Committed: self._committed,
            e.DiskFilled: self._disk_filled,
            e.DiskFreed: self._disk_freed,
            e.LinkOpened: self._links.link_opened,
            e.LinkClosed: self._links.link_closed,
            e.InventoryReceived: self._links.inventories.received,
            e.NeighbourDraining: self._links.neighbour_draining,
            e.NeighbourHeard: self._links.neighbour_heard,
            e.LoadReported: self._links.load_reported,
            e.OffersReceived: self._exchange.taking.offers_received,
            e.OffersAnswered: self._exchange.offers_answered,
            e.EndsReceived: self._exchange.ends_received,
            e.EndsAcknowledged: self._exchange.taking.ends_acknowledged,
            LotOffered: self._exchange.lots.offered,
            LotAccepted: self._exchange.lots.accepted,
            LotEnded: self._exchange.lots.ended,
            LotAcknowledged: self._exchange.lots.acknowledged,
            e.CancelReceived: self._exchange.taking.cancel_received,
            e.ObjectFetched: self._object_fetched,
            e.FetchFailed: state.fetches.fetch_failed,
            e.ObjectsReleased: self._links.objects_released,
            e.ObjectsHeld: self._links.objects_held,
            e.ResourceAdded: self._resources.added,
            e.ResourceReduced: self._resources.reduced,
            e.ResourceRemoved: self._resources.removed,
            e.ClockRead: self._clock_read,
            e.ModulesListed: self._modules_listed,
            e.Ticked: lambda _event, _now: None,
            e.DrainRequested: self._leaving.requested,
        }

    # --- the two doors ----------------------------------------------------------------------------------------

    def handle(self, event: e.Event, now: float) -> None:
        """Take in one event; `now` is the agent's monotonic time in seconds and never falls."""
        self._crew.now_s = now
        self._handlers[type(event)](event, now)

    def drain(self, now: float) -> list[Command]:
        """After the events of a batch: do what is due, place what is ready, and say what is wanted."""
        state = self.state
        state.timers.fire(now)
        self._families.settle(now)
        if self._waiting.winners:
            self._waiting.win(now)
        is_changed = bool(state.changes)
        if is_changed and (state.queue.size or state.crew.lines):
            self._place(now)
        elif is_changed:
            state.changes.clear()
        while self._gangs.is_busy and self._gangs.step(now):
            self._place(now)
        if state.families and not state.draining:
            self._families.following.extend(now)
        if state.started:
            self._execution.note_started()
        if state.draining:
            self._leaving.step(now)
        if state.ledger.is_over:
            self._expire(now)
        if self._resources.leaving:
            self._resources.let_go(now)
        if state.neighbourhood.by_name:
            self._reports.tell(now, is_changed=is_changed)
        commands = state.outbox.drain()
        if state.draining and self._leaving.may_stop():
            commands.append(Stop())  # behind all that is told in this batch
        return commands

    def awaited(self, task: Task) -> list[Object]:
        """Give the objects that a task waits for; mostly none."""
        return self._supply.awaited(task)

    @property
    def next_wakeup(self) -> float | None:
        """When `Ticked` is wanted, in agent time; None: only events matter."""
        return self.state.timers.next

    def _place(self, now: float) -> None:
        state = self.state
        if state.pool.in_debt:
            self._execution.repay()
        queue, changes = state.queue, state.changes
        state.changes = set()
        self._crew.now_s = now
        if queue.size and not state.draining:
            self.placing.plan(now, frozenset(changes))
            if self.placing.violations > self._violations_told:
                self._violations_told = self.placing.violations
                state.outbox.add(Alarm("the scheduler's wish was refused", {"wish": self.placing.last_violation}))
            if queue.size and state.families:
                self._waiting.stack(now)
        elif queue.size and state.families:
            self._execution.run_children(now)
            self._waiting.stack(now)
        if len(state.tasks) > 1 and not queue.size and not state.draining:  # one task alone stands behind nobody
            self._execution.balance()
        if state.crew.is_crowded:
            self._execution.trim()
        if len(state.tasks) > 1 and not self._overruns.is_watching:
            self._overruns.watch(now)

    # --- start ------------------------------------------------------------------------------------------------

    def restore(self, recovered: Recovered, outcomes: dict[int, Outcome], now: float) -> None:
        """Take up what the journal holds, before the first event; `outcomes`: ends that neighbours did not confirm."""
        Restoring(self.state, self._intake, self._endings, self._links).restore(recovered, outcomes, now)
        self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Let go what has been kept long enough, now and ever again."""
        gone = self._expire(now)
        self.state.timers.at(now + (EXPIRY_S if gone < EXPIRY_MOST else EXPIRY_AGAIN_S), self._sweep)

    def _expire(self, now: float) -> int:
        state = self.state
        gone = state.ledger.expired(now, EXPIRY_MOST)
        for operation in gone:
            if operation.path.sender is not None:
                sender = state.neighbourhood.get(operation.path.sender)
                if sender is not None:
                    sender.confirmed(operation.id)
            if operation.outcome is not None:
                self._endings.release_outcome(operation.outcome)
        numbers = numbers_of(gone)
        if numbers:
            state.outbox.record(Forgotten(numbers))
        return len(numbers)

    # --- the agent itself -------------------------------------------------------------------------------------

    def _committed(self, event: e.Committed, now: float) -> None:  # noqa: ARG002 - all handlers are alike
        self.state.outbox.commit(event.up_to)

    def _object_fetched(self, event: e.ObjectFetched, now: float) -> None:
        self.state.fetches.object_fetched(event, now)
        self.state.changes.add(Change.READY)

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
        self.state.changes.add(Change.PROFILE)
