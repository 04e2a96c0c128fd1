"""Waits that look before they sleep: for a moment, and seldom where that was in vain."""

from __future__ import annotations

import itertools
import os
import select
import socket

import pytest

from agentd.api.calls import connection as connections
from agentd.api.calls import spinning
from agentd.api.calls.connection import Connection
from agentd.api.calls.spinning import PAUSE_MOST_S, PAUSE_S, REST_MOST, SPIN_S, Spinning


class Time:
    """A clock that goes on by itself with each look, and by what others have the processor for meanwhile."""

    def __init__(self, patcher: pytest.MonkeyPatch, look_s: float = SPIN_S / 10) -> None:
        self.now = 0.0
        self.looks = 0
        self.taken_s = 0.0
        self.comes_s = 1e9
        """When there is something to be found."""
        self._look_s = look_s
        patcher.setattr(spinning, "perf_counter", lambda: self.now)
        patcher.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def look(self, timeout: int) -> list[str]:
        """Look without waiting."""
        assert timeout == 0
        self.looks += 1
        self.now += self._look_s + self.taken_s
        return ["it"] if self.now >= self.comes_s else []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Let time go on with each look."""
    return Time(monkeypatch)


def test_what_comes_soon_is_found_without_sleeping(clock: Time) -> None:
    """Each time, as long as it goes on like that."""
    waits = Spinning()
    for _ in range(100):
        clock.comes_s = clock.now + SPIN_S / 2
        assert waits.seek(clock.look) == ["it"]


def test_what_does_not_come_is_looked_for_no_longer_than_a_moment(clock: Time) -> None:
    """Then whoever waits sleeps."""
    assert Spinning().seek(clock.look) is None
    assert SPIN_S <= clock.now <= SPIN_S * 1.3


def test_waits_that_are_in_vain_become_few(clock: Time) -> None:
    """Of very many only one in so many costs anything, and one that is not in vain makes all of them look again."""
    waits = Spinning()
    looked = []
    for number in range(20 * REST_MOST):
        before = clock.looks
        assert waits.seek(clock.look) is None
        if clock.looks > before:
            looked.append(number)
    rests = [after - before - 1 for before, after in itertools.pairwise(looked)]
    assert rests[:4] == [2, 4, 8, 16]
    assert set(rests[9:]) == {REST_MOST}

    clock.comes_s = 0.0
    while waits.seek(clock.look) is None:
        pass
    assert waits.seek(clock.look) == ["it"]


def test_where_others_take_the_processor_nobody_looks_for_a_while(clock: Time) -> None:
    """Something was found, and later than by sleeping: the others had their time first."""
    waits = Spinning()
    clock.taken_s = 4e-3
    clock.comes_s = SPIN_S / 2
    assert waits.is_on
    assert waits.seek(clock.look) == ["it"]
    assert not waits.is_on
    before = clock.looks
    for _ in range(1000):
        clock.now += PAUSE_S / 1010
        assert waits.seek(clock.look) is None
    assert clock.looks == before
    clock.now += PAUSE_S / 10
    assert waits.is_on
    assert waits.seek(clock.look) == ["it"]


def test_the_more_often_the_processor_is_taken_the_longer_nobody_looks(clock: Time) -> None:
    """Until it is not for as long as that; then one time is one time again."""

    def pause_s() -> float:
        clock.comes_s, clock.taken_s = clock.now, 4e-3
        while waits.seek(clock.look) is None:
            clock.now += PAUSE_S / 100
        begun_s = clock.now
        while not waits.is_on:
            clock.now += PAUSE_S / 100
        return clock.now - begun_s

    waits = Spinning()
    pauses = [pause_s() for _ in range(9)]
    expected = [min(PAUSE_S * 2**times, PAUSE_MOST_S) for times in range(9)]
    assert pauses == pytest.approx(expected, rel=0.05)
    assert max(expected) == PAUSE_MOST_S

    clock.now += PAUSE_MOST_S
    assert pause_s() == pytest.approx(PAUSE_S, rel=0.05)


def test_with_one_processor_nobody_looks(clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is to answer needs it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    waits = Spinning()
    assert [waits.seek(clock.look) for _ in range(10_000)] == [None] * 10_000
    assert not clock.looks


class Looking:
    """Counts who wants to look, and finds what is there."""

    asked = 0

    def seek(self, look):
        """Look once."""
        Looking.asked += 1
        return look(0) or None


def test_a_session_looks_for_what_comes_beside_and_keeps_its_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a line answers come within microseconds; from the daemon they do not. Who has no time does not look."""
    monkeypatch.setattr(connections, "Spinning", Looking)
    Looking.asked = 0
    ours, daemon = socket.socketpair()
    line, worker = socket.socketpair()
    connection = Connection(ours)
    daemon.send(b"x")
    assert connection.wait_for_any()
    assert Looking.asked == 0

    connection.watch(line.fileno())
    worker.send(b"y")
    assert connection.wait_for_any()
    assert connection.is_beside_ready
    assert Looking.asked == 1

    ours.recv(1), line.recv(1)
    assert not connection.wait_for_any(SPIN_S / 2)
    assert Looking.asked == 1
    assert not connection.wait_for_any(SPIN_S * 2)
    assert Looking.asked == 2

    connection.unwatch(line.fileno())
    daemon.send(b"x")
    assert connection.wait_for_any()
    assert Looking.asked == 2
    for one in (ours, daemon, line, worker):
        one.close()


def test_a_descriptor_is_looked_at_by_poll() -> None:
    """The real call, of which `look(0)` is the one that does not wait."""
    here, there = socket.socketpair()
    readable = select.poll()
    readable.register(here, select.POLLIN)
    waits = Spinning()
    assert waits.seek(readable.poll) is None
    there.send(b"x")
    found = None
    for _ in range(REST_MOST):
        found = found or waits.seek(readable.poll)
    assert found == [(here.fileno(), select.POLLIN)] or len(os.sched_getaffinity(0)) == 1
    here.close()
    there.close()
