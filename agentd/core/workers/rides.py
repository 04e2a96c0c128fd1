"""Durable calls that sessions make over direct lines: told by the session, ended by the worker, placed by nobody.

Law: a call that was announced ends once: as the worker says, or as any other task where the line is over before that.

What the session says and what the worker says come by two ways, so the end may be here before the call. While a call
is under way it is an operation like any other: it is accepted in time, shown, cancelled, and outlives its session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.events import CallsSubmitted
from agentd.core.tasks.task import HERE, State, Task
from agentd.model.task import Failure, Outcome, Reason, Status

if TYPE_CHECKING:
    from agentd.core.events import TaskResult
    from agentd.core.line_events import CallsAnnounced, LineCallsEnded
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.intake import Intake
    from agentd.core.workers.execution import Execution
    from agentd.model.exchange import Submission

EARLY_MOST = 4
"""Ends that may be here before their calls (a session has one call at a time on its way)."""
_LOST = frozenset({Status.LOST_UNKNOWN, Status.QUARANTINED})
_DEATHS = frozenset({Reason.EXIT, Reason.SIGNAL, Reason.OUT_OF_MEMORY})
_UNKNOWN = Failure(Reason.EXIT, "WorkerLost", "the worker ended, and nobody knows why")


class Rides:
    """The durable calls over all direct lines of this agent."""

    def __init__(self, state: AgentState, endings: Endings, execution: Execution, intake: Intake) -> None:
        self._state = state
        self._endings = endings
        self._execution = execution
        self._intake = intake

    def announced(self, event: CallsAnnounced, now: float) -> None:
        """A session makes calls over its line; where that is over, or they may not go so, they are calls like any."""
        ride = self._state.rides.get((event.caller, event.line))
        for call in event.calls:
            task = self._opened(event.caller, call, now) if ride is not None else None
            if task is None or ride is None:
                self._intake.calls_submitted(CallsSubmitted(event.caller, [call]), now)
                continue
            ride.calls[call.ref] = task
            early = ride.early.pop(call.ref, None)
            if early is not None:
                del ride.calls[call.ref]
                self._take_end(task, early, now)

    def _opened(self, caller: int, call: Submission, now: float) -> Task | None:
        """Open the operation of a call that is on its way over a line; None: it is none that can go so."""
        state = self._state
        shape = state.declared.get(caller, {}).get(call.template)
        if shape is None or not (shape.template.durable and shape.template.idempotent) or self._intake.refusal():
            return None
        operation = self._intake.asked(caller, call, shape.template, now)
        operation.started_wall = operation.submitted_wall
        state.acceptances.put_off(operation, call.payload, None)
        task = Task(operation.id, shape, call.payload, HERE, state.next_order(), 0, 0, now)
        task.share, task.state, task.placed_at = caller, State.RIDING, now
        state.tasks[task.id] = task
        state.counters["accepted"] += 1
        return task

    def calls_ended(self, event: LineCallsEnded, now: float) -> None:
        """A worker has made calls of the line that it serves, or says of which of them the end of that task is."""
        line = self._state.tasks.get(event.task)
        ride = self._state.rides.get((line.caller, line.ref)) if line is not None else None
        if ride is not None and event.last:
            ride.last = event.last
        for result in event.results:
            task = ride.calls.pop(result.task, None) if ride is not None else None
            if task is not None and task.state is State.RIDING:
                self._take_end(task, result, now)
            elif task is None and ride is not None and len(ride.early) < EARLY_MOST:
                ride.early[result.task] = result
            else:
                self._endings.release(result.value)

    def _take_end(self, task: Task, result: TaskResult, now: float) -> None:
        """Take the end of a call. When it began its worker says best: the session's word of it may have come late.

        What was written of it stays as it is: it began after that.
        """
        operation = self._state.ledger.get(task.id)
        began_wall = self._state.wall(now) - result.seconds
        if operation is not None:
            if operation.id in self._state.acceptances.unwritten:
                operation.submitted_wall = min(began_wall, operation.submitted_wall)
            operation.started_wall = max(began_wall, operation.submitted_wall)
        self._execution.take_end(task, result, now)

    def over(self, line: Task, outcome: Outcome, now: float) -> Outcome:
        """The task that serves a line has ended: see to its calls, and give what its session is told of the line."""
        ride = self._state.rides.pop((line.caller, line.ref), None)
        if ride is None:
            return outcome
        for early in ride.early.values():
            self._endings.release(early.value)
        told = outcome
        for ref, task in ride.calls.items():
            if task.state is not State.RIDING:
                continue  # it was cancelled
            if _is_fault(outcome):
                failure = replace(outcome.failure, attempt=task.attempt) if outcome.failure is not None else _UNKNOWN
                self._endings.host_lost(task, failure, now, blame=True)
            elif ref == ride.last and outcome.status != Status.CANCELLED:
                told = _bare(outcome)
                self._end_with(task, replace(outcome, attempts=task.attempt), now)
            else:
                self._endings.repeat(task)
        if ride.last and told is outcome and any(value.parts for value in outcome.values):
            # They are of a call that was cancelled meanwhile.
            self._endings.release_outcome(outcome)
            told = _bare(outcome)
        return told

    def _end_with(self, task: Task, outcome: Outcome, now: float) -> None:
        """A call ended as the task of its line did: it asked for tasks, or its result is large."""
        if outcome.status == Status.FAILED:
            self._endings.user_code_raised(task, outcome, now)
        else:
            self._endings.end(task, outcome, now)


def _is_fault(outcome: Outcome) -> bool:
    """Tell whether it was the worker that ended, and not what it did."""
    return outcome.status in _LOST or (outcome.failure is not None and outcome.failure.reason in _DEATHS)


def _bare(outcome: Outcome) -> Outcome:
    """Give what is left of an outcome without its value, which is another's."""
    return Outcome(agent=outcome.agent, attempts=outcome.attempts)
