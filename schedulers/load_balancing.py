"""The default: each task goes where it is expected to end first, counting what it costs the others.

Cost model: earliest expected finish over subtree profiles with in-flight accounting, as Apollo (OSDI 2014) estimates
waits, with an externality price on waiting; late binding as in Join-Idle-Queue (2011): what finds every host busy
stays in the own queue until somebody reports room.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from schedulers.view import Decision, Forward, NeighbourRow, OwnRow, Run, TaskRow, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
LOOK = 16
"""Kinds of tasks that may be passed over before the plan ends (simulated: a blocked head must not stop the rest)."""


class LoadBalancing:
    """Run where the expected end is earliest: own cores, or what a neighbour reports of itself and beyond.

    Knows only neighbours and stale reports, and still comes within a few per cent of a central queue on trees. Its
    weakness: functions whose run times vary by orders of magnitude under one name.
    """

    def __init__(self, alpha: float = ALPHA, beta: float = BETA) -> None:
        self.alpha = alpha
        self.beta = beta

    def plan(self, view: View) -> Iterable[Decision]:
        """Place from the oldest on; what is cheapest in our own queue stays there."""
        passed, own, neighbours = 0, view.own, view.neighbours
        for task in view.oldest():
            decision: Decision | None = None
            if neighbours:
                decision = self._choose(own, neighbours, task)
            elif own.has_room(task):
                decision = Run(task)
            if decision is not None:
                yield decision
            else:
                passed += 1
                if passed >= LOOK:
                    return

    def _choose(self, own: OwnRow, neighbours: Sequence[NeighbourRow], task: TaskRow) -> Decision | None:
        estimate = UNKNOWN_S if task.estimate_s is None else task.estimate_s
        transfer_bytes = task.transfer_bytes
        wait = own.wait_s(task)
        own_cost = self.alpha * wait + estimate / own.speed
        best: NeighbourRow | None = None
        best_cost = GAIN * own_cost - GAIN_S
        for row in neighbours:
            if row.has_room(task):
                cost = self.cost(row, transfer_bytes, estimate)
                if cost < best_cost and row.admits(task):
                    best, best_cost = row, cost
        if best is not None:
            return Forward(task, best.name)
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
