"""What this agent's workers report, and what they are given.

Law: nothing starts twice; each task that was given is ended, taken back, or passed over once.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from agentd.core.commands import RevokeTasks, RunTasks, StartWorker, StopWorker
from agentd.core.journal.entries import Started
from agentd.core.placing.holding import Holding
from agentd.core.placing.ways import first_way
from agentd.core.tasks.estimates import learn, learn_all, learn_made, learn_made_all
from agentd.core.tasks.task import State, Task
from agentd.core.workers.clocks import Clocks, is_forgiven
from agentd.core.workers.line import hold_ms
from agentd.core.workers.losses import Losses
from agentd.core.workers.stopping import Stopping
from agentd.core.workers.use import Use
from agentd.model.errors import BrokenInvariant
from agentd.model.task import Failure, Outcome, Reason, Status
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.data.supply import Supply
    from agentd.core.events import RevokeSettled, TaskResult, TasksEnded, TasksPassed, TasksRevoked, WorkerStarted
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Shape
    from agentd.core.workers.line import Line

_ROOM = Change.ROOM
_STATUS, _FAILURE, _TASK = map(attrgetter, ("status", "failure", "task"))
SPARE_S = 30.0
"""How long workers beyond the pool's are kept after the last task waited (chosen: a start costs 50 ms)."""


