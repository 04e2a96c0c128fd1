"""The field's rules on pools, sentence by sentence: what fits, what joins, what is taken away, and who leaves.

Source: the semantics of resources of COMPSs agents, as their manual means them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.placing.pool import Pool, simultaneous
from agentd.model.errors import RequestError
from agentd.model.exchange import End
from agentd.model.task import Outcome
from schedulers.capacity import Capacity, Kind, Processor, cores, shortfalls, unknowns, with_default_cpu
from tests.unit.core.engine_desk import CALL, LINK, Desk

PLAIN = Processor(units=2)
FULL = Processor(
    units=2,
    name="p",
    architecture="arm",
    speed_ghz=2.0,
    internal_memory_gb=4.0,
    property_name="k",
    property_value="v",
)


def one(processor: Processor) -> Capacity:
    return Capacity(processors=(processor,))


# --- what fits ------------------------------------------------------------------------------------------------------

PROCESSORS: list[tuple[dict[str, Any], bool]] = [
    ({"units": 2}, True),
    ({"units": 3}, False),
    ({"kind": Kind.GPU}, False),
    *[({name: getattr(FULL, name)}, True) for name in ("name", "architecture", "property_name", "property_value")],
    *[({name: "other"}, False) for name in ("name", "architecture", "property_name", "property_value")],
    ({"speed_ghz": 1.5}, True),
    ({"speed_ghz": 2.5}, False),
    ({"internal_memory_gb": 4.0}, True),
    ({"internal_memory_gb": 4.5}, False),
]


@pytest.mark.parametrize(("asked", "fits"), PROCESSORS)
def test_a_processor_fits_or_does_not(asked: dict[str, Any], fits: bool) -> None:
    """Kind strictly, words equal, figures at least; what one side does not know fits, and is told."""
    demand = one(Processor(**{"units": 1, **asked}))
    assert one(FULL).covers(demand) is fits
    if set(asked) <= {"units", "kind"}:
        return
    assert one(PLAIN).covers(demand)
    (name,) = asked
    assert list(unknowns(one(PLAIN), demand)) == [f"processor {name.replace('_', ' ')}"]
    assert list(unknowns(one(FULL), demand)) == []


FIGURES: list[tuple[str, Any, Any, Any]] = [
    ("memory_mib", 10, 10, 11),
    ("storage_gb", 10.0, 9.5, 10.5),
    ("storage_bandwidth", 10, 5, 11),
    ("memory_type", "RAM", "RAM", "ROM"),
    ("storage_type", "SSD", "SSD", "TAPE"),
    ("os_type", "Linux", "Linux", "SunOS"),
    ("os_distribution", "Debian", "Debian", "Arch"),
    ("os_version", "12", "12", "13"),
]


@pytest.mark.parametrize(("name", "here", "good", "bad"), FIGURES)
def test_a_figure_fits_or_does_not(name: str, here: Any, good: Any, bad: Any) -> None:
    """As for processors; a host that says nothing of it takes anything, and that is told."""
    host = replace(cores(1), **{name: here})
    assert host.covers(replace(cores(1), **{name: good}))
    assert not host.covers(replace(cores(1), **{name: bad}))
    assert host.covers(cores(1))
    assert cores(1).covers(replace(cores(1), **{name: bad}))
    assert list(unknowns(cores(1), replace(cores(1), **{name: bad}))) == [name.replace("_", " ")]
    assert list(unknowns(host, replace(cores(1), **{name: good}))) == []


@pytest.mark.parametrize("name", ["software", "queues", "labels"])
def test_sets_must_hold_all_that_is_asked_for(name: str) -> None:
    """Nothing is met by ignorance here: a host without a list has none of it."""
    host = replace(cores(1), **{name: frozenset({"A", "B"})})
    assert host.covers(replace(cores(1), **{name: frozenset({"A"})}))
    assert not host.covers(replace(cores(1), **{name: frozenset({"A", "C"})}))
    assert not cores(1).covers(replace(cores(1), **{name: frozenset({"A"})}))


def test_units_of_two_entries_are_not_added_up() -> None:
    """One entry must have them all; the largest is named."""
    host = Capacity(processors=(Processor(units=2, name="a"), Processor(units=3, name="b")))
    assert not host.covers(cores(4))
    assert list(shortfalls(host, cores(4))) == ["needs 4 CPU units, the largest matching processor has 3"]


def test_a_demand_without_cpu_asks_for_one_and_entries_of_none_for_nothing() -> None:
    """Also one for a GPU alone."""
    asked = with_default_cpu(Capacity(processors=(Processor(units=1, kind=Kind.GPU), Processor(units=0, name="x"))))
    assert [(entry.kind, entry.units) for entry in asked.processors] == [(Kind.CPU, 1), (Kind.GPU, 1)]


def test_the_wall_clock_limit_is_carried_and_decides_nothing() -> None:
    """It is no part of the matching."""
    assert replace(cores(1), wall_clock_limit_s=1.0).covers(replace(cores(1), wall_clock_limit_s=60.0))


def test_as_many_at_once_as_the_scarcest_allows() -> None:
    """Of each kind the entry that suits, and the memory; the least of them counts."""
    host = Capacity(
        processors=(
            Processor(units=8, architecture="arm"),
            Processor(units=2, architecture="x86"),
            Processor(units=3, kind=Kind.GPU),
        ),
        memory_mib=100,
    )
    assert simultaneous(host, one(Processor(units=1, architecture="x86"))) == 2
    assert simultaneous(host, one(Processor(units=2, architecture="arm"))) == 4
    assert simultaneous(host, Capacity(processors=(Processor(units=1), Processor(units=2, kind=Kind.GPU)))) == 1
    assert simultaneous(host, cores(1, memory_mib=40)) == 2
    assert simultaneous(host, cores(9)) == 0


# --- adding ---------------------------------------------------------------------------------------------------------


def added(here: Capacity, more: Capacity) -> Capacity:
    pool = Pool(here)
    pool.add(more)
    return pool.capacity


def test_units_join_the_first_entry_that_they_are_alike_to() -> None:
    """Alike in all that both know; otherwise they are an entry of their own."""
    here = Capacity(processors=(Processor(units=1, name="a"), Processor(units=1, name="b")))
    assert [entry.units for entry in added(here, one(Processor(units=2))).processors] == [3, 1]
    assert [entry.units for entry in added(here, one(Processor(units=2, name="b"))).processors] == [1, 3]
    assert [entry.units for entry in added(here, one(Processor(units=2, name="c"))).processors] == [1, 1, 2]
    assert [entry.units for entry in added(here, one(Processor(units=2, kind=Kind.GPU))).processors] == [1, 1, 2]


JOINED: list[tuple[str, Any, Any, Any]] = [
    ("memory_mib", 10, 5, 15),
    ("memory_mib", None, 5, None),
    ("memory_mib", 10, None, 10),
    ("storage_bandwidth", 10, 5, 15),
    ("storage_bandwidth", None, 5, None),
    ("storage_gb", 10.0, 5.0, 10.0),
    ("storage_gb", None, 5.0, 5.0),
    ("wall_clock_limit_s", 10.0, 60.0, 60.0),
    ("wall_clock_limit_s", 0.0, None, 0.0),
    *[(name, "old", "new", "old") for name in ("memory_type", "storage_type", "os_type", "os_version")],
    *[(name, None, "new", "new") for name in ("memory_type", "storage_type", "os_type", "os_distribution")],
    *[(name, frozenset("a"), frozenset("b"), frozenset("ab")) for name in ("software", "queues", "labels")],
]


@pytest.mark.parametrize(("name", "here", "more", "expected"), JOINED)
def test_what_is_said_beside_the_processors_is_joined(name: str, here: Any, more: Any, expected: Any) -> None:
    """Memory and bandwidth add up where both are known, of storage the larger counts, words are taken where unknown."""
    found = added(replace(cores(1), **{name: here}), replace(cores(1), **{name: more}))
    assert getattr(found, name) == expected
    assert found.units() == 2


def test_what_waited_for_a_host_is_placed_when_one_comes() -> None:
    """Adding acts at once."""
    desk = Desk(1)
    desk.open_session(replace_units(2))
    desk.call(70, 1)
    assert desk.of(c.StartWorker) == []
    desk.turn(e.ResourceAdded(0, "own", cores(1)))
    assert len(desk.of(c.StartWorker)) == 1


def replace_units(units: int) -> Any:
    from msgspec.structs import replace as changed

    return changed(CALL, constraints=changed(CALL.constraints, computing_units=units))


# --- a neighbour's grant --------------------------------------------------------------------------------------------


def lending(units: int, *, held: int = 0, limit: int | None = None) -> Desk:
    """A desk whose neighbour grants so many units, with tasks there."""
    desk = Desk(0)
    desk.turn(e.ResourceAdded(0, "n", cores(units), "comm", limit_of_tasks=limit))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK))
    desk.open_session()
    desk.call(70, *range(1, held + 1))
    return desk


def offered(desk: Desk) -> int:
    return sum(len(command.offers) for command in desk.of(c.SendOffers))


def test_no_more_is_offered_than_is_granted() -> None:
    """Of five calls two leave, when the function has never been seen."""
    desk = lending(2)
    desk.call(70, 1, 2, 3, 4, 5)
    assert offered(desk) == 2


def test_a_limit_of_tasks_holds_beside_the_units() -> None:
    """The least of both; none at all when it is 0."""
    desk = lending(4, limit=1)
    desk.call(70, 1, 2, 3)
    assert offered(desk) == 1
    desk = lending(4, limit=0)
    desk.call(70, 1)
    assert offered(desk) == 0


def test_what_was_taken_away_while_in_use_is_not_granted_again() -> None:
    """Four run, two are taken away: the next is offered when but one of them is left."""
    desk = lending(4, held=4)
    desk.turn(e.ResourceReduced(9, "n", cores(2)))
    desk.commit()
    assert desk.reply(9) == "n"
    desk.call(70, 11, 12)
    for done, more in ((1, 0), (2, 0), (3, 1)):
        task = min(desk.state.neighbourhood.get("n").held)
        desk.turn(e.EndsReceived("n", [End(task, 1, 0, Outcome(seconds=60.0))]))
        assert offered(desk) == more, done


@pytest.mark.parametrize("kind", list(Kind))
def test_a_neighbour_stays_while_it_has_units_of_any_kind(kind: Kind) -> None:
    """Whatever is said of its memory: with the last unit it goes."""
    desk = Desk(1)
    grant = Capacity(processors=(Processor(units=1), Processor(units=1, kind=kind, name="x")), memory_mib=1000)
    desk.turn(e.ResourceAdded(0, "n", grant, "comm"), e.ResourceReduced(0, "n", cores(1)))
    assert desk.state.neighbourhood.get("n").is_pooled
    desk.turn(e.ResourceReduced(0, "n", one(Processor(units=1, kind=kind))))
    assert desk.state.neighbourhood.get("n") is None
    assert desk.one(c.CloseLink).neighbour == "n"


def test_the_own_device_goes_on_without_units() -> None:
    """It forwards what it is asked for."""
    desk = lending(1)
    assert desk.state.pool.total() == 0
    desk.call(70, 1)
    assert offered(desk) == 1


@pytest.mark.parametrize("name", ["own", "n"])
def test_more_than_there_is_is_refused_with_the_figures(name: str) -> None:
    """At once, and nothing is taken."""
    desk = Desk(2)
    desk.turn(e.ResourceAdded(0, "n", cores(2), "comm"))
    desk.turn(e.ResourceReduced(9, name, cores(3)))
    error = desk.reply(9)
    assert isinstance(error, RequestError)
    assert (error.status, str(error)) == (
        409,
        "cannot take away that much: needs 3 CPU units, the largest matching processor has 2",
    )
    assert (desk.state.pool.total(), desk.state.neighbourhood.get("n").granted.units()) == (2, 2)


def test_a_grant_by_hand_counts_for_one_that_only_reported_before() -> None:
    """From then on its reports do not change what the operator said."""
    desk = Desk(0)
    desk.neighbour("n", 4)
    row = desk.state.neighbourhood.get("n")
    assert (row.granted.units(), row.declared) == (4, False)
    desk.turn(e.ResourceReduced(0, "n", cores(3)))
    desk.turn(e.LoadReported("n", row.report))
    assert (row.granted.units(), row.declared) == (1, True)


def test_lost_is_at_once_and_removed_is_drained() -> None:
    """What ran at a lost one waits again, under a new attempt; a removed one keeps what it has."""
    desk = lending(1, held=1)
    (task,) = desk.state.neighbourhood.get("n").held.values()
    desk.turn(e.ResourceRemoved(9, "n"))
    assert (desk.reply(9), list(desk.state.neighbourhood.get("n").held)) == ("n", [task.id])
    assert desk.of(c.CloseLink) == []
    desk = lending(1, held=1)
    (task,) = desk.state.neighbourhood.get("n").held.values()
    desk.turn(e.ResourceRemoved(9, "n", lost=True))
    assert (desk.reply(9), task.attempt, task.host) == ("n", 2, "")
    assert desk.state.neighbourhood.get("n") is None


def test_a_limit_of_tasks_survives_a_restart() -> None:
    """It is written down with the grant."""
    desk = lending(4, limit=3)
    assert desk.state.neighbourhood.get("n").limit_of_tasks == 3
    desk = Desk(0)
    desk.turn(e.ResourceAdded(0, "n", cores(4), "comm", limit_of_tasks=3))
    (entry,) = [command.entry for command in desk.of(c.Record)]
    assert entry.limit_of_tasks == 3


# --- several processors ---------------------------------------------------------------------------------------------


def test_processors_that_are_asked_for_together_are_granted_together() -> None:
    """From one entry as far as its units go; the one that suits fewer entries is placed first, whatever the order."""
    entries = (Processor(units=2, architecture="x86"), Processor(units=2, architecture="arm"))
    both = Capacity(processors=(Processor(units=2), Processor(units=2, architecture="x86")))
    for asked in (both, replace(both, processors=both.processors[::-1])):
        pool = Pool(Capacity(processors=entries))
        assert pool.could_fit(asked)
        assert pool.reserve(asked) is not None
        assert pool.free() == 0
    twice = Capacity(processors=(Processor(units=1, architecture="x86"),) * 2)
    assert Pool(Capacity(processors=entries)).reserve(twice) is not None


def test_what_never_fits_side_by_side_is_said_not_to_fit() -> None:
    """Each by itself would: so it must not be taken for what only waits for its turn."""
    asked = Capacity(processors=(Processor(units=2), Processor(units=2)))
    host = one(Processor(units=3))
    assert host.covers(asked)
    assert not Pool(host).could_fit(asked)
    assert simultaneous(host, asked) == 0
    assert simultaneous(one(Processor(units=9)), asked) == 2
