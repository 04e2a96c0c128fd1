"""Tasks that came back: each waits for what is made again, is given up if that failed, and keeps no turn meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agentd.core.data.remaking import Remaking
from agentd.core.data.versions import Child
from agentd.core.families.family import Family
from agentd.core.state import AgentState
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, State, Task
from agentd.model.graph import Spawned, Standing
from agentd.model.task import Failure, Form, Reason, Template
from agentd.model.values import Payload
from tests.fakes.world import World

PARENT, THERE, PENDING, FAILED = 1, 11, 12, 13
WHY = Failure(Reason.SIGNAL, "DataLost", "a value is lost with b")
VALUE = Payload(1, b"value")
NOW = 7.0


class Desk:
    """Remaking for a family that has a value, one that is being made, and one that is lost for good."""

    def __init__(self) -> None:
        self.state: AgentState = World().add("a", 1).engine.state
        self.remaking = Remaking(self.state, self._release, self._cancel, lambda *_: None)
        self.family = self.state.families[PARENT] = Family(PARENT, PARENT, None, 1, self.state.lineage)
        self.family.versions.put(THERE, VALUE)
        self.family.versions.open([PENDING, FAILED], 2)
        self.family.versions.settle(FAILED, Standing.FAILED, Payload(), WHY)
        self.released: list[int] = []
        self.cancelled: list[tuple[int, Failure | None]] = []
        self.after: list[Task] = []
        """Tasks that come back because of the first that is cancelled."""

    def _release(self, _: Family, ready: list[Child], now: float) -> None:
        assert now == NOW
        self.released += [child.id for child in ready]

    def _cancel(self, _: Family, numbers: Sequence[int], why: Failure | None, now: float) -> None:
        assert now == NOW
        self.cancelled += [(number, why) for number in numbers]
        while self.after:
            self.remaking.provide(self.after.pop())

    def task(self, number: int, *reads: int, chain: int = 0) -> Task:
        """Make a child that is a task; in a chain it takes its turn, or waits for it."""
        child = Child(number, Spawned(number, 1, Payload(), reads=reads, chain=chain), number)
        self.family.children[number] = child
        if chain:
            self.family.takes_turn(child)
        task = Task(number, Shapes().intern(Template("m:f", Form.TASK)), Payload(), HERE, number)
        task.family = PARENT
        return task

    def comes_back(self, task: Task) -> bool:
        """A task is to wait for a host again; tell whether it may."""
        may = self.remaking.provide(task)
        assert (task.state is State.LACKING, task.lacks) == (not may, not may)
        return may

    def settle(self) -> None:
        self.remaking.settle(NOW)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_reads_what_is_there_waits_for_a_host_with_it(desk):
    """As it stands now, which may be elsewhere than before."""
    task = desk.task(2, THERE)
    assert desk.comes_back(task)
    assert list(task.inputs) == [VALUE]
    desk.settle()
    assert (desk.cancelled, desk.released) == ([], [])


def test_what_reads_what_is_made_again_waits_for_that(desk):
    """It is neither given up nor let go; it is told when the version is there."""
    assert not desk.comes_back(desk.task(2, THERE, PENDING))
    desk.settle()
    assert (desk.cancelled, desk.released) == ([], [])
    waiting = desk.family.versions.settle(PENDING, Standing.THERE, VALUE, None)
    assert [one.id for one in waiting] == [2]


def test_what_reads_what_has_failed_is_given_up_for_that(desk):
    """Once, also if something else that it reads is yet to come."""
    assert not desk.comes_back(desk.task(2, PENDING, FAILED))
    desk.settle()
    desk.settle()
    assert desk.cancelled == [(2, WHY)]


def test_those_that_come_back_because_of_another_are_seen_to_as_well(desk):
    """Before the settling is over: nothing waits for what will never be."""
    desk.after = [desk.task(3, FAILED)]
    assert not desk.comes_back(desk.task(2, FAILED))
    desk.settle()
    assert desk.cancelled == [(2, WHY), (3, WHY)]


def test_one_that_has_left_meanwhile_is_nobodys(desk):
    """Its parent has given it up, or is gone with all of its family."""
    assert not desk.comes_back(desk.task(2, FAILED, chain=5))
    del desk.family.children[2]
    desk.task(3, FAILED)
    desk.settle()
    assert not desk.comes_back(desk.task(4, FAILED, chain=6))
    del desk.state.families[PARENT]
    desk.settle()
    assert desk.cancelled == []


def test_one_of_a_chain_that_lacks_something_passes_its_turn_on(desk):
    """The next one runs meanwhile, and its own turn comes when it has what it reads."""
    first, second = desk.task(2, PENDING, chain=5), desk.task(3, chain=5)
    assert not desk.comes_back(first)
    desk.settle()
    assert desk.released == [3]
    desk.settle()
    assert desk.released == [3]
    chain = desk.family.chains[5]
    assert (chain.running, list(chain.waiting)) == (0, [])
    assert second.state is not State.LACKING


def test_one_of_a_chain_that_waits_for_its_turn_waits_no_longer(desk):
    """What it lacks comes first; whoever has the turn keeps it."""
    desk.task(2, chain=5)
    assert not desk.comes_back(desk.task(3, PENDING, chain=5))
    desk.settle()
    chain = desk.family.chains[5]
    assert (desk.released, chain.running, list(chain.waiting)) == ([], 2, [])
