"""Laws of serving senders in turn: nobody starves, nobody is given more than others, and of each the order stays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.placing import turns
from agentd.core.placing.queue import Queue, Sender
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, Shape, State, Task
from agentd.model.task import Template
from agentd.model.values import Payload

EXAMPLES = int(os.environ.get("AGENTD_LAW_EXAMPLES", "80"))
SHAPES = Shapes()
SECONDS = (0.002, 0.01, 0.5, 7.0)
"""Run times; each is a turn of its own at least."""


def kind(seconds: float, priority: int = 0) -> Shape:
    """Make what always takes so long, and is known to."""
    shape = SHAPES.intern(Template(f"m:f{seconds}", priority=priority))
    shape.estimate_s = seconds
    return shape


class Batch(NamedTuple):
    """What one sender submits at one moment."""

    at_s: float
    sender: int
    seconds: float
    count: int
    priority: int = 0


class Started(NamedTuple):
    """One task that was given a core."""

    at_s: float
    sender: int
    task: Task
    seconds: float
    waiting: frozenset[int]
    """Senders that had tasks waiting."""


class Device:
    """Cores that serve a queue, in virtual time; whoever plans takes the first task for each idle core."""

    def __init__(self, cores: int, *, is_newest: bool = False, users: Mapping[int, int] | None = None) -> None:
        self.queue = Queue(users)
        self.cores = self.idle = cores
        self.is_newest = is_newest
        self.now = 0.0
        self.orders = 0
        self.running: list[tuple[float, int, Task, float]] = []
        self.log: list[Started] = []

    def submit(self, batch: Batch) -> list[Task]:
        """Let tasks wait."""
        tasks = []
        for _ in range(batch.count):
            self.orders += 1
            shape = kind(batch.seconds, batch.priority)
            tasks.append(Task(self.orders, shape, Payload(), HERE, self.orders, batch.sender, submitted_at=self.now))
        self.queue.extend(tasks)
        return tasks

    def plan(self) -> None:
        """Give idle cores to what waits."""
        queue = self.queue
        if queue.was_empty:
            queue.rested(self.now, self.cores)
        queue.asked_at = self.now
        for task in queue.newest() if self.is_newest else queue.oldest():
            if not self.idle:
                break
            waiting = frozenset(row.number for row in queue.standings())
            queue.place(task)
            task.state = State.RUNNING
            self.idle -= 1
            seconds = task.shape.estimate_s or 0.0
            heappush(self.running, (self.now + seconds, task.id, task, seconds))
            self.log.append(Started(self.now, task.caller, task, seconds, waiting))
        queue.end_walk()

    def run(self, *batches: Batch) -> list[Started]:
        """Serve until nothing is left; gives what was started, in order."""
        for _ in self.starts(*batches):
            pass
        return self.log

    def starts(self, *batches: Batch) -> Iterator[Started]:
        """Serve as long as somebody looks, and something is left; yields what is started, in order."""
        coming = sorted(batches)
        while coming or self.running:
            if coming and (not self.running or coming[0].at_s <= self.running[0][0]):
                self.now = max(self.now, coming[0].at_s)
                while coming and coming[0].at_s <= self.now:
                    self.submit(coming.pop(0))
            else:
                self.now, _, task, seconds = heappop(self.running)
                self.idle += 1
                self.queue.used(task, seconds)
            known = len(self.log)
            self.plan()
            yield from self.log[known:]


batches = st.builds(
    Batch,
    at_s=st.sampled_from((0.0, 0.1, 1.0, 5.0, 30.0)),
    sender=st.integers(1, 4),
    seconds=st.sampled_from(SECONDS),
    count=st.integers(1, 12),
    priority=st.integers(0, 3),
)
histories = st.lists(batches, min_size=1, max_size=8)


@settings(max_examples=EXAMPLES)
@given(history=histories, cores=st.integers(1, 3), is_newest=st.booleans())
def test_each_task_is_served_once_and_each_sender_in_its_own_order(
    history: list[Batch], cores: int, *, is_newest: bool
) -> None:
    """Conservation, and the order of one sender: by priority, then age, whatever others ask for."""
    device = Device(cores, is_newest=is_newest)
    log = device.run(*history)
    assert len(log) == sum(batch.count for batch in history) == len({start.task.id for start in log})
    assert device.queue.size == device.queue.bytes == 0
    for sender in {batch.sender for batch in history}:
        alone = [start.task for start in log if start.sender == sender]
        for place, task in enumerate(alone):
            waited = [one for one in alone[place:] if one.submitted_at <= log_time(log, task)]
            sign = -1 if is_newest else 1
            assert task is min(waited, key=lambda one: (-one.priority, sign * one.order))


def log_time(log: list[Started], task: Task) -> float:
    """Say when a task was started."""
    return next(start.at_s for start in log if start.task is task)


def overtaken(cores: int, history: list[Batch], newcomer: Batch) -> dict[int, int]:
    """Count the tasks that each other sender was served while one waited that had used nothing."""
    log = Device(cores).run(*history, newcomer)
    mine = next(place for place, start in enumerate(log) if start.sender == newcomer.sender)
    counts: dict[int, int] = {}
    for start in log[:mine]:
        if start.at_s >= newcomer.at_s and newcomer.sender in start.waiting:
            counts[start.sender] = counts.get(start.sender, 0) + 1
    return counts


@settings(max_examples=EXAMPLES)
@given(history=histories, cores=st.integers(1, 3), at_s=st.sampled_from((0.05, 0.7, 12.0)))
def test_who_comes_waits_for_one_turn_of_each_other_at_the_most(history: list[Batch], cores: int, at_s: float) -> None:
    """However many tasks others have waiting, of whatever priority: no starvation."""
    counts = overtaken(cores, history, Batch(at_s, 9, 0.5, 1))
    assert all(count <= 1 for count in counts.values()), counts


def unfairness(cores: int, one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Give the largest difference in time of cores between two senders while both have tasks waiting."""
    device = Device(cores)
    rows = [Batch(0.0, sender, seconds, 30) for sender, mine in ((1, one), (2, other)) for seconds in mine]
    used = {1: 0.0, 2: 0.0}
    worst = 0.0
    for start in device.run(*rows):
        if len(start.waiting) < 2:
            break
        used[start.sender] += start.seconds
        worst = max(worst, abs(used[1] - used[2]))
    return worst


