"""What any scheduler must satisfy, as a check that tests, simulations and authors of schedulers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING

from schedulers.capacity import Capacity, cores
from schedulers.view import Change, Decision, Held, Keep, Run, Scheduler, TaskRow, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(slots=True, eq=False)
class Row:
    """A task, as plain data."""

    id: int
    function: str = "f"
    estimate_s: float | None = None
    demand: Capacity = field(default_factory=lambda: cores(1))
    priority: int = 0
    transfer_bytes: int = 0
    places: tuple[Held, ...] = ()
    sender: str | None = None
    hops: int = 0
    is_placed: bool = False

    @property
    def kind(self) -> tuple[object, ...]:
        """Say what a placement may look at: tasks with equal kinds are alike."""
        return (self.function, self.demand, self.priority, self.sender, self.hops, self.places)


@dataclass(slots=True)
class Host:
    """A host, as plain data: units of CPU only, which is enough to catch a scheduler that oversubscribes."""

    name: str
    units: int
    speed: float = 1.0
    busy: int = 0
    is_parent: bool = False
    latency_s: float = 0.001
    seconds_per_byte: float = 0.0
    link_wait_s: float = 0.0
    age_s: float = 0.0
    banned: frozenset[int] = frozenset()
    """Tasks that it does not admit."""

    @property
    def tiers(self) -> Sequence[Tier]:
        """Give what it would report."""
        free = float(self.units - self.busy)
        return (Tier(self.speed, free, float(self.units), max(self.units * self.speed, 0.001), self.busy * 0.1),)

    def could_host(self, task: TaskRow) -> bool:
        """Tell whether the task fits when all is free."""
        return task.demand.units() <= self.units and task.id not in self.banned

    def has_room(self, task: TaskRow) -> bool:
        """Tell whether the task fits now."""
        return self.could_host(task) and self.busy + task.demand.units() <= self.units

    is_idle = has_room
    admits = could_host

    def wait_s(self, task: TaskRow) -> float:
        """Estimate the wait."""
        if not self.could_host(task):
            return inf
        return 0.0 if self.has_room(task) else self.busy * 0.1 / self.units


class PlainView:
    """A view over plain data, which applies decisions as they are yielded."""

    def __init__(self, own: Host, neighbours: Sequence[Host], tasks: Sequence[Row]) -> None:
        self.now_s = 0.0
        self.changes = frozenset(Change)
        self.own = own
        self.neighbours = list(neighbours)
        self._tasks = list(tasks)

    def candidates(self, _task: TaskRow) -> Sequence[Host]:
        """Give all neighbours."""
        return self.neighbours

    def _walk(self, rows: list[Row]) -> Iterator[Row]:
        passed: set[tuple[object, ...]] = set()
        for row in rows:
            if row.is_placed or row.kind in passed:
                continue
            yield row
            if not row.is_placed:
                passed.add(row.kind)

    def oldest(self) -> Iterator[Row]:
        """Yield by priority, oldest first."""
        return self._walk(sorted(self._tasks, key=lambda row: (-row.priority, row.id)))

    def behind(self, task: Row, most: int) -> list[Row]:
        """Give the waiting tasks right behind one that are alike."""
        waiting = sorted((row for row in self._tasks if not row.is_placed), key=lambda row: (-row.priority, row.id))
        later = waiting[waiting.index(task) + 1 :] if task in waiting else []
        return list(takewhile(lambda row: row.kind == task.kind, later))[:most]

    def newest(self) -> Iterator[Row]:
        """Yield by priority, newest first."""
        return self._walk(sorted(self._tasks, key=lambda row: (-row.priority, -row.id)))


def violations(view: PlainView, decisions: Iterable[Decision]) -> list[str]:
    """Apply decisions one by one, as the engine does, and say what each did wrong; empty when all are sound."""
    wrong: list[str] = []
    hosts = {host.name: host for host in view.neighbours}
    for decision in decisions:
        task = decision.task
        if isinstance(decision, Keep):
            continue
        if not isinstance(task, Row) or task.is_placed:
            wrong.append(f"task {task.id} is not waiting, and was placed again")
            continue
        host = view.own if isinstance(decision, Run) else hosts.get(decision.to)
        if host is None:
            wrong.append(f"task {task.id} was sent to {decision.to!r}, who is no neighbour")  # type: ignore[union-attr]
        elif not host.could_host(task):
            wrong.append(f"task {task.id} was placed on {host.name}, which does not admit it")
        elif not host.has_room(task):
            wrong.append(f"task {task.id} was placed on {host.name}, which has no room")
        else:
            for row in (task, *view.behind(task, decision.most - 1)):
                if host.could_host(row) and host.has_room(row):
                    row.is_placed = True
                    host.busy += row.demand.units()
    return wrong


def check(scheduler: Scheduler, view: PlainView) -> list[str]:
    """Ask a scheduler once and say what it did wrong."""
    return violations(view, scheduler.plan(view))
