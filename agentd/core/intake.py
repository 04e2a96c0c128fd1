"""What users ask: calls of a session, operations that must survive, cancelling, watching.

Law: nothing is answered as accepted before the journal has it; what cannot be taken is refused with what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import Alarm, Publish, Reply
from agentd.core.entries import Accepted, CalledBack, Cancelling, WasRead
from agentd.core.ledger import Operation
from agentd.core.tasks import HERE, State, Task
from agentd.model.errors import RequestError
from agentd.model.exchange import Settled
from agentd.model.task import Failure, Outcome, Reason, Status
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.endings import Endings
    from agentd.core.execution import Execution
    from agentd.core.state import AgentState
    from agentd.model.exchange import Submission
    from agentd.model.task import Template
    from agentd.model.values import Payload


class Intake:
    """Takes what users ask."""

    def __init__(self, state: AgentState, execution: Execution, endings: Endings) -> None:
        self._state = state
        self._execution = execution
        self._endings = endings

    # --- sessions ---------------------------------------------------------------------------------------------

    def templates_declared(self, event: e.TemplatesDeclared, now: float) -> None:  # noqa: ARG002 - all are alike
        """A caller will name these templates by number."""
        known = self._state.declared.setdefault(event.caller, {})
        for number, template in event.templates:
            shape = known[number] = self._state.shapes.intern(template)
            shape.is_here = number not in event.elsewhere

    def calls_submitted(self, event: e.CallsSubmitted, now: float) -> None:
        """A session asks for calls."""
        state = self._state
        shapes = state.declared.get(event.caller, {})
        refusal = self._refusal()
        caller, tasks, queue, ids = event.caller, state.tasks, state.queue, state.ids
        for call in event.calls:
            shape = shapes.get(call.template)
            if shape is None or refusal is not None:
                self._decline(event.caller, call, refusal)
            elif shape.template.durable:
                self._durable_call(event.caller, call, shape.template, now)
            else:
                task = Task(next(ids), shape, call.payload, HERE, state.next_order())
                task.caller, task.ref, task.submitted_at = caller, call.ref, now
                tasks[task.id] = task
                queue.add(task)
        state.counters["accepted"] += len(event.calls)
        state.changes.add(Change.READY)

    def _decline(self, caller: int, call: Submission, refusal: RequestError | None) -> None:
        words = str(refusal) if refusal else f"template {call.template} was not declared on this connection"
        failure = Failure(Reason.NOT_CALLABLE, "RequestError", words, agent=self._state.identity.name)
        self._state.outbox.settle(caller, Settled(call.ref, Outcome(Status.FAILED, failure=failure)))

    def _durable_call(self, caller: int, call: Submission, template: Template, now: float) -> None:
        operation = self._open(template, call.payload, now, "", b"", "", "")
        operation.caller, operation.ref = caller, call.ref

    def calls_cancelled(self, event: e.CallsCancelled, now: float) -> None:
        """A session gives up some of its calls."""
        refs = set(event.refs)
        for task in [task for task in self._state.tasks.values() if task.caller == event.caller and task.ref in refs]:
            self.stop(task, now)

    def caller_left(self, event: e.CallerLeft, now: float) -> None:
        """A session is gone: what it alone wanted is stopped; its durable operations go on."""
        state = self._state
        state.declared.pop(event.caller, None)
        for task in [task for task in state.tasks.values() if task.caller == event.caller]:
            self.stop(task, now)
        for operation in state.ledger.operations.values():
            if operation.caller == event.caller:
                operation.caller = 0
            if event.caller in operation.watchers:
                operation.watchers.remove(event.caller)

    # --- operations -------------------------------------------------------------------------------------------

    def operation_submitted(self, event: e.OperationSubmitted, now: float) -> None:
        """A user asks for one operation; answered with (number, whether it is new) once that is on the disk."""
        try:
            operation, is_new = self._take(event, now)
        except RequestError as error:
            self._state.outbox.add(Reply(event.caller, error))
            return
        reply = Reply(event.caller, (operation.id, is_new))
        self._state.outbox.after(operation.accepted, lambda: self._state.outbox.add(reply))

    def operations_submitted(self, event: e.OperationsSubmitted, now: float) -> None:
        """A user asks for many; answered together, each with its own answer."""
        answers: list[tuple[int, bool] | RequestError] = []
        last = 0
        for one in event.operations:
            try:
                operation, is_new = self._take(one, now)
            except RequestError as error:
                answers.append(error)
            else:
                answers.append((operation.id, is_new))
                last = max(last, operation.accepted)
        self._state.outbox.after(last, lambda: self._state.outbox.add(Reply(event.caller, answers)))

    def _take(self, event: e.OperationSubmitted, now: float) -> tuple[Operation, bool]:
        known = self._state.ledger.known(event.key, event.digest)
        if known is not None:
            return known, False
        refusal = self._refusal()
        if refusal is not None:
            self._state.counters["refused"] += 1
            raise refusal
        self._state.counters["accepted"] += 1
        name = event.name or event.template.name
        self._state.shapes.intern(event.template).is_here = event.is_here
        return self._open(event.template, event.payload, now, event.key, event.digest, name, event.callback), True

    def _open(
        self, template: Template, payload: Payload, now: float, key: str, digest: bytes, name: str, callback: str
    ) -> Operation:
        state = self._state
        number = next(state.ids)
        entry = Accepted(number, template, payload, now, state.wall(now), key, digest, name, callback)
        operation = Operation(
            id=number,
            template=template,
            submitted_at=now,
            submitted_wall=entry.wall_s,
            key=key,
            digest=digest,
            name=name,
            callback=callback,
            accepted=state.outbox.record(entry),
        )
        state.ledger.open(operation)
        self.begin(operation, entry)
        state.changes.add(Change.READY)
        return operation

    def begin(self, operation: Operation, entry: Accepted, attempt: int = 1) -> Task:
        """Make the root task of an operation; one that may run only once waits for its acceptance to be safe."""
        state = self._state
        shape = state.shapes.intern(operation.template)
        task = Task(operation.id, shape, entry.payload, state.path(operation.path), state.next_order())
        task.submitted_at = operation.submitted_at
        task.attempt = attempt
        state.tasks[task.id] = task
        if operation.template.idempotent or operation.accepted <= state.outbox.committed:
            state.wait(task)
        else:
            task.state = State.HELD
            state.outbox.after(operation.accepted, lambda: self._unhold(task))
        if state.rules.unschedulable_after_s is not None:
            self._watch_placement(task, state.rules.unschedulable_after_s)
        return task

    def _unhold(self, task: Task) -> None:
        if task.state is State.HELD:
            self._state.wait(task)

    def _watch_placement(self, task: Task, limit_s: float) -> None:
        def unschedulable(now: float) -> None:
            state = self._state
            if task.state is not State.WAITING or state.pool.could_fit(task.demand):
                return
            if any(row.objection(task) is None for row in state.neighbourhood.rows):
                return
            state.queue.drop(task)
            words = f"no host fitted for {limit_s:g} s"
            self._endings.fail(task, Failure(Reason.UNSCHEDULABLE, "Unschedulable", words), now)

        self._state.timers.at(task.submitted_at + limit_s, unschedulable)

    def _refusal(self) -> RequestError | None:
        """Say why nothing more can be taken; None when it can."""
        state, rules = self._state, self._state.rules
        if state.draining:
            return RequestError("this agent is stopping: submit to another one", status=503, retry_after_s=30)
        if state.disk_full:
            return RequestError(f"the journal's disk is full ({state.disk_full}): free some space", status=507)
        if len(state.queue) >= rules.most_waiting or state.queue.bytes >= rules.most_waiting_bytes:
            words = f"{len(state.queue)} tasks wait, which is all that this agent holds: come back later"
            return RequestError(words, status=429, retry_after_s=1)
        return None

    def operation_watched(self, event: e.OperationWatched, now: float) -> None:  # noqa: ARG002
        """A caller waits for an end."""
        operation = self._state.ledger.get(event.operation)
        if operation is None or operation.is_terminal:
            self._state.outbox.add(Reply(event.caller, event.operation))
        else:
            operation.watchers.append(event.caller)

    def watch_abandoned(self, event: e.WatchAbandoned, now: float) -> None:  # noqa: ARG002
        """A caller waits no longer."""
        operation = self._state.ledger.get(event.operation)
        if operation is not None and event.caller in operation.watchers:
            operation.watchers.remove(event.caller)

    def result_read(self, event: e.ResultRead, now: float) -> None:
        """A user has read a result."""
        operation = self._state.ledger.get(event.operation)
        if operation is not None and operation.read_at is None and operation.is_terminal:
            operation.read_at = now
            self._state.ledger.spare(operation)
            if operation.durable:
                self._state.outbox.record(WasRead((operation.id,), now))

    def callback_ended(self, event: e.CallbackEnded, now: float) -> None:  # noqa: ARG002
        """An address was called back, or given up."""
        operation = self._state.ledger.get(event.operation)
        if operation is None:
            return
        operation.is_called_back = True
        self._state.ledger.spare(operation)
        self._state.outbox.record(CalledBack((event.operation,), event.is_given_up))
        if event.is_given_up:
            detail: dict[str, object] = {"operation": event.operation, "url": operation.callback}
            self._state.outbox.add(Alarm("a callback was given up", detail))

    # --- cancelling -------------------------------------------------------------------------------------------

    def cancel_requested(self, event: e.CancelRequested, now: float) -> None:
        """A user wants an operation stopped."""
        state = self._state
        task = state.tasks.get(event.operation)
        operation = state.ledger.get(event.operation)
        if task is None and operation is None:
            error = RequestError(f"no operation {event.operation} is known here", status=404)
            state.outbox.add(Reply(event.caller, error))
            return
        if operation is not None and not operation.has_ended and not operation.is_cancelling:
            operation.is_cancelling = True
            if operation.durable:
                state.outbox.record(Cancelling(operation.id))
            state.outbox.add(Publish("operation", str(operation.id), {"state": "cancelling"}))
        if task is not None:
            self.stop(task, now)
        state.outbox.add(Reply(event.caller, event.operation))

    def stop(self, task: Task, now: float) -> None:
        """Stop a task wherever it is."""
        state = self._state
        if task.state in {State.WAITING, State.HELD}:
            if task.state is State.WAITING:
                state.queue.drop(task)
            self._endings.cancel(task, now)
        elif task.state is State.ASSIGNED:
            if task.id not in state.stopping:
                self._execution.cancel_assigned(task)
        elif task.state is State.RUNNING:
            self._execution.stop(task, now, None)
        elif task.state in {State.OFFERED, State.FORWARDED}:
            state.move(task, State.STOPPING)
            state.stopping[task.id] = None
            state.outbox.cancel(task.host, task.id, task.attempt)
