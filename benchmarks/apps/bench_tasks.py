"""What the benchmarks run."""

from __future__ import annotations

import os
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


def recorded_nap(path: str, number: int, seconds: float) -> int:
    """Sleep, and append to a file where and when that was."""
    begin = time.monotonic()
    time.sleep(seconds)
    line = f"{os.environ['COMPSS_HOSTNAMES']} {number} {begin:.6f} {time.monotonic():.6f}\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
    return number
