"""Last in, first out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedulers.fifo import first_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schedulers.view import Decision, View


class Lifo:
    """Serve the newest task first; the first host with room takes it.

    What is fresh is served at once, which suits users who wait and drop what is old; an old task can starve while new
    ones keep coming. A task that finds no room is stepped over.
    """

    def plan(self, view: View) -> Iterable[Decision]:
        """Place from the newest on."""
        for task in view.newest():
            decision = first_host(view, task)
            if decision is not None:
                yield decision
