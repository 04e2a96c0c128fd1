"""The workers of this agent, each with a line of tasks, and the units that the line holds.

Law: a line's tasks share one demand and one reservation, which passes from each to the next; the first of a line runs,
the others have not started. So cores are never held by a task that waits.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from agentd.core.tasks.task import ASSIGNED, RUNNING, Task
from agentd.core.workers.line import Line, ahead_for, needs_line_alone
from agentd.model.errors import BrokenInvariant

if TYPE_CHECKING:
    from agentd.core.commands import Binding
    from agentd.core.placing.pool import Pool

START_S = 0.05
"""What a new worker takes until it runs tasks, at least (measured): shorter work is not worth it."""
SPARES_LEAST = 4
"""Workers that may be made beyond the pool's units while tasks wait, on a small device (chosen: each is a few MB)."""


class Crew:
    """All lines, and the pool that they draw from."""

    def __init__(self, pool: Pool, spares: int | None = None) -> None:
        self.pool = pool
        self._spares = spares
        self._blocked = 0
        """Lines of which the tasks wait, so that their workers need no cores."""
        self._light = 0
        """Lines of which the task runs without units of the pool, as one that waits for disks and networks does."""
        self.kept = 0
        """Idle workers that are kept beyond those that the pool can use at once, as tasks have waited lately."""
        self.is_promised = False
        """The next cores that become free are for a task that waited: nothing new is given any."""
        self.lines: dict[int, Line] = {}
        self._idle: list[Line] = []
        """Lines without tasks, the one used last at the end (its caches are warm)."""
        self._leaving = 0
        """How many of the lines are being stopped."""
        self._last_worker = 0
        self.may_start = True
        """False while starting workers backs off."""
        self._filling: Line | None = None
        self.now_s = 0.0
        """Agent time of the event or plan at hand."""

    # --- questions --------------------------------------------------------------------------------------------

    def is_idle(self, task: Task) -> bool:
        """Tell whether cores for the task are free, and a worker to run it is there or may be started.

        What only holds cores needs none.
        """
        has_worker = bool(self._idle) or self._may_grow() or task.shape.template.holds
        may_begin = has_worker and not self.is_promised
        return may_begin and self.pool.fits_now(task.shape.demand) and not self._is_too_light(task)

    def takes(self, task: Task) -> bool:
        """Tell whether the task may be handed to a worker now: on free cores, or behind others."""
        if self._idle and not self.is_promised and self.pool.fits_now(task.shape.demand):
            return not self._is_too_light(task)
        return self.room(task) is not None or self.is_idle(task)

    def _may_grow(self) -> bool:
        """Tell whether one more worker may be made: starting is allowed, and there are fewer than can be used."""
        staying, wanted = self._staying(), self._wanted()
        at_work = staying - self._blocked - self._light
        return self.may_start and at_work < wanted and staying < wanted + self._most_spares(wanted)

    def _is_too_light(self, task: Task) -> bool:
        """Tell whether a task needs no units, and those that need none have all the workers that may be spared."""
        return (
            self._light > 0
            and self._light >= max(self._most_spares(self._wanted()), 1)
            and not any(processor.units for processor in task.shape.demand.processors)
        )

    @property
    def may_have_more(self) -> bool:
        """Tell whether there are fewer workers than there may ever be; starting them may back off for a while."""
        wanted = self._wanted()
        return self._staying() < wanted + self._most_spares(wanted)

    def _most_spares(self, wanted: int) -> int:
        """Say how many workers there may be beyond those that the pool can use at once."""
        return max(2 * wanted, SPARES_LEAST) if self._spares is None else self._spares

    def _staying(self) -> int:
        return len(self.lines) - self._leaving

    def _wanted(self) -> int:
        """How many workers the pool can ever use at once."""
        return max(self.pool.cpus, 1)

    def room(self, task: Task) -> Line | None:
        """Find a line that takes the task ahead of time; one is filled before the next is begun.

        None while something is owed: units that pass from task to task would never be given back.
        """
        if self.is_promised or self.pool.in_debt:
            return None
        line = self._filling
        shape, ahead_s = task.shape, ahead_for(task, self.now_s)
        if line is not None and line.tasks and line.has_room(shape, ahead_s):
            return line
        for line in self.lines.values():
            if line.tasks and line.has_room(shape, ahead_s):
                return line
        return None

    def running(self) -> int:
        """Count the lines at work."""
        return sum(1 for line in self.lines.values() if line.tasks)

    def has_blocked(self) -> bool:
        """Tell whether a task waits for others."""
        return self._blocked > 0

    def prospect(self, unknown_s: float) -> tuple[float, float]:
        """Say how many units what waits may count on, and how much work is before it, in seconds of one core.

        A task that has run far longer than its kind does is taken to go on for as long as it has run: its units are
        counted on only where there are no others.
        """
        units, total, late_s = float(max(self.pool.total(), 1)), 0.0, inf
        left = units
        for line in self.lines.values():
            if line.is_late and line.demand is not None:
                left -= line.demand.units()
                late_s = min(late_s, self.now_s - line.since)
            elif line.tasks:
                total += unknown_s if line.exclusive else line.ahead_s
        if left >= 1:
            return left, total
        return units, total + units * late_s if late_s < inf else total

    @property
    def is_crowded(self) -> bool:
        """Tell whether there are idle workers beyond what the pool can ever use at once."""
        return bool(self._idle) and len(self.lines) - self._leaving > (self.pool.cpus or 1) + self._light + self.kept

    def surplus(self) -> list[Line]:
        """Give the idle workers beyond what the pool can ever use at once."""
        if not self._idle:
            return []
        spare = self._staying() - self._wanted() - self._light - self.kept
        return list(self._idle[: max(spare, 0)])

    # --- changes ----------------------------------------------------------------------------------------------

    def seat(self, task: Task) -> tuple[Line, bool, Binding | None] | None:
        """Put a task into a line: on free cores if there are any, else behind others; None when there is no room.

        Returns:
            The line, whether its worker has yet to be made, and the units to bind to when they are new.
        """
        shape = task.shape
        may_begin = (self._idle or self._may_grow()) and not self.is_promised and not self._is_too_light(task)
        reservation = self.pool.reserve(shape.demand) if may_begin else None
        if reservation is None:
            line = self.room(task)
            if line is None:
                return None
            self._filling = line
            line.append(task)
            task.state = ASSIGNED
            return line, False, None
        is_new = not self._idle
        line = self._new_line() if is_new else self._idle.pop()
        line.is_idle = False
        changed = line.hold(reservation, shape.demand)
        self._weigh(line)
        line.exclusive = shape.estimate_s is None or needs_line_alone(shape)
        line.revocable, line.since = True, self.now_s
        line.append(task)
        line.changed()
        task.state = RUNNING
        return line, is_new, changed

    def _new_line(self) -> Line:
        self._last_worker += 1
        line = Line(self._last_worker)
        self.lines[line.worker] = line
        return line

    def pop(self, line: Line, task_id: int) -> Task | None:
        """Take the first task out of a line as ended; None when the worker names another one."""
        if line.depth:
            return line.pop() if line.tasks[-1].id == task_id and len(line.tasks) > line.depth else None
        if not line.tasks or line.tasks[0].id != task_id:
            return None
        return line.popleft()

    def pop_first(self, line: Line, task_ids: list[int]) -> list[Task]:
        """Take the first tasks out of a line of which none waits for others: they have ended, in this order.

        Raises:
            BrokenInvariant: they are others than the worker names.
        """
        tasks = line.pop_first(len(task_ids))
        if [task.id for task in tasks] != task_ids:
            raise BrokenInvariant(f"worker {line.worker} ended tasks that were not its next, among {task_ids}")
        return tasks

    def block(self, line: Line, *, keeps: bool) -> None:
        """The task of a line that runs waits for others: its units are free, unless it is to keep them."""
        line.depth += 1
        self._wait(line, is_so=True)
        self.kept = min(max(self.kept, self._blocked), self._most_spares(self._wanted()))
        if not keeps:
            self._release(line)

    def seat_on_top(self, line: Line, task: Task) -> Binding | None:
        """Let a task run on top of the one of a line that waits, on free cores; gives the units where they are others.

        Raises:
            BrokenInvariant: there are no free cores for it.
        """
        reservation = self.pool.reserve(task.shape.demand)
        if reservation is None:
            raise BrokenInvariant(f"no cores for task {task.id} on top of another")
        binding = line.hold(reservation, task.shape.demand)
        line.append(task)
        task.state = RUNNING
        self._wait(line, is_so=False)
        return binding

    def _wait(self, line: Line, *, is_so: bool) -> None:
        self._blocked += is_so - line.is_waiting
        line.is_waiting = is_so
        self._weigh(line)

    def _weigh(self, line: Line) -> None:
        """Count a line among those that run without units, or no longer."""
        held = line.reservation
        is_light = held is not None and not line.is_waiting and held.is_empty
        self._light += is_light - line.is_light
        line.is_light = is_light

    def bearers(self) -> list[Line]:
        """Give the lines of which the task waits, when no further worker may be made for the cores that it left."""
        if not self._blocked or self._idle or self.is_promised:
            return []
        if (self.may_start and self.may_have_more) or self._staying() - self._blocked - self._light >= self._wanted():
            return []  # there may be more workers, or there are as many at work as there are cores
        return [line for line in self.lines.values() if line.is_waiting and len(line.tasks) == line.depth]

    def unblock(self, line: Line) -> None:
        """The last one of a line that waited goes on."""
        line.depth -= 1
        self._wait(line, is_so=False)
        line.exclusive = True  # what it asks for must not stand behind it: it may wait for that in another thread
        line.changed()

    def alone(self, worker: int) -> None:
        """Let nothing be put behind the task that runs in a line: it asks for tasks, and may wait for them."""
        line = self.lines.get(worker)
        if line is not None:
            line.exclusive = True
            line.changed()

    def settle(self, line: Line) -> Task | None:
        """After tasks left a line: its new first task runs, or its units go back to the pool."""
        line.changed()
        line.revocable, line.is_late, line.since = True, False, self.now_s
        if line.depth:
            self._release(line)
            self._wait(line, is_so=True)
            return None
        if line.tasks:
            first = line.tasks[0]
            if first.state is ASSIGNED:
                first.state = RUNNING
            line.ahead_s = max(line.ahead_s, 0.0)
            line.exclusive = needs_line_alone(first.shape)
            return first
        self._release(line)
        self._rest(line)
        return None

    def _rest(self, line: Line) -> None:
        """Let an empty line be given work again, unless its worker has yet to confirm a revocation."""
        if not line.tasks and not line.revoking and not line.is_stopping and not line.is_idle:
            line.is_idle = True
            self._idle.append(line)

    def _release(self, line: Line) -> None:
        line.ahead_s = 0.0
        line.exclusive = line.is_late = False
        line.changed()
        line.demand = None
        if line.reservation is not None:
            self.pool.release(line.reservation)
            line.reservation = None
            self._weigh(line)
        if self._filling is line:
            self._filling = None

    def to_revoke(self) -> tuple[Line, int] | None:
        """Choose the line to take from, and how much, for cores that are idle while nothing waits."""
        least_s = 0.0 if self._idle else START_S if self._may_grow() else inf
        best: tuple[Line, int] | None = None
        for line in self.lines.values():
            if len(line.tasks) < 2 or line.revoking or line.depth or not line.revocable or line.demand is None:
                continue
            if line.ahead_s < least_s or not self.pool.fits_now(line.demand):
                continue
            if (best is None or len(line.tasks) > len(best[0].tasks)) and (count := line.separable()):
                best = line, count
        return best

    def ask_back(self, line: Line, count: int) -> int:
        """Note that the last `count` tasks of a line are to be taken back; gives how many more to ask for."""
        more = count - sum(line.asked)
        if more > 0:
            line.asked.append(more)
            line.revoking += 1
            line.changed()
        return max(more, 0)

    def revoked(self, line: Line, count: int) -> list[Task]:
        """Take back the last `count` tasks of a line, oldest first: the answer to the oldest open revocation."""
        if not line.asked or count > min(len(line.tasks), line.asked.popleft()):
            raise BrokenInvariant(f"worker {line.worker} gave back {count} tasks, which were not asked of it")
        taken = [line.pop() for _ in range(count)]
        taken.reverse()
        line.changed()
        if not count:
            line.revocable = False
        elif not line.tasks:
            self.settle(line)
        return taken

    def confirmed(self, line: Line) -> None:
        """A worker knows what was taken back from it: its line may be added to when that was the last time."""
        line.revoking -= 1
        line.changed()
        self._rest(line)

    def lose(self, line: Line) -> list[Task]:
        """Strike a worker off; gives the tasks that it had, in order."""
        tasks = line.clear()
        line.depth = 0
        self._wait(line, is_so=False)
        self._release(line)
        self.lines.pop(line.worker, None)
        self._leaving -= line.is_stopping
        self._forget_idle(line)
        return tasks

    def _forget_idle(self, line: Line) -> None:
        if line.is_idle:
            line.is_idle = False
            self._idle.remove(line)

    def retire(self, line: Line) -> None:
        """Let an idle worker get no more tasks, since it is about to be stopped."""
        self._leaving += not line.is_stopping
        line.is_stopping = True
        line.changed()
        self._forget_idle(line)
