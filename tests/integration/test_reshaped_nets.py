"""Nets of real agents that change under load: one grows, one shrinks, one is killed; every task ends once."""

from __future__ import annotations

import pytest

from benchmarks.reshaped import SHAPES, Run, again, excess, in_use, measure


@pytest.mark.parametrize("shape", SHAPES)
def test_a_net_that_changes_loses_nothing_and_exceeds_nothing(shape: str) -> None:
    """All tasks are done, only what the killed agent ran is run again, nobody runs more than its cores."""
    found = measure(shape, 120)
    assert found.done == found.tasks
    assert found.again == ()
    assert found.excess == ()


def test_too_many_at_once_are_seen() -> None:
    """The checker can fail: three at once on two cores, and two after one was taken away."""
    runs = [Run("a", number, 0.0, 2.0) for number in range(3)]
    assert excess(runs, {"a": [(0.0, 2)]}) == ("a ran 3 with 2 cores",)
    late = [Run("a", 0, 0.0, 9.0), Run("a", 1, 5.0, 9.0)]
    assert excess(late, {"a": [(0.0, 2), (4.0, 1)]}) == ("a ran 2 with 1 cores",)
    assert excess(late, {"a": [(0.0, 2), (6.0, 1)]}) == ()


def test_a_second_run_is_seen_unless_the_first_went_with_its_agent() -> None:
    """Of what the lost agent had ended nobody may have heard; that excuses one more run, elsewhere."""
    runs = [Run(host, 5, 0.0, 1.0) for host in "ad"]
    assert again(runs, {"d"}) == ()
    assert again([*runs, Run("b", 5, 1.0, 2.0)], {"d"}) == ("task 5 ran 2 times on other agents",)
    assert again([*runs, Run("d", 5, 1.0, 2.0)], {"d"}) == ("task 5 ran 2 times on the lost agents",)


def test_what_is_in_use_is_a_share_of_what_was_offered() -> None:
    """One of two cores at work the whole time: a half."""
    runs = [Run("a", number, float(number), number + 1.0) for number in range(100)]
    assert in_use(runs, {"a": [(0.0, 2)]}) == pytest.approx(0.5)
    assert in_use(runs, {"a": [(0.0, 1)]}) == pytest.approx(1.0)
