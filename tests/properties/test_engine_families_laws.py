"""Laws of families: whatever tasks ask of each other, it comes out as if they had run one after another."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.core.state import Rules
from agentd.model.task import Form, Outcome, Status, Template
from tests.fakes.world import World
from tests.fakes.world_nested import Nest, Step, sequential
from tests.fakes.world_users import recorded

NESTED = Template("m:nested", Form.TASK, max_attempts=1000)
ROOT = Template("m:root", durable=True, max_attempts=1000)
LONG_S = 3000.0
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def programs(draw: st.DrawFn, depth: int = 3, inputs: int = 0) -> Nest:
    """Draw a program that ends well, with so many inputs."""
    known, steps = inputs, []
    for _ in range(draw(st.integers(0, 5 if depth else 0))):
        data = st.lists(st.integers(0, known - 1), max_size=3, unique=True) if known else st.just([])
        if known and draw(st.integers(0, 3)) == 0:
            steps.append(Step(waits=tuple(draw(data))))
            continue
        reads, makes = tuple(draw(data)), draw(st.integers(0, 2))
        child = draw(programs(depth - 1, len(reads)))
        groups = tuple(draw(st.lists(st.integers(1, 2), max_size=2, unique=True)))
        after, chain = tuple(draw(data)), draw(st.integers(0, 1))
        steps.append(Step(child, reads, tuple(range(known, known + makes)), after, groups, chain))
        known += makes
        if draw(st.integers(0, 4)) == 0:
            steps.append(Step(barrier=draw(st.integers(0, 2))))
    seconds = draw(st.sampled_from((0.0, 0.0005, 0.01, 0.3)))
    return Nest(f"p{draw(st.integers(0, 99))}", seconds, tuple(steps))


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
@given(program=programs(), cores=st.integers(1, 2), seed=st.none() | st.integers(0, 1 << 30), reuse=st.just(True))
def test_one_agent_gives_what_running_one_after_another_gives(
    program: Nest, cores: int, seed: int | None, reuse: bool
) -> None:
    """On one agent any program over versions ends, with the values of its sequential run, and nothing is kept."""
    world = World(seed)
    world.add("a", cores, rules=Rules(reuse_on_block=reuse, spares=1000)).nested = [NESTED]
    outcome = outcome_of(world, program)
    assert outcome.status == Status.DONE, outcome.failure
    assert [outcome.value.data.decode()] == sequential(program, [], 1)
