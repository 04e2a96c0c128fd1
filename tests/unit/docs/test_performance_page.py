"""The page of figures shows what was measured, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.page import KEPT, MARKS, PAGE, PICTURE, digits, picture, tables


def _kept(figures: dict[str, list[float]]) -> dict[str, Any]:
    about = {"command": "python -m benchmarks", "commit": "abc", "machine": "a Pi"}
    return {"runs": [about], "figures": figures}


def test_page_and_picture_are_made_of_the_figures_that_are_kept() -> None:
    """`python -m benchmarks.page` writes what stands there, once, to the letter."""
    kept = json.loads(KEPT.read_text("utf-8"))
    page = PAGE.read_text("utf-8")
    assert page.count(MARKS[0] + tables(kept) + MARKS[1]) == 1
    assert PICTURE.read_text("utf-8") == picture(kept["figures"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.004, "0.00"), (0.57, "0.57"), (1.0, "1.00"), (12.34, "12.3"), (987.6, "988"), (144_678.0, "145,000")],
)
def test_three_digits_are_shown(value: float, shown: str) -> None:
    """More would be noise."""
    assert digits(value) == shown


def test_the_median_is_shown_and_what_was_not_measured_is_left_blank() -> None:
    """Nobody's figure is put into another one's column."""
    kept = _kept({"W2 per s, agentd": [100.0, 300.0, 200.0], "W2 per s, Dask": [5.0]})
    (row,) = [line for line in tables(kept).splitlines() if line.startswith("| 10,000 calls")]
    assert row.split("|")[2:-1] == [" **200** ", "  ", "  ", " 5.00 ", "  ", "  "]


def test_a_goal_that_was_missed_says_so() -> None:
    """The ratio is that of each round, and the middle one counts."""
    kept = _kept({"W2 per s, agentd": [40.0, 30.0, 90.0], "W2 per s, raw relay": [100.0, 100.0, 100.0]})
    (row,) = [line for line in tables(kept).splitlines() if line.startswith("| W2 / raw relay")]
    assert row == "| W2 / raw relay | ≥0.5 | 0.40 | 0.30 … 0.90 | missed |"
    kept["figures"]["W2 per s, agentd"][0] = 50.0
    assert "missed" not in "".join(line for line in tables(kept).splitlines() if line.startswith("| W2 / raw"))
