"""Rows of text laid out for a terminal of any width.

Law: what is typed, copied or counted is never cut; words are told in full, if need be below their row.

Until the lines fit, in this order: words at the end of a row are folded where there is room for them, else they go
below it; a date that all rows share becomes the head of its column; names of functions lose their beginning; columns
that can be missed are left out, which is said. What is too long even then the terminal folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from msgspec import Struct
from rich.cells import cell_len

WORDS = frozenset({"why", "last refusal", "what to do", "what to know", "found"})
"""Columns of sentences; they stand last."""
NAMES = frozenset({"function"})
MOMENTS = frozenset({"submitted"})
"""Columns of dates and times, as `2026-11-21 01:36:51`."""
_DATE = len("2026-11-21")
SPARE = ("out", "in", "longest", "lease", "round trip", "attempt", "done", "together", "took", "submitted")
"""Columns that can be missed, in the order in which they are; `--json` has them all."""
GAP, NARROW_GAP = 3, 2
"""Signs between columns, and where they would not fit."""
ROOM = 24
"""Signs of a line into which words are folded; with less they go below. Chosen: four words."""
SHORTEST = 14
"""To which a name may be cut; chosen: the end of it, which is the function, is mostly shorter."""
INDENT = 4


class Grid(Struct):
    """What is printed: each row's cells, and the words below it."""

    head: list[str]
    rows: list[list[list[str]]]
    """Of each row its lines, of each line its cells."""
    below: list[list[str]]
    """Of each row the lines below it."""
    widths: list[int]
    gap: int
    missing: list[str]
    """Columns that were left out."""


def laid_out(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Grid:
    """Lay rows out so that no line is longer than `width` signs, if that can be."""
    columns = [[name, *(row[index] for row in rows)] for index, name in enumerate(head)]
    below: list[list[str]] = [[] for _ in rows]
    words: list[str] = []
    while _excess(columns, width) > 0 and columns[-1][0] in WORDS:
        room = _wide(columns[-1]) - _excess(columns, width)
        if room >= ROOM:
            words, columns[-1] = columns[-1], [cell[:room] for cell in columns[-1]]
            break
        told = columns.pop()
        for lines, text in zip(below, told[1:], strict=True):
            lines[:0] = wrap(text, max(width - INDENT, SHORTEST))
    missing = _narrowed(columns, width)
    widths = [_wide(column) for column in columns]
    cells = [list(row) for row in zip(*columns, strict=True)]
    folded = [_lines(row, text, widths[-1]) for row, text in zip(cells, words or [""] * len(cells), strict=True)]
    gap = GAP if _excess(columns, width) <= 0 else NARROW_GAP
    return Grid(head=folded[0][0], rows=folded[1:], below=below, widths=widths, gap=gap, missing=missing)


def _wide(column: Sequence[str]) -> int:
    return max(map(cell_len, column))


def _excess(columns: Sequence[Sequence[str]], width: int, gap: int = GAP) -> int:
    """Count the signs by which a line is too long; one stays free at each side."""
    return sum(map(_wide, columns)) + gap * (len(columns) - 1) + 2 - width


def _narrowed(columns: list[list[str]], width: int) -> list[str]:
    """Make columns narrower until they fit, and give the names of those that were left out."""
    if _excess(columns, width) > 0:
        columns[:] = [_of_one_day(column) if column[0] in MOMENTS else column for column in columns]
    for place, column in enumerate(columns):
        longest = max(_wide(column) - max(_excess(columns, width, NARROW_GAP), 0), SHORTEST)
        if column[0] in NAMES and longest < _wide(column):
            columns[place] = [name if len(name) <= longest else "…" + name[1 - longest :] for name in column]
    missing = []
    for name in SPARE:
        at = next((place for place, column in enumerate(columns) if column[0] == name), None)
        if at is not None and _excess(columns, width, NARROW_GAP) > 0:
            missing.append(columns.pop(at)[0])
    return missing


def _of_one_day(column: list[str]) -> list[str]:
    """Say the date once, if all moments have the same."""
    dates = {cell[:_DATE] for cell in column[1:]}
    return [*dates, *(cell[_DATE + 1 :] for cell in column[1:])] if len(dates) == 1 and all(dates) else column


def _lines(cells: list[str], words: str, room: int) -> list[list[str]]:
    """Give the lines of one row, whose last cell says `words`, if any, in several."""
    folded = wrap(words, room) if words else [cells[-1]]
    return [[*cells[:-1], folded[0]], *([*("" for _ in cells[:-1]), more] for more in folded[1:])]
