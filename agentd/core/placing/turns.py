"""Who is served next of those that have tasks waiting: senders among each other, a sender's programs among each other.

Law: while several have tasks waiting, each is given the same time of cores, however many tasks it has. It costs nothing
while there is only one.

Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996, section 2; one within the other: section 3) with several
tasks in service at once (Jin, Chase, Kaur, SIGMETRICS 2004): each has a tag, the core-seconds that it was given, on one
virtual clock; the least is served next; who comes, or comes back, begins at the clock, so that nobody saves up turns.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from agentd.core.tasks.task import WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from agentd.core.tasks.task import Task

TURN_S = 0.001
"""Core-seconds for which one is served in one go while others wait (chosen: as much as stands in a line ahead)."""
STALE_MOST = 64
"""Entries that may stand in the heap of turns beside twice as many as there are who take turns (chosen)."""
KNOWN_MOST = 1000
"""Of those of which nothing waits, how many are remembered for what they used (chosen)."""


class Served(Protocol):
    """What takes turns: a share of tasks, or a sender with several shares."""

    number: int
    size: int
    """Tasks that wait, without those that were dropped."""
    tag: float
    """Core-seconds that it was given, on the clock of its turns: the least is served next."""
    stands: float
    """Tag under which it stands among those that are served in turn; negative: it does not."""

    def oldest(self) -> Iterator[Task]:
        """Yield what waits by its own order."""
        ...

    def newest(self) -> Iterator[Task]:
        """Yield what waits, newest first."""
        ...

    def end_walk(self) -> None:
        """End a walk that was not exhausted."""
        ...


S = TypeVar("S", bound=Served)


class Turns(Generic[S]):
    """Those who are served in turn, by number."""

    def __init__(self) -> None:
        self.known: dict[int, S] = {}
        """Whoever has tasks waiting, and those that have used more than others."""
        self.active = 0
        """How many of them have tasks waiting."""
        self.clock_s = 0.0
        """The virtual clock: tag of who was served last, as it was before that."""
        self.most_s = 0.0
        """The most that anybody's tag was when it was charged."""
        self.ends = inf
        """Tag at which the turn at hand is over."""
        self._heap: list[tuple[float, int, S]] = []
        """Those that have tasks waiting: by tag, then first come; stale entries are mended when met."""
        self._serials = count()
        self._woken: S | None = None
        """Who had something waiting again last: mostly the only one."""
        self._walk: Generator[Task, None, None] | None = None
        self._walked: list[S] = []
        """Those that the walk at hand has come to."""
        self._only: S | None = None
        """Who is walked through alone, as no other has anything waiting."""

    def enter(self, one: S) -> list[S]:
        """Let one take part; gives those that are forgotten: idle, and with no more used than others."""
        idle = [other for other in self.known.values() if not other.size]
        gone = [other for other in idle if other.tag <= self.clock_s or len(idle) > KNOWN_MOST]
        for other in gone:
            other.stands = -1.0
            del self.known[other.number]
        self.known[one.number] = one
        return gone

    def wake(self, one: S) -> None:
        """One has something waiting again."""
        self.active += 1
        self._woken = one
        if one.stands < 0:
            self._stand(one)

    def charge(self, one: S, seconds: float) -> None:
        """One was given this many core-seconds."""
        start = one.tag
        start = max(start, self.clock_s)
        self.clock_s = start
        one.tag = start + seconds
        self.most_s = max(self.most_s, one.tag)

    def correct(self, one: S, seconds: float) -> None:
        """One took so much more, or less, than it was charged."""
        one.tag += seconds
        if one.tag < one.stands:
            self._stand(one)

    def _stand(self, one: S) -> None:
        one.stands = one.tag
        heappush(self._heap, (one.tag, next(self._serials), one))
        if len(self._heap) > 2 * len(self.known) + STALE_MOST:
            self._heap = [row for row in self._heap if row[0] == row[2].stands]
            heapify(self._heap)

    # --- walks ------------------------------------------------------------------------------------------------

    def begin(self, look: Callable[[S], Iterator[Task]]) -> Iterator[Task]:
        """Yield tasks of all in turn, of each as `look` gives them.

        What is not taken is passed over with all that are alike. One walk at a time: a new one ends the one before.
        """
        if self._walk is not None or self._only is not None:
            self.end_walk()
        if self.active > 1:
            walk = self._walk = self._in_turn(look)
            return walk
        only = self._woken
        if only is None or (not only.size and self.active):
            only = next((one for one in self.known.values() if one.size), None)
        if only is None:
            return iter(())
        self._only = only
        return look(only)

    def end_walk(self) -> None:
        """End a walk that was not exhausted, so that what it passed over is met again by the next."""
        if self._only is not None:
            self._only.end_walk()
            self._only = None
        elif self._walk is not None:
            self._walk.close()
            self._walk, self.ends = None, inf
            for one in self._walked:
                one.end_walk()
                if one.stands < 0 and one.size:
                    self._stand(one)
            self._walked.clear()

    def _in_turn(self, look: Callable[[S], Iterator[Task]]) -> Generator[Task, None, None]:
        """Walk through all: who had a turn stands behind, who had a task passed over behind all."""
        walks: dict[int, Iterator[Task]] = {}
        again: list[tuple[int, float, int, S]] = []
        while True:
            one, passes = self._next(), 0
            if one is None:
                if not again:
                    return
                passes, _, _, one = heappop(again)
            walk = walks.get(one.number)
            if walk is None:
                self._walked.append(one)
                walk = walks[one.number] = look(one)
            self.ends = max(one.tag, self.clock_s) + TURN_S if self._heap or again else inf
            is_taken = True
            while is_taken and one.tag < self.ends and (task := next(walk, None)) is not None:
                yield task
                is_taken = task.state is not WAITING
            if is_taken and one.tag < self.ends:
                continue  # all of it was looked at
            if is_taken and not passes:
                self._stand(one)
            else:
                heappush(again, (passes + (not is_taken), one.tag, next(self._serials), one))

    def _next(self) -> S | None:
        """Take the one with the least tag out of those that have tasks waiting."""
        heap = self._heap
        while heap:
            tag, _, one = heappop(heap)
            if tag != one.stands:
                continue
            one.stands = -1.0
            if one.size:
                if one.tag == tag:
                    return one
                self._stand(one)
        return None
