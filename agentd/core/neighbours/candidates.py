"""Which of many neighbours are worth a look for a task.

Law: what it costs to choose does not grow with the neighbours, but for the O(log n) of keeping the index.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.tasks.task import Task

SCAN_MOST = 16
"""Neighbours up to which all are looked at (simulated: a decision among 10 takes 10 us, among 1,000 nearly 1 ms)."""
FASTEST = 4
"""Neighbours with idle cores that are looked at, the fastest first."""
IN_TURN = 2
"""Others that are looked at, so that everybody's turn comes (simulated: costs 7 % of mean response)."""

Key = tuple[float, str]
"""Minus the speed of the fastest idle core there, name."""


class Candidates:
    """An index of neighbours by idle cores, and a hand that goes round."""

    def __init__(self) -> None:
        self._rows: dict[str, Neighbour] = {}
        self._names: list[str] = []
        self._parents: list[Neighbour] = []
        self._idle: list[Key] = []
        self._keys: dict[str, Key] = {}
        """Under which key a neighbour stands among the idle."""
        self._stirred: dict[str, None] = {}
        """Those whose load has changed since they were looked at, in the order of the changes."""
        self._hand = 0

    def arrange(self, rows: Sequence[Neighbour]) -> None:
        """Work out anew who there is."""
        self._rows = {row.name: row for row in rows}
        self._names = list(self._rows)
        self._parents = [row for row in rows if row.is_parent]
        self._idle.clear()
        self._keys.clear()
        self._stirred = dict.fromkeys(self._names)

    def stir(self, name: str) -> None:
        """A neighbour's load has changed."""
        self._stirred[name] = None

    def choose(self, task: Task) -> list[Neighbour]:
        """Give parents, holders of the task's inputs, the fastest with idle cores, and some in turn; each once."""
        self._mend()
        chosen = {row.name: row for row in self._parents}
        for name in self._wanted(task):
            row = self._rows.get(name)
            if row is not None:
                chosen[name] = row
        return list(chosen.values())

    def _wanted(self, task: Task) -> Iterator[str]:
        for held in task.places:
            if held.where is not None:
                yield held.where
        for _, name in islice(self._idle, FASTEST):
            yield name
        for _ in range(min(IN_TURN, len(self._names))):
            self._hand = (self._hand + 1) % len(self._names)
            yield self._names[self._hand]

    def _mend(self) -> None:
        for name in self._stirred:
            row = self._rows.get(name)
            old = self._keys.pop(name, None)
            if old is not None:
                del self._idle[bisect_left(self._idle, old)]
            if row is None:
                continue
            speed = max((tier.speed for tier in row.tiers if tier.free >= 1), default=0.0)
            if speed:
                key = self._keys[name] = (-speed, name)
                insort(self._idle, key)
        self._stirred.clear()
