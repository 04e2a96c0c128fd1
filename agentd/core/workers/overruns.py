"""Tasks that run far longer than their kind was learned to: what stands behind them goes elsewhere.

Law: while anything waits, no task stands behind one that has overrun for longer than it took to be noticed, and the
scheduler is asked anew, as the wait here has become another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.workers.line import LATE_S
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core.state import AgentState
    from agentd.core.workers.execution import Execution

LOOK_S = 1.1 * LATE_S
"""How often is looked while a task may yet become late: one that began with the last look is late by then."""
SELDOM_S = 2.0
"""While the same tasks go on, the scheduler is asked again after half of what they have run, at the latest then."""


class Overruns:
    """Looks at the lines at work, as long as something waits that could go elsewhere."""

    def __init__(self, state: AgentState, execution: Execution) -> None:
        self._state = state
        self._execution = execution
        self.is_watching = False

    def watch(self, now: float) -> None:
        """See to it that the lines are looked at in a while."""
        self.is_watching = True
        self._state.timers.at(now + LOOK_S, self._look)

    def _look(self, now: float) -> None:
        state = self._state
        self.is_watching = False
        lines = [line for line in state.crew.lines.values() if line.tasks]
        is_waited = state.queue.size > 0 or any(len(line.tasks) > line.depth + 1 for line in lines)
        again_s = SELDOM_S
        for line in lines:
            if not line.runs_late(now):
                again_s = LOOK_S
                continue
            again_s = min(again_s, max((now - line.since) / 2, LOOK_S))
            if is_waited or not line.is_late:
                state.changes.add(Change.ROOM)
            line.is_late = True
            line.changed()
            if line.revocable and not line.revoking and (behind := line.loose()):
                self._execution.take_back(line, behind)
        if is_waited:
            self.is_watching = True
            state.timers.at(now + again_s, self._look)
