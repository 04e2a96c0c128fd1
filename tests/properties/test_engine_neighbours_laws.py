"""Laws between agents, on random graphs: nobody is counted twice, and no task goes in circles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.state import Rules
from agentd.model.task import Template
from schedulers.view import Forward, Run
from tests.fakes.world import World
from tests.fakes.world_history import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentd.core.neighbours.neighbour import Neighbour
    from schedulers.view import Decision, View

NAMES = "abcdefgh"
LAWS = settings(max_examples=25)


@st.composite
def graphs(draw: st.DrawFn, *, is_tree: bool) -> tuple[list[int], list[tuple[str, str]]]:
    """Give cores of agents, and the links of a connected graph."""
    units = draw(st.lists(st.integers(0, 3), min_size=2, max_size=6))
    names = NAMES[: len(units)]
    edges = [(names[draw(st.integers(0, number - 1))], names[number]) for number in range(1, len(names))]
    if not is_tree:
        pairs = [(one, other) for one in names for other in names if one < other and (one, other) not in edges]
        edges += draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4)) if pairs else []
    return units, edges


def settled(units: list[int], edges: list[tuple[str, str]], *, scheduler: str = "fifo", hops: int = 8) -> World:
    """Connect agents and wait until they have told each other everything."""
    world = World()
    for name, count in zip(NAMES, units, strict=False):
        world.add(name, count, scheduler=scheduler, rules=Rules(hop_limit=hops))
    for one, other in edges:
        world.connect(one, other)
    world.run(12.0)
    return world


def beyond(name: str, without: str, edges: list[tuple[str, str]]) -> set[str]:
    """Name the agents on the far side of one link of a tree."""
    found, edge_set = {name}, {frozenset(edge) for edge in edges}
    grown = True
    while grown:
        new = {next(iter(edge - found)) for edge in edge_set if len(edge & found) == 1 and without not in edge}
        grown = not new <= found
        found |= new
    return found


def told(world: World, receiver: str, sender: str) -> Neighbour:
    """Give what one agent knows of another."""
    row = world.hosts[receiver].engine.state.neighbourhood.get(sender)
    assert row is not None
    return row


@LAWS
@given(graphs(is_tree=True))
def test_on_a_tree_each_side_is_told_of_exactly_the_other(graph: tuple[list[int], list[tuple[str, str]]]) -> None:
    """The cores that a neighbour reports are those beyond its link, each once."""
    units, edges = graph
    world = settled(units, edges)
    cores = dict(zip(NAMES, units, strict=False))
    for one, other in [*edges, *[(other, one) for one, other in edges]]:
        reported = sum(tier.cores for tier in told(world, one, other).report.tiers)
        assert reported == sum(cores[name] for name in beyond(other, one, edges))


@LAWS
@given(graphs(is_tree=False))
def test_on_no_graph_more_is_told_than_there_is(graph: tuple[list[int], list[tuple[str, str]]]) -> None:
    """With cycles too: no agent hears of more cores than all others have, and all of them hear of all."""
    units, edges = graph
    world = settled(units, edges)
    for number, name in enumerate(NAMES[: len(units)]):
        rows = world.hosts[name].engine.state.neighbourhood.rows
        others = sum(units) - units[number]
        for row in rows:
            assert sum(tier.cores for tier in row.report.tiers) <= others
            assert row.report.capacity.units() <= max(units)
        tree_rows = [row for row in rows if world.hosts[name].engine._reports._tree.is_branch(row)]
        assert sum(tier.cores for row in tree_rows for tier in row.report.tiers) == others


def test_without_the_tree_loads_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The law above can fail: split horizon alone counts a ring again and again."""
    monkeypatch.setattr("agentd.core.neighbours.tree.Tree.is_branch", lambda self, row: True)
    world = settled([1, 1, 1], [("a", "b"), ("b", "c"), ("a", "c")])
    assert sum(tier.cores for row in world.hosts["a"].engine.state.neighbourhood.rows for tier in row.report.tiers) > 4


def test_a_root_that_has_gone_is_forgotten() -> None:
    """When the smallest agent leaves, the others agree on another tree, and do not speak of its cores any more."""
    world = settled([5, 1, 1, 1], [("a", "b"), ("b", "c"), ("c", "d"), ("b", "d")])
    world.hosts["a"].crash()
    world.run(20.0)
    trees = [world.hosts[name].engine._reports._tree.root for name in "bcd"]
    assert trees == ["id-b"] * 3
    for name in "bcd":
        for row in world.hosts[name].engine.state.neighbourhood.rows:
            assert sum(tier.cores for tier in row.report.tiers) <= 2
            assert row.report.capacity.units() == 1


class PassesOn:
    """A policy that hands everything to a neighbour if any admits it: the worst that can be for loops."""

    def plan(self, view: View) -> Iterable[Decision]:
        """Forward to the last that has room."""
        for task in view.oldest():
            rows = [row for row in view.neighbours if row.admits(task) and row.has_room(task)]
            if rows:
                yield Forward(task, rows[-1].name)
            elif view.own.has_room(task):
                yield Run(task)


@LAWS
@given(graphs(is_tree=False), st.integers(1, 4), st.integers(1, 6))
def test_no_task_goes_in_circles(graph: tuple[list[int], list[tuple[str, str]]], hops: int, tasks: int) -> None:
    """Whatever the graph and however a policy passes on: never where a task has been, never too far, and it ends."""
    units, edges = graph
    world = settled([max(count, 1) for count in units], edges, scheduler=f"{__name__}:PassesOn", hops=hops)
    host = world.hosts["a"]
    for _ in range(tasks):
        host.submit(Template("m:f", durable=True), "ok 0.1", lambda _: None)
    world.run(0.1)
    assert world.run_until(lambda: world.is_quiet, 60.0)
    world.run(2.0)
    assert world.history.breaches == []
    assert [words for one in world.hosts.values() for words in leftovers(one)] == []
