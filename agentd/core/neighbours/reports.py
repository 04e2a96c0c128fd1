"""What neighbours are told of this agent's load, and how often.

Law: split horizon on a tree. Over a link of the tree a neighbour is told of everything on this side and of nothing
beyond it, over any other link only of this agent itself; so no core is counted twice.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from agentd.core.commands import SendReport
from agentd.core.neighbours.loads import MODULES_MOST, TIERS_MOST
from agentd.core.neighbours.neighbour import UNKNOWN_S
from agentd.core.neighbours.tree import Tree
from agentd.model.exchange import Report
from schedulers.view import Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from schedulers.capacity import Capacity

EDGE_S = 0.2
"""Least time between reports on an idle ↔ busy edge (simulated: 50 ms to 1 s make no difference)."""
CHANGE_S = 1.0
"""Least time between reports on a change of more than a quarter."""
LOOK_S = 0.02
"""Least time between two looks at what there is to tell, and between two reports (simulated: saves the most)."""
CHANGE = 0.25
"""Share by which a sum must have changed to be told (simulated with the two times above)."""
DIGITS = 6
"""Decimals of what is told: far below what matters, far above the residue of subtracting floats."""


class Sums:
    """Loads added up by class of speed, so that one side's share can be taken off again."""

    def __init__(self) -> None:
        self._classes: dict[float, list[float]] = {}

    def add(self, tier: Tier, sign: float = 1.0, *, delay_s: float = 0.0, seconds_per_byte: float = 0.0) -> None:
        """Add a tier that lies behind a link; with -1 as sign, take it off."""
        sums = self._classes.setdefault(max(round(tier.speed, 1), 0.1), [0.0] * 6)
        capacity = tier.capacity
        for position, amount in enumerate(
            (
                max(tier.free, 0.0),
                tier.cores,
                capacity,
                max(tier.backlog_s, 0.0),
                (tier.delay_s + delay_s) * capacity,
                (tier.seconds_per_byte + seconds_per_byte) * capacity,
            )
        ):
            sums[position] += sign * amount

    def tiers(self) -> tuple[Tier, ...]:
        """Give one tier for each class that has cores, the strongest first; delays are means weighted by capacity."""
        found = []
        for speed, sums in self._classes.items():
            free, cores, capacity, backlog_s, delays, costs = (max(round(amount, DIGITS), 0.0) for amount in sums)
            if cores > 0:
                capacity = max(capacity, 0.001)
                found.append(Tier(speed, free, cores, capacity, backlog_s, delays / capacity, costs / capacity))
        found.sort(key=lambda tier: -tier.capacity)
        return tuple(found[:TIERS_MOST])