kinds_of = st.lists(st.sampled_from(SECONDS), min_size=1, max_size=3, unique=True).map(tuple)


@settings(max_examples=EXAMPLES)
@given(cores=st.integers(1, 3), one=kinds_of, other=kinds_of)
def test_senders_that_wait_get_the_same_time_of_cores(
    cores: int, one: tuple[float, ...], other: tuple[float, ...]
) -> None:
    """While both have tasks waiting, what they were given differs by a task of each at the most (SFQ, theorem 1)."""
    assert unfairness(cores, one, other) <= max(one) + max(other) + 1e-9


def shares_of(cores: int, users: Mapping[int, int], *batches: Batch) -> dict[int, float]:
    """Give the time of cores of each user, for as long as all of them have tasks waiting."""
    device = Device(cores, users=users)
    used = dict.fromkeys(users.values(), 0.0)
    for start in device.starts(*batches):
        if len(start.waiting) < len(used):
            break
        used[users[start.sender]] += start.seconds
    return used


@settings(max_examples=EXAMPLES)
@given(cores=st.integers(1, 3), programs=st.integers(2, 50), seconds=st.sampled_from(SECONDS), is_newest=st.booleans())
def test_a_user_of_many_programs_gets_no_more_than_a_user_of_one(
    cores: int, programs: int, seconds: float, *, is_newest: bool
) -> None:
    """Connections are no shares: users get the same, by however many programs they ask."""
    users = {1: -1, **dict.fromkeys(range(2, 2 + programs), -2)}
    used = shares_of(cores, users, Batch(0.0, 1, seconds, 60), *[Batch(0.0, one, seconds, 60) for one in users])
    assert used[-1] > 0
    assert abs(used[-1] - used[-2]) <= 2 * seconds + 1e-9


@settings(max_examples=EXAMPLES)
@given(cores=st.integers(1, 2), seconds=st.sampled_from(SECONDS), overlap=st.integers(1, 3))
def test_who_comes_with_a_new_program_for_each_task_starves_nobody(cores: int, seconds: float, overlap: int) -> None:
    """What a user has had is the user's, not the connection's: hanging up pays no debts."""
    users = {1: -1, **dict.fromkeys(range(2, 202), -2)}
    coming = [Batch(number * seconds / (overlap * cores), 2 + number, seconds, 1) for number in range(200)]
    log = Device(cores, users=users).run(Batch(0.0, 1, seconds, 20), *coming)
    last = max(place for place, start in enumerate(log) if start.sender == 1)
    assert last <= 2 * 20 + 2 * cores + 1


@settings(max_examples=EXAMPLES)
@given(cores=st.integers(1, 3), counts=st.lists(st.integers(5, 40), min_size=2, max_size=4), others=st.booleans())
def test_the_programs_of_one_user_are_served_in_turn(cores: int, counts: list[int], *, others: bool) -> None:
    """A user's program with many tasks delays the user's others by a turn each, too, whoever else is there."""
    users = {1: -1, **dict.fromkeys(range(2, 2 + len(counts)), -2)}
    rows = [Batch(0.0, 2 + place, 0.5, count) for place, count in enumerate(counts)]
    device = Device(cores, users=users)
    log = [start for start in device.run(*rows, *[Batch(0.0, 1, 0.5, 100)] * others) if start.sender != 1]
    met: dict[int, int] = dict.fromkeys(range(2, 2 + len(counts)), 0)
    for start in log[: len(counts) * min(counts)]:
        met[start.sender] += 1
        assert max(met.values()) - min(met.values()) <= 1


