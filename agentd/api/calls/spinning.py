"""Waiting for what is about to come: it is looked for again and again before the processor is given away.

Standard library only: a worker loads this file too.

Who sleeps is woken 20 to 70 us after what it waits for has come (measured; most where its processor sleeps as well).
So who expects an answer sooner looks for it for as long as that before it sleeps, which costs at most twice what the
better of the two would (A. Karlin et al., Empirical Studies of Competitive Spinning for a Shared-Memory
Multiprocessor, SOSP 1991).

Law: a wait looks for `SPIN_S` at most; of waits that found nothing in that time fewer and fewer look.
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
"""How long a wait looks (chosen: a little more than to be woken takes)."""
REST_MOST = 512
"""Waits that do not look after many that did in vain (chosen: then one in so many takes longer, by `SPIN_S`)."""


class Spinning:
    """Waits of one kind, of one thread at a time.

    Where this process may use one processor only, none of them looks: it would keep whoever is to answer from running.
    Where others want the processor they get it at each look, and so a wait takes too long.
    """

    __slots__ = ("_missed", "_rest")

    def __init__(self) -> None:
        self._missed = 0
        """Waits in a row that looked and found nothing in time."""
        self._rest: float = 0 if len(os.sched_getaffinity(0)) > 1 else inf
        """So many of the next do not look."""

    def seek(self, look: Callable[[int], Found]) -> Found | None:
        """Give what `look(0)` finds, if it does within `SPIN_S`; None: it is time to sleep."""
        if self._rest:
            self._rest -= 1
            return None
        end = perf_counter() + SPIN_S
        while not (found := look(0)) and perf_counter() <= end:
            os.sched_yield()
        if perf_counter() <= end:
            self._missed = 0
        else:
            self._missed += 1
            self._rest = min(1 << self._missed, REST_MOST)
        return found or None
