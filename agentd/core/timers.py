"""What is to be done later, in the agent's own time."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CANCELLED_MOST = 64
"""Cancelled timers that may stand in the heap beside as many live ones (chosen: a sweep is cheap)."""


class Timer:
    """Something to be done once; what is cancelled keeps nothing alive."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[float], None]) -> None:
        self.act: Callable[[float], None] | None = act


class Timers:
    """Acts with their times, earliest first; of equal times the one asked for first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._ties = count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def at(self, when: float, act: Callable[[float], None]) -> Timer:
        """Call `act(now)` once the time has come."""
        timer = Timer(act)
        heappush(self._heap, (when, next(self._ties), timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """Do it not, if it was not done yet."""
        if timer.act is None:
            return
        timer.act = None
        self._cancelled += 1
        if self._cancelled > len(self) + CANCELLED_MOST:
            self._heap = [row for row in self._heap if row[2].act is not None]
            heapify(self._heap)
            self._cancelled = 0

    @property
    def next(self) -> float | None:
        """When the earliest is due; None when there is nothing."""
        heap = self._heap
        if not heap:
            return None
        while heap and heap[0][2].act is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def fire(self, now: float) -> bool:
        """Do all that is due; tells whether there was anything."""
        if not self._heap or self._heap[0][0] > now:
            return False
        fired = False
        while (when := self.next) is not None and when <= now:
            _, _, timer = heappop(self._heap)
            act, timer.act = timer.act, None
            if act is not None:
                act(now)
                fired = True
        return fired
