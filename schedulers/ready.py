"""The field's plain scheduler: every task that is ready goes to the best host that can run it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedulers.places import bytes_at
from schedulers.view import Decision, Forward, NeighbourRow, Run, TaskRow, View

if TYPE_CHECKING:
    from collections.abc import Iterable

Score = tuple[int, float, float, int]
"""Compared left to right, higher is better: bytes of its inputs there, minus the wait, speed, whether it is here."""


def _score(task: TaskRow, row: NeighbourRow) -> Score:
    tiers = row.tiers
    wait_s = min((tier.backlog_s / max(tier.capacity, 1e-6) for tier in tiers if tier.free < 1), default=0.0)
    if any(tier.free >= 1 for tier in tiers):
        wait_s = 0.0
    return bytes_at(task.places, row.name), -wait_s, max((tier.speed for tier in tiers), default=0.0), 0


class Ready:
    """Serve by priority, then age; of the hosts with room the one with most of the data, then the shortest queue.

    A task that finds no room is stepped over, so a large one may be overtaken for ever. It weighs by rank, not by
    seconds: a host with a few bytes is better than one that is ten times as fast. These are its weaknesses.
    """

    def plan(self, view: View) -> Iterable[Decision]:
        """Place from the oldest on; what finds no room is stepped over."""
        own = view.own
        for task in view.oldest():
            best: Decision | None = None
            best_score: Score | None = None
            if own.has_room(task):
                wait_s = 0.0 if own.is_idle(task) else own.wait_s(task)
                best, best_score = Run(task), (bytes_at(task.places, None), -wait_s, own.speed, 1)
            for row in view.candidates(task):
                if row.has_room(task) and row.admits(task):
                    score = _score(task, row)
                    if best_score is None or score > best_score:
                        best, best_score = Forward(task, row.name), score
            if best is not None:
                yield best
