"""The harness that compares schedulers: every scheduler serves a small tree, and nothing is lost or run twice."""

from __future__ import annotations

import random

import pytest

from benchmarks.hierarchy.net import Link
from benchmarks.hierarchy.study import Spec, arrivals, capacity, central, hierarchy, tree
from schedulers.loading import SPELLED


@pytest.mark.parametrize("scheduler", SPELLED)
def test_every_scheduler_serves_a_tree(scheduler: str) -> None:
    """All tasks end once, no device runs more than it has cores (both asserted within), nobody beats free links."""
    chance = random.Random(7)
    specs = tree(12, chance)
    tasks = arrivals(specs, 0.7, 3.0, "exponential", chance)
    found = hierarchy(specs, tasks, scheduler)
    assert found.makespan_s >= max(task.size_s for task in tasks) / 1.2
    assert found.hops > 0


def test_one_seed_gives_one_history() -> None:
    """A figure can be had again."""

    def figures() -> object:
        chance = random.Random(3)
        specs = tree(12, chance)
        return hierarchy(specs, arrivals(specs, 0.7, 2.0, "bimodal", chance), "load-balancing")

    assert figures() == figures()


def test_the_reference_serves_as_one_queue_would() -> None:
    """Two cores, three tasks of 1 s at once: 1, 1 and 2 s."""
    specs = [Spec("phone0", 2, 1.0, "", Link(0.0, 1.0))]
    tasks = [task._replace(size_s=1.0, at_s=1.0) for task in arrivals(specs, 5.0, 9.0, "pareto", random.Random(1))[:3]]
    found = central(specs, tasks)
    assert found.mean_s == pytest.approx(4 / 3)
    assert found.makespan_s == pytest.approx(2.0)
    assert capacity(specs) == 2.0
