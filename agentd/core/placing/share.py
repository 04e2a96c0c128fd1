"""Tasks of one program, or one neighbour, that wait for a host, in buckets of tasks that are alike.

Law: adding, taking and looking at the next candidate cost O(log b) in the number of buckets, whatever waits in them.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from agentd.core.tasks.task import HERE, WAITING, Path, Shape, Task
from schedulers.view import Held

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from agentd.core.placing.queue import Sender

Key = tuple[int, Path, tuple[Held, ...]]

DROPPED_MOST = 64
"""Dropped records that may stand in the buckets beside as many as there are tasks waiting (chosen)."""
EMPTY_MOST = 16
"""Buckets up to which one that has become empty is kept for the next task of its kind (chosen)."""


class Bucket:
    """Tasks of one shape, one path and one place of inputs, oldest first; a placement answers alike for all of them."""

    __slots__ = ("heap_order", "key", "path", "serial", "shape", "tasks")

    def __init__(self, shape: Shape, path: Path, serial: int, places: tuple[Held, ...] = ()) -> None:
        self.key: Key = (shape.number, path, places)
        self.serial = serial
        """Unique among all buckets that ever were: what left a stale entry in the heap is never compared itself."""
        self.shape = shape
        self.path = path
        self.tasks: deque[Task] = deque()
        self.heap_order = -1
        """Order under which the bucket stands in the heap of heads; -1: it does not stand there."""

    def insert(self, task: Task) -> None:
        """Put a task where its age belongs; cheap for new ones, and for old ones that return to the front."""
        tasks = self.tasks
        if not tasks or task.order > tasks[-1].order:
            tasks.append(task)
        elif task.order < tasks[0].order:
            tasks.appendleft(task)
        else:
            place = next(index for index, other in enumerate(tasks) if other.order > task.order)
            tasks.insert(place, task)

    def first(self) -> Task | None:
        """Give the oldest that still waits."""
        tasks = self.tasks
        while tasks and tasks[0].dropped:
            tasks.popleft()
        return tasks[0] if tasks else None

    def last(self) -> Task | None:
        """Give the newest that still waits."""
        tasks = self.tasks
        while tasks and tasks[-1].dropped:
            tasks.pop()
        return tasks[-1] if tasks else None

    def take(self, task: Task) -> None:
        """Remove a task that has been placed."""
        tasks = self.tasks
        if tasks[0] is task:
            tasks.popleft()
        elif tasks[-1] is task:
            tasks.pop()
        else:
            tasks.remove(task)


class Share:
    """All that one program of a sender has waiting, and what it has used of its sender's share."""

    __slots__ = (
        "_dropped",
        "_heads",
        "_local",
        "_serial",
        "_walk",
        "buckets",
        "limit",
        "number",
        "sender",
        "size",
        "stands",
        "tag",
    )

    def __init__(self, number: int, sender: Sender, tag: float = 0.0) -> None:
        self.number = number
        self.sender = sender
        self.size = 0
        """Tasks that wait, without those that were dropped."""
        self.tag = tag
        """Core-seconds that it was given, on its sender's virtual clock: the least is served next."""
        self.stands = -1.0
        """Tag under which it stands among those that are served in turn; negative: it does not."""
        self.buckets: dict[Key, Bucket] = {}
        self._local: dict[int, Bucket] = {}
        """The buckets of our own users' tasks without large inputs again, by shape number: the common, hot case."""
        self._heads: list[tuple[int, int, int, Bucket]] = []
        """Heap of (-priority, age of the oldest, serial of the bucket, bucket); stale entries are mended when met."""
        self._serial = 0
        self._walk: Generator[Task, None, None] | None = None
        self.limit: tuple[int, int] | None = None
        """Where in the walk at hand another bucket has its turn: -priority and age of its oldest."""
        self._dropped = 0
        """Records dropped since the last sweep, those met meanwhile included."""

    def bucket(self, task: Task) -> Bucket:
        """Give the bucket that a task belongs to, made on first use."""
        is_local = task.path is HERE and not task.places
        found = (
            self._local.get(task.shape.number)
            if is_local
            else self.buckets.get((task.shape.number, task.path, task.places))
        )
        if found is None:
            found = Bucket(task.shape, task.path, self._next_serial(), task.places)
            self.buckets[found.key] = found
            if is_local:
                self._local[task.shape.number] = found
        return found

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def add(self, task: Task) -> None:
        """Let a task wait."""
        bucket = self.bucket(task)
        bucket.insert(task)
        self.size += 1
        if not 0 <= bucket.heap_order <= task.order:
            self._stand(bucket, task.order)

    def extend(self, tasks: list[Task]) -> None:
        """Let new tasks wait: all of one shape, oldest first, and younger than any that wait."""
        bucket = self.bucket(tasks[0])
        bucket.tasks += tasks
        self.size += len(tasks)
        if not 0 <= bucket.heap_order <= tasks[0].order:
            self._stand(bucket, tasks[0].order)

    def is_next(self, task: Task) -> bool:
        """Tell whether the walk at hand has no other kind before this task."""
        return self.limit is None or (-task.shape.template.priority, task.order) <= self.limit

    def take_alike(self, task: Task, most: int, most_bytes: int) -> tuple[list[Task], int]:
        """Remove up to so many of those that `head_alike` would give one after the other, and weigh their arguments.

        It ends with the one by which they weigh so many bytes, and before one with inputs beside its arguments, which
        must be looked for.
        """
        waiting, last = self.bucket(task).tasks, self._last_before(task)
        taken: list[Task] = []
        weight = met = 0
        for one in waiting if most > 0 and most_bytes > 0 else ():
            if not one.dropped:
                payload = one.payload
                if payload.parts or one.inputs or one.order > last:
                    break
                taken.append(one)
                weight += len(payload.data)
                if len(taken) >= most or weight >= most_bytes:
                    met += 1
                    break
            met += 1
        for _ in range(met):
            waiting.popleft()
        self.size -= len(taken)
        return taken, weight

    def _last_before(self, task: Task) -> float:
        """Say up to which age tasks like this one come before the next kind of the walk at hand."""
        if self.limit is None:
            return inf
        other, order = self.limit
        rank = -task.shape.template.priority
        return order if rank == other else inf if rank < other else -1

    def drop(self, task: Task) -> None:
        """Remove a task that will not run; its record is skipped when it is met, and swept out when there are many."""
        task.dropped = True
        self.size -= 1
        self._dropped += 1
        if not self.size or self._dropped > self.size + DROPPED_MOST:
            self._sweep()

    def _sweep(self) -> None:
        """Keep nothing of what was dropped; costs O(1) per dropped record."""
        self.end_walk()
        self._dropped = 0
        for bucket in list(self.buckets.values()):
            bucket.tasks = deque(task for task in bucket.tasks if not task.dropped)
            if not bucket.tasks:
                bucket.heap_order = -1
                self._forget(bucket)
        if not self.buckets:
            self._heads.clear()

    def _stand(self, bucket: Bucket, order: int) -> None:
        bucket.heap_order = order
        heappush(self._heads, (-bucket.shape.template.priority, order, bucket.serial, bucket))

    def _next_head(self) -> Bucket | None:
        """Take the bucket with the most urgent head out of the heap; its first task waits."""
        heads = self._heads
        while heads:
            _, order, _, bucket = heappop(heads)
            if order != bucket.heap_order:
                continue
            bucket.heap_order = -1
            tasks = bucket.tasks
            if tasks and tasks[0].order == order and not tasks[0].dropped:
                return bucket
            first = bucket.first()
            if first is None:
                self._forget(bucket)
            elif first.order == order:
                return bucket
            else:
                self._stand(bucket, first.order)
        return None

    def _forget(self, bucket: Bucket) -> None:
        """Let an empty bucket go, unless there are so few that it may stay for the next task."""
        if len(self.buckets) > EMPTY_MOST and self.buckets.get(bucket.key) is bucket:
            del self.buckets[bucket.key]
            if self._local.get(bucket.shape.number) is bucket:
                del self._local[bucket.shape.number]

    def oldest(self) -> Iterator[Task]:
        """Yield by priority, then age; what is not taken is passed over with all that are alike.

        One walk at a time: a new one ends the one before.
        """
        self.end_walk()
        walk = self._walk = self._oldest()
        return walk

    def end_walk(self) -> None:
        """End a walk that was not exhausted, so that what it passed over is met again by the next."""
        walk, self._walk, self.limit = self._walk, None, None
        if walk is not None:
            walk.close()

    def _oldest(self) -> Generator[Task, None, None]:
        taken_out: list[Bucket] = []
        try:
            while (bucket := self._next_head()) is not None:
                taken_out.append(bucket)
                limit = self.limit = self._heads[0][:2] if self._heads else None
                rank = -bucket.shape.template.priority
                while bucket.tasks and (task := bucket.first()) is not None:
                    if limit is not None and (rank, task.order) > limit:
                        self._restand(taken_out.pop())
                        break
                    yield task
                    if task.state is WAITING and bucket.tasks and bucket.tasks[0] is task:
                        break
        finally:
            for bucket in taken_out:
                self._restand(bucket)

    def _restand(self, bucket: Bucket) -> None:
        first = bucket.first()
        if first is None:
            if bucket.heap_order < 0:
                self._forget(bucket)
        elif bucket.heap_order != first.order:
            self._stand(bucket, first.order)

    def newest(self) -> Iterator[Task]:
        """As `oldest`, newest first; costs O(b log b) in the buckets once per question."""
        heads: list[tuple[int, int, int, Bucket]] = []
        for bucket in list(self.buckets.values()):
            last = bucket.last()
            if last is not None:
                heappush(heads, (-bucket.shape.template.priority, -last.order, -bucket.serial, bucket))
            else:
                bucket.heap_order = -1
                self._forget(bucket)
        self._thin()
        while heads:
            rank, _, _, bucket = heappop(heads)
            task = bucket.last()
            if task is None:
                continue
            yield task
            if task.state is WAITING and bucket.tasks and bucket.tasks[-1] is task:
                continue
            last = bucket.last()
            if last is not None:
                heappush(heads, (rank, -last.order, -bucket.serial, bucket))

    def _thin(self) -> None:
        """Keep the heap of heads from growing while nobody asks for the oldest."""
        if len(self._heads) > 2 * len(self.buckets) + DROPPED_MOST:
            self._heads = [head for head in self._heads if head[1] == head[3].heap_order]
            heapify(self._heads)
