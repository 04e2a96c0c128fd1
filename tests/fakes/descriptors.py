"""What this process has open, so that a test can tell what it opened from what others before it left to be closed.

A count would not do: a connection of an earlier test may be closed at any moment, by a thread that ends or by the
garbage collector.
"""

from __future__ import annotations

import os

FOLDER = "/proc/self/fd"


def open_files() -> set[tuple[str, str]]:
    """Name all that is open now, each by its number and by what it leads to."""
    found = set()
    for number in os.listdir(FOLDER):
        try:
            found.add((number, os.readlink(f"{FOLDER}/{number}")))
        except FileNotFoundError:
            continue  # closed meanwhile, as the one is by which they were listed
    return found
