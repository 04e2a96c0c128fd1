"""What people are shown of the tasks inside an operation: while it runs, afterwards, and within bounds."""

from __future__ import annotations

import pytest

from agentd.core.engine import Engine
from agentd.core.tasks import tracks
from agentd.daemon.showing.rows import Showing
from agentd.model.task import Form, Template
from agentd.model.views import TaskCounts, TaskView
from tests.fakes.world import World
from tests.fakes.world_nested import Nest, Step

NESTED = Template("m:nested", Form.TASK)
ROOT = Template("m:root", durable=True)


def begun(program: Nest, cores: int = 1) -> tuple[World, int]:
    """Start a program on an agent; gives the number of the operation."""
    world = World()
    host = world.add("a", cores)
    host.nested = [NESTED]
    numbers: list[int] = []
    host.submit(ROOT, program.write().data.decode(), lambda value: numbers.append(value[0]))  # type: ignore[index]
    world.run(0.3)
    return world, numbers[0]


def shown(world: World, number: int) -> tuple[TaskCounts, list[TaskView]]:
    """Show an operation and its tasks."""
    engine: Engine = world.hosts["a"].engine
    operation = engine.state.ledger.get(number)
    assert operation is not None
    showing = Showing(engine)
    return showing.operation(operation).tasks, showing.tasks(operation)


PIPE = Nest(
    "p",
    0.0,
    (
        Step(Nest("first", 1.0), makes=(0,)),
        Step(Nest("second", 1.0), reads=(0,), makes=(1,)),
        Step(waits=(1,)),
    ),
)


def test_a_running_operation_shows_what_runs_and_what_waits_for_what() -> None:
    """Counts, states and edges of the graph are there while it runs, and why a task waits."""
    world, number = begun(PIPE)
    counts, (root, first, second) = shown(world, number)
    assert counts == TaskCounts(done=0, running=2, waiting=1, failed=0)
    assert (root.state, first.state, second.state) == ("running", "running", "queued")
    assert root.reason == "it waits for tasks that it asked for"
    assert second.reason == "waits for 1 values that other tasks make"
    assert first.makes == second.reads
    assert first.parent == second.parent == root.id == str(number)
    assert first.host == "a"
    assert first.worker
    assert second.host == ""


def test_an_ended_operation_shows_what_its_tasks_did() -> None:
    """Afterwards every task has its times, its host and its worker, and the times show the order of the graph."""
    world, number = begun(PIPE)
    world.run(5.0)
    counts, (_, first, second) = shown(world, number)
    assert counts == TaskCounts(done=3)
    assert (first.state, second.state) == ("done", "done")
    assert (first.host, first.attempt, bool(first.worker)) == ("a", 1, True)
    assert None not in (first.ready_at, first.placed_at, first.ended_at, second.ready_at)
    assert second.ready_at == first.ended_at
    assert first.result_bytes > 0


def test_a_failed_task_and_what_needed_it_are_told_apart() -> None:
    """Who failed, who never ran because of it, and why."""
    program = Nest(
        "p",
        0.0,
        (
            Step(Nest("bad", 0.1, raises="raise"), makes=(0,)),
            Step(Nest("next"), reads=(0,), makes=(1,)),
            Step(barrier=0),
        ),
    )
    world, number = begun(program)
    world.run(2.0)
    counts, (_, bad, successor) = shown(world, number)
    assert counts == TaskCounts(failed=3)
    assert (bad.state, successor.state, successor.attempt) == ("failed", "cancelled", 0)
    assert bad.reason == successor.reason == "bad: raise"


def test_rows_are_bounded_and_counts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many tasks the newest are shown, and all are counted; another operation's rows make room."""
    monkeypatch.setattr(tracks, "ROWS_MOST", 5)
    monkeypatch.setattr(tracks, "ALL_ROWS_MOST", 7)
    program = Nest("p", 0.0, tuple(Step(Nest(f"n{n}"), makes=(n,)) for n in range(8)))
    world, number = begun(program)
    host = world.hosts["a"]
    host.submit(ROOT, program.write().data.decode(), lambda _: None)
    world.run(5.0)
    counts, rows = shown(world, number)
    assert counts == TaskCounts(done=9)
    others = list(host.engine.state.ledger.tracks._by_root.values())
    assert [track.ended for track in others] == [8, 8]
    assert len(rows) - 1 + sum(len(track.rows) for track in others[1:]) <= 7
    host.engine.state.ledger.tracks.forget(number)
    assert shown(world, number)[0] == TaskCounts(done=1)
