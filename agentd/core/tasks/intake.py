"""What users ask: calls of a session, operations that must survive, cancelling, watching.

Law: nothing is answered as accepted before the journal has it; what cannot be taken is refused with what to do.
"""

from __future__ import annotations

from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING

from agentd.core.commands import Alarm, Publish, Reply
from agentd.core.journal.acceptances import accepted
from agentd.core.journal.entries import CalledBack, Cancelling, WasRead
from agentd.core.journal.ledger import Operation
from agentd.core.placing.ways import could_fit, lacking
from agentd.core.tasks.ride import Ride, carries, line_of
from agentd.core.tasks.task import HERE, Shape, State, Task
from agentd.model.errors import RequestError
from agentd.model.exchange import Settled
from agentd.model.figures import counted
from agentd.model.task import Failure, Form, Outcome, Reason, Status
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core import events as e
    from agentd.core.data.supply import Supply
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.workers.execution import Execution
    from agentd.model.exchange import Submission
    from agentd.model.task import Template
    from agentd.model.values import Payload


_READY = Change.READY
_TEMPLATE, _PARTS = attrgetter("template"), attrgetter("payload.parts")
REFS_MOST = 1000
"""Ended calls that may stand in a caller's list beside twice as many as there are tasks (chosen)."""
_PARKED = frozenset({State.WAITING, State.HELD, State.LACKING, State.RIDING})
READ_S = 0.5
"""How long the note that a result was read may wait for others (chosen: few entries, little forgotten by a crash)."""


