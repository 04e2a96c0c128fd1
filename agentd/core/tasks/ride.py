"""One direct line and the durable calls that its session makes over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from agentd.core.tasks.task import State, Task

if TYPE_CHECKING:
    from agentd.core.workers.results import TaskResult


class Ride(Struct, eq=False):
    """What is known of a line while the task that serves it has not ended."""

    task: int
    """Which that is."""
    calls: dict[int, Task] = field(default_factory=dict)
    """Those that were announced and have not ended, by the session's numbers for them."""
    early: dict[int, TaskResult] = field(default_factory=dict)
    """Ends of calls that come to be announced."""
    last: int = 0
    """The call of which the end is that of the line's task; 0: none."""


def carries(ride: Ride | None) -> bool:
    """Tell whether a call is under way over a line."""
    return ride is not None and any(task.state is State.RIDING for task in ride.calls.values())


def line_of(rides: dict[tuple[int, int], Ride], call: Task) -> int:
    """Name the task that serves the line over which a call was announced; 0: none does any more."""
    return next((ride.task for ride in rides.values() if call in ride.calls.values()), 0)
