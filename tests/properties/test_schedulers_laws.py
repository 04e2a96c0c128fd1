"""Laws of every scheduler: whatever waits and whoever has room, no host is given what it cannot take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedulers.capacity import cores
from schedulers.conformance import Host, PlainView, Row, check
from schedulers.loading import SPELLED, load
from schedulers.view import Forward, Held, Keep, Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schedulers.view import Decision, View

NAMES = SPELLED
SECONDS = st.none() | st.floats(1e-6, 1e4)

rows = st.builds(
    Row,
    id=st.just(0),
    function=st.sampled_from("fgh"),
    estimate_s=SECONDS,
    demand=st.integers(1, 4).map(cores),
    priority=st.integers(-1, 1),
    transfer_bytes=st.integers(0, 10**9),
    places=st.lists(
        st.builds(Held, st.none() | st.sampled_from(("n0", "n1", "gone")), st.integers(1, 10**9)), max_size=3
    ).map(tuple),
    sender=st.none() | st.sampled_from(("n0", "n1")),
    hops=st.integers(0, 8),
)


@st.composite
def hosts(draw: st.DrawFn, name: str) -> Host:
    """Give a host, more or less busy."""
    units = draw(st.integers(0, 5))
    return Host(
        name,
        units,
        speed=draw(st.floats(0.1, 4.0)),
        busy=draw(st.integers(0, units)),
        latency_s=draw(st.floats(0.0, 2.0)),
        seconds_per_byte=draw(st.floats(0.0, 1e-6)),
        link_wait_s=draw(st.floats(0.0, 10.0)),
        banned=frozenset(draw(st.lists(st.integers(0, 12), max_size=4))),
    )


@st.composite
def views(draw: st.DrawFn) -> PlainView:
    """Give a moment at one agent."""
    tasks = draw(st.lists(rows, max_size=12))
    for number, task in enumerate(tasks):
        task.id = number
    neighbours = [draw(hosts(f"n{number}")) for number in range(draw(st.integers(0, 4)))]
    return PlainView(draw(hosts("own")), neighbours, tasks)


@pytest.mark.parametrize("name", NAMES)
@given(moments=st.lists(views(), max_size=3))
def test_no_scheduler_gives_a_host_more_than_it_takes(name: str, moments: list[PlainView]) -> None:
    """However a scheduler weighs its choices, each host can honour all that it is given."""
    scheduler = load(name)
    for view in moments:
        assert check(scheduler, view) == []


@pytest.mark.parametrize("name", ["fifo", "lifo"])
@given(view=views())
def test_what_was_planned_stays_planned(name: str, view: PlainView) -> None:
    """Asked again at once, with nothing changed, a scheduler has nothing left to say."""
    scheduler = load(name)
    check(scheduler, view)
    placed = sum(task.is_placed for task in view._tasks)
    check(scheduler, view)
    assert sum(task.is_placed for task in view._tasks) == placed


@pytest.mark.parametrize("name", NAMES)
@given(view=views())
def test_a_plan_is_repeatable(name: str, view: PlainView) -> None:
    """The same view gives the same plan: no clock, no chance, no memory."""
    plans = []
    for _ in range(2):
        fresh = PlainView(
            Host(view.own.name, view.own.units, view.own.speed, view.own.busy, banned=view.own.banned),
            [Host(one.name, one.units, one.speed, one.busy, banned=one.banned) for one in view.neighbours],
            [Row(one.id, one.function, one.estimate_s, one.demand, one.priority) for one in view._tasks],
        )
        check(load(name), fresh)
        plans.append(
            ([task.is_placed for task in fresh._tasks], fresh.own.busy, [one.busy for one in fresh.neighbours])
        )
    assert plans[0] == plans[1]


@given(view=views())
def test_fifo_never_overtakes_its_head(view: PlainView) -> None:
    """Within a priority nothing is placed behind a task that has to wait, unless no host could ever run that one."""
    hosts_ = [view.own, *view.neighbours]
    for host in hosts_:
        host.banned = frozenset()  # tasks of one kind are passed over together: they must really be alike
    check(load("fifo"), view)
    waited = False
    for task in sorted(view._tasks, key=lambda task: (-task.priority, task.id)):
        if not task.is_placed and any(host.could_host(task) for host in hosts_):
            waited = True
        assert not (waited and task.is_placed)


# --- the check can fail -----------------------------------------------------------------------------------------


class Greedy:
    """Gives everything to this agent."""

    def plan(self, view: View) -> Iterable[Decision]:
        """Run all, room or not."""
        return [Run(task) for task in view.oldest()]


class Twice:
    """Places a task, and once more."""

    def plan(self, view: View) -> Iterable[Decision]:
        """Run and run."""
        for task in view.newest():
            if view.own.has_room(task):
                yield Run(task)
                yield Run(task)


class Nobody:
    """Sends to who is not there."""

    def plan(self, view: View) -> Iterable[Decision]:
        """Forward into the void."""
        for task in view.oldest():
            yield Keep(task, "wait for it")
            yield Forward(task, "nobody")


class Careless:
    """Sends to who does not admit it."""

    def plan(self, view: View) -> Iterable[Decision]:
        """Forward to the first."""
        return [Forward(task, view.neighbours[0].name) for task in view.oldest()]


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [(Greedy(), "no room"), (Twice(), "placed again"), (Nobody(), "no neighbour"), (Careless(), "does not admit")],
)
def test_a_broken_scheduler_is_caught(scheduler: object, words: str) -> None:
    """Each kind of wrong answer is named."""
    tasks = [Row(0), Row(1, "g"), Row(2, "h")]
    view = PlainView(Host("own", 1), [Host("n0", 0, banned=frozenset({0, 1, 2}))], tasks)
    assert any(words in wrong for wrong in check(scheduler, view))
