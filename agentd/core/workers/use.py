"""What tasks used of this agent's cores, for whoever asked for them.

Law: a sender is charged once for each second for which a task of its had cores; for one in which it waited, not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.tasks.task import State

if TYPE_CHECKING:
    from agentd.core.state import AgentState
    from agentd.core.tasks.task import Task


class Use:
    """Charges senders by what their tasks really took."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._speed = state.rules.speed

    def ended(self, task: Task, seconds: float, now: float) -> None:
        """A run of a task is over, which took so long from its start to its end."""
        state = self._state
        family = state.families.get(task.id) if state.families else None
        if family is None or family.since is None:
            state.queue.used(task, seconds * self._speed)
        elif task.state is State.RUNNING:
            state.queue.spent(task, now - family.since)

    def paused(self, task: Task, now: float) -> None:
        """A task waits for others; from the first time on it is charged by its pauses, not by its end."""
        queue, family = self._state.queue, self._state.families[task.id]
        if family.since is None:
            queue.refund(task)
        queue.spent(task, now - (task.placed_at if family.since is None else family.since))
        family.since = now

    def resumed(self, task: Task, now: float) -> None:
        """A task that waited has cores again."""
        self._state.families[task.id].since = now
