"""Workers that serve a session directly: who they are, and when they are to stop.

Law: whoever is served directly has its core for itself only while nobody waits for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.model.task import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from agentd.core.tasks.task import Task
    from agentd.workers.process import Process


class DirectLines:
    """The workers of this agent that serve a session.

    Attributes:
        is_waited: tells whether a task waits for a core that one of them holds; the daemon joins it.
    """

    def __init__(self) -> None:
        self.is_waited: Callable[[], bool] = lambda: False
        self._serving: dict[Process, int] = {}
        """By which task. Of some the task has ended."""
        self._calls_before = 0
        """Calls in workers that are gone."""
        self._workers: set[Process] = set()
        """All that ever served and live."""

    def note(self, process: Process, task: Task) -> None:
        """A worker is given a task, which may be one that serves a session."""
        if task.shape.template.form is Form.DIRECT:
            self._serving[process] = task.id
            self._workers.add(process)

    def look(self) -> None:
        """Have those that serve stop after the call at hand, if somebody waits. Called once a drain."""
        serving = self._serving
        if not serving:
            return
        for process, task in list(serving.items()):
            if task not in process.line:
                del serving[process]
        if serving and self.is_waited():
            for process, task in serving.items():
                process.want_back(task)

    def are_all(self, tasks: Sized) -> bool:
        """Tell whether these, the unended tasks, are none but those that serve sessions, as of the last `look`."""
        return len(tasks) <= len(self._serving)

    def calls(self) -> int:
        """Count the calls that sessions have made directly since the start."""
        return self._calls_before + sum(process.direct_calls() for process in self._workers)

    def forget(self, process: Process) -> None:
        """A worker is gone; its page is still there."""
        self._serving.pop(process, None)
        if process in self._workers:
            self._workers.discard(process)
            self._calls_before += process.direct_calls()
