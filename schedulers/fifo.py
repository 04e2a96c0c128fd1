"""First in, first out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedulers.view import ALL, Decision, Forward, Run, TaskRow, View

if TYPE_CHECKING:
    from collections.abc import Iterable


def first_host(view: View, task: TaskRow) -> Decision | None:
    """Choose the first host with room: this agent, then its neighbours in the order in which they were added."""
    own = view.own
    if not view.neighbours:
        return Run(task, ALL) if own.has_room(task) else None
    if own.is_idle(task):
        return Run(task)
    for row in view.neighbours:
        if row.has_room(task) and row.admits(task):
            return Forward(task, row.name)
    return Run(task) if own.has_room(task) else None


def has_host(view: View, task: TaskRow) -> bool:
    """Tell whether any host known here could ever run the task."""
    return view.own.could_host(task) or any(row.admits(task) for row in view.neighbours)


class Fifo:
    """Serve the task that has waited longest; the first host with room takes it.

    The head of the queue is never overtaken: that wastes cores but cannot starve a large task. Only a task that no
    host known here could ever run is stepped over.
    """

    def plan(self, view: View) -> Iterable[Decision]:
        """Place from the oldest on, until one has to wait."""
        for task in view.oldest():
            decision = first_host(view, task)
            if decision is not None:
                yield decision
            elif has_host(view, task):
                return
