"""Laws of the outbox: what waits for the disk leaves in order and not before, and nothing is lost on the way out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.commands import Record, RunTasks
from agentd.core.journal.entries import Cancelling
from agentd.core.outbox import Outbox
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, Task
from agentd.model.task import Template
from agentd.model.values import Payload

SHAPE = Shapes().intern(Template("m:f"))
STEPS = st.lists(st.tuples(st.sampled_from(("record", "after", "older", "commit")), st.integers(0, 5)), max_size=60)


def left(outbox: Outbox, steps: list[tuple[str, int]]) -> tuple[list[tuple[int, int]], int]:
    """Do the steps; gives what left, as (number waited for, number committed then), and how many wait still."""
    gone: list[tuple[int, int]] = []
    asked = 0
    for what, amount in steps:
        if what == "record":
            outbox.record(Cancelling(amount))
        elif what == "commit":
            outbox.commit(min(outbox.committed + amount, outbox.number))
        else:
            number = outbox.number if what == "after" else max(outbox.number - amount, 0)
            asked += 1
            outbox.after(number, lambda number=number: gone.append((number, outbox.committed)))
    return gone, asked - len(gone)


@given(STEPS)
def test_nothing_leaves_before_its_entry_is_safe(steps: list[tuple[str, int]]) -> None:
    """Whatever is asked and committed in between."""
    gone, _ = left(Outbox(), steps)
    assert all(number <= committed for number, committed in gone)


@given(STEPS)
def test_what_waits_leaves_in_the_order_of_entries(steps: list[tuple[str, int]]) -> None:
    """Numbers that do not fall from call to call leave as they were asked."""
    gone, _ = left(Outbox(), [step for step in steps if step[0] != "older"])
    assert [number for number, _ in gone] == sorted(number for number, _ in gone)


@given(STEPS)
def test_all_leaves_in_the_end(steps: list[tuple[str, int]]) -> None:
    """Once everything is committed nothing waits."""
    outbox = Outbox()
    gone, waiting = left(outbox, steps)
    outbox.commit(outbox.number)
    assert not outbox._held
    assert waiting >= 0
    assert all(number <= outbox.number for number, _ in gone)


def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outbox that does not wait is caught."""
    monkeypatch.setattr(Outbox, "after", lambda self, number, act: act())
    with pytest.raises(AssertionError):
        test_nothing_leaves_before_its_entry_is_safe()


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(("run", "cut")))))
def test_every_run_leaves_once_and_in_order(steps: list[tuple[int, str]]) -> None:
    """However runs are gathered and cut, each worker gets its tasks as they were given."""
    outbox, given_ = Outbox(), {}
    for number, (worker, what) in enumerate(steps):
        if what == "run":
            outbox.run(worker, Task(number, SHAPE, Payload(), HERE, number), None)
            given_.setdefault(worker, []).append(number)
        else:
            outbox.cut_run(worker)
    got: dict[int, list[int]] = {}
    for command in outbox.drain():
        assert isinstance(command, RunTasks)
        got.setdefault(command.worker, []).extend(task.id for task in command.tasks)
    assert got == given_
    assert outbox.drain() == []


def test_entries_are_numbered_without_a_gap() -> None:
    """The journal relies on it."""
    outbox = Outbox()
    for number in range(1, 5):
        assert outbox.record(Cancelling(number)) == number
    assert [command.number for command in outbox.drain() if isinstance(command, Record)] == [1, 2, 3, 4]
