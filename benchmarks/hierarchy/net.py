"""Virtual time, and the links that join two devices."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """A heap of what is to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ties = count()

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do something then; never in the past."""
        heappush(self._heap, (max(when, self.now), next(self._ties), act))

    def run(self, is_over: Callable[[], bool], *, until: float) -> None:
        """Let time pass until it is over or late."""
        heap = self._heap
        while heap and heap[0][0] <= until and not is_over():
            self.now, _, act = heappop(heap)
            self.events += 1
            act()


class Link(NamedTuple):
    """What lies between two devices, each way."""

    delay_s: float
    bytes_per_s: float


class Pipe:
    """One direction of a link: in order, one message after the other; reports pass what is queued."""

    def __init__(self, clock: Clock, link: Link) -> None:
        self._clock = clock
        self._link = link
        self._free_at = 0.0
        self.messages = 0

    @property
    def wait_s(self) -> float:
        """How long what is queued will take."""
        return max(self._free_at - self._clock.now, 0.0)

    def send(self, size_bytes: int, arrive: Callable[[], None], *, urgent: bool = False) -> None:
        """Bring a message to the other end."""
        self.messages += 1
        spent_s = size_bytes / self._link.bytes_per_s
        if urgent:
            self._clock.at(self._clock.now + spent_s + self._link.delay_s, arrive)
            return
        self._free_at = max(self._free_at, self._clock.now) + spent_s
        self._clock.at(self._free_at + self._link.delay_s, arrive)
