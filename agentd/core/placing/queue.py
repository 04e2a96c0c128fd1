"""Tasks that wait for a host: those of one program in its share, the shares of one sender in turn, the senders in turn.

Law: while several senders have tasks waiting, each is given the same time of cores, however many tasks and programs it
has and whatever priority it asks for, and so are the programs of one sender; of one program the order is by priority,
then age. To only one it costs nothing.

By what rule they take turns stands in `turns.py`. A task is charged by what its kind has taken so far when it is
placed, and by what it really took when it ends.
"""

from __future__ import annotations

from math import inf
from operator import methodcaller
from typing import TYPE_CHECKING, NamedTuple

from agentd.core.placing.share import Bucket, Share
from agentd.core.placing.turns import Turns
from agentd.core.tasks.task import Shape, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agentd.core.workers.results import TaskResult
    from agentd.model.task import Outcome

UNKNOWN_S = 0.1
"""What a function never seen is taken to run."""
OLDEST: Callable[[Share | Sender], Iterator[Task]] = methodcaller("oldest")
NEWEST: Callable[[Share | Sender], Iterator[Task]] = methodcaller("newest")


class Sender:
    """A user with its programs, or a neighbour: all that it has waiting, and what it has used of this agent."""

    __slots__ = ("number", "size", "stands", "tag", "turns")

    def __init__(self, number: int, tag: float = 0.0) -> None:
        self.number = number
        self.size = 0
        self.tag = tag
        self.stands = -1.0
        self.turns: Turns[Share] = Turns()
        """Its shares: one of each of its programs."""

    def oldest(self) -> Iterator[Task]:
        """Yield tasks of its programs in turn, of each by priority, then age."""
        return self.turns.begin(OLDEST)

    def newest(self) -> Iterator[Task]:
        """As `oldest`, of each program the newest first."""
        return self.turns.begin(NEWEST)

    def end_walk(self) -> None:
        """End a walk that was not exhausted."""
        self.turns.end_walk()


class Standing(NamedTuple):
    """A sender that has tasks waiting, and how many."""

    number: int
    tasks: int


def cost_s(shape: Shape) -> float:
    """Say what a task is taken to use when it is placed, in core-seconds; more than 0."""
    return (shape.estimate_s or UNKNOWN_S) * (shape.units or shape.weigh())


def _bytes_of(tasks: list[Task]) -> int:
    return sum([len(task.payload.data) if not task.payload.parts else task.payload.size_bytes for task in tasks])


