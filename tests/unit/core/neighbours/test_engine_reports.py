"""What neighbours are told of this agent's load: each change that matters, and each agent's cores and modules once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from agentd.core.events import ModulesListed
from agentd.core.neighbours.neighbour import LinkState, Neighbour
from agentd.core.neighbours.reports import CHANGE_S, EDGE_S, LOOK_S, Sums, due, parts_of
from agentd.model.exchange import Report
from agentd.model.task import Template
from schedulers.capacity import cores
from schedulers.view import Tier
from tests.fakes.world import World

TOLD = Report(tiers=(Tier(1.0, 2.0, 4.0, 4.0, 8.0), Tier(2.0, 2.0, 4.0, 8.0, 8.0)), capacity=cores(4), root="a")


def told(world: World, here: str, there: str) -> Neighbour:
    """Give what one agent knows of another one next to it."""
    row = world.hosts[there].engine.state.neighbourhood.get(here)
    assert row is not None
    return row


def chain(*units: int) -> World:
    """Make agents in a row, each a neighbour of the next."""
    world = World()
    names = "abcd"[: len(units)]
    for name, each in zip(names, units, strict=True):
        world.add(name, each)
    for one, other in pairwise(names):
        world.connect(one, other)
    world.run(3.0)
    return world


# --- when -------------------------------------------------------------------------------------------------------


def test_nothing_new_is_not_told() -> None:
    """A report that says what the last one said is not sent, whatever its number; the first one is sent at once."""
    assert due(TOLD, replace(TOLD, sequence=9)) is None
    assert due(TOLD, replace(TOLD, capacity=cores(4))) is None
    assert due(None, TOLD) == 0.0


@pytest.mark.parametrize(
    "changed",
    [
        {"acknowledged": 1},
        {"capacity": cores(3)},
        {"draining": True},
        {"functions": ("m",)},
        {"root": "b"},
        {"distance": 1},
        {"is_way": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_decides_where_tasks_may_go_is_told_at_the_next_look(changed: dict[str, Any]) -> None:
    """Each of them alone."""
    assert due(TOLD, replace(TOLD, **changed)) == LOOK_S


@pytest.mark.parametrize("place", [0, 1])
def test_loads_are_told_as_their_sums_change(place: int) -> None:
    """Over all tiers: the edge between idle and busy soon, other cores and more than a quarter later, less never."""

    def changed(**figures: float) -> Report:
        tiers = list(TOLD.tiers)
        tiers[place] = tiers[place]._replace(**figures)
        return replace(TOLD, tiers=tuple(tiers))

    assert due(TOLD, changed(cores=5.0)) == CHANGE_S
    assert due(TOLD, changed(free=0.0)) == CHANGE_S
    assert due(TOLD, changed(backlog_s=20.0)) == CHANGE_S
    assert due(TOLD, changed(backlog_s=10.0)) is None
    busy = replace(TOLD, tiers=tuple([tier._replace(free=0.0) for tier in TOLD.tiers]))
    assert due(TOLD, busy) == due(busy, TOLD) == EDGE_S
    assert due(busy, TOLD, is_expecting=True) == LOOK_S


# --- what -------------------------------------------------------------------------------------------------------


def test_one_side_is_left_out_of_sums_and_still_there_after() -> None:
    """By class of speed; a class that only it had is not told."""
    own, near, far = (Tier(*figures) for figures in ((1, 1, 2, 2, 1), (1, 3, 4, 4, 2, 0.5), (2, 5, 6, 12, 3)))
    sums = Sums(parts_of((own,)))
    behind = parts_of((near, far), 0.5, 0.25)
    sums.add(behind)
    assert sums.tiers() == ((2.0, 5.0, 6.0, 12.0, 3.0, 0.5, 0.25), (1.0, 4.0, 6.0, 6.0, 3.0, 4 / 6, 1 / 6))
    assert sums.tiers(but=behind) == (own,)
    assert len(sums.tiers()) == 2


def test_who_is_in_doubt_is_told_what_lies_on_the_other_side() -> None:
    """Its own share is in no sum then, so nothing is taken off for it."""
    world = chain(2, 4, 3)
    host = world.hosts["b"]
    row = host.engine.state.neighbourhood.get("a")
    assert row is not None
    assert sum(tier.cores for tier in told(world, "b", "a").report.tiers) == 7
    world.hosts["a"].pause()
    while row.state is LinkState.CONNECTED:
        world.run(0.1)
    host.add(1)
    world.run(0.2)
    assert row.state is LinkState.SUSPECT
    assert row.told.report is not None
    assert sum(tier.cores for tier in row.told.report.tiers) == 8


def test_a_neighbour_is_told_each_time_that_cores_stand_otherwise() -> None:
    """When they are taken, and when they are free again."""
    world = chain(2, 1)
    assert told(world, "a", "b").report.own == Tier(1.0, 2.0, 2.0, 2.0, 0.0)
    for _ in range(2):
        world.hosts["a"].submit(Template("m:f", durable=True), "ok 6", lambda _: None)
    for free in (0.0, 2.0):
        world.run(4.0)
        assert [tier.free for tier in told(world, "a", "b").report.tiers] == [free]


def test_modules_are_told_to_those_beyond_whom_they_are_not() -> None:
    """When any agent has others than before, all on the other side of its links hear of them."""
    world = chain(1, 1, 1)
    for modules in (("m", "n"), ("n", "o")):
        world.hosts["c"].post(ModulesListed(frozenset(modules)))
        world.run(3.0)
        assert told(world, "b", "a").report.functions == modules
        assert told(world, "b", "c").report.functions == told(world, "a", "b").report.functions == ()
    world.hosts["a"].post(ModulesListed(frozenset({"p"})))
    world.run(3.0)
    assert told(world, "b", "c").report.functions == ("p",)
    assert told(world, "b", "a").report.functions == ("n", "o")
