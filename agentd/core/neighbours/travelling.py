"""Bytes that are under way to a neighbour: of offers that it has not answered, and of ends that it has not confirmed.

Law: of offers they are no more than `MOST_BYTES`, or those of one alone, so that a neighbour that does not read costs
no more than that, and what it is not given goes elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.core.tasks.task import Task

MOST_BYTES = 16 << 20
"""At a time, for each neighbour (chosen: one full frame; a link of 1 Gbit/s needs 12 MB to be full at 100 ms)."""
MOST_TRAVEL_BYTES = 15 << 20
"""Of one task's arguments (specified: a frame holds 16 MiB)."""
UNREAD_MOST_BYTES = 32 << 20
"""Of results that a neighbour has not confirmed: with more of them its tasks wait (chosen: two full frames)."""
AWAY_MOST_BYTES = 256 << 20
"""The same while it is away, when nobody can confirm anything (chosen: what a device that is cut off may do)."""
LIGHT_BYTES = 4_096
"""Up to here an offer counts for nothing: as many of these as may be unanswered at a time are 16 MiB too."""


class Travelling:
    """The heavy messages that a neighbour has not answered.

    Attributes:
        bytes: of all of them together.
    """

    __slots__ = ("_sizes", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self._sizes: dict[int, int] = {}
        """By number of the task."""

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether an offer of that weight may be sent now: a light one may always, a heavy one at least alone."""
        return size_bytes <= LIGHT_BYTES or not self.bytes or self.bytes + size_bytes <= MOST_BYTES

    def add(self, task: int, size_bytes: int) -> None:
        """Something is sent, and counts if it is heavy; what is said again counts once."""
        if size_bytes > LIGHT_BYTES:
            self.arrived(task)
            self._sizes[task] = size_bytes
            self.bytes += size_bytes

    def arrived(self, task: int) -> bool:
        """It was answered, or is not wanted any more; tell whether that makes room."""
        size_bytes = self._sizes.pop(task, 0)
        self.bytes -= size_bytes
        return size_bytes > 0


def carried_bytes(task: Task, *, fetches: bool) -> int:
    """Count what a message to a neighbour carries of a task: not what that one can fetch."""
    if not task.payload.parts and not task.inputs:
        return len(task.payload.data)
    if not fetches:
        return task.size_bytes
    return sum([value.inline_bytes for value in task.values])


def overweight(task: Task, *, fetches: bool) -> str:
    """Say why what a task reads cannot get to a neighbour; empty: it can."""
    if fetches and task.size_bytes <= MOST_TRAVEL_BYTES:
        return ""
    if not fetches and task.missing_bytes:
        return "it cannot fetch what the task reads"
    if carried_bytes(task, fetches=fetches) > MOST_TRAVEL_BYTES:
        return f"its arguments of {task.size_bytes} bytes do not fit into one message"
    return ""
