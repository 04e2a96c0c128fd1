"""Tasks that wait for a host: those of one sender in its share, the shares in turn.

Law: while several senders have tasks waiting, each is given the same time of cores, however many tasks it has and
whatever priority it asks for; of one sender the order is by priority, then age. To only one it costs nothing.

Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996, section 2) with several tasks in service at once (Jin, Chase,
Kaur, SIGMETRICS 2004): each share has a tag, the core-seconds that it was given, on one virtual clock; the least is
served next; who comes, or comes back, begins at the clock, so that nobody saves up turns. A task is charged by what its
kind has taken so far when it is placed, and by what it really took when it ends.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from agentd.core.placing.share import Bucket, Share
from agentd.core.tasks.task import WAITING, Shape, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from agentd.core.workers.results import TaskResult
    from agentd.model.task import Outcome

TURN_S = 0.001
"""Core-seconds for which a share is served in one go while others wait (chosen: as much as stands in a line ahead)."""
UNKNOWN_S = 0.1
"""What a function never seen is taken to run."""
STALE_MOST = 64
"""Entries that may stand in the heap of shares beside twice as many as there are shares (chosen)."""
KNOWN_MOST = 1000
"""Shares of which nothing waits that are remembered for what they used (chosen)."""


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

    def __init__(self, *, is_fair: bool = True) -> None:
        """Make an empty one; if not `is_fair` all tasks are one sender's."""
        self._is_fair = is_fair
        self._last = Share(0)
        """The share that was asked for last: mostly the only one."""
        self._shares: dict[int, Share] = {0: self._last}
        self.is_shared = False
        """Several senders are known: what their tasks use is accounted."""
        self._active = 0
        """How many of them have tasks waiting."""
        self._clock_s = 0.0
        """The virtual clock: tag of the share that was served last, as it was before that."""
        self.asked_at = 0.0
        """When the last question began, agent time in seconds."""
        self.was_empty = True
        """Nothing waited when it ended: since then the agent's cores were everybody's."""
        self._turns: list[tuple[float, int, Share]] = []
        """Heap of shares that have tasks waiting: by tag, then first come; stale entries are mended when met."""
        self._serials = count()
        self._turn_ends = inf
        """Tag at which the turn at hand is over."""
        self._walk: Generator[Task, None, None] | None = None
        self._walked: list[Share] = []
        """The shares that the walk at hand has come to."""
        self._only: Share | None = None
        """The share that is walked through alone, as no other has anything waiting."""
        self.size = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self.size

    # --- tasks ------------------------------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Let a task wait."""
        share = self._share(task)
        if not share.size:
            self._wake(share)
        share.add(task)
        self.size += 1
        self.bytes += task.payload.size_bytes

    def extend(self, tasks: list[Task]) -> None:
        """Let new tasks of one sender wait: all of one shape, oldest first, and younger than any that wait."""
        share = self._share(tasks[0])
        if not share.size:
            self._wake(share)
        share.extend(tasks)
        self.size += len(tasks)
        self.bytes += _bytes_of(tasks)

    def take(self, task: Task) -> None:
        """Remove a task that has been placed."""
        share, payload = self._share(task), task.payload
        share.bucket(task).take(task)
        share.size -= 1
        if not share.size:
            self._active -= 1
        self.size -= 1
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
        share.size -= 1
        if not share.size:
            self._active -= 1
        self.size -= 1
        self.bytes -= payload.size_bytes if payload.parts else len(payload.data)
        start = share.tag
        start = max(start, self._clock_s)
        self._clock_s = start
        share.tag = start + (shape.estimate_s or UNKNOWN_S) * (shape.units or shape.weigh())

    def drop(self, task: Task) -> None:
        """Remove a task that will not run."""
        share = self._share(task)
        share.drop(task)
        self._active -= not share.size
        self.size -= 1
        self.bytes -= task.payload.size_bytes

    def head_alike(self, task: Task) -> Task | None:
        """Give the oldest of those like a task that was just taken, unless the walk has another before it."""
        number, share = task.caller or task.share, self._last
        if share.number != number:
            share = self._find(number)
        first = share.bucket(task).first()
        return first if first is not None and share.is_next(first) and share.tag < self._turn_ends else None

    def take_alike(self, task: Task, most: int) -> list[Task]:
        """Remove up to so many of those that `head_alike` would give one after the other.

        It ends before one with inputs beside its arguments, which must be looked for.
        """
        share = self._share(task)
        if self._turn_ends != inf:
            most = min(most, max(int((self._turn_ends - share.tag) / cost_s(task.shape)), 0))
        taken = share.take_alike(task, most)
        self._active -= not share.size and bool(taken)
        self.size -= len(taken)
        self.bytes -= _bytes_of(taken)
        return taken

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
        for bucket in self._all():
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
        """Make a share; those are forgotten that wait for nothing and have used no more than others."""
        idle = [one for one in self._shares.values() if not one.size]
        for one in idle:
            if one.tag <= self._clock_s or len(idle) > KNOWN_MOST:
                one.stands = -1.0
                del self._shares[one.number]
        share = self._shares[number] = Share(number, self._clock_s)
        self.is_shared = len(self._shares) > 1
        return share

    def _wake(self, share: Share) -> None:
        """A share has something waiting again."""
        self._active += 1
        if share.stands < 0:
            self._stand(share)

    def _stand(self, share: Share) -> None:
        share.stands = share.tag
        heappush(self._turns, (share.tag, next(self._serials), share))
        if len(self._turns) > 2 * len(self._shares) + STALE_MOST:
            self._turns = [row for row in self._turns if row[0] == row[2].stands]
            heapify(self._turns)

    def others(self, task: Task) -> list[Standing]:
        """Name the other senders that have tasks waiting, those with most first."""
        own = self._share(task).number
        return [row for row in self.standings() if row.number != own]

    def standings(self) -> list[Standing]:
        """Name the senders that have tasks waiting, those with most first."""
        rows = [Standing(share.number, share.size) for share in self._shares.values() if share.size]
        return sorted(rows, key=lambda row: -row.tasks)

    def waiting_with(self, task: Task) -> int:
        """Count the tasks of the same sender that wait."""
        return self._share(task).size

    # --- what they use ----------------------------------------------------------------------------------------

    def rested(self, now: float, cores: int) -> None:
        """Before a question: since the last one nothing had waited, so the clock went on with the agent's cores."""
        self._clock_s += (now - self.asked_at) * cores
        self.was_empty = False

    def charge(self, task: Task, count: int = 1) -> None:
        """Tasks like this one were placed."""
        share = self._share(task)
        start = self._clock_s = max(share.tag, self._clock_s)
        share.tag = start + cost_s(task.shape) * count

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
        if self.is_shared:
            for task, outcome in zip(tasks, outcomes, strict=True):
                self.used(task, outcome.seconds * speed)

    def _correct(self, task: Task, seconds: float) -> None:
        share = self._shares.get(task.caller or task.share) if self._is_fair else None
        if share is not None:
            share.tag += seconds
            if share.tag < share.stands:
                self._stand(share)

    # --- walks ------------------------------------------------------------------------------------------------

    def oldest(self) -> Iterator[Task]:
        """Yield tasks of the senders in turn, of each by priority, then age.

        What is not taken is passed over with all that are alike. One walk at a time: a new one ends the one before.
        """
        return self._begin(Share.oldest)

    def newest(self) -> Iterator[Task]:
        """As `oldest`, of each sender the newest first; costs O(b log b) in its buckets once per question."""
        return self._begin(Share.newest)

    def _begin(self, look: Callable[[Share], Iterator[Task]]) -> Iterator[Task]:
        if self._walk is not None or self._only is not None:
            self.end_walk()
        if self._active > 1:
            walk = self._walk = self._in_turn(look)
            return walk
        share = self._last
        if not share.size and self._active:
            share = next(one for one in self._shares.values() if one.size)
        self._only = share
        return look(share)

    def end_walk(self) -> None:
        """End a walk that was not exhausted, so that what it passed over is met again by the next."""
        if not self.size:
            self.was_empty = True
        if self._only is not None:
            self._only.end_walk()
            self._only = None
        elif self._walk is not None:
            self._walk.close()
            self._walk, self._turn_ends = None, inf
            for share in self._walked:
                share.end_walk()
                if share.stands < 0 and share.size:
                    self._stand(share)
            self._walked.clear()

    def _in_turn(self, look: Callable[[Share], Iterator[Task]]) -> Generator[Task, None, None]:
        """Walk through the shares: one that had its turn stands behind, one whose task was passed over behind all."""
        walks: dict[int, Iterator[Task]] = {}
        again: list[tuple[int, float, int, Share]] = []
        while True:
            share, passes = self._next_share(), 0
            if share is None:
                if not again:
                    return
                passes, _, _, share = heappop(again)
            walk = walks.get(share.number)
            if walk is None:
                self._walked.append(share)
                walk = walks[share.number] = look(share)
            self._turn_ends = max(share.tag, self._clock_s) + TURN_S if self._turns or again else inf
            is_taken = True
            while is_taken and share.tag < self._turn_ends and (task := next(walk, None)) is not None:
                yield task
                is_taken = task.state is not WAITING
            if is_taken and share.tag < self._turn_ends:
                continue  # all of it was looked at
            if is_taken and not passes:
                self._stand(share)
            else:
                heappush(again, (passes + (not is_taken), share.tag, next(self._serials), share))

    def _next_share(self) -> Share | None:
        """Take the one with the least tag out of those that have tasks waiting."""
        turns = self._turns
        while turns:
            tag, _, share = heappop(turns)
            if tag != share.stands:
                continue
            share.stands = -1.0
            if share.size:
                if share.tag == tag:
                    return share
                self._stand(share)
        return None
