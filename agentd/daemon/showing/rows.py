"""The engine's records as rows for people."""

from __future__ import annotations

import os
import platform
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from agentd import __version__
from agentd.core.neighbours.neighbour import LinkState
from agentd.core.placing.plan import explain
from agentd.core.placing.ways import could_fit, lacking
from agentd.core.tasks.demands import demand_of
from agentd.core.tasks.task import State
from agentd.daemon.capacity import beyond_hardware
from agentd.daemon.showing.forms import inline_of
from agentd.daemon.showing.task_rows import LIVE, TaskRows
from agentd.model.task import Constraints, Outcome, Status
from agentd.model.views import (
    AgentView,
    ErrorView,
    NeighbourView,
    OperationView,
    ProcessorView,
    ResourceView,
    TaskView,
)
from agentd.wire.terms import PROTOCOL_MAX
from schedulers.capacity import Kind, unknowns

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.engine import Engine
    from agentd.core.journal.ledger import Operation
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.placing.pool import Pool
    from agentd.core.tasks.task import Task
    from agentd.model.exchange import Report
    from agentd.model.values import ObjectKey

UNCONSTRAINED = Constraints()
SENDERS_SHOWN = 20
"""Senders of waiting tasks that are shown one by one (chosen: a screen)."""
CALLS_SHOWN = 5
"""Functions of which calls wait, shown with the reason (chosen: as many as operations in `agentd status`)."""
NAMED = 3
"""Of them so many in the reason why a task waits (chosen: a line)."""
_ENDED = {status: status.name.lower() for status in Status}


SHOWN_BYTES = 1_000_000
"""From here on people are told how large a result is that is being written (chosen: less is there before they look)."""
STUCK_LOOKS = 200
"""Tasks of an operation that are looked at for one that no host can run; chosen: some microseconds."""


