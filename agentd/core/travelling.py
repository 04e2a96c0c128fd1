"""Bytes that are under way to a neighbour: what the offers carry that it has not answered.

Law: they are no more than `MOST_BYTES`, or those of one offer alone, so that a neighbour that does not read costs no
more than that, and what it is not given goes elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.core.tasks import Task

MOST_BYTES = 16 << 20
"""At a time, for each neighbour (chosen: one full frame; a link of 1 Gbit/s needs 12 MB to be full at 100 ms)."""
LIGHT_BYTES = 4_096
"""Up to here an offer counts for nothing: as many of these as may be unanswered at a time are 16 MiB too."""


class Travelling:
    """The heavy offers that a neighbour has not answered.

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
        """An offer is sent, if it is heavy."""
        if size_bytes > LIGHT_BYTES:
            self.arrived(task)
            self._sizes[task] = size_bytes
            self.bytes += size_bytes

    def arrived(self, task: int) -> bool:
        """An offer was answered, or is not wanted any more; tell whether that makes room."""
        size_bytes = self._sizes.pop(task, 0)
        self.bytes -= size_bytes
        return size_bytes > 0


def carried_bytes(task: Task, *, fetches: bool) -> int:
    """Count what a message to a neighbour carries of a task: not what that one can fetch."""
    if not task.payload.parts and not task.inputs:
        return len(task.payload.data)
    if not fetches:
        return task.size_bytes
    inline = sum(part.size for value in task.values for part in value.parts if part.data is not None)
    return inline + sum(len(value.data) for value in task.values)
