"""An agent that was asked to end: what it still does, and when it may stop.

Law: it begins nothing for others, hands back what has not started, and stops when all that it must see has ended, or
the grace is over; in either case all that it recorded is on the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import SendDrain
from agentd.core.tasks.task import State
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core.data.supply import Supply
    from agentd.core.events import DrainRequested
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.intake import Intake
    from agentd.core.tasks.task import Task
    from agentd.core.workers.execution import Execution


class Leaving:
    """Lets this agent leave."""

    def __init__(
        self, state: AgentState, endings: Endings, execution: Execution, intake: Intake, supply: Supply
    ) -> None:
        self._state = state
        self._endings = endings
        self._execution = execution
        self._intake = intake
        self._supply = supply
        self._grace_ends: float | None = None
        """When it stops whatever runs, agent time in seconds; None: it was not asked to, or it is over."""
        self._is_over = False
        """The agent may stop as soon as all that it recorded is on the disk."""

    def requested(self, event: DrainRequested, now: float) -> None:
        """Take no more; hand back what neighbours gave and has not started; give the rest a grace."""
        state = self._state
        if state.draining:
            if self._grace_ends is not None:
                self._grace_ends = min(self._grace_ends, now + event.grace_s)
            return
        state.draining = True
        state.acceptances.write_all()
        self._intake.write_reads(now)
        state.changes.add(Change.PROFILE)
        self._grace_ends = now + event.grace_s
        for neighbour in state.neighbourhood.by_name.values():
            if neighbour.link:
                state.outbox.add(SendDrain(neighbour.name, event.grace_s, "its agent is stopping"))
        state.timers.at(self._grace_ends, lambda _: None)

    def step(self, now: float) -> None:
        """Hand back what waits; the agent may stop once nothing runs that it must see, or the grace is over."""
        state = self._state
        if self._grace_ends is None:
            return
        waiting = [task for bucket in state.queue.buckets() if bucket.path.sender for task in bucket.tasks]
        for task in [*waiting, *(task for task in self._supply.fetching() if task.path.sender)]:
            if not task.dropped:
                self._hand_back(task)
        is_busy = (
            bool(state.families)
            or self._supply.is_collecting()
            or state.crew.running()
            or len(self._execution.holding) > 0
            or state.outbox.number > state.outbox.committed
        )
        is_busy = is_busy or any(map(self._is_awaited, state.neighbourhood.by_name.values()))
        if not is_busy or now >= self._grace_ends:
            self._grace_ends = None
            self._is_over = True

    def may_stop(self) -> bool:
        """Tell, once, that all is over and what was recorded of it is on the disk."""
        outbox = self._state.outbox
        if not self._is_over or outbox.number != outbox.committed:
            return False
        self._is_over = False
        return True

    def _is_awaited(self, neighbour: Neighbour) -> bool:
        """Tell whether a neighbour has yet to hear an end, or holds what would be lost with us as no journal has it."""
        if neighbour.link and (neighbour.ends_unacknowledged or self._state.objects.is_tied(neighbour.name)):
            return True
        for task in neighbour.held.values():
            operation = self._state.operation_of(task)
            if operation is None or not operation.durable:
                return True
        return False

    def _hand_back(self, task: Task) -> None:
        """Give a task that has not started back to the neighbour that gave it, if it can be reached."""
        neighbour = self._state.neighbourhood.get(task.path.sender or "")
        if neighbour is None or not neighbour.link:
            return
        if task.state is State.WAITING:
            self._state.queue.drop(task)
        self._supply.forget(task)
        self._endings.hand_back(task, neighbour, "this agent is stopping")
