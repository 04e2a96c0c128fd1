"""Functions that the agents of the tests are asked to run."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

from meeting import until


def increment(number: int) -> int:
    """Add one."""
    return number + 1


def nap(seconds: float) -> float:
    """Sleep, then say how long."""
    time.sleep(seconds)
    return seconds


def note(path: str, seconds: float) -> int:
    """Append a line to a file, sleep, append another: tells how often it was begun and ended."""
    with Path(path).open("a") as file:
        file.write(f"begin {os.getpid()}\n")
    time.sleep(seconds)
    with Path(path).open("a") as file:
        file.write("end\n")
    return os.getpid()


def held(path: str, gate: str) -> int:
    """As `note`, but end when the gate is there."""
    with Path(path).open("a") as file:
        file.write(f"begin {os.getpid()}\n")
    until(Path(gate).exists)
    with Path(path).open("a") as file:
        file.write("end\n")
    return os.getpid()


def beside(path: str, gate: str) -> int:
    """As `held`, and take its time each time: so it is worth the way to a neighbour."""
    pid = held(path, gate)
    time.sleep(0.3)
    return pid


def greet(name: str, *, times: int = 1) -> dict[str, str]:
    """Write to both streams and return a document."""
    for _ in range(times):
        print("hello", name)
    print("to stderr", file=sys.stderr)
    return {"hello": name}


def shout(words: str) -> None:
    """Print something."""
    print(words)


def fail() -> None:
    """Raise."""
    raise ValueError("on purpose")


def crash() -> None:
    """End by a segmentation fault."""
    ctypes.string_at(0)


def vanish() -> None:
    """End as by the kernel's hand."""
    os.kill(os.getpid(), signal.SIGKILL)


def leave(code: int) -> None:
    """End the process."""
    os._exit(code)


def lock() -> object:
    """Return what cannot be pickled."""
    return threading.Lock()


def stubborn(seconds: float) -> None:
    """Sleep whatever signals say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(seconds)


def _private() -> None:
    """Not to be called."""


def blank(size: int) -> str:
    """Return a text of that size."""
    return " " * size


def count_bytes(text: str) -> int:
    """Say how much was sent."""
    return len(text)
