"""Tasks whose bytes are on their way: arguments of those that are to run here, values of those that ran elsewhere.

Law: a task waits for its bytes without cores and without a neighbour's room, and gives up with a reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.tasks.task import State, Task
from agentd.model.task import Failure, Reason
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.data.objects import Object
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.model.task import Outcome
    from agentd.model.values import Payload

    Then = Callable[[Outcome | None, str, float], None]
    """Told the outcome, None when it is wanted no more, why its value cannot be had if so, and the time."""

AHEAD = 2
"""Tasks that may fetch their arguments at a time, for each core (chosen: the next is there when the last ends)."""


class _Want:
    """What one task waits for."""

    __slots__ = ("left", "outcome", "then")

    def __init__(self, left: int) -> None:
        self.left = left
        self.outcome: Outcome | None = None
        self.then: Then | None = None


class Supply:
    """Brings to tasks the bytes that they lack."""

    def __init__(self, state: AgentState, endings: Endings) -> None:
        self._state = state
        self._endings = endings
        self._wants: dict[int, _Want] = {}
        self._fetching = 0

    # --- arguments --------------------------------------------------------------------------------------------

    def may_fetch(self, task: Task) -> bool:
        """Tell whether a task may begin to fetch what it lacks, or lacks nothing."""
        if self._fetching < max(self._state.crew.pool.total(), 1) * AHEAD:
            return True
        return not self._state.objects.missing(task.values)

    def has_bytes(self, task: Task, now: float) -> bool:
        """Tell whether all that a waiting task needs is here, for it to refer to; else it fetches that, if it may."""
        missing = self._state.objects.missing(task.values)
        if missing:
            if self.may_fetch(task):
                self._begin(task, missing, now)
            return False
        localized = self._state.objects.localized
        task.payload, task.inputs = localized(task.payload), tuple(map(localized, task.inputs))
        return True

    def _begin(self, task: Task, missing: list[Object], now: float) -> None:
        """Let a waiting task fetch what it needs, without cores."""
        state = self._state
        state.queue.take(task)
        state.move(task, State.FETCHING)
        task.host = ""
        self._fetching += 1
        self._await(task, missing, now)

    def _await(self, task: Task, missing: list[Object], now: float) -> _Want:
        want = self._wants[task.id] = _Want(len(missing))

        def done(reason: str, now: float) -> None:
            if self._wants.get(task.id) is want:
                self._arrived(task, want, reason, now)

        for found in missing:
            self._state.fetches.fetch(found, done, now)
        return want

    def _arrived(self, task: Task, want: _Want, reason: str, now: float) -> None:
        want.left -= 1
        if want.left and not reason:
            return
        self.forget(task)
        if want.then is not None:
            want.then(want.outcome, reason, now)
        elif reason:
            self._cannot_start(task, reason, now)
        else:
            task.places = self._state.fetches.places(task.values)
            self._state.wait(task)

    def _cannot_start(self, task: Task, reason: str, now: float) -> None:
        """Its arguments cannot be had here: whoever gave it may give it to another."""
        state = self._state
        words = f"its arguments cannot be fetched by {state.identity.name}: {reason}"
        sender = state.neighbourhood.get(task.path.sender or "")
        if sender is not None and sender.link:
            self._endings.hand_back(task, sender, words, lacks=True)
        elif task.family and self._is_to_be_made_again(task):
            self._endings.repeat(task)
        else:
            failure = Failure(Reason.NOT_DECODABLE, "DataLost", words, agent=state.identity.name)
            self._endings.host_lost(task, failure, now, blame=False)
        state.changes.add(Change.ROOM)

    def _is_to_be_made_again(self, task: Task) -> bool:
        """Tell whether something that a task of a family reads was found to be lost."""
        family = self._state.families.get(task.family)
        child = family.children.get(task.id) if family is not None else None
        return child is not None and self._state.lineage.is_lost(task.family, child.spawned.reads)

    def renew(self, task: Task, payload: Payload, inputs: tuple[Payload, ...], via: str) -> None:
        """Take what a waiting task refers to from its newest offer: who gave it may have been restarted since."""
        state, old = self._state, task.values
        state.queue.take(task)
        task.payload, task.inputs = payload, inputs
        for value in task.values:
            state.objects.take(value, via)
        for value in old:
            self._endings.release(value)
        task.places = state.fetches.places(task.values)
        state.wait(task)

    # --- values -----------------------------------------------------------------------------------------------

    def collect(self, task: Task, outcome: Outcome, then: Then, now: float) -> None:
        """Fetch the value of a task that has ended elsewhere; `then` is told once what came of it."""
        state = self._state
        task.state = State.COLLECTING
        missing = state.objects.missing(outcome.values)
        want = self._await(task, missing, now)
        want.outcome, want.then = outcome, then

    def is_collecting(self, task: int = 0) -> bool:
        """Tell whether the value of a task, or of any, is on its way."""
        if not task:
            return len(self._wants) > self._fetching
        want = self._wants.get(task)
        return want is not None and want.then is not None

    def awaited(self, task: Task) -> list[Object]:
        """Give the objects that a task waits for."""
        want = self._wants.get(task.id)
        if want is None:
            return []
        return self._state.objects.missing(task.values if want.outcome is None else want.outcome.values)

    def fetching(self) -> list[Task]:
        """Give the tasks that wait for arguments."""
        tasks = self._state.tasks
        return [tasks[number] for number, want in self._wants.items() if want.then is None and number in tasks]

    # --- giving up --------------------------------------------------------------------------------------------

    def forget(self, task: Task) -> None:
        """A task waits no longer for its bytes."""
        want = self._wants.pop(task.id, None)
        if want is None:
            return
        if want.then is None:
            self._fetching -= 1

    def abandon(self, task: Task, now: float) -> None:
        """Nobody wants the value of a task any more."""
        want = self._wants.get(task.id)
        self.forget(task)
        if want is not None and want.outcome is not None and want.then is not None:
            self._endings.release_outcome(want.outcome)
            want.then(None, "", now)
