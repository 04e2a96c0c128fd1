"""What ran, printed by function when the agent ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.api.routes.tables import printable
from agentd.model.figures import duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.tasks.census import Census, Count

HEAD = ("function", "tasks", "done", "failed", "mean", "p95", "longest", "together", "waited", "in", "out")
"""As `agentd show ID --summary` has it; `waited` is a mean, `in` and `out` are the bytes of all."""


def table(census: Census) -> str:
    """Lay the counts out as lines of columns; one that says so where nothing ran."""
    rows = [(function, *_cells(count)) for function, count in census.rows()]
    if not rows:
        return "Summary: no task has ended"
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    return "\n".join(("Summary:", *(_line(row, widths) for row in (HEAD, *rows))))


def _cells(count: Count) -> tuple[str, ...]:
    times = (count.mean_s, count.p95_s, count.longest_s, count.seconds, count.waited_s / count.tasks)
    return (
        *map(str, (count.tasks, count.done, count.failed)),
        *map(duration, times),
        size(count.argument_bytes),
        size(count.result_bytes),
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
    return "  ".join((printable(first).ljust(widths[0]), *cells)).rstrip()
