"""Tasks whose children are yet to end: they end, or run again, only then.

Law: a parent ends, or runs again, only after all of its children have ended; what its code was never told of is its own
failure.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agentd.core.tasks.task import State
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.families.blames import Blames
    from agentd.core.families.family import Family
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Task

    Cancel = Callable[[Family, list[int], Failure | None, float], None]


class Parting:
    """Lets parents wait for their children, and families end."""

    def __init__(
        self, state: AgentState, endings: Endings, blames: Blames, cancel: Cancel, mend: Callable[[float], None]
    ) -> None:
        self._state = state
        self._endings = endings
        self._blames = blames
        self._cancel = cancel
        self._mend = mend
        """Has made again what was found to be lost."""
        self._given_up: deque[Family] = deque()
        """Families of which the children are to be stopped."""
        self.left: deque[Family] = deque()
        """Families of which the last child has left."""

    def give_up(self, task: Task) -> None:
        """Nobody wants a task any more, or it is to run again: its children are stopped, before this drain is over."""
        family = self._state.families.get(task.id)
        if family is not None:
            family.refusal = given_up("the task that asked for it has ended, or runs again")
            self._given_up.append(family)

    def join(self, task: Task, outcome: Outcome) -> Outcome | None:
        """A task's code has ended; gives how the task ended, or None while its children have not."""
        family = self._state.families.get(task.id)
        if family is None:
            self._blames.forget(task)
            return outcome
        if family.outcome is None:
            family.outcome = outcome
            family.over.clear()
            if outcome.status != Status.DONE:
                self.give_up(task)
        if family.children:
            self._state.move(task, State.JOINING)
            return None
        self._blames.forget(task)
        return self._dissolve(family, task)

    def again(self, task: Task, then: Callable[[Task], None]) -> bool:
        """A task is to run again by `then`; tells whether that has to wait until its children have ended."""
        family = self._state.families.get(task.id)
        if family is None:
            return False
        family.over.clear()
        if not family.children:
            self._dissolve(family, task)
            return False
        family.again = then
        self.give_up(task)
        self._state.move(task, State.JOINING)
        return True

    def cancel_joining(self, task: Task) -> None:
        """A task is cancelled whose code has ended and whose children have not."""
        family = self._state.families[task.id]
        failure = Failure(Reason.NONE, "Cancelled", "cancelled before its tasks had ended")
        if family.outcome is not None:
            self._endings.release_outcome(family.outcome)
        family.again = None
        family.outcome = Outcome(Status.CANCELLED, failure=failure, attempts=task.attempt)
        self.give_up(task)

    def settle(self, now: float) -> None:
        """Stop the children of who was given up; let parents end that waited for that. One by one, however deep."""
        ended, left = self._given_up, self.left
        self._mend(now)
        while ended or left:
            while ended:
                family = ended.popleft()
                if family.refusal is not None:
                    self._cancel(family, list(family.children), family.refusal, now)
            while left and not ended:
                self._finish(left.popleft(), now)

    def _finish(self, family: Family, now: float) -> None:
        """All children have left: a parent that waited for that ends, or runs again."""
        task = self._state.tasks.get(family.parent)
        if family.children or task is None or task.state is not State.JOINING:
            return
        if self._state.families.get(family.parent) is not family:
            return
        if family.again is not None:
            self._dissolve(family, task)
            family.again(task)
        elif family.outcome is not None:
            self._endings.end(task, family.outcome, now)

    def _dissolve(self, family: Family, task: Task) -> Outcome:
        """Keep nothing of a family; gives how its parent ended: what its code was never told of is its own failure."""
        state, outcome = self._state, family.outcome
        del state.families[task.id]
        if family.timer is not None:
            state.timers.cancel(family.timer)
        family.versions.close()
        if outcome is None:
            return Outcome()
        if outcome.status != Status.DONE or not family.untold:
            return outcome
        self._endings.release_outcome(outcome)
        why = family.untold[0]
        return Outcome(Status.FAILED, NO_VALUE, why, outcome.seconds, outcome.agent, outcome.hops, task.attempt)


def given_up(words: str) -> Failure:
    """Say why a task was cancelled that somebody asked for."""
    return Failure(Reason.NONE, "Cancelled", words)
