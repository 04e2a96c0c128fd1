"""What is kept of the tasks of an operation that have ended, for people who look at it.

Law: the counts are exact; rows are bounded, for one operation and for all, and the newest are kept.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.core.tasks.task import Shape
from agentd.model.task import Status, Template
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.data.versions import Child
    from agentd.core.tasks.task import Task
    from agentd.model.task import Failure, Outcome

ROWS_MOST = 10_000
"""Ended tasks of one operation of which there is a row (chosen: what a drawing can still show, about 3 MB)."""
ALL_ROWS_MOST = 50_000
"""The same of all operations together; the operation whose task ended longest ago gives up its rows first (chosen)."""
RECORDS_MOST = 10_000
"""Operations of which there is a record (chosen)."""
REASON_MOST = 500
"""Characters of a failure that are kept with a task (chosen: what a table can show)."""


class Row(Struct, gc=False, frozen=True, array_like=True):
    """One ended task. Times are agent time in seconds; 0 where there was no such moment."""

    id: int
    parent: int
    shape: Shape
    status: int
    host: str
    """Agent that ran it; empty when none did."""
    worker: int
    """Worker of this agent that ran it; 0 when it ran elsewhere, or never."""
    attempt: int
    asked_at: float
    ready_at: float
    placed_at: float
    ended_at: float
    seconds: float
    argument_bytes: int
    result_bytes: int
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    after: tuple[int, ...]
    reason: str


class Track:
    """The record of one operation."""

    __slots__ = ("asked", "counts", "rows")

    def __init__(self) -> None:
        self.asked = 0
        """Tasks that were asked for by it, and by those in turn, on this agent."""
        self.counts = [0, 0, 0]
        """Of those that have ended: done, failed, cancelled."""
        self.rows: deque[Row] = deque()

    @property
    def ended(self) -> int:
        """Count those that have ended."""
        return sum(self.counts)


class Tracks:
    """The records of all operations, the one in which something happened last at the end."""

    def __init__(self) -> None:
        self._by_root: OrderedDict[int, Track] = OrderedDict()
        self._rows = 0

    def get(self, root: int) -> Track | None:
        """Find the record of an operation."""
        return self._by_root.get(root)

    def open(self, root: int) -> Track:
        """Find or begin the record of an operation; one that runs again goes on in the same."""
        track = self._by_root.get(root)
        if track is None:
            track = self._by_root[root] = Track()
            while len(self._by_root) > RECORDS_MOST:
                _, oldest = self._by_root.popitem(last=False)
                self._rows -= len(oldest.rows)
        return track

    def add(self, root: int, track: Track, row: Row, kind: int) -> None:
        """Keep a row; `kind` is the place of its count: 0 done, 1 failed, 2 cancelled."""
        track.counts[kind] += 1
        track.rows.append(row)
        if len(track.rows) > ROWS_MOST:
            track.rows.popleft()
        else:
            self._rows += 1
        if self._rows > ALL_ROWS_MOST:
            self._thin(root)

    def add_done(self, root: int, track: Track, rows: list[Row]) -> None:
        """Keep rows of tasks that ended well."""
        track.counts[0] += len(rows)
        track.rows += rows
        self._rows += len(rows)
        while len(track.rows) > ROWS_MOST:
            track.rows.popleft()
            self._rows -= 1
        if self._rows > ALL_ROWS_MOST:
            self._thin(root)

    def _thin(self, root: int) -> None:
        """Let the rows of the operation go that was opened first, not of the one at hand unless it is alone."""
        for number, track in self._by_root.items():
            if track.rows and number != root:
                self._rows -= len(track.rows)
                track.rows.clear()
                return

    def forget_all(self, roots: Sequence[int]) -> None:
        """Keep nothing of operations; nearly none has asked for tasks."""
        if self._by_root:
            for root in roots:
                self.forget(root)

    def forget(self, root: int) -> None:
        """Keep nothing of an operation."""
        track = self._by_root.pop(root, None)
        if track is not None:
            self._rows -= len(track.rows)


_UNDECLARED = Shape(0, Template(""), Capacity())


def row_of(child: Child, task: Task, outcome: Outcome, now: float) -> Row:
    """Note how a child ended that had become a task."""
    spawned, failure = child.spawned, outcome.failure
    return Row(
        task.id,
        task.family,
        task.shape,
        outcome.status,
        outcome.agent,
        0 if task.host else task.worker,
        task.attempt + task.retries,
        child.asked_at,
        task.submitted_at,
        task.placed_at,
        now,
        outcome.seconds,
        task.size_bytes,
        sum([value.size_bytes for value in outcome.made]),
        spawned.reads,
        spawned.makes,
        spawned.after,
        failure.message[:REASON_MOST] if failure is not None else "",
    )


def lost_row(parent: int, child: Child, shape: Shape | None, failure: Failure | None, now: float) -> Row:
    """Note a child that never became a task."""
    spawned, reason = child.spawned, failure.message[:REASON_MOST] if failure is not None else ""
    edges = (spawned.reads, spawned.makes, spawned.after)
    return Row(
        child.id,
        parent,
        shape or _UNDECLARED,
        Status.CANCELLED,
        "",
        0,
        0,
        child.asked_at,
        0.0,
        0.0,
        now,
        0.0,
        spawned.payload.size_bytes,
        0,
        *edges,
        reason,
    )