class Showing:
    """Makes rows from the engine's state; reads it, changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine.state
        self.progress: Callable[[ObjectKey], tuple[int, int, str] | None] = lambda _: None
        """Tells how much of an object on its way is here, of how much, and who gives it."""
        self._rows = TaskRows(engine.state, self.reason)

    # --- operations -------------------------------------------------------------------------------------------

    def operation(self, operation: Operation, outcome: Outcome | None = None) -> OperationView:
        """Show one operation; `outcome` adds its result or error, once it has ended: what is not on the disk may go."""
        if operation.status is None:
            outcome = None
        task = self._state.tasks.get(operation.id)
        reason = "" if operation.status is not None else self.reason(task) if task is not None else _ending(operation)
        told = operation.outcome if operation.status is None and task is None else None
        failure = (outcome.failure if outcome is not None else None) or operation.failure
        said = inline_of(outcome.value) if outcome is not None and outcome.status == Status.DONE else None
        number = str(operation.id)
        links = {
            "self": f"/v1/operations/{number}",
            "result": f"/v1/operations/{number}/result",
            "tasks": f"/v1/operations/{number}/tasks",
            "logs": f"/v1/operations/{number}/logs",
        }
        return OperationView(
            id=number,
            name=operation.name or operation.template.name,
            function=operation.template.function,
            state=self.state_of(operation),
            reason=reason or (failure.message if failure is not None else ""),
            submitted_at=operation.submitted_wall,
            started_at=operation.started_wall or None,
            ended_at=operation.ended_wall if operation.status is not None else None,
            agent=self._state.identity.name,
            ran_on=operation.ran_on or (told.agent or None if told is not None else self._host(task)),
            hops=told.hops if told is not None else operation.hops,
            attempts=self._attempts(operation, task, told),
            tasks=self._rows.counts(operation, task),
            result=None if said is None else msgspec.Raw(said),
            error=ErrorView(failure.type, failure.message, failure.traceback) if failure is not None else None,
            assumed=self._assumed(operation, task),
            links=links,
        )

    def state_of(self, operation: Operation) -> str:
        """Say the state of one operation."""
        if operation.status is not None:
            return _ENDED[Status(operation.status)]
        return self._live(self._state.tasks.get(operation.id))

    @staticmethod
    def _attempts(operation: Operation, task: Task | None, told: Outcome | None) -> int:
        if operation.status is not None:
            return operation.attempts
        return told.attempts if told is not None else task.attempt if task is not None else 1

    def _assumed(self, operation: Operation, task: Task | None) -> list[str]:
        """Name what its host meets only by ignorance, once it has one."""
        asked = operation.template.constraints
        host = task.host if task is not None else operation.host
        is_placed = operation.status is not None if task is None else task.state not in {State.WAITING, State.HELD}
        if asked == UNCONSTRAINED or not is_placed:
            return []
        row = self._state.neighbourhood.get(host) if host else None
        if host and row is None:
            return []
        here = self._state.pool.capacity if row is None else row.granted
        return [f"{name} of {host or self._state.identity.name}" for name in unknowns(here, demand_of(asked))]

    @staticmethod
    def _live(task: Task | None) -> str:
        return "running" if task is None else LIVE[task.state]

    def _host(self, task: Task | None) -> str | None:
        if task is None or task.state in {State.WAITING, State.HELD, State.FETCHING}:
            return None
        return task.host or self._state.identity.name

    def reason(self, task: Task) -> str:
        """Say why a task does not run."""
        state = self._state
        if task.state is State.HELD:
            return "its acceptance is being written to the disk"
        if task.state is State.ASSIGNED:
            return "next in line at a worker of this agent"
        if task.state is State.OFFERED:
            return f"offered to {task.host}, which has not answered"
        if task.state is State.STOPPING:
            return "it is being stopped"
        if task.state in {State.BLOCKED, State.JOINING}:
            said = "it waits for tasks that it asked for"
            if task.state is State.JOINING:
                said = "its code has ended, tasks that it asked for have not"
            return "; ".join(filter(None, (said, self._stuck(task.id))))
        if task.state in {State.FETCHING, State.COLLECTING}:
            return self._on_its_way(task)
        if task.state is State.HOLDING:
            return "its cores are held for a task that runs at the agent that asked for them"
        if task.state is not State.WAITING:
            return ""
        if state.draining:
            return "this agent is stopping"
        if state.not_starting:
            return state.not_starting
        shortfall = "" if could_fit(state.pool, task.shape) else lacking(state.pool.capacity, task.demand)
        words = explain(task, self._engine.window, state.neighbourhood, shortfall, len(state.queue))
        return "; ".join(filter(None, (words, self._in_turn(task))))

    def _in_turn(self, task: Task) -> str:
        """Say with whom whoever asked for a task shares this agent; empty where nobody else has any waiting."""
        queue, name = self._state.queue, self._state.senders.name
        others, programs = queue.others(task), queue.programs_with(task)
        own = f"its sender has {programs} programs with tasks waiting, which are served in turn" if programs > 1 else ""
        if not others:
            return own
        shown = [f"{name(row.number)} ({row.tasks})" for row in others[:NAMED]]
        more = [f"{len(others) - NAMED} more"] if len(others) > NAMED else []
        names = ", ".join(shown + more)
        said = f"it is one of {queue.waiting_with(task)} of its sender, which is served in turn with {names}"
        return "; ".join(filter(None, (said, own)))

    def _stuck(self, parent: int) -> str:
        """Say which of the tasks that one asked for has no host, and why; nothing if none is seen among the first."""
        state, parents, looks = self._state, [parent], STUCK_LOOKS
        while parents and looks > 0:
            family = state.families.get(parents.pop())
            for child in islice(family.children, looks) if family is not None else ():
                looks -= 1
                task = state.tasks.get(child)
                if task is None:
                    continue
                if task.state is State.BLOCKED:
                    parents.append(task.id)
                elif task.state is State.WAITING and not could_fit(state.pool, task.shape):
                    return f"{_named(task)} has no host: {self.reason(task)}"
        return ""

    def _on_its_way(self, task: Task) -> str:
        """Say how far the bytes have come that a task waits for."""
        what = "its arguments are" if task.state is State.FETCHING else "its result is"
        here = total = 0
        givers: dict[str, None] = {}
        for found in self._engine.awaited(task):
            come, _, giver = self.progress(found.key) or (0, 0, "")
            here, total = here + come, total + found.remote.size
            givers[giver] = None
        names = ", ".join(filter(None, givers)) or "nobody at the moment"
        return f"{what} on the way: {here / 1e6:.1f} of {total / 1e6:.1f} MB, from {names}"

    def tasks(self, operation: Operation) -> list[TaskView]:
        """Show the tasks of an operation, itself first."""
        return [self.task(operation), *self._rows.rows(operation)]

    def root_of(self, number: int) -> int:
        """Tell for which operation a task runs; a number that is no task's stays what it is."""
        return self._rows.root_of(number)

    def task(self, operation: Operation) -> TaskView:
        """Show the root task of an operation."""
        task = self._state.tasks.get(operation.id)
        shown = self.operation(operation)
        return TaskView(
            id=shown.id,
            function=shown.function,
            state=shown.state,
            host=shown.ran_on or "",
            attempt=shown.attempts,
            reason=shown.reason,
            submitted_at=shown.submitted_at,
            started_at=shown.started_at,
            ended_at=shown.ended_at,
            seconds=shown.ended_at - shown.started_at if shown.ended_at and shown.started_at else None,
            argument_bytes=task.payload.size_bytes if task is not None else 0,
            result_bytes=operation.result_bytes,
        )

    # --- the agent --------------------------------------------------------------------------------------------

    def agent(self, *, not_ready_reason: str, **told: Any) -> AgentView:
        """Show the agent itself; `told` are the fields of the view that the engine does not know."""
        state, pool = self._state, self._state.pool
        counts = {name: count for name, count in state.ledger.counts.items() if count}
        for operation in state.ledger.operations.values():
            if not operation.is_terminal:
                shown = self._live(state.tasks.get(operation.id))
                counts[shown] = counts.get(shown, 0) + 1
        return AgentView(
            name=state.identity.name,
            id=state.identity.agent_id,
            boot=state.identity.boot,
            version=__version__,
            protocol=PROTOCOL_MAX,
            python=platform.python_version(),
            pid=os.getpid(),
            draining=state.draining,
            ready=not not_ready_reason,
            not_ready_reason=not_ready_reason,
            cores=pool.total(),
            cores_free=pool.free(),
            workers=len(state.crew.lines),
            operations=counts,
            waiting=len(state.queue),
            running=state.crew.running(),
            ended=state.counters["ended"],
            waiting_for=self._waiting_for(),
            why_waiting=self._why_waiting(),
            **told,
        )

    def _waiting_for(self) -> dict[str, int]:
        """Say whose tasks wait, where they are several; those with few are one row."""
        rows = self._state.queue.standings()
        if len(rows) < 2:
            return {}
        shown = {self._state.senders.name(row.number): row.tasks for row in rows[:SENDERS_SHOWN]}
        rest = rows[SENDERS_SHOWN:]
        if rest:
            shown[f"{len(rest)} more"] = sum(row.tasks for row in rest)
        return shown

    def _why_waiting(self) -> dict[str, str]:
        """Say why calls wait that are no operations, so that nothing else tells of them."""
        calls = (task for bucket in self._state.queue.buckets() if (task := bucket.first()) is not None and task.caller)
        return {_named(task): self.reason(task) for task in islice(calls, CALLS_SHOWN)}

    # --- the pool ---------------------------------------------------------------------------------------------

    def held_for(self, neighbour: str) -> set[int]:
        """Give the tasks of a neighbour that wait or run here, or beyond."""
        return {task.id for task in self._state.tasks.values() if task.path.sender == neighbour}

    def resources(self) -> list[ResourceView]:
        """Show the pool: this device first."""
        state = self._state
        own = _resource(state.identity.name, "own device", "own", state.pool)
        rows = [row for row in state.neighbourhood.by_name.values() if row.is_pooled or row.held]
        return [own, *(self.resource(row) for row in rows)]

    def resource(self, row: Neighbour) -> ResourceView:
        """Show a neighbour as a part of the pool."""
        total = {kind.value: row.granted.units(kind) for kind in Kind}
        taken = {kind.value: row.taken(kind) for kind in Kind}
        return ResourceView(
            name=row.name,
            adaptor=row.adaptor or "comm",
            state="draining" if row.is_leaving else row.state.value,
            total=total,
            free={kind: max(units - taken[kind], 0) for kind, units in total.items()},
            owed={kind: max(taken[kind] - units, 0) for kind, units in total.items()},
            processors=[ProcessorView(p.name, p.kind.value, p.architecture, p.units) for p in row.granted.processors],
            memory_mib=row.granted.memory_mib,
            rtt_s=2 * row.latency_s if row.link else None,
            limit_of_tasks=row.limit_of_tasks,
            declared=row.declared,
        )

    def neighbours(self, now: float) -> list[NeighbourView]:
        """Show the links."""
        return [self.neighbour(row, now) for row in self._state.neighbourhood.by_name.values()]

    def neighbour(self, row: Neighbour, now: float) -> NeighbourView:
        """Show one link."""
        properties = dict(row.properties)
        return NeighbourView(
            name=row.name,
            state=row.state.value,
            is_parent=row.is_parent,
            address=f"{properties.get('Host', row.name)}:{properties.get('Port', '')}".rstrip(":"),
            rtt_s=2 * row.latency_s if row.link else None,
            bytes_per_s=1 / row.seconds_per_byte if row.seconds_per_byte else None,
            advertised=_advertised(row.report),
            report_age_s=now - row.reported_at if row.reported_at else None,
            lease_s=max(row.heard_at + self._state.rules.lease_s - now, 0.0) if row.heard_at else 0.0,
            running=len(row.held),
            refusal=row.last_refusal,
            python=".".join(map(str, row.python)) if any(row.python) else "",
            libraries=dict(row.libraries),
            under_way_bytes=row.travelling.bytes,
            unread_bytes=row.unread.bytes,
            why_not="" if row.state is LinkState.CONNECTED else row.why_not,
        )


