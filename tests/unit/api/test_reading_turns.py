"""Who reads a connection: the line's own thread looks seldom while callers do, and soon after they have gone."""

from __future__ import annotations

import pytest

from agentd.api.calls import reading
from agentd.api.calls.reading import GRACE_S, Reading

OWN, CALLER = 1, 2


class Clock:
    """A time that passes as a test says."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(reading, "time", clock)
    return clock


@pytest.fixture
def turns(clock):
    """The reading of a connection, which a caller has just taken, as it did many times."""
    turns = Reading(object())
    turns.take(CALLER)
    turns.step_down()
    turns.take(CALLER)
    return turns


def dozes(turns, clock):
    """Let the line's own thread doze as it is told; gives how often it looked until it read (None) or slept (0)."""
    looks = 0
    while doze_s := turns.take_over(OWN, at_once=False):
        looks += 1
        clock.now += doze_s
    return looks, doze_s


def test_while_a_caller_reads_our_own_thread_looks_twice_and_sleeps(turns, clock):
    """Each look is paid by the callers' work; who goes away after that wakes it."""
    assert dozes(turns, clock) == (2, 0)
    assert turns.reader == CALLER


@pytest.mark.parametrize("after_s", [0.0, GRACE_S / 3, GRACE_S])
def test_a_caller_that_has_gone_is_followed_after_the_grace(turns, clock, after_s):
    """Whenever it went: nobody waits for two of them."""
    doze_s = turns.take_over(OWN, at_once=False)
    clock.now += after_s
    turns.step_down()
    left = clock.now
    clock.now += doze_s - after_s
    assert dozes(turns, clock)[1] is None
    assert turns.reader == OWN
    assert GRACE_S <= clock.now - left < 2 * GRACE_S


def test_whoever_does_not_read_has_no_grace(turns, clock):
    """Once nobody reads, our own thread does at once."""
    turns.step_down()
    assert turns.take_over(OWN, at_once=True) is None
    assert turns.reader == OWN
