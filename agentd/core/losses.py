"""Workers that end unasked: when there are many of them in a row, no more are started for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core.state import AgentState

STORM = 5
"""Losses of workers within `STORM_S` above which starting them backs off (promised)."""
STORM_S = 10.0


class Losses:
    """Counts them, and lets the starting of workers back off."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._losses: list[float] = []
        """When they were, in agent time; the last ones."""

    def note(self, why: str, now: float) -> None:
        """One more was lost: after too many in a row start none for a while, and say so."""
        state = self._state
        self._losses = [when for when in self._losses if now - when < STORM_S] + [now]
        over = len(self._losses) - STORM
        if over <= 0 or state.not_starting:
            return
        pause = min(0.5 * 2.0 ** min(over, 6), 30.0)
        state.not_starting = f"{len(self._losses)} workers ended within {STORM_S:g} s, the last because: {why}"
        state.crew.may_start = False

        def resume(_: float) -> None:
            state.not_starting = ""
            state.crew.may_start = True
            state.changes.add(Change.ROOM)

        state.timers.at(now + pause, resume)