def _ending(operation: Operation) -> str:
    """Say what an operation waits for whose code has ended, while its end is not on the disk."""
    if not operation.is_ending or operation.outcome is None:
        return ""
    size = operation.outcome.value.size_bytes
    what = f"its result ({size / 1e6:.1f} MB) is" if size >= SHOWN_BYTES else "its end is"
    return f"its code has ended, and {what} being written to the disk"


def _advertised(report: Report) -> dict[str, float]:
    """Sum what a neighbour says of its side of the link, and tell its own cores apart."""
    tiers, own = report.tiers, report.own
    sums = {
        "cores": sum(tier.cores for tier in tiers),
        "free": sum(tier.free for tier in tiers),
        "backlog_s": sum(tier.backlog_s for tier in tiers),
    }
    return sums if own is None else {**sums, "own_cores": own.cores, "own_free": own.free}


def _named(task: Task) -> str:
    template = task.shape.template
    return template.name or template.function


def _resource(name: str, adaptor: str, state: str, pool: Pool) -> ResourceView:
    return ResourceView(
        name=name,
        adaptor=adaptor,
        state=state,
        total={kind.value: pool.total(kind) for kind in Kind},
        free={kind.value: pool.free(kind) for kind in Kind},
        owed={kind.value: pool.owed(kind) for kind in Kind},
        processors=[ProcessorView(p.name, p.kind.value, p.architecture, p.units) for p in pool.capacity.processors],
        memory_mib=pool.capacity.memory_mib,
        warnings=beyond_hardware(pool.capacity),
    )
