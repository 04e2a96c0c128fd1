"""What the log says of neighbours that come and go, and of workers that die: who, and why.

Law: however often a link comes and goes, or a function kills its worker, a few lines a minute are written of it; the
last one of a link says how it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.daemon.repeats import Later, Repeats

if TYPE_CHECKING:
    import logging

EVERY_S = 60.0
LINES = 6
"""Of one neighbour in so many seconds; chosen: three cuts are told one by one, more are a flapping link."""


class Diary:
    """Writes a line when a neighbour comes or goes, and when a worker dies unasked.

    That a neighbour's lease has ended, and that too many workers died to start more, is told elsewhere.

    `later` calls a function after so many seconds.
    """

    def __init__(self, log: logging.Logger, later: Later) -> None:
        self._log = log
        self._later = later
        self._written: dict[str, int] = {}
        """By neighbour: changes since the first one of this minute."""
        self._now: dict[str, str] = {}
        self._deaths = Repeats(log, later)

    def died(self, worker: str, detail: dict[str, object]) -> None:
        """Write how a worker ended, with what it ran; of each function once a minute."""
        function = str(detail.get("function", ""))
        ran = f", while it ran {function}" if function else ""
        self._deaths.warn(function or "idle workers", "worker %s is gone: %s%s", worker, detail.get("reason", ""), ran)

    def note(self, neighbour: str, detail: dict[str, object]) -> None:
        """Write how a neighbour stands now, or count it."""
        words = _words(str(detail.get("state", "")), str(detail.get("reason", "")))
        if not words:
            return
        if neighbour not in self._written:
            self._written[neighbour] = 0
            self._later(EVERY_S, lambda: self._sum_up(neighbour))
        self._written[neighbour] += 1
        self._now[neighbour] = words
        if self._written[neighbour] <= LINES:
            write = self._log.info if words == CONNECTED else self._log.warning
            write("neighbour %s %s", neighbour, words)

    def _sum_up(self, neighbour: str) -> None:
        more, words = self._written.pop(neighbour) - LINES, self._now.pop(neighbour)
        if more > 0:
            self._log.warning(
                "neighbour %s came and went: %d changes more in a minute; now it %s", neighbour, more, words
            )


CONNECTED = "is connected"


def _words(state: str, reason: str) -> str:
    """Say what a change means; empty for what passes, or is told elsewhere."""
    if state == "connected":
        return CONNECTED
    said = {"cut": "is cut off", "draining": "leaves", "connecting": "is not connected yet"}.get(state, "")
    return f"{said}: {reason}" if said and reason else said
