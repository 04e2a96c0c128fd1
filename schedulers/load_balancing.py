"""The default: each task goes where it is expected to end first, counting what it costs the others.

Cost model: earliest expected finish over subtree profiles with in-flight accounting, as Apollo (OSDI 2014) estimates
waits, with an externality price on waiting; late binding as in Join-Idle-Queue (2011): what finds every host busy
stays in the own queue until somebody reports room.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from schedulers.view import Decision, Forward, NeighbourRow, Run, TaskRow, View

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
        passed = 0
        for task in view.oldest():
            decision = self._choose(view, task)
            if decision is not None:
                yield decision
            else:
                passed += 1
                if passed >= LOOK:
                    return

    def _choose(self, view: View, task: TaskRow) -> Decision | None:
        own = view.own
        if not view.neighbours:
            return Run(task) if own.has_room(task) else None
        estimate = UNKNOWN_S if task.estimate_s is None else task.estimate_s
        wait = own.wait_s(task)
        own_cost = self.alpha * wait + estimate / own.speed if wait < inf else inf
        best: NeighbourRow | None = None
        best_cost = GAIN * own_cost - GAIN_S if own_cost < inf else inf
        for row in view.neighbours:
            cost = self.cost(row, task, estimate)
            if cost < best_cost and row.has_room(task) and row.admits(task):
                best, best_cost = row, cost
        if best is not None:
            return Forward(task, best.name)
        return Run(task) if own.has_room(task) else None

    def cost(self, row: NeighbourRow, task: TaskRow, estimate: float) -> float:
        """Estimate when the task would be back from a neighbour, in seconds, with what it costs others priced in."""
        moved = task.transfer_bytes * row.seconds_per_byte
        fixed = 2 * row.latency_s + self.beta * moved + row.link_wait_s
        best = inf
        for tier in row.tiers:
            wait = 0.0 if tier.free >= 1 else (tier.backlog_s + estimate) / max(tier.capacity, 1e-6)
            beyond = 2 * tier.delay_s + task.transfer_bytes * tier.seconds_per_byte
            best = min(best, fixed + beyond + self.alpha * wait + estimate / max(tier.speed, 1e-6))
        return best
