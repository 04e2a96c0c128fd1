"""What the benchmarks run."""

from __future__ import annotations

import time

LOOPS_PER_MS = 0


def noop() -> None:
    """Do nothing."""


def increment(number: int) -> int:
    """Add one."""
    return number + 1


def busy(loops: int) -> int:
    """Keep a core busy for a fixed amount of work."""
    total = 0
    for number in range(loops):
        total += number & 7
    return total


def nap(seconds: float) -> float:
    """Sleep."""
    time.sleep(seconds)
    return seconds
