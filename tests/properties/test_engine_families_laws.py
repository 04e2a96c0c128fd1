"""Laws of families: whatever tasks ask of each other, it comes out as if they had run one after another."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.core.state import Rules
from agentd.model.task import Form, Outcome, Status, Template
from tests.fakes.world import World
from tests.fakes.world_nested import Nest, Step, sequential
from tests.fakes.world_trouble import bring
from tests.fakes.world_users import recorded

NESTED = Template("m:nested", Form.TASK, max_attempts=1000)
ROOT = Template("m:root", durable=True, max_attempts=1000)
LONG_S = 3000.0
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def programs(draw: st.DrawFn, depth: int = 3, inputs: int = 0) -> Nest:
    """Draw a program that ends well, with so many inputs."""
    known, steps, kept = inputs, [], list(range(inputs))
    for _ in range(draw(st.integers(0, 5 if depth else 0))):
        data = st.lists(st.sampled_from(kept), max_size=3, unique=True) if kept else st.just([])
        if kept and draw(st.integers(0, 3)) == 0:
            steps.append(Step(waits=tuple(draw(data))))
            continue
        reads, makes = tuple(draw(data)), draw(st.integers(0, 2))
        child = draw(programs(depth - 1, len(reads)))
        groups = tuple(draw(st.lists(st.integers(1, 2), max_size=2, unique=True)))
        after, chain = tuple(draw(data)), draw(st.integers(0, 1))
        steps.append(Step(child, reads, tuple(range(known, known + makes)), after, groups, chain))
        kept += range(known, known + makes)
        known += makes
        if draw(st.integers(0, 4)) == 0:
            steps.append(Step(barrier=draw(st.integers(0, 2))))
        if kept and draw(st.integers(0, 3)) == 0:
            dropped = draw(st.sampled_from(kept))
            kept.remove(dropped)
            steps.append(Step(drops=(dropped,)))
    seconds = draw(st.sampled_from((0.0, 0.0005, 0.01, 0.3)))
    return Nest(f"p{draw(st.integers(0, 99))}", seconds, tuple(steps), is_big=draw(st.booleans()))


def ask(world: World, program: Nest, name: str = "a") -> dict[str, Any]:
    """Submit a program as an operation; what becomes of it is in what is given, once it is known."""
    found: dict[str, Any] = {}
    host = world.hosts[name]

    def ended(_: object) -> None:
        found["outcome"] = recorded(host, found["id"])

    def answered(value: object) -> None:
        assert isinstance(value, tuple)
        found["id"] = value[0]
        world.history.acknowledged(host, value[0])
        host.watch(value[0], ended)

    host.submit(ROOT, program.write().data.decode(), answered)
    return found


def outcome_of(world: World, program: Nest) -> Outcome:
    """Run a program to its end, and look whether anything of it is left."""
    found = ask(world, program)
    world.run(0.5)
    assert world.run_until(lambda: world.is_quiet, LONG_S, 0.5), "it does not end"
    world.run(1.0)
    assert world.history.close() == []
    outcome = found["outcome"]
    assert isinstance(outcome, Outcome)
    return outcome


@slow
@given(
    program=programs(),
    cores=st.integers(1, 2),
    seed=st.none() | st.integers(0, 1 << 30),
    spares=st.sampled_from((0, 1, 9)),
)
def test_one_agent_gives_what_running_one_after_another_gives(
    program: Nest, cores: int, seed: int | None, spares: int
) -> None:
    """On one agent any program over versions ends, with the values of its sequential run, and nothing is kept."""
    world = World(seed)
    world.add("a", cores, rules=Rules(spares=spares)).nested = [NESTED]
    outcome = outcome_of(world, program)
    assert outcome.status == Status.DONE, outcome.failure
    assert [outcome.value.data.decode()] == sequential(program, [], 1)


@slow
@given(
    program=programs(),
    cores=st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 2)),
    seed=st.none() | st.integers(0, 1 << 30),
)
def test_neighbours_give_what_running_one_after_another_gives(
    program: Nest, cores: tuple[int, int, int], seed: int | None
) -> None:
    """Wherever the tasks run, and whoever asks for tasks in turn, the values are those of the sequential run."""
    world = neighbourhood(cores, seed)
    outcome = outcome_of(world, program)
    assert outcome.status == Status.DONE, outcome.failure
    assert [outcome.value.data.decode()] == sequential(program, [], 1)


def neighbourhood(cores: tuple[int, ...], seed: int | None, *, is_ring: bool = False) -> World:
    """Make agents in a row, each a neighbour of the next, or in a ring; the first one is asked."""
    world = World(seed)
    names = "abc"[: len(cores)]
    for name, units in zip(names, cores, strict=True):
        world.add(name, units, rules=Rules(spares=2)).nested = [NESTED]
    for one, other in pairwise(names):
        world.connect(one, other)
    if is_ring:
        world.connect(names[0], names[-1])
    world.run(1.0)
    return world


FAULTS = ("kill a", "kill b", "crash b", "crash c", "drain b", "drain c", "cut a b", "reset b")
faults = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.sampled_from(FAULTS)),
    max_size=4,
)


@slow
@given(
    program=programs(),
    cores=st.tuples(*[st.integers(1, 2)] * 3),
    seed=st.integers(0, 1 << 30),
    trouble=faults,
    is_ring=st.booleans(),
)
def test_trouble_changes_no_value(
    program: Nest, cores: tuple[int, int, int], seed: int, trouble: list[tuple[float, str]], is_ring: bool
) -> None:
    """Workers that die, neighbours that crash or stop and wires that are cut cost time, and nothing else."""
    world = neighbourhood(cores, seed, is_ring=is_ring)
    world.history.has_faults = True
    found = ask(world, program)
    for after, what in sorted(trouble):
        world.run(after)
        bring(world, what, grace_s=20.0)
    world.run(0.5)
    assert world.run_until(lambda: world.is_quiet, LONG_S, 0.5), "it does not end"
    world.heal()
    world.run(20.0)
    assert world.history.close() == []
    outcome = found["outcome"]
    assert outcome.status == Status.DONE, outcome.failure
    assert [outcome.value.data.decode()] == sequential(program, [], 1)


def recursion(depth: int) -> Nest:
    """Build a program that waits for itself, so deep."""
    program = Nest("leaf", 0.001)
    for level in range(depth):
        program = Nest(f"level{level}", 0.0, (Step(program, makes=(0,)), Step(waits=(0,))))
    return program


def test_one_core_suffices_for_any_depth() -> None:
    """Recursion far deeper than there may be workers ends, on one core."""
    world = World()
    host = world.add("a", 1)
    host.nested = [NESTED]
    outcome = outcome_of(world, recursion(80))
    assert outcome.status == Status.DONE, outcome.failure
    assert len(host.processes) <= 1 + 4
