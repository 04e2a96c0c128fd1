"""What is learned of a neighbour, and how much may be under way to it."""

from __future__ import annotations

import pytest

from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, Task
from agentd.model.exchange import Report
from agentd.model.values import Payload
from schedulers.capacity import cores
from schedulers.view import Tier
from tests.unit.core.engine_desk import CALL, row


def task_of(number: int) -> Task:
    """Make a task of a shape of its own."""
    return Task(number, Shapes().intern(CALL), Payload(), HERE, number)


def test_how_long_answers_take_is_learned_and_bounded() -> None:
    """What an agent does before it answers counts as its distance; a pause of a minute is not believed."""
    one = row()
    assert one.latency_s == one.link_latency_s
    one.answered(0.2)
    assert one.latency_s == pytest.approx(0.1)
    one.answered(0.0)
    assert one.latency_s == pytest.approx(0.08)
    for _ in range(50):
        one.answered(60.0)
    assert one.latency_s == pytest.approx(0.5, rel=1e-3)
    one.link_latency_s = 3.0
    assert one.latency_s == 3.0


def test_more_is_under_way_to_who_is_far() -> None:
    """What hides the way of an end and of the next task may wait there, beside what its cores run."""
    near, far = row(), row()
    far.take_report(Report(1, 1, 0, (Tier(1.0, 2.0, 2.0, 2.0, 0.0, delay_s=0.05),), cores(2)), 0.0)
    counts = []
    for one in (near, far):
        for number in range(20):
            task = task_of(number)
            task.shape.estimate_s = 0.1
            if not one.has_room(task):
                break
            one.book(task)
        counts.append(len(one.held))
    assert counts[0] == 2
    assert counts[1] > 4
