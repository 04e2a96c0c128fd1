"""What neighbours are told of this agent's load, and how often.

Law: split horizon on a tree. Over a link of the tree a neighbour is told of everything on this side and of nothing
beyond it, over any other link only of this agent itself; so no core is counted twice.
"""

from __future__ import annotations

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


Part = tuple[float, float, float, float, float, float, float]
"""Of the cores of one class of speed: the class, free, cores, capacity, backlog, delays and costs per byte, the last
two times the capacity, so that they can be added up."""


def parts_of(tiers: Iterable[Tier], delay_s: float = 0.0, seconds_per_byte: float = 0.0) -> list[Part]:
    """Give what can be added up of tiers that lie behind a link."""
    return [
        (
            max(round(speed, 1), 0.1),
            max(free, 0.0),
            cores,
            capacity,
            max(backlog_s, 0.0),
            (beyond_s + delay_s) * capacity,
            (cost + seconds_per_byte) * capacity,
        )
        for speed, free, cores, capacity, backlog_s, beyond_s, cost in tiers
    ]


def share_of(row: Neighbour) -> list[Part]:
    """Give the same of what lies behind a neighbour's link."""
    return parts_of(row.tiers, row.latency_s, row.seconds_per_byte)


class Sums:
    """Loads added up by class of speed, so that one side's share can be left out again."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._classes: dict[float, list[float]] = {}
        self.add(parts)

    def add(self, parts: Iterable[Part]) -> None:
        """Add what one side has."""
        classes = self._classes
        for speed, *amounts in parts:
            sums = classes.get(speed)
            if sums is None:
                classes[speed] = amounts
            else:
                classes[speed] = [one + other for one, other in zip(sums, amounts, strict=True)]

    def tiers(self, but: Iterable[Part] = ()) -> tuple[Tier, ...]:
        """Give one tier for each class that has cores beyond those left out, the strongest first.

        Delays are means weighted by capacity.
        """
        classes = self._classes
        if but:
            classes = dict(classes)
            for speed, *amounts in but:
                zeros = classes.get(speed) or [0.0] * len(amounts)
                classes[speed] = [one - other for one, other in zip(zeros, amounts, strict=True)]
        found = []
        for speed, sums in classes.items():
            free, cores, capacity, backlog_s, delays, costs = [
                max(round(amount, DIGITS), 0.0) if amount else 0.0 for amount in sums
            ]
            if cores > 0:
                capacity = max(capacity, 0.001)
                found.append(Tier(speed, free, cores, capacity, backlog_s, delays / capacity, costs / capacity))
        if len(found) > 1:
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
        self._own_told: tuple[Tier | None, tuple[Tier, ...]] = (None, ())
        """How our own cores stood when they were told last, and in which words."""
        self._modules_of: dict[str, tuple[str, ...]] = {}
        """By neighbour: modules on this side of its link; under no name those that are here."""
        self._sources: list[tuple[str, Iterable[str]]] = []
        """What they were worked out of: modules by agent, ours first."""

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
        tree, own = self._tree, self.own_tier()
        tree.grow(connected)
        branches = [row for row in self._state.neighbourhood.rows if tree.is_branch(row)]
        self._gather(branches)
        sums: Sums | None = None
        for row in connected:
            if not tree.is_branch(row) or (len(branches) == 1 and branches[0] is row):
                # It is told of this agent alone: of the others it is not to be told, or it is the only other.
                self._tell_one(row, own, self._alone(own), self._state.pool.capacity, self._modules(""), now)
                continue
            if sums is None:
                sums, largest = Sums(parts_of((own,))), self._largest(branches)
                shares = {branch.name: share_of(branch) for branch in branches}
                for share in shares.values():
                    sums.add(share)
            tiers = sums.tiers(but=shares.get(row.name, ()))
            capacity = next(capacity for capacity, side in largest if side is not row)
            self._tell_one(row, own, tiers, capacity, self._modules(row.name), now)

    def _alone(self, own: Tier) -> tuple[Tier, ...]:
        """Say what is told of this agent alone; worked out anew when its own cores stand otherwise."""
        if self._own_told[0] != own:
            self._own_told = own, Sums(parts_of((own,))).tiers()
        return self._own_told[1]

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
        functions: tuple[str, ...],
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
            functions=functions,
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
        sides.sort(key=lambda side: side[0].units(), reverse=True)  # of equal ones the first stays the first
        return sides[:2]

    def _gather(self, branches: Iterable[Neighbour]) -> None:
        """Forget which modules are on which side, if any agent has others than at the last look."""
        sources: list[tuple[str, Iterable[str]]] = [("", self._state.modules)]
        sources += [(row.name, row.report.functions) for row in branches]
        if sources != self._sources:
            self._sources = sources
            self._modules_of.clear()

    def _modules(self, side: str) -> tuple[str, ...]:
        """List the modules that can be called on this side of a neighbour's link, or without a name those here."""
        known = self._modules_of.get(side)
        if known is None:
            found = set(self._state.modules)
            for name, modules in self._sources if side else ():
                if name != side:
                    found.update(modules)
            known = self._modules_of[side] = tuple(sorted(found)[:MODULES_MOST])
        return known

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
    if (
        told.acknowledged != report.acknowledged
        or told.draining != report.draining
        or told.functions != report.functions
        or (told.capacity is not report.capacity and told.capacity != report.capacity)
        or told.root != report.root
        or told.distance != report.distance
        or told.is_way != report.is_way
    ):
        return LOOK_S
    old_free, old_cores, old_backlog_s = loads(told.tiers)
    free, cores, backlog_s = loads(report.tiers)
    if bool(old_free) != bool(free):
        return LOOK_S if is_expecting else EDGE_S
    if old_cores != cores:
        return CHANGE_S
    for old, new in ((old_free, free), (old_backlog_s, backlog_s)):
        if abs(old - new) > CHANGE * max(old, new):
            return CHANGE_S
    return None


def loads(tiers: Sequence[Tier]) -> tuple[float, float, float]:
    """Sum what is free, all cores, and the backlog."""
    if len(tiers) == 1:
        return tiers[0].free, tiers[0].cores, tiers[0].backlog_s
    return (
        sum([tier.free for tier in tiers]),
        sum([tier.cores for tier in tiers]),
        sum([tier.backlog_s for tier in tiers]),
    )
