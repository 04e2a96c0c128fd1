"""The default: each task goes where it is expected to end first, counting what it costs the others.

Cost model: earliest expected finish over subtree profiles with in-flight accounting, as Apollo (OSDI 2014) estimates
waits, with an externality price on waiting; late binding as in Join-Idle-Queue (2011): what finds every host busy
stays in the own queue until somebody reports room.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from schedulers.places import bytes_at, fetch_s, main_holder
from schedulers.view import ALL, Decision, Forward, Keep, NeighbourRow, OwnRow, Run, TaskRow, View

if TYPE_CHECKING:
    from collections.abc import Iterable

ALPHA = 3.0
"""Price of making others wait (simulated: 1 → 1.21 times the best mean response, 3 → 1.06; batches want 1)."""
BETA = 8.0
"""Price of occupying a link with a task's bytes (simulated with inputs of 0.1 to 10 MB)."""
GAIN = 0.9
"""A neighbour must promise less than this share of our own cost (simulated: 0 to 10 % alike, 30 % worse)."""
GAIN_S = 0.002
"""And be better by this much, in seconds, so that small differences move nothing."""
UNKNOWN_S = 0.1
"""What a function never seen is taken to run."""
PATIENCE_S = 0.3
"""Wait at the holder of its heavy inputs up to which a task goes there at once (simulated: 0.1 to 1 s make no
difference)."""
HEAVY = 0.05
"""Inputs are heavy when moving them takes more than this share of the run (simulated: 0.05 to 0.1)."""
LOOK = 16
"""Kinds of tasks that may be passed over before the plan ends (simulated: a blocked head must not stop the rest)."""


class LoadBalancing:
    """Run where the expected end is earliest: own cores, or what a neighbour reports of itself and beyond.

    Knows only neighbours and stale reports, and still comes within a few per cent of a central queue on trees. A task
    with heavy inputs goes to who holds them, unless it would wait there; every byte that moves is priced. Its
    weakness: functions whose run times vary by orders of magnitude under one name. A long one is known for one only
    when it has run for longer than the others do.
    """

    def __init__(
        self, alpha: float = ALPHA, beta: float = BETA, patience_s: float = PATIENCE_S, heavy: float = HEAVY
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.patience_s = patience_s
        self.heavy = heavy

    def plan(self, view: View) -> Iterable[Decision]:
        """Place from the oldest on; what is cheapest in our own queue stays there."""
        passed, own, has_neighbours = 0, view.own, bool(view.neighbours)
        for task in view.oldest():
            decision: Decision | None = None
            if has_neighbours:
                decision = self._at_holder(view, task) if task.places else None
                if decision is None:
                    decision = self._choose(view, own, task)
            elif own.has_room(task):
                decision = Run(task, ALL)
            if decision is not None:
                yield decision
            if type(decision) is not Run and type(decision) is not Forward:
                passed += 1
                if passed >= LOOK:
                    return

    def _at_holder(self, view: View, task: TaskRow) -> Decision | None:
        """Send a task with heavy inputs to where most of them lie, if it need not wait there for long."""
        where, size_bytes = main_holder(task.places)
        own, rows = view.own, view.candidates(task)
        estimate = UNKNOWN_S if task.estimate_s is None else task.estimate_s
        slowest = max((row.seconds_per_byte for row in rows), default=0.0)
        if where is None:
            if size_bytes * slowest < self.heavy * estimate or own.wait_s(task) > self.patience_s:
                return None
            return Run(task) if own.has_room(task) else Keep(task, "its data is here, and a core soon will be")
        row = next((row for row in rows if row.name == where), None)
        if row is None or size_bytes * row.seconds_per_byte < self.heavy * estimate:
            return None
        if wait_s(row, estimate) > self.patience_s or not row.has_room(task) or not row.admits(task):
            return None
        return Forward(task, row.name)

    def _choose(self, view: View, own: OwnRow, task: TaskRow) -> Decision | None:
        estimate = UNKNOWN_S if task.estimate_s is None else task.estimate_s
        inputs = task.places
        weight = task.transfer_bytes + sum(held.size_bytes for held in inputs) if inputs else task.transfer_bytes
        wait = own.wait_s(task)
        own_cost = self.alpha * wait + estimate / own.speed
        if inputs:
            own_cost += self.beta * fetch_s(inputs, view.neighbours)
        best: NeighbourRow | None = None
        best_cost = GAIN * own_cost - GAIN_S
        for row in view.candidates(task):
            if row.has_room(task):
                moved = weight - bytes_at(inputs, row.name) if inputs else weight
                cost = self.cost(row, moved, estimate)
                if cost < best_cost and row.admits(task):
                    best, best_cost = row, cost
        if best is not None:
            return Forward(task, best.name, ALL if wait == inf and len(view.neighbours) == 1 else 1)
        return Run(task) if own.has_room(task) else None

    def cost(self, row: NeighbourRow, transfer_bytes: int, estimate: float) -> float:
        """Estimate when a task would be back from a neighbour, in seconds, with what it costs others priced in."""
        moved = transfer_bytes * row.seconds_per_byte
        fixed = 2 * row.latency_s + self.beta * moved + row.link_wait_s
        best = inf
        for tier in row.tiers:
            wait = 0.0 if tier.free >= 1 else (tier.backlog_s + estimate) / max(tier.capacity, 1e-6)
            beyond = 2 * tier.delay_s + transfer_bytes * tier.seconds_per_byte
            best = min(best, fixed + beyond + self.alpha * wait + estimate / max(tier.speed, 1e-6))
        return best


def wait_s(row: NeighbourRow, estimate: float) -> float:
    """Estimate the shortest wait for a core at a neighbour or beyond, in seconds."""
    return min(
        (0.0 if tier.free >= 1 else (tier.backlog_s + estimate) / max(tier.capacity, 1e-6) for tier in row.tiers),
        default=inf,
    )
