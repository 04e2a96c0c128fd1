"""What ran, summed up by function: kept only where somebody wants to be told at the end.

Law: each task counts once, when it has ended; what is kept of a function is bounded, however often it runs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.model.task import Status

if TYPE_CHECKING:
    from agentd.core.tasks.task import Task
    from agentd.model.task import Outcome

TIMES_MOST = 4096
"""Run times that are kept of one function, evenly spread over all (chosen: the 95th percentile is exact to 1 %)."""
FUNCTIONS_MOST = 10_000
"""Functions that are told apart (chosen); what comes beyond is summed up together."""
OTHERS = "(others)"


class Count(Struct):
    """What is known of one function."""

    tasks: int = 0
    done: int = 0
    failed: int = 0
    """Cancelled ones are neither."""
    seconds: float = 0.0
    """In users' code, together."""
    longest_s: float = 0.0
    waited_s: float = 0.0
    """From when they could run to their ends, without the time that they ran, together."""
    argument_bytes: int = 0
    result_bytes: int = 0
    times: list[float] = []
    every: int = 1
    """One in so many run times is kept."""

    @property
    def mean_s(self) -> float:
        """Give the mean run time in seconds."""
        return self.seconds / self.tasks

    @property
    def p95_s(self) -> float:
        """Give the time within which 95 of 100 ran, in seconds."""
        times = sorted(self.times)
        return times[math.ceil(0.95 * len(times)) - 1]


class Census:
    """Counts the tasks that end."""

    def __init__(self) -> None:
        self._by_function: dict[str, Count] = {}

    def add(self, task: Task, outcome: Outcome, now: float) -> None:
        """Count a task that has ended."""
        found = self._by_function.get(task.function)
        if found is None:
            name = task.function if len(self._by_function) < FUNCTIONS_MOST else OTHERS
            found = self._by_function.setdefault(name, Count())
        seconds = outcome.seconds
        if not found.tasks % found.every:
            self._note(found, seconds)
        found.tasks += 1
        found.done += outcome.status == Status.DONE
        found.failed += outcome.status not in {Status.DONE, Status.CANCELLED}
        found.seconds += seconds
        found.longest_s = max(found.longest_s, seconds)
        found.waited_s += max(0.0, now - task.submitted_at - seconds)
        found.argument_bytes += task.size_bytes
        found.result_bytes += outcome.value.size_bytes + sum([value.size_bytes for value in outcome.made])

    @staticmethod
    def _note(found: Count, seconds: float) -> None:
        found.times.append(seconds)
        if len(found.times) > TIMES_MOST:
            del found.times[1::2]
            found.every *= 2

    def rows(self) -> list[tuple[str, Count]]:
        """Give all functions with their counts, the most expensive first."""
        return sorted(self._by_function.items(), key=lambda row: (-row[1].seconds, row[0]))