class Intake:
    """Takes what users ask."""

    def __init__(self, state: AgentState, execution: Execution, endings: Endings, supply: Supply) -> None:
        self._state = state
        self._execution = execution
        self._endings = endings
        self._supply = supply
        self._by_ref: dict[int, dict[int, int]] = {}
        """For callers that have cancelled calls: the tasks by the caller's numbers, some of them ended."""
        self._read: list[int] = []
        """Operations of which the results were read lately."""
        self._is_watching = False
        """A timer looks for tasks that no host fits."""

    # --- sessions ---------------------------------------------------------------------------------------------

    def templates_declared(self, event: e.TemplatesDeclared, now: float) -> None:  # noqa: ARG002 - all are alike
        """A caller will name these templates by number."""
        self._state.senders.join(event.caller, event.user)
        known = self._state.declared.setdefault(event.caller, {})
        for number, template in event.templates:
            shape = self._state.shapes.intern(template)
            shape.is_here = number not in event.elsewhere
            known[number] = self._state.shapes.bound(shape, event.only) if event.only else shape

    def calls_submitted(self, event: e.CallsSubmitted, now: float) -> None:
        """A session asks for calls."""
        state = self._state
        shapes = state.declared.get(event.caller, {})
        refusal = self.refusal()
        for template, alike in groupby(event.calls, _TEMPLATE):
            shape, calls = shapes.get(template), [*alike]
            if shape is None or refusal is not None:
                for call in calls:
                    self._decline(event.caller, call, refusal)
            elif shape.template.durable:
                self._durable_calls(event.caller, calls, shape, now)
            else:
                self._plain_calls(event.caller, calls, shape, now)
        state.counters["accepted"] += len(event.calls)
        state.changes.add(_READY)
        if state.rules.unschedulable_after_s is not None:
            self.watch_queue(now)

    def _plain_calls(self, caller: int, calls: list[Submission], shape: Shape, now: float) -> None:
        """Take calls that end with their session: what nearly all calls are, so it makes one pass over them."""
        state = self._state
        new = zip(calls, state.ids, state.orders)  # noqa: B905 - the other two have no end
        fresh = [Task(number, shape, call.payload, HERE, order, caller, call.ref, now) for call, number, order in new]
        state.tasks.update([(task.id, task) for task in fresh])
        known = self._by_ref.get(caller)
        if known is not None:
            known.update([(task.ref, task.id) for task in fresh])
        state.queue.extend(fresh)
        if shape.template.form is Form.DIRECT:
            state.rides[caller, fresh[0].ref] = Ride(fresh[0].id)

    def _durable_calls(self, caller: int, calls: list[Submission], shape: Shape, now: float) -> None:
        """Take calls that are operations; what lies in shared memory, or may run but once, is recorded at once."""
        state, template = self._state, shape.template
        if not template.idempotent or any(map(_PARTS, calls)):
            for call in [call for call in calls if call.payload.parts or not template.idempotent]:
                self._accept(self.asked(caller, call, template, now), call.payload, None, is_patient=True)
            calls = [call for call in calls if template.idempotent and not call.payload.parts]
            if not calls:
                return
        wall, user, numbers = state.wall(now), state.senders.user(caller), [*islice(state.ids, len(calls))]
        opened = [
            Operation(number, template, now, wall, caller=caller, ref=call.ref, user=user)
            for call, number in zip(calls, numbers, strict=True)
        ]
        state.ledger.operations.update(zip(numbers, opened, strict=True))
        payloads = [call.payload for call in calls]
        state.acceptances.put_off_all(opened, payloads, now)
        orders = islice(state.orders, len(calls))
        new = zip(numbers, payloads, orders, strict=True)
        fresh = [Task(number, shape, payload, HERE, order, 0, 0, now, share=caller) for number, payload, order in new]
        state.tasks.update(zip(numbers, fresh, strict=True))
        known = self._by_ref.get(caller)
        if known is not None:
            known.update([(operation.ref, operation.id) for operation in opened])
        state.queue.extend(fresh)

    def _decline(self, caller: int, call: Submission, refusal: RequestError | None) -> None:
        words = str(refusal) if refusal else f"template {call.template} was not declared on this connection"
        self._endings.release(call.payload)
        failure = Failure(Reason.NOT_CALLABLE, "RequestError", words, agent=self._state.identity.name)
        self._state.outbox.settle(caller, Settled(call.ref, Outcome(Status.FAILED, failure=failure)))

    def asked(self, caller: int, call: Submission, template: Template, now: float) -> Operation:
        """Open an operation that a session asks for."""
        operation = self._open(template, now, "", b"", "", "")
        operation.caller, operation.ref, operation.user = caller, call.ref, self._state.senders.user(caller)
        known = self._by_ref.get(caller)
        if known is not None:
            known[call.ref] = operation.id
        return operation

    def calls_cancelled(self, event: e.CallsCancelled, now: float) -> None:
        """A session gives up some of its calls."""
        numbers = self._numbers(event.caller)
        for ref in event.refs:
            task = self._state.tasks.get(numbers.get(ref, 0))
            if task is not None:
                operation = self._state.operation_of(task)
                if operation is not None:
                    self._note_cancelling(operation)
                self.stop(task, now)

    def _numbers(self, caller: int) -> dict[int, int]:
        """Give task numbers by the caller's own; worked out once for a caller that cancels, then kept up."""
        state, known = self._state, self._by_ref.get(caller)
        if known is None or len(known) > 2 * len(state.tasks) + REFS_MOST:
            known = self._by_ref[caller] = {}
            for task in state.tasks.values():
                asked = task if task.caller else state.ledger.get(task.id)
                if asked is not None and asked.caller == caller:
                    known[asked.ref] = task.id
        return known

    def caller_left(self, event: e.CallerLeft, now: float) -> None:
        """A session is gone: what it alone wanted is stopped; its durable operations go on."""
        state, caller = self._state, event.caller
        state.declared.pop(caller, None)
        state.senders.leave(caller)
        self._by_ref.pop(caller, None)
        for task in list(state.tasks.values()):
            operation = state.operation_of(task)
            if operation is None:
                if task.caller == caller and not carries(state.rides.get((caller, task.ref))):
                    self.stop(task, now)
                continue
            if operation.caller == caller:
                operation.caller = 0
                state.acceptances.write(operation)
            if caller in operation.watchers:
                operation.watchers = _without(operation.watchers, caller)

    # --- operations -------------------------------------------------------------------------------------------

    def operation_submitted(self, event: e.OperationSubmitted, now: float) -> None:
        """A user asks for one operation; answered with (number, whether it is new) once that is on the disk."""
        try:
            self._take(event, now, event.caller)
        except RequestError as error:  # without its traceback: that leads to the request, which would stay with it
            self._state.outbox.add(Reply(event.caller, error.with_traceback(None)))

    def operations_submitted(self, event: e.OperationsSubmitted, now: float) -> None:
        """A user asks for many; answered together, each with its own answer."""
        answers: list[tuple[int, bool] | RequestError] = []
        last = 0
        for one in event.operations:
            try:
                operation, is_new = self._take(one, now)
            except RequestError as error:
                answers.append(error.with_traceback(None))
            else:
                answers.append((operation.id, is_new))
                last = max(last, operation.accepted)
        self._state.outbox.after(last, lambda: self._state.outbox.add(Reply(event.caller, answers)))

    def _take(self, event: e.OperationSubmitted, now: float, caller: int = 0) -> tuple[Operation, bool]:
        """Find the operation, or open it; a caller is answered once its acceptance is on the disk.

        Raises:
            RequestError: it cannot be taken.
        """
        known = self._state.ledger.known(event.key, event.digest)
        if known is not None:
            self._endings.release(event.payload)
            self._state.acceptances.write(known)
            if caller:
                again = Reply(caller, (known.id, False))
                self._state.outbox.after(known.accepted, lambda: self._state.outbox.add(again))
            return known, False
        refusal = self.refusal()
        if refusal is not None:
            self._endings.release(event.payload)
            self._state.counters["refused"] += 1
            raise refusal
        self._state.counters["accepted"] += 1
        name = event.name or event.template.name
        self._state.shapes.intern(event.template).is_here = event.is_here
        operation = self._open(event.template, now, event.key, event.digest, name, event.callback)
        operation.user = event.user
        reply = Reply(caller, (operation.id, True)) if caller else None
        self._accept(operation, event.payload, reply, is_patient=event.is_patient)
        return operation, True

    def _accept(self, operation: Operation, payload: Payload, reply: Reply | None, *, is_patient: bool) -> None:
        """Write an acceptance, or put it off where nobody is told before the end and nothing else hangs on it."""
        state = self._state
        if is_patient and operation.template.idempotent and not payload.parts and not operation.callback:
            state.acceptances.put_off(operation, payload, reply)
        else:
            operation.accepted = state.outbox.record(accepted(operation, payload))
            if reply is not None:
                state.outbox.after(operation.accepted, lambda: state.outbox.add(reply))
        self.begin(operation, payload)
        state.changes.add(Change.READY)

    def _open(self, template: Template, now: float, key: str, digest: bytes, name: str, callback: str) -> Operation:
        state = self._state
        operation = Operation(next(state.ids), template, now, state.wall(now), key, digest, name, callback)
        state.ledger.open(operation)
        return operation

    def begin(
        self,
        operation: Operation,
        payload: Payload,
        attempt: int = 1,
        *,
        inputs: tuple[Payload, ...] = (),
        makes: int = 0,
        shape: Shape | None = None,
        let_wait: Callable[[Task], None] | None = None,
    ) -> Task:
        """Make an operation's root; one that may run only once is held until that is safe, others `let_wait`."""
        state = self._state
        shape = shape or state.shapes.intern(operation.template)
        task = Task(operation.id, shape, payload, state.path(operation.path), state.next_order())
        task.attempt, task.submitted_at = attempt, operation.submitted_at
        task.inputs, task.makes = inputs, makes
        task.share = operation.caller or state.senders.number(operation.user, operation.path.sender)
        if task.payload.parts or inputs:
            task.places = state.fetches.places(task.values)
        state.tasks[task.id] = task
        if operation.template.idempotent or operation.accepted <= state.outbox.committed:
            (let_wait or state.wait)(task)
        else:
            task.state = State.HELD
            state.outbox.after(operation.accepted, lambda: self._unhold(task))
        self.watch_queue(operation.submitted_at)
        return task

    def _unhold(self, task: Task) -> None:
        if task.state is State.HELD:
            self._state.wait(task)

    def watch_queue(self, now: float) -> None:
        """Where the operator wants it: look now and then for tasks that no host fits; one timer for all of them."""
        limit_s = self._state.rules.unschedulable_after_s
        if limit_s is None or self._is_watching:
            return
        self._is_watching = True

        def look(now: float) -> None:
            self._is_watching = False
            self._fail_unschedulable(limit_s, now)
            if self._state.tasks:  # those that run may ask for more
                self._is_watching = True
                self._state.timers.at(now + max(limit_s / 4, 1.0), look)

        self._state.timers.at(now + limit_s, look)

    def _fail_unschedulable(self, limit_s: float, now: float) -> None:
        state = self._state
        for bucket in list(state.queue.buckets()):
            while (task := bucket.first()) is not None and now - task.submitted_at >= limit_s:
                if task.shape.is_here and could_fit(state.pool, task.shape):
                    break
                if task.shape.template.nodes > 1 and self._endings.families.gangs.could_run(task.shape):
                    break
                if any(row.objection(task) is None for row in state.neighbourhood.rows):
                    break
                state.queue.drop(task)
                words = f"no host fitted for {limit_s:g} s: {self._why_nowhere(task)}"
                self._endings.fail(task, Failure(Reason.UNSCHEDULABLE, "Unschedulable", words), now)

    def _why_nowhere(self, task: Task) -> str:
        """Say for each host why a task cannot run there."""
        state = self._state
        own = lacking(state.pool.capacity, task.demand) if task.shape.is_here else "the function is not here"
        rows = (f"{row.name}: {row.objection(task)}" for row in state.neighbourhood.rows if row.is_pooled)
        return "; ".join([f"this agent: {own}", *rows])

    def refusal(self) -> RequestError | None:
        """Say why nothing more can be taken; None when it can."""
        state, rules = self._state, self._state.rules
        if state.draining:
            return RequestError("this agent is stopping: submit to another one", status=503, retry_after_s=30)
        if state.disk_full:
            return RequestError(f"nothing can be accepted: {state.disk_full}", status=507)
        if state.queue.size >= rules.most_waiting or state.queue.bytes >= rules.most_waiting_bytes:
            waiting = f"{counted(state.queue.size, 'task', 'wait')} with {state.queue.bytes >> 20} MiB of arguments"
            words = f"{waiting}, which is all that this agent holds: come back later"
            return RequestError(words, status=429, retry_after_s=1)
        return None

    def operation_watched(self, event: e.OperationWatched, now: float) -> None:  # noqa: ARG002
        """A caller waits for an end."""
        operation = self._state.ledger.get(event.operation)
        if operation is None or operation.is_terminal:
            self._state.outbox.add(Reply(event.caller, event.operation))
        else:
            operation.watchers += (event.caller,)

    def watch_abandoned(self, event: e.WatchAbandoned, now: float) -> None:  # noqa: ARG002
        """A caller waits no longer."""
        operation = self._state.ledger.get(event.operation)
        if operation is not None and event.caller in operation.watchers:
            operation.watchers = _without(operation.watchers, event.caller)

    def result_read(self, event: e.ResultRead, now: float) -> None:
        """A user has read a result."""
        operation = self._state.ledger.get(event.operation)
        if operation is not None and operation.read_at is None and operation.is_terminal:
            operation.read_at = now
            self._state.ledger.spare(operation)
            if operation.durable:
                self._note_read(operation.id, now)

    def _note_read(self, operation: int, now: float) -> None:
        """Have it written in a moment, together with others: a result that was read twice is no loss."""
        if not self._read:
            self._state.timers.at(now + READ_S, self.write_reads)
        self._read.append(operation)

    def write_reads(self, now: float) -> None:
        """Write down which results were read."""
        if self._read:
            self._state.outbox.record(WasRead(tuple(self._read), now))
            self._read = []

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
            error = RequestError(f"no operation {event.operation} is known here; it may have expired", status=404)
            state.outbox.add(Reply(event.caller, error))
            return
        if operation is not None:
            self._note_cancelling(operation)
        if task is not None:
            self.stop(task, now)
        state.outbox.add(Reply(event.caller, event.operation))

    def _note_cancelling(self, operation: Operation) -> None:
        if operation.has_ended or operation.is_cancelling:
            return
        operation.is_cancelling = True
        if operation.durable:
            self._state.acceptances.write(operation)
            self._state.outbox.record(Cancelling(operation.id))
        self._state.outbox.add(Publish("operation", str(operation.id), {"state": "cancelling"}))

    def stop(self, task: Task, now: float) -> None:
        """Stop a task wherever it is."""
        state = self._state
        if task.state in _PARKED:
            self._cancel_parked(task, now)
        elif task.state is State.HOLDING:
            self._execution.holding.let_go(task)
            self._endings.cancel(task, now)
        elif task.state is State.FETCHING:
            self._supply.forget(task)
            self._endings.cancel(task, now)
        elif task.state is State.COLLECTING:
            self._supply.abandon(task, now)
        elif task.state is State.ASSIGNED:
            if task.id not in state.stopping:
                self._execution.cancel_assigned(task)
        elif task.state in {State.RUNNING, State.BLOCKED}:
            self._execution.stop(task, now, None)
        elif task.state is State.JOINING:
            self._endings.families.cancel_joining(task)
        elif task.state in {State.OFFERED, State.FORWARDED}:
            state.move(task, State.STOPPING)
            state.stopping[task.id] = None
            state.outbox.cancel(task.host, task.id, task.attempt)

    def _cancel_parked(self, task: Task, now: float) -> None:
        """Cancel a task that has no cores of its own; the line over which a call is made is stopped with it."""
        state = self._state
        if task.state is State.WAITING:
            state.queue.drop(task)
        line = state.tasks.get(line_of(state.rides, task)) if task.state is State.RIDING else None
        self._endings.cancel(task, now)
        if line is not None:
            self.stop(line, now)


def _without(callers: tuple[int, ...], caller: int) -> tuple[int, ...]:
    """Strike a caller off once: it may wait twice."""
    at = callers.index(caller)
    return callers[:at] + callers[at + 1 :]
