"""A small deterministic world: engines, and everything that performs their commands, in virtual time.

The engines are the real ones. Workers, journals, links and callers are stand-ins that obey the contracts of the
commands, and can be made to fail in every way that counts. One seed gives one history.
"""

from __future__ import annotations

import random
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from agentd.core.state import Rules
from schedulers.capacity import Capacity, cores
from schedulers.loading import load
from tests.fakes.world_agent import Host
from tests.fakes.world_history import History
from tests.fakes.world_links import Wire

if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """Time, chance, agents, and the wires between them."""

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)
        self.is_exact = seed is None
        """Without a seed every delay is the same each time: for transcripts."""
        self.now = 0.0
        self.hosts: dict[str, Host] = {}
        self.wires: dict[frozenset[str], Wire] = {}
        self.history = History(self)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ties = count()

    # --- time -------------------------------------------------------------------------------------------------

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something later; what has become pointless finds that out itself."""
        heappush(self._heap, (self.now + seconds if seconds > 0.0 else self.now, next(self._ties), act))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end, heap = self.now + seconds, self._heap
        while heap and heap[0][0] <= end:
            self.now, _, act = heappop(heap)
            act()
        self.now = end

    def run_until(self, is_so: Callable[[], bool], within_s: float, step_s: float = 0.05) -> bool:
        """Let time pass until something is so; tells whether it came to be."""
        end = self.now + within_s
        while not is_so():
            if self.now >= end:
                return False
            self.run(min(step_s, end - self.now))
        return True

    def jitter(self, least_s: float, most_s: float) -> float:
        """Give a delay; the least when the world is exact."""
        return least_s if self.is_exact else least_s + (most_s - least_s) * self.random.random()

    # --- who there is -----------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        capacity: Capacity | int = 1,
        *,
        scheduler: str = "load-balancing",
        rules: Rules | None = None,
    ) -> Host:
        """Start an agent."""
        amount = cores(capacity) if isinstance(capacity, int) else capacity
        host = Host(self, name, amount, lambda: load(scheduler), rules or Rules(), len(self.hosts) + 1)
        self.hosts[name] = host
        host.start()
        return host

    def connect(
        self, one: str, other: str, *, delay_s: float = 0.005, granted: int | None = None, is_mutual: bool = True
    ) -> Wire:
        """Make two agents neighbours: the first dials and may offload to the other, and that one to it if mutual."""
        wire = self.wires[frozenset((one, other))] = Wire(self, self.hosts[one], self.hosts[other], delay_s)
        self.hosts[one].lend(other, granted)
        if is_mutual:
            self.hosts[other].lend(one, granted)
        return wire

    def wire(self, one: str, other: str) -> Wire:
        """Find the wire between two agents."""
        return self.wires[frozenset((one, other))]

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing is wanted of anybody any more."""
        return all(host.is_quiet for host in self.hosts.values())

    def heal(self) -> None:
        """Stop all faults: every agent runs, every wire carries, every disk has room."""
        for wire in self.wires.values():
            wire.heal()
        for host in self.hosts.values():
            host.heal()
