"""The line that shows how far calls are: what it says, and where it says nothing."""

from __future__ import annotations

import io
import os
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from agentd.api import progress
from agentd.api.calls.progress import Line


class Terminal(io.StringIO):
    """What a person reads."""

    def isatty(self) -> bool:
        return True


def ended(value: object = None, error: Exception | None = None) -> Future[object]:
    future: Future[object] = Future()
    future.set_exception(error) if error is not None else future.set_result(value)
    return future


def test_futures_come_as_they_end_and_are_counted() -> None:
    """Each once; those that failed and those that were cancelled are told, and the last line stays."""
    cancelled: Future[object] = Future()
    cancelled.cancel()
    cancelled.set_running_or_notify_cancel()
    rows = [ended(1), ended(error=ValueError()), cancelled]
    screen = Terminal()
    assert set(progress(rows, "pieces", stream=screen)) == set(rows)
    *_, last = screen.getvalue().split("\r")
    assert last.startswith("pieces: ████████████████████ 3 of 3, 2 failed, ")
    assert last.endswith("\n")


def test_where_nobody_reads_nothing_is_written() -> None:
    """A file, a pipe."""
    stream = io.StringIO()
    assert len(list(progress([ended(), ended()], stream=stream))) == 2
    assert stream.getvalue() == ""


def test_a_loop_that_is_left_ends_the_line() -> None:
    """What is written next stands below."""
    screen = Terminal()
    followed = progress([ended(), ended()], stream=screen)
    next(followed)
    followed.close()  # type: ignore[attr-defined]
    assert screen.getvalue().endswith("\n")


def test_what_is_left_is_told_at_the_pace_so_far() -> None:
    """Nothing is said of it before one has ended, nor after all have."""
    line = Line(4, "", Terminal())
    assert line.words(3.0) == "──────────────────── 0 of 4, 3 s"
    line.note(ended(), 0.0)
    assert line.words(60.0) == "█████─────────────── 1 of 4, 1 min 0 s, 3 min 0 s left"
    for _ in range(3):
        line.note(ended(), 0.0)
    assert line.words(2.0) == "████████████████████ 4 of 4, 2 s"


def test_a_line_is_no_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be written over."""
    monkeypatch.setenv("COLUMNS", "30")
    screen = Terminal()
    list(progress([ended()], "a long title that goes on and on", stream=screen))
    assert max(map(len, screen.getvalue().replace("\n", "").split("\r"))) <= 29


def test_the_wait_has_an_end_and_what_is_no_future_is_refused() -> None:
    """At once, and not when somebody iterates."""
    with pytest.raises(TimeoutError):
        list(progress([Future()], timeout=0.0))
    with pytest.raises(TypeError, match="`wait_on`"):
        progress([3])  # type: ignore[type-var]


def test_any_executor_will_do() -> None:
    """Also with no call at all."""
    with ThreadPoolExecutor(1) as pool:
        assert [future.result() for future in progress([pool.submit(os.getpid)])] == [os.getpid()]
    assert list(progress([], stream=Terminal())) == []
