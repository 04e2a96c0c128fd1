"""The tasks of an operation as rows for people: itself, those that have ended, and those that are yet to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.tasks.task import State
from agentd.model.task import Status
from agentd.model.views import TaskCounts, TaskView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentd.core.data.versions import Child
    from agentd.core.families.family import Family
    from agentd.core.journal.ledger import Operation
    from agentd.core.state import AgentState
    from agentd.core.tasks.task import Task
    from agentd.core.tasks.tracks import Row

LIVE_MOST = 10_000
"""Tasks that have not ended of which there are rows (chosen: as many as of ended ones)."""
LIVE = {
    State.HELD: "queued",
    State.WAITING: "queued",
    State.ASSIGNED: "queued",
    State.RUNNING: "running",
    State.RIDING: "running",
    State.OFFERED: "queued",
    State.FORWARDED: "forwarded",
    State.BLOCKED: "running",
    State.STOPPING: "running",
    State.JOINING: "running",
    State.ENDED: "running",
    State.FETCHING: "queued",
    State.COLLECTING: "running",
    State.LACKING: "queued",
    State.HOLDING: "running",
}
"""What people are told of a task that has not ended."""
BUSY = frozenset(
    {State.RUNNING, State.RIDING, State.BLOCKED, State.FORWARDED, State.STOPPING, State.JOINING, State.COLLECTING}
)


class TaskRows:
    """Shows what was asked for inside an operation; reads the engine's state, changes nothing."""

    def __init__(self, state: AgentState, reason: Callable[[Task], str]) -> None:
        self._state = state
        self._reason = reason

    def counts(self, operation: Operation, task: Task | None) -> TaskCounts:
        """Count the tasks of an operation, itself among them, by what they do."""
        own = TaskCounts(waiting=1)
        if operation.status is not None:
            own = TaskCounts(done=1) if operation.status == Status.DONE else TaskCounts(failed=1)
        elif task is None or task.state in BUSY:
            own = TaskCounts(running=1)
        track = self._state.ledger.tracks.get(operation.id)
        if track is None:
            return own
        live = track.asked - track.ended
        running = sum(self._root_of(one) == operation.id for one in self._at_work()) if live else 0
        done, failed, cancelled = track.counts
        return TaskCounts(
            own.done + done,
            own.running + running,
            own.waiting + max(live - running, 0),
            own.failed + failed + cancelled,
        )

    def _at_work(self) -> Iterator[Task]:
        """Yield the tasks of families that run, here or elsewhere."""
        state = self._state
        for line in state.crew.lines.values():
            yield from (task for task in line.tasks if task.family and task.state in BUSY)
        for neighbour in state.neighbourhood.by_name.values():
            yield from (task for task in neighbour.held.values() if task.family and task.state in BUSY)
        for number in state.families:
            task = state.tasks.get(number)
            if task is not None and task.family and task.state is State.JOINING:
                yield task

    def root_of(self, number: int) -> int:
        """Tell for which operation a task runs; a number that is no task's stays what it is."""
        task = self._state.tasks.get(number)
        return number if task is None or not task.family else self._root_of(task)

    def _root_of(self, task: Task) -> int:
        family = self._state.families.get(task.family)
        return family.root if family is not None else task.id

    def rows(self, operation: Operation) -> list[TaskView]:
        """Show what was asked for inside an operation: the newest that have ended, then those that have not."""
        track = self._state.ledger.tracks.get(operation.id)
        if track is None:
            return []
        shown = [self._ended(row) for row in sorted(track.rows, key=lambda row: row.id)]
        for family in list(self._state.families.values()):
            if family.root == operation.id:
                left = LIVE_MOST + len(track.rows) - len(shown)
                shown.extend(self._live(family, child) for child in list(family.children.values())[: max(left, 0)])
        return shown

    def _wall(self, at_s: float) -> float | None:
        return self._state.wall(at_s) if at_s else None

    def _ended(self, row: Row) -> TaskView:
        started = max(row.placed_at, row.ended_at - row.seconds) if row.placed_at else 0.0
        return TaskView(
            id=str(row.id),
            function=row.shape.template.name or row.shape.template.function,
            state=Status(row.status).name.lower(),
            host=row.host,
            attempt=row.attempt,
            reason=row.reason,
            submitted_at=self._state.wall(row.asked_at),
            started_at=self._wall(started),
            ended_at=self._wall(row.ended_at),
            seconds=row.seconds if row.placed_at else None,
            argument_bytes=row.argument_bytes,
            result_bytes=row.result_bytes,
            parent=str(row.parent),
            worker=row.worker,
            ready_at=self._wall(row.ready_at),
            placed_at=self._wall(row.placed_at),
            reads=_texts(row.reads),
            makes=_texts(row.makes),
            after=_texts(row.after),
        )

    def _live(self, family: Family, child: Child) -> TaskView:
        task, spawned = self._state.tasks.get(child.id), child.spawned
        shape = task.shape if task is not None else family.shapes[child.id]
        is_placed = task is not None and task.state not in {State.WAITING, State.HELD, State.LACKING}
        return TaskView(
            id=str(child.id),
            function=shape.template.name or shape.template.function,
            state=LIVE[task.state] if task is not None else "queued",
            host=(task.host or self._state.identity.name) if task is not None and is_placed else "",
            attempt=task.attempt + task.retries if task is not None else 1,
            reason=self._reason(task) if task is not None else _waits(child),
            submitted_at=self._state.wall(child.asked_at),
            started_at=self._wall(task.placed_at) if task is not None and task.state in BUSY else None,
            argument_bytes=task.size_bytes if task is not None else spawned.payload.size_bytes,
            parent=str(family.parent),
            worker=task.worker if task is not None and is_placed and not task.host else 0,
            ready_at=self._wall(task.submitted_at) if task is not None else None,
            placed_at=self._wall(task.placed_at) if task is not None and is_placed else None,
            reads=_texts(spawned.reads),
            makes=_texts(spawned.makes),
            after=_texts(spawned.after),
        )


def _waits(child: Child) -> str:
    if child.missing:
        return f"waits for {child.missing} values that other tasks make"
    return "waits for its turn among tasks that run one at a time"


def _texts(numbers: tuple[int, ...]) -> tuple[str, ...]:
    """Write numbers as JSON can hold them: those of versions have more than 53 bits."""
    return tuple(map(str, numbers))
