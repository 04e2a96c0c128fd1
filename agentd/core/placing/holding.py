"""Cores that are held for tasks of several nodes, of which the main part runs elsewhere.

Law: what is held is held by one task that runs nothing, until that is stopped; whoever gave it is told when it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.tasks.task import State, Task
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core.placing.pool import Reservation
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.model.task import Failure


class Holding:
    """Holds cores without a worker."""

    def __init__(self, state: AgentState, endings: Endings) -> None:
        self._state = state
        self._endings = endings
        self._held: dict[int, Reservation] = {}
        """By task."""

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, task: Task, now: float) -> bool:
        """Hold what a waiting task demands, if it is free; whoever gave it is told, and may count on it."""
        state = self._state
        reservation = None if state.crew.is_promised else state.pool.reserve(task.shape.demand)
        if reservation is None:
            return False
        state.queue.place(task)
        state.move(task, State.HOLDING)
        self._held[task.id] = reservation
        task.host, task.placed_at = "", now
        operation = state.operation_of(task)
        if operation is not None:
            operation.accepted, operation.started_wall = 0, state.wall(now)
            sender = state.neighbourhood.get(operation.path.sender or "")
            if sender is not None and sender.link:
                accepted = operation.id, operation.sender_attempt, operation.sender_epoch
                state.outbox.accept(sender.name, sender.link, accepted)
        return True

    def let_go(self, task: Task) -> None:
        """Hold nothing any more for a task."""
        self._state.pool.release(self._held.pop(task.id))
        self._state.changes.add(Change.ROOM)

    def abandon(self, failure: Failure, now: float) -> None:
        """The device is not to be counted on: nothing is held here."""
        for number in list(self._held):
            task = self._state.tasks[number]
            self.let_go(task)
            self._endings.host_lost(task, failure, now, blame=False)