class Queue:
    """All tasks that wait at this agent."""

    def __init__(self, users: Mapping[int, int] | None = None, *, is_fair: bool = True) -> None:
        """Make an empty one; `users` gives the senders of sessions; if not `is_fair` all is one share."""
        self._users = {} if users is None else users
        self._is_fair = is_fair
        self._turns: Turns[Sender] = Turns()
        self._shares: dict[int, Share] = {}
        self._last = self._made(0)
        """The share that was asked for last: mostly the only one."""
        self.is_shared = False
        """Several shares are known: what their tasks use is accounted."""
        self.asked_at = 0.0
        """When the last question began, agent time in seconds."""
        self.was_empty = True
        """Nothing waited when it ended: since then the agent's cores were everybody's."""
        self.size = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self.size

    # --- tasks ------------------------------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Let a task wait."""
        share = self._share(task)
        sender = share.sender
        if not share.size:
            self._wake(share)
        share.add(task)
        sender.size += 1
        self.size += 1
        self.bytes += task.payload.size_bytes

    def extend(self, tasks: list[Task]) -> None:
        """Let new tasks of one sender wait: all of one shape, oldest first, and younger than any that wait."""
        share = self._share(tasks[0])
        if not share.size:
            self._wake(share)
        share.extend(tasks)
        share.sender.size += len(tasks)
        self.size += len(tasks)
        self.bytes += _bytes_of(tasks)

    def take(self, task: Task) -> None:
        """Remove a task that has been placed."""
        share, payload = self._share(task), task.payload
        share.bucket(task).take(task)
        share.size -= 1
        self._left(share, 1)
        self.bytes -= payload.size_bytes if payload.parts else len(payload.data)

    def place(self, task: Task) -> None:
        """Remove a task that has been placed, and charge its sender for it."""
        number, share, payload, shape = task.caller or task.share, self._last, task.payload, task.shape
        if share.number != number:
            share = self._find(number)
        bucket = share.bucket(task)
        if bucket.tasks[0] is task:
            bucket.tasks.popleft()
        else:
            bucket.take(task)
        sender, turns = share.sender, self._turns
        share.size -= 1
        sender.size -= 1
        self.size -= 1
        if not share.size:
            sender.turns.active -= 1
            turns.active -= not sender.size
        self.bytes -= payload.size_bytes if payload.parts else len(payload.data)
        seconds = (shape.estimate_s or UNKNOWN_S) * (shape.units or shape.weigh())
        start = sender.tag
        start = max(start, turns.clock_s)
        turns.clock_s = start
        sender.tag = start + seconds
        if len(sender.turns.known) > 1:
            sender.turns.charge(share, seconds)

    def drop(self, task: Task) -> None:
        """Remove a task that will not run."""
        share = self._share(task)
        share.drop(task)
        self._left(share, 1)
        self.bytes -= task.payload.size_bytes

    def _left(self, share: Share, count: int) -> None:
        """So many tasks of a share wait no more."""
        sender = share.sender
        sender.size -= count
        self.size -= count
        if not share.size:
            sender.turns.active -= 1
            if not sender.size:
                self._turns.active -= 1

    def head_alike(self, task: Task) -> Task | None:
        """Give the oldest of those like a task that was just taken, unless the walk has another before it."""
        number, share = task.caller or task.share, self._last
        if share.number != number:
            share = self._find(number)
        first, sender = share.bucket(task).first(), share.sender
        if first is None or not share.is_next(first):
            return None
        return first if share.tag < sender.turns.ends and sender.tag < self._turns.ends else None

    def take_alike(self, task: Task, most: int, most_bytes: int) -> tuple[list[Task], int]:
        """Remove up to so many of those that `head_alike` would give one after the other, and weigh their arguments.

        It ends with the one by which they weigh so many bytes, and before one with inputs beside its arguments, which
        must be looked for.
        """
        share = self._share(task)
        sender = share.sender
        left_s = min(sender.turns.ends - share.tag, self._turns.ends - sender.tag)
        if left_s != inf:
            most = min(most, max(int(left_s / cost_s(task.shape)), 0))
        taken, weight = share.take_alike(task, most, most_bytes)
        if taken:
            self._left(share, len(taken))
            self.bytes -= weight
        return taken, weight

    def buckets(self) -> Iterator[Bucket]:
        """Yield the buckets that hold something."""
        return (bucket for bucket in self._all() if bucket.first() is not None)

    def _all(self) -> Iterator[Bucket]:
        for share in list(self._shares.values()):
            yield from share.buckets.values()

    def holders(self) -> Iterator[Task]:
        """Yield what is to hold cores for tasks elsewhere."""
        for bucket in self._all():
            if bucket.shape.template.holds:
                yield from (task for task in bucket.tasks if not task.dropped)

    def backlog_s(self, unknown_s: float) -> float:
        """Sum what waits, in seconds of one core of speed 1; a function never seen counts as `unknown_s`."""
        total = 0.0
        for share in self._shares.values():
            for bucket in share.buckets.values():
                if bucket.tasks:
                    shape = bucket.shape
                    seconds = unknown_s if shape.estimate_s is None else shape.estimate_s
                    total += len(bucket.tasks) * seconds * shape.demand.units()
        return total

    # --- senders ----------------------------------------------------------------------------------------------

    def _share(self, task: Task) -> Share:
        """Give the share that a task belongs to, made on first use."""
        number, share = task.caller or task.share, self._last
        return share if share.number == number else self._find(number)

    def _find(self, number: int) -> Share:
        if not self._is_fair:
            return self._last
        share = self._shares.get(number)
        if share is None:
            share = self._made(number)
        self._last = share
        return share

    def _made(self, number: int) -> Share:
        """Make a share, and its sender if that has none yet; those that owe nothing are forgotten."""
        turns, user = self._turns, self._users.get(number, number)
        sender = turns.known.get(user)
        if sender is None:
            sender = Sender(user, turns.clock_s)
            for gone in turns.enter(sender):
                for one in gone.turns.known:
                    del self._shares[one]
        share = self._shares[number] = Share(number, sender, sender.turns.clock_s)
        for idle in sender.turns.enter(share):
            del self._shares[idle.number]
        self.is_shared = len(self._shares) > 1
        return share

    def _wake(self, share: Share) -> None:
        """A share has something waiting again."""
        sender = share.sender
        turns = sender.turns
        if not turns.active:
            turns.clock_s = max(turns.clock_s, turns.most_s)  # what its programs used while none waited is forgiven
            self._turns.wake(sender)
        turns.wake(share)

    def others(self, task: Task) -> list[Standing]:
        """Name the other senders that have tasks waiting, those with most first."""
        own = self._share(task).sender.number
        return [row for row in self.standings() if row.number != own]

    def standings(self) -> list[Standing]:
        """Name the senders that have tasks waiting, those with most first."""
        rows = [Standing(sender.number, sender.size) for sender in self._turns.known.values() if sender.size]
        return sorted(rows, key=lambda row: -row.tasks)

    def waiting_with(self, task: Task) -> int:
        """Count the tasks of the same sender that wait."""
        return self._share(task).sender.size

    def programs_with(self, task: Task) -> int:
        """Count the programs of the same sender that have tasks waiting, its own included."""
        return self._share(task).sender.turns.active

    # --- what they use ----------------------------------------------------------------------------------------

    def rested(self, now: float, cores: int) -> None:
        """Before a question: since the last one nothing had waited, so the clock went on with the agent's cores."""
        self._turns.clock_s += (now - self.asked_at) * cores
        self.was_empty = False

    def charge(self, task: Task, count: int = 1) -> None:
        """Tasks like this one were placed."""
        self._charge(self._share(task), cost_s(task.shape) * count)

    def _charge(self, share: Share, seconds: float) -> None:
        sender, turns = share.sender, self._turns
        start = sender.tag
        start = max(start, turns.clock_s)
        turns.clock_s = start
        sender.tag = start + seconds
        if len(sender.turns.known) > 1:
            sender.turns.charge(share, seconds)

    def refund(self, task: Task) -> None:
        """A task that was placed comes back, or is not to be charged by the time that it takes."""
        self._correct(task, -cost_s(task.shape))

    def used(self, task: Task, seconds: float) -> None:
        """A task has ended: it was charged by what its kind had taken so far, and took so long on a core of speed 1."""
        if self.is_shared:
            shape = task.shape
            self._correct(task, (seconds - (shape.estimate_s or UNKNOWN_S)) * (shape.units or shape.weigh()))

    def spent(self, task: Task, seconds: float) -> None:
        """A task had cores for so long, beside what it was charged."""
        self._correct(task, seconds * (task.shape.units or task.shape.weigh()))

    def used_all(self, tasks: Sequence[Task], outcomes: Sequence[Outcome | TaskResult], speed: float) -> None:
        """As `used`, for many that ran on cores of this speed."""
        if not self.is_shared or not tasks:
            return
        first, shape = tasks[0], tasks[0].shape
        if len({task.shape for task in tasks}) == 1 == len({task.caller or task.share for task in tasks}):
            seconds = sum([outcome.seconds for outcome in outcomes]) * speed
            charged = (shape.estimate_s or UNKNOWN_S) * len(tasks)
            self._correct(first, (seconds - charged) * (shape.units or shape.weigh()))
            return
        for task, outcome in zip(tasks, outcomes, strict=True):
            self.used(task, outcome.seconds * speed)

    def _correct(self, task: Task, seconds: float) -> None:
        """Charge so much more, or less; of a program that is gone its user."""
        if not self._is_fair:
            return
        number = task.caller or task.share
        share = self._shares.get(number)
        sender = self._turns.known.get(self._users.get(number, number)) if share is None else share.sender
        if sender is not None:
            self._turns.correct(sender, seconds)
        if share is not None:
            share.sender.turns.correct(share, seconds)

    # --- walks ------------------------------------------------------------------------------------------------

    def oldest(self) -> Iterator[Task]:
        """Yield tasks of the senders in turn, of each of their programs by priority, then age.

        What is not taken is passed over with all that are alike. One walk at a time: a new one ends the one before.
        """
        return self._turns.begin(OLDEST)

    def newest(self) -> Iterator[Task]:
        """As `oldest`, of each program the newest first; costs O(b log b) in its buckets once per question."""
        return self._turns.begin(NEWEST)

    def end_walk(self) -> None:
        """End a walk that was not exhausted, so that what it passed over is met again by the next."""
        if not self.size:
            self.was_empty = True
        self._turns.end_walk()
