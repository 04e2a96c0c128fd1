"""What ran, by function."""

from __future__ import annotations

import random

from agentd.core.tasks.census import FUNCTIONS_MOST, OTHERS, TIMES_MOST, Census
from agentd.core.tasks.task import HERE, Shape, Task
from agentd.daemon.showing.summary import HEAD, table
from agentd.model.task import Outcome, Status, Template
from agentd.model.values import Payload
from schedulers.capacity import Capacity


def ended(census: Census, function: str, seconds: float, status: Status = Status.DONE, waited_s: float = 0.0) -> None:
    """Let a task of a function end that had so many bytes of arguments as its name has letters."""
    task = Task(1, Shape(1, Template(function), Capacity()), Payload(1, function.encode()), HERE, 1)
    task.submitted_at = 100.0
    outcome = Outcome(status, Payload(1, b"12"), seconds=seconds, made=(Payload(1, b"345"),))
    census.add(task, outcome, 100.0 + waited_s + seconds)


def test_tasks_are_counted_by_function() -> None:
    """Counts, ends, times, waits and bytes are those of the function's own tasks; the most expensive comes first."""
    census = Census()
    for seconds in range(1, 101):
        ended(census, "m:slow", float(seconds), waited_s=2.0)
    ended(census, "m:quick", 0.5, Status.FAILED)
    ended(census, "m:quick", 0.0, Status.CANCELLED)
    (first, slow), (second, quick) = census.rows()
    assert (first, second) == ("m:slow", "m:quick")
    assert (slow.tasks, slow.done, slow.failed) == (100, 100, 0)
    assert (slow.mean_s, slow.p95_s, slow.longest_s) == (50.5, 95.0, 100.0)
    assert round(slow.waited_s / slow.tasks, 6) == 2.0
    assert (slow.argument_bytes, slow.result_bytes) == (100 * len("m:slow"), 500)
    assert (quick.tasks, quick.done, quick.failed) == (2, 0, 1)


def test_what_is_kept_is_bounded() -> None:
    """However often a function runs, few times are kept, and the percentile stays right; functions are bounded too."""
    census, source = Census(), random.Random(7)
    for _ in range(10 * TIMES_MOST):
        ended(census, "m:f", source.random())
    ((_, count),) = census.rows()
    assert len(count.times) <= TIMES_MOST
    assert count.tasks == 10 * TIMES_MOST
    assert abs(count.p95_s - 0.95) < 0.02
    for number in range(FUNCTIONS_MOST + 5):
        ended(census, f"m:f{number}", 0.001)
    rows = dict(census.rows())
    assert len(rows) == FUNCTIONS_MOST + 1
    assert rows[OTHERS].tasks == 6


def test_the_table_has_a_line_for_each_function() -> None:
    """Columns under their names, nothing in a name that could move the cursor; and a word where nothing ran."""
    assert table(Census()) == "Summary: no task has ended"
    census = Census()
    ended(census, "m:f\x1b[2J", 0.25)
    title, head, row = table(census).split("\n")
    assert title == "Summary:"
    assert tuple(head.split()) == HEAD
    assert row.isprintable()
    assert "250 ms" in row
