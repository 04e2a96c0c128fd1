"""Timers: in order, once, and keeping nothing of what was cancelled."""

from __future__ import annotations

import gc
import weakref

from agentd.core.timers import Timers


def test_what_is_due_is_done_in_order_and_once() -> None:
    """Of equal times the one asked for first."""
    timers, done = Timers(), []
    for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "d")):
        timers.at(when, lambda _, name=name: done.append(name))
    assert timers.next == 1.0
    assert timers.fire(5.0)
    assert done == ["a", "b", "c"]
    assert not timers.fire(5.0)
    assert len(timers) == 1


def test_what_is_asked_for_while_firing_has_its_turn_too() -> None:
    """When it is due already."""
    timers, done = Timers(), []
    timers.at(1.0, lambda now: timers.at(now, lambda _: done.append("second")))
    timers.fire(1.0)
    assert done == ["second"]
    assert timers.next is None


def test_what_is_cancelled_is_not_done_and_not_kept() -> None:
    """However far away it was; cancelling it again, or too late, is nothing."""

    class Heavy:
        pass

    timers, heavy = Timers(), Heavy()
    watched = weakref.ref(heavy)
    timer = timers.at(1e6, lambda _, heavy=heavy: None)
    del heavy
    timers.cancel(timer)
    timers.cancel(timer)
    gc.collect()
    assert watched() is None
    assert timers.next is None
    many = [timers.at(1e6 + number, lambda _: None) for number in range(1000)]
    for one in many[1:]:
        timers.cancel(one)
    assert len(timers) == 1
    assert len(timers._heap) < 200
    fired = timers.at(0.0, lambda _: None)
    timers.fire(0.0)
    timers.cancel(fired)
    assert len(timers) == 1
