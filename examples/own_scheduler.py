"""A scheduler of one's own: work stays on this device unless it would have to wait for long.

Such a policy suits a device whose links cost money or battery. An agent takes it by its name, from any module that its
Python finds:

    PYTHONPATH=examples agentd start --scheduler own_scheduler:HomeFirst
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedulers.view import Decision, Forward, Keep, Run, TaskRow, View

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE_S = 2.0
"""A task that would wait longer than this for an own core may leave; chosen for this example."""


class HomeFirst:
    """Run here when there is room, wait here when room is near, and else go to the neighbour that is nearest.

    Its weakness: it looks at distance alone, so a near neighbour that is slow gets as much as a fast one.
    """

    def plan(self, view: View) -> Iterable[Decision]:
        """Place from the oldest on; the view that is read after a `yield` shows what was placed."""
        for task in view.oldest():
            yield self._choose(view, task)

    @staticmethod
    def _choose(view: View, task: TaskRow) -> Decision:
        if view.own.has_room(task):
            return Run(task)
        wait_s = view.own.wait_s(task)
        if wait_s <= PATIENCE_S:
            return Keep(task, f"a core of this device is free in {wait_s:.1f} s")
        near = min(
            (row for row in view.neighbours if row.has_room(task) and row.admits(task)),
            key=lambda row: row.latency_s,
            default=None,
        )
        return Keep(task, "no neighbour has room") if near is None else Forward(task, near.name)
