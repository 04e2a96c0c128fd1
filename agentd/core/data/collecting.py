"""Values of tasks that have ended at a neighbour: brought here where somebody reads them, or where they must survive.

Law: an end is acknowledged after all that it brings is here, is known to be lost, or is wanted no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.model.task import Failure, Outcome, Reason, Status
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.data.supply import Supply
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Task


class Collecting:
    """Brings values here before the ends of their tasks are told."""

    def __init__(self, state: AgentState, endings: Endings, supply: Supply) -> None:
        self._state = state
        self._endings = endings
        self._supply = supply

    def wants(self, task: Task, outcome: Outcome) -> bool:
        """Tell whether the value of a task that has ended elsewhere is to be brought here before its end is told.

        Our own users read it at once, and what must survive may not lie with others alone. Who only passes a result
        on does not need its bytes, unless nobody could make them once more. What a task of a family makes stays where
        it is until somebody needs it.
        """
        if task.id in self._state.stopping or outcome.status not in {Status.DONE, Status.FAILED}:
            return False
        if not outcome.value.parts and not outcome.made:
            return False
        if task.family:
            return self._state.lineage.is_full
        is_last_copy = task.shape.template.durable and not task.shape.template.idempotent
        return task.path.sender is None or is_last_copy

    def collect(
        self,
        task: Task,
        outcome: Outcome,
        holder: str,
        ended: Callable[[Outcome, float], None],
        over: Callable[[], None],
        now: float,
    ) -> None:
        """Bring the values of a task here, then `ended` it with them, or let it be lost; `over` is told in any case."""
        state = self._state

        def collected(outcome: Outcome | None, reason: str, now: float) -> None:
            if outcome is None:
                self._endings.cancel(task, now)
            elif reason:
                self._endings.release_outcome(outcome)
                failure = Failure(Reason.SIGNAL, "DataLost", f"its value is lost: {reason}", agent=holder)
                self._endings.host_lost(task, failure, now, blame=False)
            else:
                made = tuple(map(state.objects.localized, outcome.made))
                ended(replace(outcome, value=state.objects.hand_over(outcome.value), made=made), now)
            over()
            state.changes.add(Change.ROOM)

        if state.objects.missing(outcome.values):
            self._supply.collect(task, outcome, collected, now)
        else:
            collected(outcome, "", now)
