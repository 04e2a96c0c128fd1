"""Lines of the log that others can cause: told once, then counted.

Law: whoever comes how often, a few lines a minute are written at most, and so many sources remembered at most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

EVERY_S = 60.0
"""One line of each source in so many seconds, and one that counts the rest."""
MOST_SOURCES = 64
"""Sources that are told apart in that time. Chosen: a screenful or two; all others are counted together."""
OTHERS = "other addresses"

Later = Callable[[float, Callable[[], object]], object]


class Repeats:
    """Writes warnings about others: of each source the first, and after a minute how many there were more.

    `later` calls a function after so many seconds.
    """

    def __init__(self, log: logging.Logger, later: Later) -> None:
        self._log = log
        self._later = later
        self._more: dict[str, int] = {}
        """By source: how many were not written since the first."""

    def warn(self, source: str, message: str, *facts: object) -> None:
        """Write a line about a source, or count it."""
        if source not in self._more and len(self._more) >= MOST_SOURCES:
            source = OTHERS
        if source in self._more:
            self._more[source] += 1
            return
        self._more[source] = 0
        self._log.warning(message, *facts)
        self._later(EVERY_S, lambda: self._sum_up(source))

    def close(self) -> None:
        """Write what is still counted."""
        for source in list(self._more):
            self._sum_up(source)

    def _sum_up(self, source: str) -> None:
        more = self._more.pop(source, 0)
        if more:
            self._log.warning("and %d more from %s in the last minute", more, source)
