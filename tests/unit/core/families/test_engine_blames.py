"""Tasks that kill their workers, and those that asked for them: who is blamed, and that it comes to an end."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentd.core.events import Event, WorkerLost
from agentd.core.state import Rules
from agentd.core.tasks.task import Task
from agentd.model.task import Form, Outcome, Status, Template
from tests.fakes.world import World
from tests.fakes.world_nested import Nest, Step
from tests.fakes.world_users import recorded
from tests.fakes.world_workers import DEATHS

NESTED = [
    Template("m:nested", Form.TASK, max_attempts=50),
    Template("m:cancelling", Form.TASK, max_attempts=50, on_failure="CANCEL_SUCCESSORS"),
]
ROOT = Template("m:root", durable=True, max_attempts=50)
ALONE = Template("m:alone", durable=True)
BLAMES = 3


def _name(task: Task) -> str:
    text = task.payload.data.decode()
    return text.split('"name":"')[1].split('"')[0] if '"name":"' in text else text


class Net:
    """One agent whose workers die; what began is counted by name."""

    def __init__(self, cores: int = 1, spares: int | None = None, seed: int | None = None) -> None:
        self.world = World(seed)
        self.host = self.world.add("a", cores, rules=Rules(spares=spares))
        self.host.nested = NESTED
        self.begun: Counter[str] = Counter()
        self.number = 0
        started = self.host.started

        def note(process: object, task: object) -> None:
            self.begun[_name(task)] += 1  # type: ignore[arg-type]
            started(process, task)  # type: ignore[arg-type]

        self.host.started = note  # type: ignore[method-assign, assignment]
        self.killed: Counter[str] = Counter()
        """Of each task: how many workers died by it; it may have begun more often, and been stopped with its parent."""
        post = self.host.post

        def posted(event: Event) -> None:
            task = self.host.engine.state.tasks.get(event.running) if isinstance(event, WorkerLost) else None
            if task is not None and isinstance(event, WorkerLost) and event.failure is DEATHS["segv"]:
                self.killed[_name(task)] += 1
            post(event)

        self.host.post = posted  # type: ignore[method-assign]

    def storm(self) -> None:
        """Let so many workers die that none is started for a while."""
        for _ in range(3):
            self.host.submit(ALONE, "segv 0.01", lambda _: None)

    def ask(self, *steps: Step) -> None:
        """Submit a program."""

        def answered(value: object) -> None:
            assert isinstance(value, tuple)
            self.number = value[0]

        self.host.submit(ROOT, Nest("root", 0.0, steps).write().data.decode(), answered)

    def end(self) -> Outcome:
        """Let all end; nothing of it may be left."""
        self.world.run(0.5)
        assert self.world.run_until(lambda: self.world.is_quiet, 600.0, 0.1), "it does not end"
        self.world.run(1.0)
        assert self.world.history.close() == []
        assert not self.host.engine._families.blames.by_root
        outcome = recorded(self.host, self.number)
        assert outcome is not None
        return outcome


def killer(name: str = "killer", template: int = 0) -> Nest:
    """Make a task that kills its worker."""
    return Nest(name, 0.05, raises="segv", template=template)


@pytest.mark.parametrize("spares", [None, 0])
def test_a_task_that_kills_whoever_waits_for_it_is_quarantined_after_three_deaths(spares: int | None) -> None:
    """While no worker is started it ran on top of its parent, and killed that each time as a new task without blame."""
    net = Net(spares=spares)
    net.storm()
    net.world.run(0.05)
    net.ask(Step(killer(), makes=(0,)), Step(waits=(0,)))
    outcome = net.end()
    assert outcome.status == Status.FAILED
    assert outcome.failure is not None
    assert "signal 11" in outcome.failure.message
    assert net.begun["killer"] == BLAMES
    assert net.begun["root"] <= 1 + BLAMES


def test_one_that_killed_its_worker_gets_one_of_its_own_when_there_can_be_one() -> None:
    """The parent dies with it at most once, in a storm; then it waits until workers are started again."""
    net = Net()
    net.storm()
    net.world.run(0.05)
    net.ask(Step(killer(), makes=(0,)), Step(waits=(0,)))
    net.end()
    assert net.begun["root"] <= 2


def test_the_siblings_of_a_killer_are_not_blamed() -> None:
    """They die with their parent and run again, as often as it takes; and all else of the program is done."""
    net = Net(spares=0)
    net.ask(
        *[Step(Nest(f"good{n}", 0.02), makes=(n,)) for n in range(4)],
        Step(killer(template=1), makes=(4,)),
        *[Step(Nest(f"late{n}", 0.02), makes=(5 + n,)) for n in range(4)],
        Step(waits=tuple(range(9))),
    )
    assert net.end().status == Status.DONE
    assert net.begun["killer"] == BLAMES


def test_deep_below_a_killer_is_known_again() -> None:
    """All that stood below it in the one worker start anew, and it is the same task for all that."""
    net = Net(spares=0)
    middle = Nest("middle", 0.0, (Step(killer(template=1), makes=(0,)), Step(waits=(0,))))
    net.ask(Step(middle, makes=(0,)), Step(waits=(0,)))
    assert net.end().status == Status.DONE
    assert net.begun["killer"] == BLAMES
    assert net.begun["root"] <= 1 + BLAMES


@settings(deadline=None)
@example(kills=[True, True], cores=2, spares=0, seed=0, is_stormy=True)
@given(
    kills=st.lists(st.booleans(), min_size=1, max_size=6),
    cores=st.integers(1, 2),
    spares=st.sampled_from((0, 1, 4)),
    seed=st.integers(0, 1 << 30),
    is_stormy=st.booleans(),
)
def test_whatever_kills_ends_after_three_deaths_and_the_others_are_done(
    kills: list[bool], cores: int, spares: int, seed: int, is_stormy: bool
) -> None:
    """However they are stacked, and whatever dies with them: nobody kills a fourth worker, no innocent is blamed."""
    net = Net(cores, spares, seed)
    if is_stormy:
        net.storm()
    children = [killer(f"killer{n}", 1) if kill else Nest(f"good{n}", 0.02) for n, kill in enumerate(kills)]
    net.ask(
        *[Step(child, makes=(n,)) for n, child in enumerate(children)],
        Step(waits=tuple(range(len(kills)))),
    )
    assert net.end().status == Status.DONE
    for name, times in net.killed.items():
        assert not name.startswith("killer") or times <= BLAMES, f"{name} killed {times} workers"
