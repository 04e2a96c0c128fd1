"""What is to be done later, in the agent's own time."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Timers:
    """Acts with their times; one that has become pointless finds that out itself when it is called."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._ties = count()

    def at(self, when: float, act: Callable[[float], None]) -> None:
        """Call `act(now)` once the time has come."""
        heappush(self._heap, (when, next(self._ties), act))

    @property
    def next(self) -> float | None:
        """When the earliest is due; None when there is nothing."""
        return self._heap[0][0] if self._heap else None

    def fire(self, now: float) -> bool:
        """Do all that is due; tells whether there was anything."""
        fired = False
        while self._heap and self._heap[0][0] <= now:
            heappop(self._heap)[2](now)
            fired = True
        return fired
