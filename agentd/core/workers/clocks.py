"""Time-outs of tasks that run on this agent.

Law: a task is stopped for its time at most once, while it runs, and never after it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.tasks.task import State, Task
from agentd.model.task import Failure, Form, Reason, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.state import AgentState
    from agentd.core.timers import Timer
    from agentd.core.workers.results import TaskResult


class Clocks:
    """One for each task that runs and has a time-out; `stop(task, now, failure)` ends it."""

    def __init__(self, state: AgentState, stop: Callable[[Task, float, Failure], None]) -> None:
        self._state = state
        self._stop = stop
        self._by_task: dict[int, Timer] = {}

    @property
    def are_running(self) -> bool:
        """Tell whether there is any."""
        return bool(self._by_task)

    def watch(self, task: Task, now: float) -> None:
        """End a task in time, if it has a time-out."""
        limit = task.shape.template.timeout_s
        if limit is None:
            return

        def late(now: float) -> None:
            if task.state in {State.RUNNING, State.BLOCKED}:
                words = f"ran longer than its time-out of {limit:g} s"
                self._stop(task, now, Failure(Reason.TIMED_OUT, "TimeoutError", words, agent=self._state.identity.name))

        self._by_task[task.id] = self._state.timers.at(now + limit, late)

    def forget(self, task: int) -> None:
        """A task runs no more: it cannot be late."""
        clock = self._by_task.pop(task, None) if self._by_task else None
        if clock is not None:
            self._state.timers.cancel(clock)


def is_forgiven(task: Task, result: TaskResult, reason: Failure | None) -> bool:
    """Tell whether a task that was stopped for its time is done all the same: its worker gave what it is to have."""
    if reason is None or reason.reason != Reason.TIMED_OUT or result.status != Status.DONE:
        return False
    template = task.shape.template
    return template.form is Form.TASK and template.on_failure == "IGNORE"
