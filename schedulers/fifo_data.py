"""First in, first out, on the host that has the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedulers.fifo import first_host, has_host
from schedulers.places import bytes_at
from schedulers.view import Decision, Forward, Run, TaskRow, View

if TYPE_CHECKING:
    from collections.abc import Iterable


def holder_with_room(view: View, task: TaskRow) -> Decision | None:
    """Choose, among the hosts with room that hold inputs of the task, the one with the most bytes of them."""
    here = bytes_at(task.places, None)
    best: Decision | None = None
    if here and view.own.has_room(task):
        best = Run(task)
    most = here if best is not None else 0
    for row in view.candidates(task):
        there = bytes_at(task.places, row.name)
        if there > most and row.has_room(task) and row.admits(task):
            best, most = Forward(task, row.name), there
    return best


class FifoData:
    """Serve the task that has waited longest; it goes where most of its inputs lie, if there is room.

    So what a task made is used where it was made. The head of the queue is never overtaken; where nobody who holds its
    inputs has room, the first host with room takes it, however far the data must go. That is its weakness.
    """

    def plan(self, view: View) -> Iterable[Decision]:
        """Place from the oldest on, until one has to wait."""
        for task in view.oldest():
            decision = (holder_with_room(view, task) if task.places else None) or first_host(view, task)
            if decision is not None:
                yield decision
            elif has_host(view, task):
                return
