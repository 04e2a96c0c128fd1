"""The wall-clock limits that running code sets for what it asks for.

Law: when the time of a family is over nothing of it runs, and nothing more is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.model.task import Failure, Reason

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.families.families import Families
    from agentd.core.state import AgentState


class Limits:
    """Ends families whose time is over."""

    def __init__(self, state: AgentState, families: Families) -> None:
        self._state = state
        self._families = families

    def limit_set(self, event: e.LimitSet, now: float) -> None:
        """From some time on nothing of a family may run; a new limit replaces the one before."""
        state, families = self._state, self._families
        family = families.of(event.parent, event.worker)
        if family is None:
            return
        if family.timer is not None:
            state.timers.cancel(family.timer)
        words = f"the tasks took longer than the wall-clock limit of {event.seconds:g} s"
        failure = Failure(Reason.TIMED_OUT, "WallClockLimit", words, agent=state.identity.name)

        def over(now: float) -> None:
            family.timer = None
            families.refuse(family, failure, now)

        family.timer = state.timers.at(now + event.seconds, over)
