"""Laws of the queue, against a list that is sorted anew each time: order, passing over, and keeping nothing."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from agentd.core.placing.queue import Queue
from agentd.core.placing.share import EMPTY_MOST, Bucket, Share
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, Path, State, Task
from agentd.model.task import Template
from agentd.model.values import Part, Payload

EXAMPLES = int(os.environ.get("AGENTD_LAW_EXAMPLES", "200"))
SHAPES = Shapes()
KINDS = [SHAPES.intern(Template(f"m:f{number}", priority=number % 3)) for number in range(4)]
PATHS = [HERE, Path("o", "n1", 1, ("o",)), Path("o", "n2", 1, ("o",))]
PAYLOADS = [Payload(), Payload(3, b"12345"), Payload(1, b"1", (Part(7, b"1234567"),))]


def alike(task: Task) -> tuple[int, Path]:
    """Say what a placement looks at."""
    return task.shape.number, task.path


class Model:
    """Waiting tasks in a list."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def walk(self, take: set[int], sign: int) -> list[int]:
        """Give the orders of the tasks that a walk meets, when those in `take` are taken as they are met."""
        met, passed = [], set()
        for task in sorted(self.tasks, key=lambda task: (-task.priority, sign * task.order)):
            if alike(task) in passed:
                continue
            met.append(task.order)
            if task.order not in take:
                passed.add(alike(task))
        return met


class QueueMachine(RuleBasedStateMachine):
    """The queue beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.model = Queue(), Model()
        self.orders = 0
        self.out: list[Task] = []

    def _new(self, kind: int, path: int, payload: int) -> Task:
        self.orders += 1
        return Task(self.orders, KINDS[kind], PAYLOADS[payload], PATHS[path], self.orders)

    @rule(kind=st.integers(0, 3), path=st.integers(0, 2), payload=st.integers(0, 2))
    def add(self, kind: int, path: int, payload: int) -> None:
        """A task becomes ready."""
        task = self._new(kind, path, payload)
        self.queue.add(task)
        self.model.tasks.append(task)

    @rule(kind=st.integers(0, 3), count=st.integers(1, 4))
    def extend(self, kind: int, count: int) -> None:
        """A session submits alike ones."""
        tasks = [self._new(kind, 0, 1) for _ in range(count)]
        self.queue.extend(tasks)
        self.model.tasks += tasks

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def return_(self, data: st.DataObject) -> None:
        """A task comes back, with its age."""
        task = data.draw(st.sampled_from(self.out))
        self.out.remove(task)
        task.state = State.WAITING
        self.queue.add(task)
        self.model.tasks.append(task)

    @precondition(lambda self: self.model.tasks)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """A task is cancelled."""
        task = data.draw(st.sampled_from(self.model.tasks))
        self.model.tasks.remove(task)
        self.queue.drop(task)
        task.state = State.ENDED

    @rule(data=st.data(), is_oldest=st.booleans(), patience=st.integers(1, 12))
    def walk(self, data: st.DataObject, *, is_oldest: bool, patience: int) -> None:
        """A policy looks, takes some, and may stop early."""
        orders = sorted(task.order for task in self.model.tasks)
        take = set(data.draw(st.lists(st.sampled_from(orders), unique=True))) if orders else set()
        expected = self.model.walk(take, 1 if is_oldest else -1)
        met = []
        for task in self.queue.oldest() if is_oldest else self.queue.newest():
            met.append(task.order)
            if task.order in take:
                self.queue.take(task)
                task.state = State.ASSIGNED
                self.out.append(task)
                self.model.tasks.remove(task)
            if len(met) == patience:
                break
        self.queue.end_walk()
        assert met == expected[:patience]

    @invariant()
    def sums_are_right(self) -> None:
        assert len(self.queue) == len(self.model.tasks)
        assert self.queue.bytes == sum(task.payload.size_bytes for task in self.model.tasks)

    @invariant()
    def nothing_is_kept(self) -> None:
        share = only_share(self.queue)
        kept = sum(len(bucket.tasks) for bucket in share.buckets.values())
        assert kept <= 2 * len(self.queue) + 65
        assert len(share._heads) <= 2 * self.orders + 65
        if not self.model.tasks:
            assert list(self.queue.oldest()) == []
            assert not share._heads


QueueMachine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50)
TestQueue = QueueMachine.TestCase


def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that puts what returns at its end is caught."""
    monkeypatch.setattr(Bucket, "insert", lambda self, task: self.tasks.append(task))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            QueueMachine, settings=settings(max_examples=200, stateful_step_count=30, phases=[Phase.generate])
        )


def test_what_left_a_stale_head_comes_again() -> None:
    """Two buckets of one kind never have to be compared: the first was emptied and forgotten, and left a head."""
    queue = Queue()
    young, old = (Task(order, KINDS[0], Payload(), PATHS[1], order) for order in (7, 5))
    queue.add(young)
    queue.add(old)
    for task in queue.oldest():
        queue.take(task)
        task.state = State.ASSIGNED
    young.state = State.WAITING
    queue.add(young)
    assert list(queue.oldest()) == [young]


def test_returning_tasks_go_before_many() -> None:
    """A tail that is taken back goes before a hundred thousand others."""
    queue = Queue()
    queue.extend([Task(order, KINDS[0], Payload(), HERE, order) for order in range(1000, 101_000)])
    for order in range(1, 200):
        queue.add(Task(order, KINDS[0], Payload(), HERE, order))
    first = next(iter(queue.oldest()))
    assert first.order == 1


def test_a_walk_that_is_kept_starves_nobody() -> None:
    """A policy that keeps its walk from question to question hides nothing: a new walk ends the old one."""
    queue = Queue()
    tasks = [Task(order, KINDS[order % 4], Payload(), HERE, order) for order in range(1, 9)]
    for task in tasks:
        queue.add(task)
    kept = queue.oldest()
    next(kept)
    assert [task.order for task in queue.oldest()] == [task.order for task in queue_of(tasks).oldest()]
    assert list(kept) == []


def only_share(queue: Queue) -> Share:
    """Give the share of a queue that one sender alone uses."""
    (share,) = queue._shares.values()
    return share


def queue_of(tasks: list[Task]) -> Queue:
    """Make a queue of tasks."""
    queue = Queue()
    for task in tasks:
        queue.add(task)
    return queue


@given(st.lists(st.integers(0, 3), max_size=60))
def test_while_only_the_newest_are_asked_for_nothing_grows(kinds: list[int]) -> None:
    """A policy that never asks for the oldest leaves no heads behind."""
    queue = Queue()
    for order, kind in enumerate(kinds * 10, 1):
        task = Task(order, SHAPES.intern(Template(f"m:g{order % 50}{kind}")), Payload(), HERE, order)
        queue.add(task)
        for met in queue.newest():
            queue.take(met)
            met.state = State.ASSIGNED
    share = only_share(queue)
    assert len(share._heads) <= 130
    assert len(share.buckets) <= EMPTY_MOST + 1
