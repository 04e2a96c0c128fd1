"""What happens on direct lines, where that concerns the engine: calls that are to survive."""

from __future__ import annotations

from agentd.core.events import Event, TaskResult
from agentd.model.exchange import Submission


class CallsAnnounced(Event, frozen=True, gc=False):
    """A caller's session makes durable calls over its line; they are settled as those that it submits."""

    caller: int
    line: int
    """The caller's number for the line, among those of its calls."""
    calls: list[Submission]


class LineCallsEnded(Event, frozen=True, gc=False):
    """A worker has made durable calls of the line that it serves; `task` of a result is the caller's number of it."""

    task: int
    """The one that serves the line."""
    results: list[TaskResult]
    last: int = 0
    """The caller's number of the call of which the end will be that of the task; 0: none."""
