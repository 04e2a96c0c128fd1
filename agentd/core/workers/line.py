"""One worker and the tasks that it was given ahead of time.

Law: no more stands in a line than its worker reads and does within about a millisecond, or one short task behind
another; for what has waited long already that is a tenth of the wait, up to twenty milliseconds.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING

from agentd.core.commands import HOLD_MS, Binding
from agentd.core.tasks.task import ASSIGNED, Shape, Task
from schedulers.capacity import Capacity, Kind

if TYPE_CHECKING:
    from agentd.core.placing.pool import Reservation

AHEAD_S = 0.001
"""Work handed out ahead of time per line (measured: depth 1 → adaptive is twentyfold throughput)."""
AHEAD_LONGEST_S = 0.02
"""The same for tasks that have waited long: with one turn of the agent and of its user for each task of a millisecond
these get in the workers' way for a fifth of the time (measured; with five tasks a turn, for a twentieth, and with ten,
for a thirtieth)."""
AHEAD_SHARE = 0.1
"""Of the time that a task has waited: for so long work is handed out ahead of time, if that is more than `AHEAD_S`."""
HELD_SHARE = 0.05
"""Of that time: for so long its result may be held, which makes no call later by more than a twentieth (chosen)."""
HELD_LONGEST_S = 0.05
"""No result is held for longer, and that only while a run takes far longer than those before (chosen: as long as a busy
machine lets a process wait for a core; a worker sends what it has after half of `AHEAD_LONGEST_S`)."""
LARGE_BYTES = 16 * 1024.0
"""Results above this size do not wait for each other beyond `AHEAD_S` (chosen: a worker sends four of them at once)."""
AHEAD_MOST = 512
"""Tasks in a line at the most (measured: half a line, of which the agent is told at once, pays for a turn of the agent
and of its user; with 256 these take a tenth more CPU for each task, with 1,024 no less)."""
CARRY_S = 3e-9
"""For each byte of arguments: what it takes until its worker has it (measured: calls of 200 kB, 0.35 to 0.6 ms each).
Without it what stands in lines, and is written to workers, would be bounded by the number of tasks alone."""
LATE_S = 0.2
"""A task that has run for so long is late if that is also `LATE_TIMES` what its line was estimated to take (chosen:
above what a result may be held back, and what a machine at work lets a process wait)."""
LATE_TIMES = 4.0
"""See there (chosen: of run times that are spread exponentially, one in fifty is longer)."""
PAIRS_BELOW_S = 0.05
"""Tasks shorter than this are followed without a gap by one more in the line (chosen: the gap is ~0.2 ms)."""


class Line:
    """One worker and what it was given, in order."""

    __slots__ = (
        "_estimates",
        "_left",
        "_left_bytes",
        "_left_shape",
        "ahead_s",
        "asked",
        "binding",
        "bound",
        "demand",
        "depth",
        "doomed",
        "exclusive",
        "is_idle",
        "is_late",
        "is_light",
        "is_started",
        "is_stopping",
        "is_waiting",
        "pid",
        "reservation",
        "revocable",
        "revoking",
        "since",
        "tasks",
        "worker",
    )

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.pid = 0
        self.is_started = False
        self.is_stopping = False
        self.tasks: deque[Task] = deque()
        self.depth = 0
        """How many of its first tasks wait for others: the next one runs on top of them."""
        self.reservation: Reservation | None = None
        self.binding: Binding | None = None
        """What its worker was last told of its units."""
        self.bound: object = None
        """The granted units of which the binding is made."""
        self.demand: Capacity | None = None
        self.ahead_s = 0.0
        """Estimated work in the line, in seconds: to run its tasks, and to read their arguments."""
        self.exclusive = False
        """Its one task must have the line for itself (time-out, not idempotent, unknown run time)."""
        self.asked: deque[int] = deque()
        """Of each revocation that was not answered yet: how many tasks were asked back."""
        self.revoking = 0
        """Revocations under way: nothing may be added until the worker has confirmed them all."""
        self.revocable = True
        """False after a revocation that yielded nothing, until the line changes."""
        self.is_idle = False
        """It stands among those that may be given work."""
        self.since = 0.0
        """Agent time at which the first of its tasks became the first, as far as the agent knows."""
        self.is_late = False
        """The first of its tasks has run far longer than those of its kind do: nothing is to stand behind it."""
        self.is_light = False
        """Its task runs without units of the pool."""
        self.doomed = 0
        """The task because of which its worker is killed by us."""
        self.is_waiting = False
        """What its worker is at waits for other tasks, so that it needs no cores."""
        self._estimates: deque[float] = deque()
        """What `ahead_s` is the sum of: a task leaves with what it came with."""
        self._left_shape: Shape | None = None
        self._left = 0
        """How many more of `_left_shape` fit: worked out once, counted down, forgotten when anything else changes."""
        self._left_bytes = 0
        """How many bytes of arguments they may have together, but for the last of them."""

    def has_room(self, shape: Shape, ahead_s: float = AHEAD_S) -> bool:
        """Tell whether a task of this shape may stand behind those of the line, which are done within `ahead_s`."""
        if self._left > 0 and self._left_bytes > 0 and shape is self._left_shape:
            return True
        left = self._room_for(shape, ahead_s)
        self._left, self._left_shape = left, shape
        return left > 0

    def _room_for(self, shape: Shape, ahead_s: float) -> int:
        """Count how many tasks of this shape may stand behind those of the line."""
        if self.exclusive or self.revoking or self.is_stopping or self.depth or self.demand is not shape.demand:
            return 0
        if self.is_late:
            return 0
        estimate = shape.estimate_s
        if estimate is None or needs_line_alone(shape):
            return 0
        waiting = len(self.tasks)
        self._left_bytes = max(int((ahead_s - self.ahead_s) / CARRY_S), 1)
        if self.ahead_s < ahead_s and waiting < AHEAD_MOST:
            return min(AHEAD_MOST - waiting, int((ahead_s - self.ahead_s) / estimate) + 1)
        return int(waiting < 2 and estimate < PAIRS_BELOW_S)

    def runs_late(self, now: float) -> bool:
        """Tell whether the first of its tasks, which waits for no others, has run far longer than it was to take."""
        return bool(self.tasks) and not self.depth and now - self.since >= max(LATE_S, LATE_TIMES * self.ahead_s)

    def append(self, task: Task) -> None:
        """Put a task at the end."""
        carried = task.payload.inline_bytes
        estimate = (task.shape.estimate_s or 0.0) + carried * CARRY_S
        self.tasks.append(task)
        self._estimates.append(estimate)
        self.ahead_s += estimate
        self._left -= 1
        self._left_bytes -= carried
        task.worker = self.worker

    def left(self, shape: Shape) -> tuple[int, int]:
        """Count how many more like the task that was appended last may stand behind it, and their bytes together.

        The last of them may have more than that: what they have is known only when they are there.
        """
        return (self._left, self._left_bytes) if shape is self._left_shape else (0, 0)

    def extend(self, tasks: list[Task], carried: int) -> None:
        """Put tasks at the end that are alike, not more than there is room for; their arguments have so many bytes."""
        if not tasks:
            return
        worker, count = self.worker, len(tasks)
        estimate = (tasks[0].shape.estimate_s or 0.0) + carried * CARRY_S / count
        self.tasks.extend(tasks)
        self._estimates.extend(repeat(estimate, count))
        self.ahead_s += estimate * count
        self._left -= count
        self._left_bytes -= carried
        for task in tasks:
            task.worker = worker
            task.state = ASSIGNED

    def popleft(self) -> Task:
        """Take the first task out."""
        self.ahead_s -= self._estimates.popleft()
        return self.tasks.popleft()

    def pop_first(self, count: int) -> list[Task]:
        """Take so many from the front; fewer when there are no more."""
        tasks, estimates = self.tasks, self._estimates
        count = min(count, len(tasks))
        self.ahead_s -= sum([estimates.popleft() for _ in range(count)])
        return [tasks.popleft() for _ in range(count)]

    def pop(self) -> Task:
        """Take the last task out."""
        self.ahead_s -= self._estimates.pop()
        return self.tasks.pop()

    def clear(self) -> list[Task]:
        """Take all tasks out, in order."""
        tasks = list(self.tasks)
        self.tasks.clear()
        self._estimates.clear()
        self.ahead_s = 0.0
        return tasks

    def separable(self) -> int:
        """Count the tasks at the end that may go elsewhere together: about half, and none that reads what stays."""
        count = len(self.tasks)
        half = count // 2
        if not self.tasks[-half].lacks:
            return half
        free = [count - place for place, task in enumerate(self.tasks) if place and not task.lacks]
        return min(free, key=lambda taken: abs(taken - half), default=0)

    def loose(self) -> int:
        """Count tasks at the end that need not wait for the first: what reads what that makes stays behind it."""
        count = len(self.tasks)
        return next((count - place for place, task in enumerate(self.tasks) if place and not task.lacks), 0)

    def hold(self, reservation: Reservation, demand: Capacity) -> Binding | None:
        """Take what was granted; gives the units to bind to where they are others than before."""
        self.reservation, self.demand = reservation, demand
        if self.bound == reservation.units:
            return None
        self.bound = reservation.units
        self.binding = Binding(reservation.ids(Kind.CPU), reservation.ids(Kind.GPU))
        return self.binding

    def changed(self) -> None:
        """Forget what was worked out: tasks have left, or the line may be used otherwise now."""
        self._left = 0


def ahead_for(task: Task, now: float) -> float:
    """Say how much work may be handed out ahead of time so that this task is among it, in seconds.

    Others may wait for what a family's task makes: it is not kept waiting itself. And a turn for each is little beside
    a large result, while one that nobody takes should keep the next from being made.
    """
    if _goes_at_once(task):
        return AHEAD_S
    return min(max(AHEAD_S, (now - task.submitted_at) * AHEAD_SHARE), AHEAD_LONGEST_S)


def _goes_at_once(task: Task) -> bool:
    """Tell whether others wait for a task alone, or its result is so large that a turn for it is little."""
    return bool(task.family) or task.shape.result_bytes > LARGE_BYTES


def hold_ms(task: Task, now: float) -> int:
    """Say for how long its worker may hold this task's result back while it goes on with the next, in milliseconds."""
    if _goes_at_once(task):
        return HOLD_MS
    return int(min((now - task.submitted_at) * HELD_SHARE, HELD_LONGEST_S) * 1000) or HOLD_MS


def needs_line_alone(shape: Shape) -> bool:
    """Tell whether nothing may stand before or behind such a task: its clock, or its one start, must be its own."""
    template = shape.template
    return template.timeout_s is not None or not template.idempotent
