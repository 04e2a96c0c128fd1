"""The log tells of neighbours and of workers what an operator wants at night, however often it happens."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from agentd.daemon.diary import EVERY_S, LINES, Diary


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], object]] = []

    def later(self, after_s: float, act: Callable[[], object]) -> None:
        assert after_s == EVERY_S
        self.due.append(act)

    def minute(self) -> None:
        due, self.due = self.due, []
        for act in due:
            act()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def diary(clock: Clock, caplog: pytest.LogCaptureFixture) -> Diary:
    caplog.set_level(logging.INFO, "test")
    return Diary(logging.getLogger("test"), clock.later)


def test_coming_and_going_is_told_with_the_reason(diary: Diary, caplog: pytest.LogCaptureFixture) -> None:
    """Each change is a line; what passes by itself, or is an alarm, is none."""
    diary.note("server", {"state": "connected"})
    diary.note("server", {"state": "suspect", "reason": "no news for 3 s"})
    diary.note("server", {"state": "cut", "reason": "the pairing was revoked: stolen"})
    diary.note("server", {"state": "lost", "reason": "no news for 5 s"})
    diary.note("phone", {"state": "draining", "reason": "it stops"})
    diary.note("tablet", {"state": "connecting", "reason": "nobody answers"})
    assert [(row.levelname, row.getMessage()) for row in caplog.records] == [
        ("INFO", "neighbour server is connected"),
        ("WARNING", "neighbour server is cut off: the pairing was revoked: stolen"),
        ("WARNING", "neighbour phone leaves: it stops"),
        ("WARNING", "neighbour tablet is not connected yet: nobody answers"),
    ]


def test_a_link_that_flaps_is_summed_up(diary: Diary, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The sum says how it stands at last; others are told of meanwhile, and the next minute begins anew."""
    for _ in range(50):
        diary.note("server", {"state": "cut", "reason": "reset"})
        diary.note("server", {"state": "connected"})
    diary.note("phone", {"state": "connected"})
    assert len(caplog.records) == LINES + 1
    clock.minute()
    *_, last = caplog.records
    assert last.getMessage() == "neighbour server came and went: 94 changes more in a minute; now it is connected"
    diary.note("server", {"state": "cut", "reason": "reset"})
    clock.minute()
    assert [row.getMessage() for row in caplog.records[LINES + 2 :]] == ["neighbour server is cut off: reset"]
    assert not clock.due


def test_workers_that_die_are_told_with_what_they_ran(
    diary: Diary, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Of each function once a minute, with how many more there were."""
    for number in range(9):
        diary.died(str(number), {"reason": "the process was ended by SIGSEGV", "function": "work:crash"})
    diary.died("9", {"reason": "the process was ended by SIGKILL", "function": ""})
    clock.minute()
    assert [row.getMessage() for row in caplog.records] == [
        "worker 0 is gone: the process was ended by SIGSEGV, while it ran work:crash",
        "worker 9 is gone: the process was ended by SIGKILL",
        "and 8 more from work:crash in the last minute",
    ]
