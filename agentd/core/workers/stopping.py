"""Running tasks that are not wanted any more, or are out of time: stopped by ever harder means.

Law: what runs is asked by a flag, then by SIGINT, then killed with its worker, for which nobody is blamed; a task on
which another stands is pressed when that one has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import InterruptTask
from agentd.core.tasks.task import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Task
    from agentd.core.workers.line import Line
    from agentd.model.task import Failure

FLAG, SIGINT, KILL = 0, 1, 2
"""Levels of an interruption; the last one ends the worker."""


class Stopping:
    """Stops tasks that run on this agent."""

    def __init__(self, state: AgentState, endings: Endings, gated: set[int], settle: Callable[[Line], None]) -> None:
        self._state = state
        self._endings = endings
        self._gated = gated
        self._settle = settle

    def stop(self, task: Task, now: float, failure: Failure | None) -> None:
        """Stop a task that runs on a worker of ours: flag, then SIGINT, then SIGKILL; None: it was cancelled."""
        state = self._state
        if task.id in self._gated:
            self._never_start(task, failure, now)
            return
        is_waiting = task.state is State.BLOCKED
        is_below = is_waiting and state.crew.lines[task.worker].tasks[-1] is not task
        if is_waiting and not is_below:
            state.crew.unblock(state.crew.lines[task.worker])
        state.move(task, State.STOPPING)
        state.stopping[task.id] = failure
        if state.families:
            self._endings.families.give_up(task)
        if not is_below:
            self._press(task, failure, now, is_waiting=is_waiting)

    def _press(self, task: Task, failure: Failure | None, now: float, *, is_waiting: bool) -> None:
        """Interrupt a task ever harder, until it ends; one that waits does not look at the flag."""
        state, rules = self._state, self._state.rules
        late = failure is not None
        if late or is_waiting:
            self._interrupt(task, SIGINT, late)
        else:
            self._interrupt(task, FLAG, late)
            state.timers.at(now + rules.flag_first_s, lambda _: self._interrupt(task, SIGINT, late))
        patience = rules.kill_late_after_s if late else rules.kill_after_s + rules.flag_first_s
        state.timers.at(now + patience, lambda _: self._interrupt(task, KILL, late))

    def _never_start(self, task: Task, failure: Failure | None, now: float) -> None:
        """Take a task out of its line that was seated and not sent: its worker has not heard of it."""
        state = self._state
        line = state.crew.lines[task.worker]
        line.bound = None  # nor of the units that were to be its own
        self._gated.discard(task.id)
        state.crew.pop(line, task.id)
        self._settle(line)
        state.stopping[task.id] = failure
        self._endings.stopped(task, now)

    def _interrupt(self, task: Task, level: int, timed_out: bool) -> None:
        """Interrupt a task that has not ended meanwhile; if its worker is killed for that, nobody is to blame."""
        if task.state is not State.STOPPING:
            return
        line = self._state.crew.lines.get(task.worker)
        if level == KILL and line is not None:
            line.doomed = task.id
        self._state.outbox.add(InterruptTask(task.worker, task.id, level, timed_out))

    def stop_below(self, line: Line) -> None:
        """What ran on top of a task has ended: if that is to be stopped itself, it is its turn."""
        state, task = self._state, line.tasks[-1]
        if task.state is State.STOPPING:
            state.crew.unblock(line)
            state.timers.at(0.0, lambda now: self._press_next(task, now))

    def _press_next(self, task: Task, now: float) -> None:
        if task.state is State.STOPPING:
            self._press(task, self._state.stopping.get(task.id), now, is_waiting=True)
