"""Waiting for what is about to come: it is looked for again and again before the processor is given away.

Standard library only: a worker loads this file too.

Who sleeps is woken 20 to 70 us after what it waits for has come (measured; most where its processor sleeps as well).
So who expects an answer sooner looks for it for as long as that before it sleeps, which costs at most twice what the
better of the two would (A. Karlin et al., Empirical Studies of Competitive Spinning for a Shared-Memory
Multiprocessor, SOSP 1991).

Where others want the processors that does harm: who is busy waits for its turn like any other, while who sleeps is let
in at once when it is woken. So as soon as the processor was taken from one that looks, it sleeps for a while instead.

Law: a wait looks for `SPIN_S` at most; of waits that found nothing in that time fewer and fewer look, and none does
for `PAUSE_S` at least after the processor was taken.
"""

from __future__ import annotations

import os
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = TypeVar("Found")

SPIN_S = 200e-6
"""How long a wait looks (chosen: what the other end takes that sleeps itself; to be woken takes a third of that)."""
REST_MOST = 512
"""Waits that do not look after many that did in vain (chosen: then one in so many takes longer, by `SPIN_S`)."""
TAKEN_S = 500e-6
"""A look that ends so much too late was interrupted by others (chosen: the kernel gives those milliseconds at a time; a
busy host takes less from a virtual machine)."""
PAUSE_S = 0.01
"""For how long none looks after that, at first; twice as long each time that follows soon (chosen: as long as others
have the processor for themselves, a few times)."""
PAUSE_MOST_S = 1.28
"""The same, at most (chosen: then less than a hundredth of the time is lost)."""


class Spinning:
    """Waits of one kind, of one thread at a time.

    Where this process may use one processor only, none of them looks: it would keep whoever is to answer from running.
    """

    __slots__ = ("_missed", "_pause_s", "_paused_to_s", "_rest")

    def __init__(self) -> None:
        self._missed = 0
        """Waits in a row that looked and found nothing in time."""
        self._rest = 0
        """So many of the next do not look."""
        self._pause_s = 0.0
        self._paused_to_s = 0.0 if len(os.sched_getaffinity(0)) > 1 else inf

    @property
    def is_on(self) -> bool:
        """Tell whether the next wait looks."""
        return not self._rest and perf_counter() >= self._paused_to_s

    def seek(self, look: Callable[[int], Found]) -> Found | None:
        """Give what `look(0)` finds, if it does within `SPIN_S`; None: it is time to sleep."""
        if self._rest:
            self._rest -= 1
            return None
        now = perf_counter()
        if now < self._paused_to_s:
            return None
        end = now + SPIN_S
        while True:
            found, now = look(0), perf_counter()
            if now > end:
                break
            if found:
                self._missed = 0
                return found
        if now > end + TAKEN_S:
            self._pause(now)
        else:
            self._missed += 1
            self._rest = min(1 << self._missed, REST_MOST)
        return found or None

    def _pause(self, now: float) -> None:
        """The processor was taken: let none look for a while, and for longer if it was soon after the last time."""
        is_soon = now - self._paused_to_s < self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S) if is_soon else PAUSE_S
        self._paused_to_s = now + self._pause_s
