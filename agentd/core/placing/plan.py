"""Plan, then apply: the policy is asked over a live view, and each wish is checked before it becomes a command.

Law: whatever a policy answers, a task is placed at most once, on a host that admits it and has room for it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from agentd.core.neighbours.candidates import SCAN_MOST
from agentd.core.neighbours.neighbour import UNKNOWN_S, Neighbour
from agentd.core.placing.ways import could_fit, has_way
from agentd.core.tasks.task import WAITING, State, Task
from agentd.model.errors import BrokenInvariant
from agentd.model.figures import counted
from schedulers.fifo import Fifo
from schedulers.view import Change, Forward, Keep, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentd.core.neighbours.neighbourhood import Neighbourhood
    from agentd.core.placing.queue import Queue
    from agentd.core.workers.crew import Crew
    from schedulers.view import Decision, NeighbourRow, Scheduler, TaskRow


_STAND_IN = Fifo()
_NO_MORE: Any = object()


class OwnSide:
    """This agent's cores, as a policy sees them."""

    def __init__(
        self,
        crew: Crew,
        queue: Queue,
        speed: float,
        may_fetch: Callable[[Task], bool] = lambda _: True,
        is_deaf: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._crew = crew
        self._queue = queue
        self._may_fetch = may_fetch
        self._is_deaf = is_deaf
        self.speed = speed
        self._backlog_s: float | None = None
        self._units = 1.0
        """Of the pool, as far as what waits may count on them."""

    def is_idle(self, task: Any) -> bool:
        """Tell whether cores for `task` are free this moment."""
        shape = task.shape
        if not shape.is_here or not (has_way(task, self._crew.is_idle) if shape.ways else self._crew.is_idle(task)):
            return False
        return self._may_begin(task)

    def has_room(self, task: Any) -> bool:
        """Tell whether `task` may be handed to a worker now."""
        shape = task.shape
        if not shape.is_here or not (has_way(task, self._crew.takes) if shape.ways else self._crew.takes(task)):
            return False
        return self._may_begin(task)

    def _may_begin(self, task: Any) -> bool:
        if self._is_held(task):
            return False
        return (not task.payload.parts and not task.places) or self._may_fetch(task)

    def _is_held(self, task: Any) -> bool:
        """Tell whether whoever gave the task does not take the results that there are."""
        sender = task.path.sender
        return sender is not None and self._is_deaf(sender)

    def could_host(self, task: Any) -> bool:
        """Tell whether `task` would fit if all own cores were free, and may begin."""
        return task.shape.is_here and could_fit(self._crew.pool, task.shape) and not self._is_held(task)

    def wait_s(self, task: TaskRow) -> float:
        """Estimate how long `task` waits for an own core, in seconds; infinite if it never fits."""
        if not self.could_host(task):
            return inf
        if self.is_idle(task):
            return 0.0
        if self._backlog_s is None:
            self._units, running_s = self._crew.prospect(UNKNOWN_S)
            self._backlog_s = running_s + self._queue.backlog_s(UNKNOWN_S)
        return self._backlog_s / (self._units * self.speed)

    def left(self, task: Task) -> None:
        """A task went elsewhere: the wait here is shorter."""
        if self._backlog_s is not None:
            self._backlog_s = max(0.0, self._backlog_s - (UNKNOWN_S if task.estimate_s is None else task.estimate_s))

    @property
    def cores(self) -> int:
        """How many cores of its own the agent has, one at least."""
        return self._crew.pool.cpus or 1

    def begin(self) -> None:
        """Forget what was worked out for the last question."""
        self._backlog_s = None


class Window:
    """The view that a policy is given: a window onto the engine's own rows."""

    def __init__(self, own: OwnSide, queue: Queue, neighbourhood: Neighbourhood) -> None:
        self.now_s = 0.0
        self.changes: frozenset[Change] = frozenset()
        self.own = own
        self.queue = queue
        self._neighbourhood = neighbourhood

    @property
    def neighbours(self) -> Sequence[NeighbourRow]:
        """The neighbours that work may be handed to."""
        return self._neighbourhood.rows

    def candidates(self, task: Any) -> Sequence[NeighbourRow]:
        """Give the neighbours that are worth a look: all when they are few."""
        rows = self._neighbourhood.rows
        if len(rows) <= SCAN_MOST:
            return rows
        only = task.shape.only
        return self._neighbourhood.candidates(task) if only is None else [row for row in rows if row.name == only]

    def oldest(self) -> Iterator[TaskRow]:
        """Yield waiting tasks by priority, then age."""
        return self.queue.oldest()

    def newest(self) -> Iterator[TaskRow]:
        """Yield waiting tasks by priority, newest first."""
        return self.queue.newest()

    def close(self) -> None:
        """The question is answered: a walk that was not exhausted ends."""
        self.queue.end_walk()


class Placing:
    """Asks the policy and applies what it answers."""

    def __init__(
        self,
        scheduler: Scheduler,
        window: Window,
        run: Callable[[Task, float, int], bool],
        forward: Callable[[Task, Neighbour, float, int], None],
        neighbourhood: Neighbourhood,
    ) -> None:
        self.scheduler = scheduler
        self.window = window
        self._queue = window.queue
        self._run = run
        self._forward = forward
        self._neighbourhood = neighbourhood
        self.violations = 0
        """Wishes that could not be granted; a policy that causes them is buggy."""
        self.last_violation = ""

    def plan(self, now: float, changes: frozenset[Change]) -> None:
        """Ask once, and apply each decision before the next is asked for."""
        window = self.window
        window.now_s = now
        window.changes = changes
        window.own.begin()
        queue = self._queue
        if queue.was_empty:
            queue.rested(now, window.own.cores)
        queue.asked_at = now
        self._neighbourhood.asked.now_s = now
        try:
            wishes = iter(self.scheduler.plan(window))
        except Exception as error:  # noqa: BLE001 - a policy may be anybody's code
            wishes = self._instead(error)
        self._apply_all(wishes, now)
        window.close()

    def _instead(self, error: Exception) -> Iterator[Decision]:
        """While a policy fails, its tasks are served in their order, so that the agent goes on."""
        if isinstance(error, BrokenInvariant):
            raise error
        self.violations += 1
        self.last_violation = f"it raised {error!r}; tasks are served first in, first out meanwhile"
        self.window.close()
        return iter(_STAND_IN.plan(self.window))

    def _apply_all(self, wishes: Iterator[Decision], now: float) -> None:
        run = self._run
        while True:
            try:
                decision = next(wishes, _NO_MORE)
            except Exception as error:  # noqa: BLE001 - a policy may be anybody's code
                wishes = self._instead(error)
                continue
            if decision is _NO_MORE:
                return
            if type(decision) is Run:
                task = decision.task
                if type(task) is not Task or task.state is not WAITING:
                    self._violated(decision, "it does not wait")
                elif not task.shape.is_here or not run(task, now, decision.most):
                    self._violated(decision, "no room here")
            elif type(decision) is Forward:
                self._apply_forward(decision, now)
            elif type(decision) is Keep and type(decision.task) is Task:
                decision.task.kept = decision.reason

    def _apply_forward(self, decision: Forward, now: float) -> None:
        task, neighbour = decision.task, self._neighbourhood.get(decision.to)
        if type(task) is not Task or task.state is not State.WAITING or neighbour is None:
            self._violated(decision, "unknown task or neighbour")
        elif (objection := neighbour.objection(task)) is not None:
            self._violated(decision, objection)
        elif not neighbour.has_room(task):
            self._violated(decision, "no room there")
        else:
            self.window.own.left(task)
            self._forward(task, neighbour, now, decision.most)

    def _violated(self, decision: Decision, why: str) -> None:
        self.violations += 1
        self.last_violation = f"{type(decision).__name__} of task {getattr(decision.task, 'id', '?')}: {why}"


def explain(task: Task, window: Window, neighbourhood: Neighbourhood, shortfall: str, ahead: int) -> str:
    """Say why a task waits: own cores first, then each neighbour."""
    words = [task.kept] if task.kept else []
    if task.shape.only:
        words.append(f"it is for {task.shape.only} alone")
    elif not task.shape.is_here:
        words.append("the function is not on this agent")
    elif shortfall:
        words.append(f"this agent: {shortfall}")
    elif neighbourhood.asked.is_deaf(task.path.sender):
        words.append(f"{task.path.sender} does not take the results of its tasks, so no more of them are made")
    elif not window.own.has_room(task):
        words.append(f"this agent: all fitting cores are busy, {counted(ahead, 'task', 'wait')}")
    for row in neighbourhood.by_name.values():
        if row.is_pooled:
            objection = row.objection(task)
            if objection is None and not row.has_room(task):
                objection = _want_of_room(row, task)
            words.append(f"{row.name}: {objection or 'has room, the scheduler keeps the task here'}")
    return "; ".join(words)


def _want_of_room(row: Neighbour, task: Task) -> str:
    if row.has_way(task):
        return f"all that it granted is in use: it has {len(row.held)} of our tasks"
    return f"{row.travelling.bytes >> 20} MiB are under way to it, and it has not answered yet"
