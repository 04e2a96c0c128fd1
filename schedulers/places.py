"""Where a task's large inputs lie, and what it costs to bring them to a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schedulers.view import Held, NeighbourRow


def bytes_at(inputs: Sequence[Held], where: str | None) -> int:
    """Count the bytes that lie at a neighbour, or beyond it; None: on this agent."""
    return sum(held.size_bytes for held in inputs if held.where == where)


def main_holder(inputs: Sequence[Held]) -> tuple[str | None, int]:
    """Give the place with the most bytes, and how many; this agent wins a tie.

    Raises:
        ValueError: there are no inputs.
    """
    sums: dict[str | None, int] = {}
    for held in inputs:
        sums[held.where] = sums.get(held.where, 0) + held.size_bytes
    where = max(sums, key=lambda place: (sums[place], place is None))
    return where, sums[where]


def fetch_s(inputs: Sequence[Held], neighbours: Sequence[NeighbourRow]) -> float:
    """Estimate how long it takes to bring all inputs here, in seconds; a holder that is unknown costs nothing."""
    rows = {row.name: row for row in neighbours}
    seconds = 0.0
    for held in inputs:
        row = None if held.where is None else rows.get(held.where)
        if row is not None:
            seconds += 2 * row.latency_s + held.size_bytes * row.seconds_per_byte
    return seconds