class Reports:
    """Tells each neighbour what has changed enough, as often as it is worth."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._tree = Tree(state.identity.agent_id)
        self._looked_at = -1e9
        self._wake_at = -1e9
        self._is_stale = False
        """Something has changed since the last look, or what was seen then is to be told later."""
        self._modules_of: dict[str, tuple[tuple[Iterable[str], ...], tuple[str, ...]]] = {}
        """By neighbour: modules on this side of its link, and what they were worked out of."""

    def tell(self, now: float, *, is_changed: bool) -> None:
        """After each batch: look whether there is something to tell, unless that was done a moment ago."""
        self._is_stale |= is_changed
        if not self._is_stale or not self._state.neighbourhood.by_name:
            return
        if now - self._looked_at < LOOK_S:
            if not self._looked_at < self._wake_at <= self._looked_at + LOOK_S:
                self._wake(self._looked_at + LOOK_S)
            return
        self._is_stale = False
        connected = [row for row in self._state.neighbourhood.by_name.values() if row.link]
        if connected:
            self._looked_at = now
            self._look(connected, now)

    def _look(self, connected: list[Neighbour], now: float) -> None:
        own, sums, tree, tier = Sums(), Sums(), self._tree, self.own_tier()
        tree.grow(connected)
        own.add(tier)
        sums.add(tier)
        branches = [row for row in self._state.neighbourhood.rows if tree.is_branch(row)]
        for row in branches:
            self._share(sums, row, 1.0)
        largest = self._largest(branches)
        for row in connected:
            if not tree.is_branch(row):
                self._tell_one(row, tier, own.tiers(), self._state.pool.capacity, (), now)
                continue
            capacity = next(capacity for capacity, side in largest if side is not row)
            if row.is_pooled:
                self._share(sums, row, -1.0)
            self._tell_one(row, tier, sums.tiers(), capacity, branches, now)
            if row.is_pooled:
                self._share(sums, row, 1.0)

    @staticmethod
    def _share(sums: Sums, row: Neighbour, sign: float) -> None:
        for tier in row.tiers:
            sums.add(tier, sign, delay_s=row.latency_s, seconds_per_byte=row.seconds_per_byte)

    def own_tier(self) -> Tier:
        """Say how our own cores stand, after our own queue has claimed the idle ones."""
        state = self._state
        cores, free = state.pool.total(), 0 if state.not_starting else state.pool.free()
        claimed = min(free, len(state.queue))
        units, running_s = state.crew.prospect(UNKNOWN_S)
        backlog = state.queue.backlog_s(UNKNOWN_S) + running_s
        speed, usable = state.rules.speed, min(units, cores)
        return Tier(speed, float(max(free - claimed, 0)), float(cores), max(usable * speed, 0.001), backlog)

    def _tell_one(
        self,
        row: Neighbour,
        own: Tier,
        tiers: tuple[Tier, ...],
        capacity: Capacity,
        beyond: Sequence[Neighbour],
        now: float,
    ) -> None:
        state, told = self._state, row.told
        report = Report(
            epoch=state.identity.epoch,
            sequence=told.report.sequence + 1 if told.report else 1,
            acknowledged=row.received_sequence,
            tiers=tiers,
            capacity=capacity,
            draining=state.draining,
            functions=self._modules(row, beyond),
            root=self._tree.root,
            distance=self._tree.distance,
            is_way=row.name == self._tree.way,
            own=own,
        )
        wait = due(told.report, report, is_expecting=told.is_expecting)
        if wait is None:
            return
        if now - told.at >= wait:
            told.report, told.at, told.is_expecting = report, now, False
            state.outbox.add(SendReport(row.name, report))
        else:
            self._is_stale = True
            self._wake(told.at + wait)

    def _largest(self, beyond: Sequence[Neighbour]) -> list[tuple[Capacity, Neighbour | None]]:
        """Give the largest single hosts of two different sides, our own among the sides, the largest first."""
        sides: list[tuple[Capacity, Neighbour | None]] = [(self._state.pool.capacity, None)]
        sides += [(row.granted, row) for row in beyond]
        return heapq.nlargest(2, sides, key=lambda side: side[0].units())

    def _modules(self, but: Neighbour, beyond: Sequence[Neighbour]) -> tuple[str, ...]:
        """List the modules that can be called on this side of a link."""
        own = self._state.modules
        sources = (own, *(row.report.functions for row in beyond if row is not but))
        known = self._modules_of.get(but.name)
        if known is None or known[0] != sources:
            found = set(own).union(*sources[1:])
            known = self._modules_of[but.name] = (sources, tuple(sorted(found)[:MODULES_MOST]))
        return known[1]

    def _wake(self, when: float) -> None:
        """Be called again at that time, or before it."""
        if self._looked_at < self._wake_at <= when:
            return
        self._wake_at = when
        self._state.timers.at(when, lambda _: None)


def due(told: Report | None, report: Report, *, is_expecting: bool = False) -> float | None:
    """Say after which pause a report is worth sending, in seconds; None: it says nothing new."""
    if told is None:
        return 0.0
    if (told.draining, told.capacity, told.functions) != (report.draining, report.capacity, report.functions):
        return LOOK_S
    if (told.root, told.distance, told.is_way) != (report.root, report.distance, report.is_way):
        return LOOK_S
    if told.acknowledged != report.acknowledged:
        return LOOK_S
    # Sums of speed, free, cores, capacity, backlog, …, over all tiers.
    old, new = (tuple(map(sum, zip(*one.tiers, strict=True))) or (0.0,) * 7 for one in (told, report))
    if bool(old[1]) != bool(new[1]):
        return LOOK_S if is_expecting else EDGE_S
    if old[2] != new[2]:
        return CHANGE_S
    for position in (1, 4):
        if abs(old[position] - new[position]) > CHANGE * max(old[position], new[position]):
            return CHANGE_S
    return None
