"""How long a commit takes on this disk, and so whether the engine's thread may wait for it itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.journal.entries import Accepted, Ended, Entry, Started
from agentd.model.values import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentd.model.values import Payload

QUICK_S = 0.002
"""Chosen: a commit that takes no longer may be waited for; far below what a neighbour or a user notices."""
SMOOTHING = 0.2
"""Weight of the last commit in the mean (chosen: one of 10 ms leaves the next ones to the writer thread)."""
FEW_ENTRIES, FEW_BYTES = 4, 64 * 1024
"""Chosen: what a call or two write that came alone."""


class Pace:
    """The mean time of the last commits.

    Without a clock it is not known, and nobody waits.
    """

    def __init__(self, clock: Callable[[], float] | None) -> None:
        self._clock = clock
        self._mean_s: float | None = None

    @property
    def is_quick(self) -> bool:
        """Tell whether a commit may be waited for."""
        return self._mean_s is not None and self._mean_s <= QUICK_S

    def timed(self, commit: Callable[[], None]) -> None:
        """Commit, and learn how long that takes."""
        if self._clock is None:
            commit()
            return
        begun = self._clock()
        commit()
        took_s = self._clock() - begun
        self._mean_s = took_s if self._mean_s is None else self._mean_s + SMOOTHING * (took_s - self._mean_s)


def are_small(entries: Sequence[Entry]) -> bool:
    """Tell whether entries are few and short, and all that they say is in them."""
    if len(entries) > FEW_ENTRIES:
        return False
    size = 0
    for entry in entries:
        value = _value(entry)
        if value is None:
            return False
        size += len(value.data)
    return size <= FEW_BYTES


def _value(entry: Entry) -> Payload | None:
    """Give what an entry of a call is heavy by; None where that is to be kept elsewhere, or it is of another kind."""
    if isinstance(entry, Ended):
        value = entry.outcome.value
        return None if entry.outcome.made or value.parts else value
    if isinstance(entry, Accepted):
        return None if entry.payload.parts else entry.payload
    return NO_VALUE if isinstance(entry, Started) else None
