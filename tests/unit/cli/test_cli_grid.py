"""Tables on terminals of any width."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from cli.grid import GAP, INDENT, SHORTEST, SPARE, Grid, laid_out

HEAD = ("id", "function", "state", "ran on", "submitted", "took", "why")
WHY = "this agent: needs 99 CPU units, the largest matching processor has 1; rpi: its link is connecting"
ROWS = [
    ("4611686018427387905", "shop.prices.of_the_year:total", "queued", "", "2026-11-21 10:12:44", "", WHY),
    ("4611686018427387906", "ops:segv", "quarantined", "phone", "2026-11-21 10:13:30", "120 ms", ""),
]


def lines_of(grid: Grid) -> list[str]:
    """Say what a terminal would show, as `cli.output` prints it."""

    def line(cells: list[str]) -> str:
        return " " + (" " * grid.gap).join(map(str.ljust, cells, grid.widths)).rstrip()

    lines = [line(grid.head)]
    for row, words in zip(grid.rows, grid.below, strict=True):
        lines += [line(cells) for cells in row] + [" " * INDENT + each for each in words]
    return lines


@given(
    rows=st.lists(st.tuples(*(st.text("abc: ", max_size=60).map(str.strip) for _ in HEAD)), max_size=5),
    width=st.integers(20, 200),
)
@example(rows=ROWS, width=80)
@example(rows=ROWS, width=20)
def test_what_is_copied_is_whole_and_what_is_told_is_told_in_full(rows, width):
    """However narrow: ids and states are not cut, every sign of a reason is there, and what is left out is named."""
    grid = laid_out(HEAD, rows, width)
    assert set(grid.missing) <= set(SPARE)
    assert len(grid.rows) == len(rows)
    for row, shown, below in zip(rows, grid.rows, grid.below, strict=True):
        cells = shown[0]
        assert cells[0] == row[0]
        assert cells[2] == row[2]
        ends = [one[-1] for one in shown] if "why" in grid.head else below
        assert "".join(part for end in ends for part in end.split()) == "".join(row[6].split())
        name = cells[1]
        assert name == row[1] or (name[0] == "…" and row[1].endswith(name[1:]) and len(name) >= SHORTEST)


def test_eighty_signs_are_enough_for_the_list_of_operations():
    """No line of it is folded by the terminal, nothing is left out; the date that all share is said once."""
    grid = laid_out(HEAD, ROWS, 80)
    assert not grid.missing
    assert "2026-11-21" in grid.head
    assert all(len(line) < 80 for line in lines_of(grid))
    assert "…" in grid.rows[0][0][1]
    assert " ".join(grid.below[0]) == WHY


def test_where_there_is_room_all_is_in_columns():
    """With the wider gap; a reason is folded in its own column."""
    grid = laid_out(HEAD, ROWS, 160)
    assert (grid.gap, grid.head) == (GAP, list(HEAD))
    assert not any(grid.below)
    assert len(grid.rows[0]) > 1
    assert all(len(line) < 160 for line in lines_of(grid))


def test_names_in_wide_signs_keep_the_columns_straight():
    """A sign of Chinese or Japanese takes two places of a terminal (Unicode, annex 11)."""
    grid = laid_out(("name", "state"), [("日本語", "done"), ("phone", "done")], 80)
    assert grid.widths == [6, 5]
