"""What is said of loads: what of a report is believed, what a neighbour was told, and which offers it had not seen.

Law: of a report only what can be is believed, and so told to others.
"""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.model.exchange import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.tasks.task import Task
    from schedulers.view import Tier

TIERS_MOST = 6
"""Classes of speed in one report."""
MODULES_MOST = 1000
"""Names of modules in one report (chosen: some 20 kB)."""
NAME_MOST = 256
"""Characters of a module's name, or of an agent's id (specified: as everywhere in the protocol)."""


def believable(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """Keep of a report what can be: a neighbour cannot poison our sums with what is no amount."""
    kept = [tier for tier in tiers if tier.speed > 0 and all(isfinite(figure) and figure >= 0 for figure in tier)]
    return tuple(kept[:TIERS_MOST])


def checked(report: Report) -> Report:
    """Give what may be believed of a report, and may be told to others in our name."""
    names = tuple(name for name in report.functions[:MODULES_MOST] if len(name) <= NAME_MOST)
    root = report.root if len(report.root) <= NAME_MOST else ""
    own = next(iter(believable((report.own,))), None) if report.own is not None else None
    return replace(report, tiers=believable(report.tiers), functions=names, root=root, own=own)


class Told:
    """What a neighbour was last told of our load."""

    __slots__ = ("at", "is_expecting", "report")

    def __init__(self) -> None:
        self.is_expecting = False
        """It was sent ends since: it may have more for us, and will want to know where there is room."""
        self.report: Report | None = None
        self.at = -1e9


class Unseen:
    """Offers that a neighbour's last report had not seen: how many, and how much work."""

    __slots__ = ("_runs", "_seen", "seconds", "sequence")

    def __init__(self) -> None:
        self.sequence = 0
        """Of the last offer sent."""
        self._seen = 0
        """Of the last one that a report had seen."""
        self._runs: deque[tuple[int, float]] = deque()
        """Of offers that were sent together: the last one's number, and the work of each."""
        self.seconds = 0.0

    def __len__(self) -> int:
        return self.sequence - self._seen

    def add(self, seconds: float, count: int = 1) -> None:
        """Note offers of so much work each under the next sequence numbers."""
        self.sequence += count
        self._runs.append((self.sequence, seconds))
        self.seconds += seconds * count

    def seen(self, sequence: int) -> None:
        """A report had seen all offers up to this number."""
        runs = self._runs
        while runs and self._seen < sequence:
            last, seconds = runs[0]
            up_to = min(last, sequence)
            self.seconds -= (up_to - self._seen) * seconds
            self._seen = up_to
            if up_to == last:
                runs.popleft()
        if not runs:
            self.clear()

    def clear(self) -> None:
        """Nothing is under way any more."""
        self._runs.clear()
        self._seen = self.sequence
        self.seconds = 0.0


def less_unseen(tiers: Sequence[Tier], unseen: Unseen) -> list[Tier]:
    """Take off what was sent and not yet seen: from the fastest cores first, and never below nothing."""
    left = float(len(unseen))
    corrected = []
    for row in sorted(tiers, key=lambda tier: -tier.speed):
        taken = min(row.free, left)
        left -= taken
        corrected.append(row._replace(free=row.free - taken))
    fastest = corrected[0]
    corrected[0] = fastest._replace(backlog_s=fastest.backlog_s + unseen.seconds)
    return corrected


def share_held(tasks: dict[int, Task]) -> float:
    """Say how much of a neighbour is held by what lasts: what else it has comes and goes, and one of these may wait."""
    return sum([1 / task.booked for task in tasks.values() if task.shape.template.lasts])
