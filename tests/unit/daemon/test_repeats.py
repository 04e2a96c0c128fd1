"""Lines of the log that others can cause."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from agentd.daemon.repeats import EVERY_S, MOST_SOURCES, OTHERS, Repeats

log = logging.getLogger("test.repeats")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], object]]] = []

    def later(self, delay_s: float, act: Callable[[], object]) -> None:
        self._due.append((self.now + delay_s, act))

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        due, self._due = (
            [each for each in self._due if each[0] <= self.now],
            [each for each in self._due if each[0] > self.now],
        )
        for _, act in due:
            act()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_comes_over_and_over_is_told_once_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The first line tells why, the last one how many there were more; after that it begins anew."""
    repeats = Repeats(log, clock.later)
    for _ in range(2):
        caplog.clear()
        for _ in range(121):
            repeats.warn("192.0.2.1", "a guest from %s was refused: %s", "192.0.2.1:999", "no such invitation")
        assert caplog.messages == ["a guest from 192.0.2.1:999 was refused: no such invitation"]
        clock.pass_by(EVERY_S)
        assert caplog.messages[1:] == ["and 120 more from 192.0.2.1 in the last minute"]


def test_who_comes_once_is_told_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is added, and nothing remembered."""
    repeats = Repeats(log, clock.later)
    repeats.warn("192.0.2.1", "refused")
    clock.pass_by(EVERY_S)
    repeats.warn("192.0.2.1", "refused")
    assert caplog.messages == ["refused", "refused"]


def test_a_flood_from_everywhere_is_bounded(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """However many addresses somebody has: lines and memory have an end, and the count is exact."""
    repeats = Repeats(log, clock.later)
    for number in range(100_000):
        repeats.warn(f"2001:db8::{number:x}", "refused")
    assert len(repeats._more) <= MOST_SOURCES + 1
    clock.pass_by(EVERY_S)
    assert len(caplog.messages) == MOST_SOURCES + 2
    assert caplog.messages[-1] == f"and {100_000 - MOST_SOURCES - 1} more from {OTHERS} in the last minute"
    assert not repeats._more


def test_the_end_of_the_agent_leaves_nothing_untold(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """What was counted until then is written."""
    repeats = Repeats(log, clock.later)
    for _ in range(3):
        repeats.warn("192.0.2.1", "refused")
    repeats.close()
    assert caplog.messages[-1] == "and 2 more from 192.0.2.1 in the last minute"