class Execution:
    """Runs tasks on this agent."""

    def __init__(self, state: AgentState, endings: Endings, supply: Supply) -> None:
        self._state = state
        self._endings = endings
        self._supply = supply
        self._speed, self._name = state.rules.speed, state.identity.name
        self._use = Use(state)
        self._is_minding = False
        """A timer looks after spare workers."""
        self._gated: set[int] = set()
        """Tasks that may run only once, seated, of which the start is not on the disk yet."""
        self._stopping = Stopping(state, endings, self._gated, self._settle)
        self.stop = self._stopping.stop
        self._clocks = Clocks(state, self.stop)
        self.holding = Holding(state, endings)
        self.losses = Losses(state, endings, self._clocks, self._gated, self.holding)

    # --- giving -----------------------------------------------------------------------------------------------

    def run(self, task: Task, now: float, most: int = 1) -> bool:
        """Seat a waiting task, and up to `most` in all of those behind it that are alike; false: not even the first.

        One that may run only once waits for the disk. What a task lacks of its arguments is fetched first, without
        cores; then it is placed once more.
        """
        queue, shape = self._state.queue, task.shape
        if not self._seat(task, now):
            return False
        while most > 1 and not shape.ways:
            if task.state is State.ASSIGNED:
                most -= self._fill(task, most - 1, now)
            most -= 1
            following = queue.head_alike(task) if most else None
            if following is None or not self._seat(following, now):
                break
            task = following
        return True

    def _fill(self, task: Task, most: int, now: float) -> int:
        """Seat tasks right behind one that stands behind others, as far as its line has room; gives how many."""
        state, line = self._state, self._state.crew.lines[task.worker]
        count, most_bytes = line.left(task.shape)
        count = min(most, count)
        if count <= 0:
            return 0
        tasks, weight = state.queue.take_alike(task, count, most_bytes)
        self._note_runs(tasks, now)
        line.extend(tasks, weight)
        if tasks:
            state.queue.charge(task, len(tasks))
            state.outbox.run_more(line.worker, tasks, hold_ms(tasks[-1], now))
        return len(tasks)

    def _note_runs(self, tasks: Sequence[Task], now: float) -> None:
        """Note that tasks are handed to a worker, and of which operations that is to be written."""
        state = self._state
        operations, wall, unwritten = state.ledger.operations, state.wall(now), state.acceptances.unwritten
        for task in tasks:
            task.host, task.placed_at = "", now
            operation = None if task.caller else operations.get(task.id)
            if operation is not None:
                operation.started_wall = operation.started_wall or wall
                if operation.durable and operation.id not in unwritten:
                    state.started.append(operation.id)

    def _seat(self, task: Task, now: float) -> bool:
        state = self._state
        if (task.payload.parts or task.inputs) and task.missing_bytes and not self._supply.has_bytes(task, now):
            return task.state is State.FETCHING
        shape = task.shape
        if shape.template.holds:
            return self.holding.hold(task, now)
        seat = first_way(task, state.crew.seat) if shape.ways else state.crew.seat(task)
        if seat is None:
            return False
        line, is_new, binding = seat
        self._take(task, shape)
        if is_new:
            state.outbox.add(StartWorker(line.worker))
        task.host, task.placed_at = "", now
        operation = None if task.caller else state.ledger.get(task.id)
        if operation is not None:
            if operation.durable and not task.shape.template.idempotent:
                operation.started_wall = operation.started_wall or state.wall(now)
                number = state.outbox.record(Started((task.id,)))
                self._gated.add(task.id)
                state.outbox.after(number, lambda: self._run_once(line, task))
                self._clocks.watch(task, now)
                return True
            self._note_runs((task,), now)
        state.outbox.run(line.worker, task, binding, hold_ms(task, now))
        if task.shape.template.timeout_s is not None:
            self._clocks.watch(task, now)
        return True

    def _take(self, task: Task, waited_as: Shape) -> None:
        """Take a task that was seated out of the queue, where it stands under the shape that it waited in."""
        if waited_as.ways:
            way, task.shape = task.shape, waited_as
            self._state.queue.place(task)
            task.shape = way
        else:
            self._state.queue.place(task)

    def _run_once(self, line: Line, task: Task) -> None:
        """Its start is on the disk: now it may start, if nobody stopped it meanwhile."""
        if line.tasks and line.tasks[0] is task:
            self._gated.discard(task.id)
            self._state.outbox.run(line.worker, task, line.binding)

    # --- taking back ------------------------------------------------------------------------------------------

    def cancel_assigned(self, task: Task) -> None:
        """Stop a task that stands behind others: take the tail of its line back, it and all after it."""
        line = self._state.crew.lines[task.worker]
        self._state.stopping[task.id] = None
        self.take_back(line, len(line.tasks) - line.tasks.index(task))

    def take_back(self, line: Line, count: int) -> None:
        """Ask for the tail of a line, those included that were asked for before; what had started stays."""
        more = self._state.crew.ask_back(line, count)
        if more:
            self._state.outbox.cut_run(line.worker)
            self._state.outbox.add(RevokeTasks(line.worker, more))

    def balance(self) -> None:
        """Cores are idle and nothing waits: share out what stands behind others."""
        found = self._state.crew.to_revoke()
        if found is not None:
            self.take_back(*found)

    def repay(self) -> None:
        """Units are owed: take back what stands behind others, so that each line's units are free after its first."""
        for line in self._state.crew.lines.values():
            behind = len(line.tasks) - line.depth - 1
            if behind > 0 and line.revocable and not line.revoking:
                self.take_back(line, behind)

    # --- waiting ----------------------------------------------------------------------------------------------

    def block(self, task: Task, now: float) -> None:
        """A task waits for others: its cores are free meanwhile, and what stood behind it goes to other workers."""
        state = self._state
        line = state.crew.lines[task.worker]
        state.move(task, State.BLOCKED)
        behind = len(line.tasks) - line.depth - 1
        if behind:
            self.take_back(line, behind)
        state.crew.block(line, keeps=not state.rules.reuse_on_block)
        self._use.paused(task, now)
        state.changes.add(Change.ROOM)
        if not self._is_minding:
            self._is_minding = True
            state.timers.at(now + SPARE_S, self._mind)

    def _mind(self, now: float) -> None:
        """Let spare workers go when no task has waited for a while."""
        crew = self._state.crew
        self._is_minding = crew.has_blocked()
        if self._is_minding:
            self._state.timers.at(now + SPARE_S, self._mind)
        else:
            crew.kept = 0
            self._state.changes.add(Change.ROOM)

    def run_on_top(self, line: Line, task: Task, now: float) -> None:
        """Let a waiting task run in a worker that is there already, on top of the one that waits in it."""
        state, shape = self._state, task.shape
        if task.missing_bytes and not self._supply.has_bytes(task, now):
            return
        if shape.ways:
            first_way(task, lambda one: state.pool.fits_now(one.demand))
        self._take(task, shape)
        binding = state.crew.seat_on_top(line, task)
        task.host, task.placed_at = "", now
        state.outbox.add(RunTasks(line.worker, [task], binding, on_top=True))
        self._clocks.watch(task, now)

    def run_children(self, now: float) -> None:
        """While the agent drains: run what running tasks have asked for, so that they can end within their grace."""
        for bucket in list(self._state.queue.buckets()):
            while (task := bucket.first()) is not None and task.family and task.shape.is_here:
                if not self.run(task, now):
                    break

    def is_on_top(self, task: Task) -> bool:
        """Tell whether nothing runs on top of a task that waits."""
        return self._state.crew.lines[task.worker].tasks[-1] is task

    def unblock(self, task: Task, now: float) -> bool:
        """Give a task that waited its cores again; tells whether there were any."""
        state = self._state
        line, demand = state.crew.lines[task.worker], task.shape.demand
        if line.reservation is None and state.pool.could_fit(demand):
            reservation = state.pool.reserve(demand)
            if reservation is None:
                return False
            line.hold(reservation, demand)
        state.crew.unblock(line)
        state.move(task, State.RUNNING)
        self._use.resumed(task, now)
        return True

    # --- events -----------------------------------------------------------------------------------------------

    def worker_started(self, event: WorkerStarted, now: float) -> None:  # noqa: ARG002 - all handlers are alike
        """A worker is ready; what was queued for it is on its way already."""
        line = self._state.crew.lines.get(event.worker)
        if line is not None:
            line.pid, line.is_started = event.pid, True

    def tasks_ended(self, event: TasksEnded, now: float) -> None:
        """A worker has finished tasks."""
        state = self._state
        line = state.crew.lines.get(event.worker)
        if line is None:
            return
        results = event.results
        is_plain = len(results) > 1 and not (state.stopping or self._clocks.are_running or line.depth)
        if is_plain and (not state.families or self._are_plain(results)):
            self._end_in_order(line, results, now)
            self._settle(line)
            return
        pop = state.crew.pop
        for result in event.results:
            task = pop(line, result.task)
            self._clocks.forget(result.task)
            if task is None:
                raise BrokenInvariant(f"worker {event.worker} ended task {result.task}, which was not its next")
            if state.queue.is_shared:
                self._use.ended(task, result.seconds, now)
            self.take_end(task, result, now)
        self._settle(line)

    def _are_plain(self, results: Sequence[TaskResult]) -> bool:
        """Tell whether no end among them may have another task given up, or waits for what its task asked for."""
        if any(map(_STATUS, results)) or any(map(_FAILURE, results)):
            return False
        return self._state.families.keys().isdisjoint(map(_TASK, results))

    def take_end(self, task: Task, result: TaskResult, now: float) -> None:
        """Take how a task ended, as its worker says it."""
        if result.status or self._state.stopping:
            self._ended_otherwise(task, result, now)
        else:
            self._done(task, result, now)

    def _end_in_order(self, line: Line, results: Sequence[TaskResult], now: float) -> None:
        """Take the ends of the first tasks of a line while nothing else hangs on any of them: the common, hot case."""
        tasks, name = self._state.crew.pop_first(line, [result.task for result in results]), self._name
        self._state.queue.used_all(tasks, results, self._speed)
        if any(map(_STATUS, results)):
            ended = [*zip(tasks, results, strict=True)]
            for task, result in ended:
                if result.status:
                    self._ended_otherwise(task, result, now)
            tasks = [task for task, result in ended if not result.status]
            results = [result for result in results if not result.status]
        outcomes = [
            Outcome(
                0, result.value, result.failure, result.seconds, name, 0, task.attempt, result.made, result.output_bytes
            )
            for task, result in zip(tasks, results, strict=True)
        ]
        if self._state.families:
            learn_made_all(tasks, outcomes)
        learn_all(tasks, outcomes, self._speed)
        self._endings.end_all(tasks, outcomes, now)

    def _settle(self, line: Line) -> None:
        """After tasks left a line: what it kept for them is free, or the next one's."""
        state = self._state
        state.crew.settle(line)
        if line.is_waiting:
            self._stopping.stop_below(line)
        state.changes.add(_ROOM)

    def _done(self, task: Task, result: TaskResult, now: float) -> None:
        value, seconds = result.value, result.seconds
        failure, made, written = result.failure, result.made, result.output_bytes
        if made:
            learn_made(task.shape, made)
        learn(task.shape, seconds * self._speed, value.size_bytes if value.parts else len(value.data))
        self._endings.end(task, Outcome(0, value, failure, seconds, self._name, 0, task.attempt, made, written), now)

    def _ended_otherwise(self, task: Task, result: TaskResult, now: float) -> None:
        """Take the end of a task that did not end well, or while some are being stopped."""
        state = self._state
        if task.id in state.stopping and not is_forgiven(task, result, state.stopping[task.id]):
            self._endings.release(result.value)
            for value in result.made:
                self._endings.release(value)
            self._endings.stopped(task, now)
            return
        if result.status == Status.DONE:
            self._done(task, result, now)
            return
        failure = result.failure or Failure(Reason.EXCEPTION, "Error", "the worker gave no reason")
        seconds, written = result.seconds, result.output_bytes
        outcome = Outcome(result.status, result.value, failure, seconds, self._name, 0, task.attempt, (), written)
        if result.status == Status.FAILED:
            self._endings.user_code_raised(task, outcome, now)
        else:
            self._endings.end(task, outcome, now)

    def tasks_revoked(self, event: TasksRevoked, now: float) -> None:
        """The tail of a line came back unstarted."""
        state = self._state
        line = state.crew.lines.get(event.worker)
        if line is None:
            return
        taken = state.crew.revoked(line, event.count)
        state.counters["revoked"] += len(taken)
        for task in [one for one in taken if one.id not in state.stopping]:
            self._endings.repeat(task)
        for task in taken:  # after all others, since what reads what these were to make is over with them
            if task.id in state.stopping:
                state.stopping.pop(task.id)
                self._endings.cancel(task, now)
        if not line.asked:
            self._stop_what_started(line, now)
        state.changes.add(Change.ROOM)

    def _stop_what_started(self, line: Line, now: float) -> None:
        """Those in a line that were to be cancelled but could not be taken back are stopped as running ones."""
        state = self._state
        for task in list(line.tasks):
            if task.id in state.stopping and task.state is not State.STOPPING:
                task.state = State.RUNNING
                self.stop(task, now, None)

    def tasks_passed(self, event: TasksPassed, now: float) -> None:
        """A worker did not start tasks, since it lacks what they read: they wait for that, or go on with it."""
        state = self._state
        line = state.crew.lines.get(event.worker)
        if line is None:
            return
        for number in event.tasks:
            task = state.crew.pop(line, number)
            if task is None:
                raise BrokenInvariant(f"worker {event.worker} passed task {number} over, which was not its next")
            if number in state.stopping:
                self._endings.stopped(task, now)
            else:
                self._endings.repeat(task)
        self._settle(line)

    def revoke_settled(self, event: RevokeSettled, now: float) -> None:  # noqa: ARG002
        """The worker knows what was taken back: it may be given more."""
        line = self._state.crew.lines.get(event.worker)
        if line is not None:
            self._state.crew.confirmed(line)
            self._state.changes.add(Change.ROOM)

    # --- after each plan --------------------------------------------------------------------------------------

    def note_started(self) -> None:
        """Write down in one entry which operations were handed to workers in this drain."""
        state = self._state
        state.outbox.record(Started(tuple(state.started)))
        state.started = []

    def trim(self) -> None:
        """Let workers go that the pool can no longer use."""
        state = self._state
        for line in state.crew.surplus():
            state.crew.retire(line)
            state.outbox.add(StopWorker(line.worker))
