"""How tasks end, and who is told when.

Law: the first end of a task counts; an end of an operation is told only after the journal has it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.commands import CallBack, Publish, Reply
from agentd.core.families.blames import BLAMES
from agentd.core.journal.alike import entries_of, runs_of
from agentd.core.journal.entries import Ended, Forgotten, Returned
from agentd.core.journal.ledger import STATES
from agentd.core.neighbours.lots import sorted_out
from agentd.core.tasks.task import ENDED, State, Task
from agentd.model.errors import BrokenInvariant
from agentd.model.exchange import End, Refusal, Settled
from agentd.model.task import Failure, Form, Outcome, Reason, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentd.core.families.families import Families
    from agentd.core.journal.ledger import Operation
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.workers.rides import Rides
    from agentd.model.values import Payload

_ID, _CALLER, _REF, _INPUTS, _PARTS = map(attrgetter, ("id", "caller", "ref", "inputs", "payload.parts"))
RETRIES = 3
"""Repetitions of a task whose code raised under on_failure=RETRY: 4 runs in all (as PyCOMPSs)."""

_UNTOLD = frozenset({Reason.EXIT, Reason.SIGNAL, Reason.OUT_OF_MEMORY, Reason.TIMED_OUT})
"""Failures of which no exception was there that a worker could have ignored."""


class Endings:
    """Ends tasks, or lets them try again."""

    families: Families
    rides: Rides
    """Joined by the engine: each needs the other."""

    def __init__(self, state: AgentState) -> None:
        self._state = state

    # --- one end ----------------------------------------------------------------------------------------------

    def end(self, task: Task, outcome: Outcome, now: float) -> None:
        """Give a task its one outcome; it must have left queue, line and neighbour."""
        state = self._state
        if state.families or self.families.blames.by_root:
            joined = self.families.join(task, outcome)
            if joined is None:
                return
            outcome = joined
        if outcome.status and task.family and self._is_given_instead(task, outcome):
            return
        task.state = ENDED
        del state.tasks[task.id]
        state.counters["ended"] += 1
        if state.census is not None:
            state.census.add(task, outcome, now)
        state.stopping.pop(task.id, None)
        if task.family:  # its inputs are its family's
            self.families.ended(task, outcome, now)
            if task.payload.parts:
                self.release(task.payload)
            return
        if task.payload.parts:
            self.release(task.payload)
        if task.inputs:
            for value in task.inputs:
                self.release(value)
        if task.caller:
            if state.rides:
                outcome = self.rides.over(task, outcome, now)
            state.outbox.settle(task.caller, Settled(task.ref, outcome))
            return
        self._end_root(task, outcome, now)

    def _is_given_instead(self, task: Task, outcome: Outcome) -> bool:
        """Have a worker give what on_failure=IGNORE gives for a task whose own worker could not, as it was killed."""
        state, template, failure = self._state, task.shape.template, outcome.failure
        family = state.families.get(task.family)
        if (
            (template.form, template.on_failure) != (Form.TASK, "IGNORE")
            or outcome.status == Status.CANCELLED
            or (failure is None or failure.reason not in _UNTOLD)
            or (family is None or family.refusal is not None or task.id in family.replicas)
        ):
            return False
        state.stopping.pop(task.id, None)
        task.shape = state.shapes.instead(task.shape)
        self.back(task)
        return True

    def _end_root(self, task: Task, outcome: Outcome, now: float) -> None:
        """End an operation, or what holds cores for a task."""
        operation = self._state.ledger.get(task.id)
        if operation is None:
            if task.shape.template.holds:
                self.families.gangs.holder_ended(task, outcome, now)
        elif not operation.has_ended:
            operation.host = task.host
            self._end_operation(operation, outcome, now)

    def end_all(self, tasks: list[Task], outcomes: list[Outcome], now: float) -> None:
        """Give each task its outcome, as `end` does; for many at once, of which most are plain calls."""
        state, ended = self._state, ENDED
        is_simple = not (state.rides or state.stopping or state.census or self.families.blames.by_root)
        if is_simple and tasks and not state.families and self._end_alike(tasks, outcomes, now):
            return
        known, operations = state.tasks, state.ledger.operations
        settled: list[Settled] = []
        caller = 0
        kept: list[tuple[Operation, Outcome]] = []
        given: list[tuple[Operation, Outcome]] = []
        ends: Iterable[tuple[Task, Outcome]] = zip(tasks, outcomes, strict=True)
        if is_simple and state.families:
            ends = self._end_children(ends, now)
        for task, outcome in ends:
            if not is_simple or task.payload.parts or task.inputs:
                self.end(task, outcome, now)
                continue
            if not task.caller:
                operation = operations.get(task.id)
                if operation is None:
                    self.end(task, outcome, now)
                    continue
                if operation.durable and operation.caller and not operation.is_ending and operation.status is None:
                    kept.append((operation, outcome))
                elif not operation.durable and operation.path.sender is not None:
                    operation.host = task.host
                    given.append((operation, outcome))
                else:
                    self.end(task, outcome, now)
                    continue
                task.state = ended
                del known[task.id]
                continue
            task.state = ended
            del known[task.id]
            if task.caller != caller:
                self._settle_all(caller, settled)
                caller, settled = task.caller, []
            settled.append(Settled(task.ref, outcome))
        self._settle_all(caller, settled)
        if kept:
            state.counters["ended"] += len(kept)
            self._end_kept(kept, now)
        if given:
            self._end_given([operation for operation, _ in given], [outcome for _, outcome in given], now)

    def _end_children(self, ends: Iterable[tuple[Task, Outcome]], now: float) -> list[tuple[Task, Outcome]]:
        """End those that running tasks asked for, and those that asked for some themselves; gives the others."""
        families = self._state.families
        children: list[tuple[Task, Outcome]] = []
        others: list[tuple[Task, Outcome]] = []
        for pair in ends:
            task, outcome = pair
            if task.id in families:
                self.end(task, outcome, now)
            else:
                (children if task.family else others).append(pair)
        for task, outcome in self.families.end_plain(children, now):
            self.end(task, outcome, now)
        return others

    def _end_alike(self, tasks: Sequence[Task], outcomes: Sequence[Outcome], now: float) -> bool:
        """End plain tasks where all are of one kind; false: they are not, and none did.

        Kinds are calls of one session, such calls that must survive, and tasks of neighbours that need not.
        """
        state, ended, known = self._state, ENDED, self._state.tasks
        caller, numbers = tasks[0].caller, [*map(_ID, tasks)]
        if any(map(_PARTS, tasks)) or any(map(_INPUTS, tasks)) or {*map(_CALLER, tasks)} != {caller}:
            return False
        found = () if caller else map(state.ledger.operations.get, numbers)
        operations = [one for one in found if one is not None and not one.is_ending and one.status is None]
        are_kept = bool(operations) and operations[0].durable
        if are_kept:
            operations = [one for one in operations if one.durable and one.caller]
        else:
            operations = [one for one in operations if not one.durable and one.path.sender is not None]
        if not caller and len(operations) < len(tasks):
            return False
        for task in tasks:
            task.state = ended
            del known[task.id]
        if caller:
            self._settle_all(caller, [*map(Settled, map(_REF, tasks), outcomes)])
        elif are_kept:
            state.counters["ended"] += len(operations)
            self._end_kept([*zip(operations, outcomes, strict=True)], now)
        else:
            for operation, task in zip(operations, tasks, strict=True):
                operation.host = task.host
            self._end_given(operations, outcomes, now)
        return True

    def _end_given(self, operations: Sequence[Operation], outcomes: Sequence[Outcome], now: float) -> None:
        """Tell neighbours how tasks of theirs ended that need not survive."""
        state = self._state
        state.counters["ended"] += len(operations)
        for operation in operations:
            if operation.watchers:
                for caller in operation.watchers:
                    state.outbox.add(Reply(caller, operation.id))
                operation.watchers = ()
        state.ledger.close_given(operations, outcomes, now, state.wall(now))
        for sender, head, some, its_outcomes in sorted_out(operations, outcomes):
            neighbour = state.neighbourhood.ensure(sender, state.rules.hop_limit)
            if head is None or not neighbour.takes_lots:
                for operation, outcome in zip(some, its_outcomes, strict=True):
                    self.deliver(operation, outcome, sender)
                continue
            numbers = [operation.id for operation in some]
            neighbour.expect_lot(numbers, head[0])
            neighbour.told.is_expecting = True
            state.outbox.end_lot(sender, head, numbers, its_outcomes)
        state.outbox.publish_ends(
            [(operation.id, STATES[outcome.status]) for operation, outcome in zip(operations, outcomes, strict=True)]
        )

    def _end_kept(self, ended: list[tuple[Operation, Outcome]], now: float) -> None:
        """Record how operations ended that sessions wait for, and tell those when it is safe."""
        state, wall = self._state, self._state.wall(now)
        asked = state.acceptances.withdraw_all([operation for operation, _ in ended])
        for operation, outcome in ended:
            operation.is_ending, operation.outcome, operation.ended_wall = True, outcome, wall
        runs = [*runs_of(ended, asked)]
        number = state.outbox.record_calls(entries_of(ended, asked, runs, now, wall))
        state.outbox.after(number, lambda: self._tell_all(ended, runs, now))

    def _tell_all(self, ended: list[tuple[Operation, Outcome]], runs: Sequence[tuple[int, int]], now: float) -> None:
        """The ends are safe: the sessions that wait for them may know."""
        outbox, caller = self._state.outbox, ended[0][0].caller
        if not caller or any(operation.watchers or operation.caller != caller for operation, _ in ended):
            for operation, outcome in ended:
                self._tell(operation, outcome, now)
            return
        self._state.ledger.close_all(ended, now, runs)
        outbox.settle_all(caller, [Settled(operation.ref, outcome) for operation, outcome in ended])
        outbox.publish_ends([(operation.id, STATES[outcome.status]) for operation, outcome in ended])

    def _settle_all(self, caller: int, settled: list[Settled]) -> None:
        if settled:
            self._state.counters["ended"] += len(settled)
            self._state.outbox.settle_all(caller, settled)

    def release(self, payload: Payload) -> None:
        """Let go of the shared memory that a value lies in, and of the objects that it names."""
        if payload.parts:
            self._state.objects.release(payload)

    def release_outcome(self, outcome: Outcome) -> None:
        """Let go of all values of an outcome."""
        self.release(outcome.value)
        for value in outcome.made:
            self.release(value)

    def _end_operation(self, operation: Operation, outcome: Outcome, now: float) -> None:
        state = self._state
        operation.is_ending = True
        operation.outcome = outcome
        operation.ended_wall = state.wall(now)
        if outcome.seconds and not operation.started_wall:  # a neighbour had no time to say that it has begun
            operation.started_wall = operation.ended_wall - outcome.seconds
        if operation.durable and operation.caller:
            self._end_kept([(operation, outcome)], now)
        elif operation.durable:
            entry, reply = self._entry(operation, outcome, now)
            number = state.outbox.record(entry)
            if reply is not None:
                operation.accepted = number
                state.outbox.after(number, lambda: state.outbox.add(reply))
            state.outbox.after(number, lambda: self._tell(operation, outcome, now))
        else:
            self._tell(operation, outcome, now)

    def _entry(self, operation: Operation, outcome: Outcome, now: float) -> tuple[Ended, Reply | None]:
        """Make the entry of an end, and tell who still has to hear of the acceptance, which is safe with it."""
        asked, reply = self._state.acceptances.withdraw(operation) or (None, None)
        return Ended(operation.id, outcome, now, operation.ended_wall, operation.started_wall, asked), reply

    def _tell(self, operation: Operation, outcome: Outcome, now: float) -> None:
        """The end is safe: whoever waits for it may know."""
        state = self._state
        if operation.caller:
            operation.read_at = now
        state.ledger.close(operation, outcome, now)
        for caller in operation.watchers:
            state.outbox.add(Reply(caller, operation.id))
        operation.watchers = ()
        if operation.caller:
            state.outbox.settle(operation.caller, Settled(operation.ref, outcome))
        if operation.callback:
            state.outbox.add(CallBack(operation.id, operation.callback))
        sender = operation.path.sender
        if sender is None:
            operation.outcome = None
            if not operation.caller:
                self.release_outcome(outcome)
        else:
            self.deliver(operation, outcome, sender)
        state.outbox.add(Publish("operation", str(operation.id), {"state": STATES[outcome.status]}))

    def deliver(self, operation: Operation, outcome: Outcome, sender: str) -> None:
        """Tell a neighbour the end of its task; said again over each new link until it confirms."""
        state = self._state
        neighbour = state.neighbourhood.ensure(sender, state.rules.hop_limit)
        neighbour.expect(operation.id, operation.sender_attempt, outcome.value.inline_bytes)
        neighbour.told.is_expecting = True
        told = replace(outcome, hops=outcome.hops + 1)
        if outcome.has_parts:
            share, export = state.objects.share, state.objects.export
            value, made = share(outcome.value), tuple(map(share, outcome.made))
            operation.outcome = replace(outcome, value=value, made=made)
            told = replace(told, value=export(value, sender), made=tuple(export(one, sender) for one in made))
        end = End(operation.id, operation.sender_attempt, operation.sender_epoch, told)
        self._state.outbox.end(sender, end)

    def hand_back(
        self, task: Task, neighbour: Neighbour, reason: str, *, lacks: bool = False, final: bool = False
    ) -> None:
        """Give a task that has not started back to the connected neighbour that gave it; it has left the queue."""
        state = self._state
        operation = state.ledger.get(task.id)
        if operation is None or task.path.sender != neighbour.name:
            raise BrokenInvariant(f"task {task.id} of {task.path.sender} has no operation")
        del state.tasks[task.id]
        task.state = ENDED
        for value in task.values:
            self.release(value)
        if operation.durable:
            state.outbox.record(Forgotten((task.id,)))
        state.ledger.forget(operation)
        refusal = Refusal(task.id, operation.sender_attempt, reason, lacks=lacks, final=final)
        state.outbox.refuse(neighbour.name, neighbour.link, refusal)

    # --- ends of our own making -------------------------------------------------------------------------------

    def fail(self, task: Task, failure: Failure, now: float, status: Status = Status.FAILED) -> None:
        """End a task without a value."""
        agent = self._state.identity.name
        self.end(task, Outcome(status, failure=failure, agent=task.host or agent, attempts=task.attempt), now)

    def cancel(self, task: Task, now: float) -> None:
        """End a task as cancelled."""
        failure = Failure(Reason.NONE, "Cancelled", "cancelled before it ended", agent=task.host)
        self.fail(task, failure, now, Status.CANCELLED)

    def stopped(self, task: Task, now: float) -> None:
        """A task that was being stopped has really ended, whatever it says of itself."""
        failure = self._state.stopping.pop(task.id, None)
        lost = self.families.gangs.lost(task)
        if lost is not None:
            self.host_lost(task, lost, now, blame=False)
        elif failure is None:
            self.cancel(task, now)
        else:
            self.fail(task, failure, now)

    # --- trying again -----------------------------------------------------------------------------------------

    def repeat(self, task: Task) -> None:
        """Let a task wait again without counting an attempt: nothing had been started, or its owner wants it so."""
        state = self._state
        operation = state.operation_of(task)
        if operation is not None and operation.durable and operation.id not in state.acceptances.unwritten:
            state.outbox.record(Returned((task.id,)))
        self.back(task)

    def back(self, task: Task) -> None:
        """Let a task wait for a host again, or first for what it reads."""
        if task.host or task.worker:
            self._state.queue.refund(task)
        task.host = ""
        task.worker = 0
        task.epoch = 0
        shape = task.shape
        if shape.of is not None and shape.only is None:  # it may be done in another way next time
            task.shape = shape.of
        if task.family and task.shape.template.nodes > 1:
            self.families.gangs.again(task)
        if task.lacks:
            self._state.move(task, State.LACKING)
            return
        if task.family and task.inputs and not self.families.provide(task):
            return
        if task.payload.parts or task.inputs:
            task.places = self._state.fetches.places(task.values)
        self._state.wait(task)

    def user_code_raised(self, task: Task, outcome: Outcome, now: float) -> None:
        """End the task, or run it once more here where its owner wants that, and lets it run more than once."""
        state = self._state
        template = task.shape.template
        failure = outcome.failure
        repeatable = failure is not None and failure.reason in {Reason.EXCEPTION, Reason.EXIT}
        wanted = template.on_failure == "RETRY" and template.idempotent
        if wanted and repeatable and task.retries < RETRIES:
            task.retries += 1
            task.host, task.worker = "", 0  # what it took is its sender's
            if not (state.families and self.families.again(task, self.repeat)):
                self.repeat(task)
        else:
            self.end(task, outcome, now)

    def host_lost(self, task: Task, failure: Failure, now: float, *, blame: bool) -> None:
        """The host of a started task is gone: try elsewhere under a new attempt number, if that is allowed.

        An attempt is one execution, and whoever was asked first counts them: a task that a neighbour gave us goes back
        to it, `QUARANTINED` when the task itself is to be blamed, `LOST_UNKNOWN` when not.
        """
        state = self._state
        state.counters["lost_tasks"] += 1
        template = task.shape.template
        if task.worker and not task.host and task.id not in state.families:
            state.queue.used(task, now - task.placed_at)
            task.worker = 0
        task.blames += blame
        if blame and task.family:
            self.families.blames.note(task, failure)
        is_last = task.attempt >= template.max_attempts or task.path.sender is not None
        if task.id in state.stopping:
            self.stopped(task, now)
        elif failure.reason in {Reason.OUT_OF_MEMORY, Reason.TIMED_OUT}:
            self.fail(task, failure, now)
        elif not template.idempotent:
            self.fail(task, failure, now, Status.LOST_UNKNOWN)
        elif task.blames >= BLAMES or (blame and is_last):
            self.fail(task, failure, now, Status.QUARANTINED)
        elif is_last:
            self.fail(task, failure, now, Status.LOST_UNKNOWN)
        else:
            operation = state.operation_of(task)
            if operation is not None:
                state.acceptances.write(operation)  # from now on there is an attempt to be counted
            task.attempt += 1
            if not (state.families and self.families.again(task, self.back)):
                self.back(task)