def test_what_a_program_used_while_its_user_wanted_nothing_else_is_forgiven() -> None:
    """Of one user, too: who had cores that no other program wanted owes the others nothing for it."""
    device = Device(1, users={1: -1, 2: -1})
    device.run(Batch(0.0, 1, 7.0, 30), Batch(0.0, 2, 7.0, 1))
    log = device.run(Batch(device.now, 2, 7.0, 10), Batch(device.now, 1, 7.0, 10))[-20:]
    assert sorted(start.sender for start in log[:10]) == [1] * 5 + [2] * 5


def test_short_tasks_are_served_many_at_a_time() -> None:
    """A turn is a millisecond of cores: a batch of tiny tasks is not cut into single ones."""
    device, turns = Device(200), 0
    log = device.run(Batch(0.0, 1, 0.0001, 100), Batch(0.0, 2, 0.0001, 100))
    for before, after in pairwise(log):
        turns += before.sender != after.sender
    assert 15 <= turns <= 25


def test_what_a_kind_really_takes_is_charged() -> None:
    """Tasks of one function, long at one sender and short at the other: the time is shared, not the number of tasks."""
    queue, shape, shared = Queue(), kind(1.0), {1: 0.0, 2: 0.0}
    takes = {1: 1.9, 2: 0.1}
    for order in range(1, 401):
        queue.add(Task(order, shape, Payload(), HERE, order, 1 + order % 2))
    for _ in range(100):
        task = next(iter(queue.oldest()))
        queue.place(task)
        task.state = State.RUNNING
        queue.end_walk()
        queue.used(task, takes[task.caller])
        shared[task.caller] += takes[task.caller]
    assert abs(shared[1] - shared[2]) < 4.0


def test_who_was_away_has_saved_nothing_up() -> None:
    """A sender that comes after hours is served in turn, not for hours on end."""
    log = Device(1).run(Batch(0.0, 1, 7.0, 300), Batch(2000.0, 2, 0.5, 40))
    after = [start for start in log if start.at_s >= 2000.0 and len(start.waiting) == 2]
    assert {start.sender for start in after[:16]} == {1, 2}


def test_while_nothing_waits_debts_are_forgiven() -> None:
    """Who used cores that nobody else wanted owes nothing for it."""
    device = Device(2)
    device.run(Batch(0.0, 1, 3600.0, 2))
    device.now = 3600.0
    device.submit(Batch(0.0, 2, 0.5, 4))
    device.submit(Batch(0.0, 1, 0.5, 4))
    device.plan()
    assert [start.sender for start in device.log[2:]] == [2, 1]


def test_not_fair_is_one_order_for_all() -> None:
    """Where the operator wants it, priority and age alone count, over all senders."""
    queue = Queue(is_fair=False)
    for order, sender, priority in ((1, 1, 0), (2, 1, 0), (3, 2, 5), (4, 3, 0)):
        queue.add(Task(order, kind(0.5, priority), Payload(), HERE, order, sender))
    met = []
    for task in queue.oldest():
        met.append(task.order)
        queue.place(task)
        task.state = State.RUNNING
    assert met == [3, 1, 2, 4]


def test_senders_that_come_and_go_leave_nothing_behind() -> None:
    """A million sessions, one after the other, cost no memory."""
    queue, shape = Queue(), kind(0.5)
    for order in range(1, 5001):
        task = Task(order, shape, Payload(), HERE, order, order)
        queue.add(task)
        queue.place(task)
    assert len(queue._shares) <= turns.KNOWN_MOST + 2
    assert len(queue._turns._heap) <= 2 * len(queue._shares) + turns.STALE_MOST + 1


def test_a_blocked_sender_blocks_nobody() -> None:
    """What a policy passes over, of however many kinds, comes behind a look at each other sender."""
    queue = Queue()
    for order in range(1, 41):
        queue.add(Task(order, kind(float(order)), Payload(), HERE, order, 1))
    queue.add(Task(41, kind(0.5), Payload(), HERE, 41, 2))
    met = [task.caller for _, task in zip(range(3), queue.oldest(), strict=False)]
    assert 2 in met


def test_planted_bugs_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that does not charge is unfair by these laws, and one that puts newcomers last starves them."""
    with monkeypatch.context() as planted:
        planted.setattr(Queue, "place", Queue.take)
        planted.setattr(Queue, "used", lambda *_: None)
        assert unfairness(1, (0.002,), (7.0,)) > 7.002
    made = Sender.__init__
    monkeypatch.setattr(Sender, "__init__", lambda self, number, tag=0.0: made(self, number, tag + number))
    counts = overtaken(1, [Batch(0.0, 1, 0.5, 40)], Batch(0.7, 9, 0.5, 1))
    assert max(counts.values()) > 1
