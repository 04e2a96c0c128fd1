"""Workers that are gone: what they had is tried again, and after too many losses in a row none is started for a while.

Law: a worker's death is blamed on the task that ran, on nobody else; an agent whose workers die as soon as they start
says so, and does not spend all its time on starting them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import Publish, StopWorker
from agentd.core.tasks.task import State, Task
from agentd.model.figures import counted
from agentd.model.task import Failure, Reason
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core.events import WorkerLost
    from agentd.core.placing.holding import Holding
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.workers.clocks import Clocks

STORM = 5
"""Losses of workers within `STORM_S` above which starting them backs off (promised)."""
STORM_S = 10.0
"""The time within which so many are a storm (promised)."""


class Losses:
    """Takes workers that are gone out of the account, and what they had."""

    def __init__(self, state: AgentState, endings: Endings, clocks: Clocks, gated: set[int], holding: Holding) -> None:
        self._state = state
        self._endings = endings
        self._clocks = clocks
        self._gated = gated
        self._holding = holding
        self._lately: list[float] = []
        """When workers were lost."""

    def worker_lost(self, event: WorkerLost, now: float) -> None:
        """A worker is gone: what ran is tried again and counted, what only stood behind it is not."""
        state = self._state
        line = state.crew.lines.get(event.worker)
        if line is None:
            return
        running = state.tasks.get(event.running)
        wanted = (line.is_stopping and not line.tasks) or (running is not None and running.state is State.STOPPING)
        state.declared.pop(-event.worker, None)
        tasks = state.crew.lose(line)
        state.changes.add(Change.ROOM)
        self._part(tasks, event.running)
        for task in tasks:
            self._gated.discard(task.id)
            self._clocks.forget(task.id)
            if task.state is State.LACKING or task.state is State.ENDED:
                continue
            if task.id == event.running:
                failure = self._signed(event.failure, task)
                self._endings.host_lost(task, failure, now, blame=task.id != line.doomed)
            elif task.id in state.stopping:
                self._endings.stopped(task, now)
            elif task.state is State.BLOCKED:
                self._endings.host_lost(task, self._signed(event.failure, task), now, blame=False)
            else:
                self._endings.repeat(task)
        if not wanted and event.failure.reason != Reason.NONE:  # else an agent that stops has ended it
            state.counters["worker_losses"] += 1
            ran = running.shape.template.function if running is not None else ""
            detail: dict[str, object] = {"state": "lost", "reason": event.failure.message, "function": ran}
            state.outbox.add(Publish("worker", str(event.worker), detail))
            self._back_off(event.failure.message, now)

    def abandon(self, failure: Failure, now: float) -> None:
        """The device is not to be counted on: whatever stands or runs here is placed anew, and nobody is to blame."""
        state = self._state
        for line in list(state.crew.lines.values()):
            state.outbox.cut_run(line.worker)
            state.outbox.add(StopWorker(line.worker, at_once=True))
            state.declared.pop(-line.worker, None)
            started, tasks = line.depth + 1, state.crew.lose(line)
            self._part(tasks)
            for place, task in enumerate(tasks):
                self._gated.discard(task.id)
                self._clocks.forget(task.id)
                if task.state is State.LACKING or task.state is State.ENDED:
                    continue
                if task.id in state.stopping:
                    self._endings.stopped(task, now)
                elif place < started:
                    self._endings.host_lost(task, self._signed(failure, task), now, blame=False)
                else:
                    self._endings.repeat(task)
        self._holding.abandon(failure, now)
        state.changes.add(Change.ROOM)

    def _part(self, tasks: list[Task], running: int = 0) -> None:
        """Let those wait that lack what others of a lost line were to make, before any of the others ends."""
        for task in tasks:
            if task.lacks and task.id != running and task.id not in self._state.stopping:
                self._endings.repeat(task)

    def _signed(self, failure: Failure, task: Task) -> Failure:
        return Failure(
            failure.reason, failure.type, failure.message, failure.traceback, self._state.identity.name, task.attempt
        )

    def _back_off(self, why: str, now: float) -> None:
        """Too many losses in a row: start no workers for a while, and say so."""
        state = self._state
        self._lately = [when for when in self._lately if now - when < STORM_S] + [now]
        over = len(self._lately) - STORM
        if over <= 0 or state.not_starting:
            return
        pause = min(0.5 * 2.0 ** min(over, 6), 30.0)
        ended = counted(len(self._lately), "worker")
        state.not_starting = f"{ended} ended within {STORM_S:g} s, the last because: {why}"
        state.crew.may_start = False
        state.timers.at(now + pause, self._resume)

    def _resume(self, _now: float) -> None:
        state = self._state
        state.not_starting = ""
        state.crew.may_start = True
        state.changes.add(Change.ROOM)
