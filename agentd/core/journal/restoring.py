"""Taking up what the journal holds.

Law: what was accepted goes on, what ended can be read, what is in doubt says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentd.core.commands import Alarm, CallBack, OpenLink
from agentd.core.journal.ledger import Operation
from agentd.core.tasks.task import State, Task
from agentd.model.figures import counted
from agentd.model.task import Failure, Outcome, Reason, Status, Template
from schedulers.capacity import Capacity, Kind

if TYPE_CHECKING:
    from agentd.core.journal.entries import HostAdded
    from agentd.core.journal.recovery import Finished, Live, Recovered
    from agentd.core.neighbours.links import Links
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.intake import Intake


class Restoring:
    """Rebuilds the engine's memory from what was recovered."""

    def __init__(self, state: AgentState, intake: Intake, endings: Endings, links: Links) -> None:
        self._state = state
        self._intake = intake
        self._endings = endings
        self._links = links

    def restore(self, recovered: Recovered, outcomes: dict[int, Outcome], now: float) -> None:
        """Take everything up; `outcomes` are those of ended tasks that their neighbours have not confirmed."""
        self._hosts(recovered)
        for finished in recovered.finished.values():
            self._finished(finished, outcomes.get(finished.operation))
        for live in recovered.live.values():
            self._live(live, now)
        for sender in dict.fromkeys(live.accepted.path.sender for live in recovered.live.values()):
            if sender is not None:
                self._links.watch_orphans(self._state.neighbourhood.ensure(sender, self._state.rules.hop_limit), now)

    def _hosts(self, recovered: Recovered) -> None:
        state = self._state
        for host in recovered.hosts.values():
            if host.instead_of or host.name == state.identity.name:
                self._own(host)
                continue
            neighbour = state.neighbourhood.ensure(host.name, state.rules.hop_limit)
            neighbour.granted = msgspec.json.decode(host.capacity, type=Capacity)
            neighbour.adaptor, neighbour.properties = host.adaptor, host.properties
            neighbour.is_parent, neighbour.declared, neighbour.is_pooled = host.is_parent, host.declared, True
            neighbour.limit_of_tasks = host.limit_of_tasks
            state.outbox.add(OpenLink(host.name, host.adaptor, host.properties))

    def _own(self, host: HostAdded) -> None:
        """Let a change of this device's capacity last as long as the settings say what they said when it was made."""
        pool = self._state.pool
        if host.instead_of == msgspec.json.encode(pool.declared):
            pool.begin(msgspec.json.decode(host.capacity, type=Capacity))
            facts: dict[str, object] = {"cpu": pool.total(), "in the settings": pool.declared.units(Kind.CPU)}
            self._state.outbox.add(Alarm("this device's resources are as they were last changed", facts))

    def _finished(self, finished: Finished, outcome: Outcome | None) -> None:
        state = self._state
        operation = Operation(
            id=finished.operation,
            template=Template(finished.function, name=finished.name),
            submitted_at=finished.submitted_at_s,
            submitted_wall=finished.submitted_wall_s,
            key=finished.key,
            digest=finished.digest,
            name=finished.name,
            callback=finished.callback,
            path=finished.path,
            sender_attempt=finished.sender_attempt,
            started_wall=finished.started_wall_s,
            ran_on=finished.agent,
            status=finished.status,
            ended_at=finished.ended_at_s,
            ended_wall=finished.ended_wall_s,
            failure=finished.failure,
            hops=finished.hops,
            attempts=finished.attempts,
            result_bytes=finished.result_bytes,
            read_at=finished.read_at_s,
            is_delivered=finished.is_delivered,
            is_called_back=finished.is_called_back,
        )
        state.ledger.open(operation)
        state.ledger.keep(operation)
        if operation.callback and not operation.is_called_back:
            state.outbox.add(CallBack(operation.id, operation.callback))
        sender = operation.path.sender
        if sender is not None and not operation.is_delivered and outcome is not None:
            operation.outcome = outcome
            for value in outcome.values:
                state.objects.take(value, "")
            neighbour = state.neighbourhood.ensure(sender, state.rules.hop_limit)
            neighbour.expect(operation.id, operation.sender_attempt, outcome.value.inline_bytes)

    def _live(self, live: Live, now: float) -> None:
        state, accepted = self._state, live.accepted
        operation = Operation(
            id=accepted.operation,
            template=accepted.template,
            submitted_at=accepted.at_s,
            submitted_wall=accepted.wall_s,
            key=accepted.key,
            digest=accepted.digest,
            name=accepted.name,
            callback=accepted.callback,
            path=accepted.path,
            user=accepted.user,
            sender_attempt=accepted.attempt,
            is_cancelling=live.is_cancelling,
            orphan_since=None if accepted.path.sender is None else now,
        )
        state.ledger.open(operation)
        state.objects.take(accepted.payload, accepted.path.sender or "")
        made = accepted.attempt - 1 + live.attempts  # whoever was asked first counts them
        task = self._intake.begin(operation, accepted.payload, attempt=made + 1)
        doubt = self._doubt(live)
        if live.is_cancelling:
            if live.holder:
                state.neighbourhood.ensure(live.holder, state.rules.hop_limit).orphans[task.id] = made
            self._intake.stop(task, now)
        elif doubt is not None:
            state.queue.drop(task)
            task.attempt = max(made, 1)
            self._endings.fail(task, doubt[1], now, doubt[0])
        elif live.holder:
            task.attempt = max(made, 1)
            self._held(task, live.holder, now)

    def _doubt(self, live: Live) -> tuple[Status, Failure] | None:
        """Say why an operation must not run again, if so."""
        template, name = live.accepted.template, self._state.identity.name
        if live.has_lost_arguments:
            words = "its arguments were in shared memory when the agent stopped: submit it again"
            return Status.LOST_UNKNOWN, Failure(Reason.SIGNAL, "AgentStopped", words, agent=name)
        if live.attempts and not template.idempotent:
            words = "the agent stopped after it was started, and it may run only once"
            return Status.LOST_UNKNOWN, Failure(Reason.SIGNAL, "AgentStopped", words, agent=name, attempt=live.attempts)
        if live.attempts and live.accepted.path.sender is not None and not live.holder:
            words = "the agent stopped while it ran; whoever gave it decides about another attempt"
            return Status.LOST_UNKNOWN, Failure(Reason.SIGNAL, "AgentStopped", words, agent=name, attempt=live.attempts)
        if live.attempts >= template.max_attempts and not live.holder:
            words = f"the agent stopped {counted(live.attempts, 'time')} while it ran"
            return Status.QUARANTINED, Failure(Reason.SIGNAL, "AgentStopped", words, agent=name, attempt=live.attempts)
        return None

    def _held(self, task: Task, holder: str, now: float) -> None:
        """A neighbour had it: it is asked for it under the same attempt, and believed in for one lease."""
        state = self._state
        neighbour = state.neighbourhood.ensure(holder, state.rules.hop_limit)
        state.queue.take(task)
        task.state = State.OFFERED
        task.host, task.placed_at = holder, now
        neighbour.book(task)
        self._links.believe(neighbour, now)
