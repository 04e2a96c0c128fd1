"""Which of many neighbours are looked at: parents, holders, the fastest idle ones, and everybody in turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.neighbours.candidates import FASTEST, IN_TURN, Candidates
from agentd.core.neighbours.neighbour import Neighbour
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, Task
from agentd.model.exchange import Report
from agentd.model.task import Template
from agentd.model.values import Payload
from schedulers.capacity import cores
from schedulers.view import Held, Tier

SHAPE = Shapes().intern(Template("m:f"))


def task_with(*inputs: Held) -> Task:
    """Make a task with inputs."""
    task = Task(1, SHAPE, Payload(), HERE, 1)
    task.places = inputs
    return task


def neighbours(count: int, index: Candidates) -> list[Neighbour]:
    """Make neighbours of which none has an idle core."""
    rows = [Neighbour(f"n{number}", 8, index) for number in range(count)]
    for row in rows:
        say(row, 0.0, 1.0)
    index.arrange(rows)
    return rows


def say(row: Neighbour, free: float, speed: float) -> None:
    """Let a neighbour report idle cores of a speed."""
    row.take_report(Report(1, 1, 0, (Tier(speed, free, 4.0, 4.0, 0.0),), cores(4)), 0.0)


def names(rows: list[Neighbour]) -> list[str]:
    """Name them."""
    return [row.name for row in rows]


def test_the_fastest_with_idle_cores_are_looked_at() -> None:
    """And they alone, beside those whose turn it is."""
    index = Candidates()
    rows = neighbours(100, index)
    for number in range(40, 60):
        say(rows[number], 1.0, number)
    chosen = index.choose(task_with())
    assert names(chosen)[:FASTEST] == ["n59", "n58", "n57", "n56"]
    assert len(chosen) == FASTEST + IN_TURN


def test_who_is_busy_again_is_not() -> None:
    """The index follows the reports."""
    index = Candidates()
    rows = neighbours(50, index)
    say(rows[7], 2.0, 3.0)
    assert "n7" in names(index.choose(task_with()))[:1]
    say(rows[7], 0.0, 3.0)
    assert names(index.choose(task_with()))[:1] != ["n7"]


def test_parents_and_holders_are_always_looked_at() -> None:
    """However busy they are; a holder that is no neighbour is not."""
    index = Candidates()
    rows = neighbours(30, index)
    rows[3].is_parent = True
    index.arrange(rows)
    chosen = names(index.choose(task_with(Held("n9", 5), Held("gone", 5), Held(None, 5))))
    assert {"n3", "n9"} <= set(chosen)
    assert "gone" not in chosen


def test_everybody_has_a_turn() -> None:
    """None of those that seem busy is forgotten for ever."""
    index = Candidates()
    neighbours(21, index)
    seen = {name for _ in range(11) for name in names(index.choose(task_with()))}
    assert len(seen) == 21


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 2), st.integers(1, 3)), max_size=40))
def test_the_index_agrees_with_looking_at_all(reports: list[tuple[int, int, int]]) -> None:
    """However reports come, the first is a fastest one with an idle core."""
    index = Candidates()
    rows = neighbours(20, index)
    for number, free, speed in reports:
        say(rows[number], float(free), float(speed))
        idle = [max(tier.speed for tier in row.tiers) for row in rows if row.tiers[0].free >= 1]
        first = index.choose(task_with())[0]
        if idle:
            assert first.tiers[0].free >= 1
            assert first.tiers[0].speed == max(idle)
