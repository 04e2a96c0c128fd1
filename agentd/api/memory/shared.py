"""Shared memory between this process and its agent, over one connection after another.

Law: a segment of ours is written again only when its call is settled for good and the agent has let go of it as often
as it was given to it. A segment of the agent's is let go of when the last view of its value is gone.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING

from agentd.model.values import Part
from agentd.wire.messages import Segment, SegmentFree, SegmentRelease

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.memory.segment_map import SegmentMap
    from agentd.api.memory.segments import SegmentPool
    from agentd.model.values import Payload
    from agentd.wire.messages import Message

BESIDE_BYTES = 256 * 1024 - 1
"""Values up to here lie together in one segment. Chosen: below the size from which an agent names values to its
neighbours instead of sending them, as what is named is a segment."""
SHARED_BYTES = 4 * 1024 * 1024
"""Of a segment for several of them. Chosen: 40 of 100 KB."""
ALIGNMENT = 64
"""Where they begin, as in `agentd.api.memory.segments`, which is loaded late."""
Mail = tuple["Message", tuple[int, ...]]
"""A message and the descriptors that travel with it."""


class SharedMemory:
    """Our segments and the agent's. `note` is called, from any thread, when the agent is to be told something."""

    def __init__(self, note: Callable[[], None]) -> None:
        self._note = note
        self.has_news = False
        """`mail` would give something."""
        self.is_used = False
        """An argument was put here once."""
        self._lock = threading.Lock()
        self._pool: SegmentPool | None = None
        self._map: SegmentMap | None = None
        self._ours: dict[int, tuple[int, int]] = {}
        """Descriptor and size of each segment that we made, for telling a new connection."""
        self._uses: dict[int, int] = {}
        """How often the agent was given a segment and has not let go of it."""
        self._unsettled: Counter[int] = Counter()
        """Segments with calls that may be sent again, how many; the one that is being filled counts as one more."""
        self._filling = 0
        """The segment that values of a middle size are put into, one behind the other; 0 for none."""
        self._filled = 0
        """How much of it is taken."""
        self._shown: set[int] = set()
        """Segments of ours that the agent of this connection was told of."""
        self._made: deque[int] = deque()
        self._withdrawn: deque[int] = deque()
        self._released: deque[int] = deque()
        self._words: deque[Message] = deque()

    # --- ours: arguments ----------------------------------------------------------------------------------------

    def place(self, views: list[memoryview]) -> tuple[Part, ...] | None:
        """Put the buffers of one value into a segment; None when there can be no more of them."""
        pool = self._pool or self._make_pool()
        if pool is None:
            return None
        total = sum([view.nbytes for view in views])
        placed = self._put_beside(pool, views, total) if total <= BESIDE_BYTES else self._put(pool, views)
        if placed is None:
            return None
        number, offsets = placed
        self.is_used = True
        return tuple(
            Part(view.nbytes, segment=number, offset=offset) for view, offset in zip(views, offsets, strict=True)
        )

    def _put(self, pool: SegmentPool, views: list[memoryview]) -> tuple[int, list[int]] | None:
        """Put a value into a segment of its own."""
        placed = pool.put(views)
        if placed is not None:
            with self._lock:
                self._uses[placed[0]] = 0
                self._unsettled[placed[0]] = 1
        return placed

    def _put_beside(self, pool: SegmentPool, views: list[memoryview], total: int) -> tuple[int, list[int]] | None:
        """Put a value behind others into one segment: one for each would cost more than their bytes."""
        with self._lock:
            needed = total + len(views) * ALIGNMENT
            number = self._filling
            if number and not self._uses[number] and self._unsettled[number] == 1:
                self._filled = 0  # all that was in it is over: the same memory again, which is warm
            if not number or self._filled + needed > SHARED_BYTES:
                number = self._begin_filling(pool)
                if not number:
                    return None
            start = self._filled
            offsets = pool.add(number, start, views)
            self._filled = start + -(-needed // ALIGNMENT) * ALIGNMENT
            self._unsettled[number] += 1
        return number, offsets

    def _begin_filling(self, pool: SegmentPool) -> int:
        """Fill another segment from now on; 0 where there is none. Call with the lock."""
        full, self._filling, self._filled = self._filling, pool.open(SHARED_BYTES) or 0, 0
        if self._filling:
            self._uses[self._filling] = 0
            self._unsettled[self._filling] = 1
        if full:
            self._settle_one(full)
        return self._filling

    def give(self, payload: Payload) -> None:
        """Note that the agent is given a payload; each of its segments must be let go of once more."""
        for number in {part.segment for part in payload.parts if part.segment}:
            with self._lock:
                if number in self._uses:
                    self._uses[number] += 1

    def settle(self, payload: Payload) -> None:
        """Note that a call will not be sent again."""
        for number in {part.segment for part in payload.parts if part.segment}:
            with self._lock:
                self._settle_one(number)

    def let_go(self, message: SegmentRelease) -> None:
        """Note that the agent has let go of segments of ours."""
        for number in message.segments:
            with self._lock:
                if self._uses.get(number):
                    self._uses[number] -= 1
                    self._free_unused(number)

    def _settle_one(self, number: int) -> None:
        """Note that one call less may be sent again. Call with the lock."""
        self._unsettled[number] -= 1
        if self._unsettled[number] <= 0:
            del self._unsettled[number]
            self._free_unused(number)

    def _free_unused(self, number: int) -> None:
        """Give a segment back to the pool that nobody needs. Call with the lock."""
        if self._uses.get(number) != 0 or number in self._unsettled:
            return
        del self._uses[number]
        if self._pool is not None:
            self._pool.free(number)

    def _make_pool(self) -> SegmentPool | None:
        from agentd.api.memory.segments import SegmentPool  # large arguments only: it loads ctypes and mmap

        with self._lock:
            if self._pool is None and hasattr(os, "memfd_create"):
                self._pool = SegmentPool(self._announce, self._withdraw)
            return self._pool

    def _announce(self, number: int, descriptor: int, size: int) -> None:
        self._ours[number] = descriptor, size
        self._made.append(number)
        self.has_news = True

    def _withdraw(self, number: int) -> None:
        self._ours.pop(number, None)
        self._withdrawn.append(number)
        self.has_news = True

    # --- the agent's: results -----------------------------------------------------------------------------------

    def add(self, message: Segment, descriptor: int) -> None:
        """Map a segment of the agent's, and close its descriptor.

        Raises:
            OSError: it cannot be mapped.
        """
        from agentd.api.memory.segment_map import SegmentMap  # large results only: it loads ctypes and mmap

        if self._map is None:
            self._map = SegmentMap(partial(self._release, self._released))
        try:
            self._map.add(message.number, descriptor, message.size)
        finally:
            os.close(descriptor)

    def drop(self, message: SegmentFree) -> None:
        """Unmap segments that the agent gives up, once nothing in them is in use."""
        for number in message.segments:
            if self._map is not None:
                self._map.drop(number)

    def views(self, payload: Payload) -> list[memoryview]:
        """Give the buffers of a value; shared ones stay the agent's until the last view of them is gone.

        Raises:
            LookupError: a segment that was never shared.
            ValueError: a span outside of its segment.
        """
        spans: dict[int, list[tuple[int, int]]] = {}
        for part in payload.parts:
            if part.segment:
                spans.setdefault(part.segment, []).append((part.offset, part.size))
        if spans and self._map is None:
            raise LookupError("the agent named shared memory that it never shared")
        lent = {number: iter(self._map.lend(number, rows)) for number, rows in spans.items() if self._map is not None}
        return [next(lent[part.segment]) if part.segment else memoryview(part.data or b"") for part in payload.parts]

    def _release(self, released: deque[int], number: int) -> None:
        released.append(number)  # that of its own connection: a later one never heard of the number
        self.has_news = True
        self._note()

    # --- what else the agent is told ----------------------------------------------------------------------------

    def tell(self, message: Message) -> None:
        """Have the agent told something with the next mail."""
        self._words.append(message)
        self.has_news = True

    # --- the connection -----------------------------------------------------------------------------------------

    def mail(self) -> list[Mail]:
        """Take what the agent has to be told, in order."""
        self.has_news = False  # first: what comes meanwhile is news again
        mail: list[Mail] = []
        while self._made:
            number = self._made.popleft()
            if number in self._ours:
                descriptor, size = self._ours[number]
                self._shown.add(number)
                mail.append((Segment(number, size), (descriptor,)))
        given_up = tuple(number for number in _taken(self._withdrawn) if number in self._shown)
        if given_up:
            self._shown.difference_update(given_up)
            mail.append((SegmentFree(given_up), ()))
        if self._released:
            mail.append((SegmentRelease(_taken(self._released)), ()))
        while self._words:
            mail.append((self._words.popleft(), ()))
        return mail

    def reconnect(self) -> None:
        """Begin anew: the agent knows none of our segments, and holds none; and none of its own counts any more."""
        with self._lock:
            self._uses = dict.fromkeys(self._uses, 0)
            for number in list(self._uses):
                self._free_unused(number)
        self._withdrawn.clear()
        self._words.clear()
        self._shown.clear()
        self._made.clear()
        self._made.extend(self._ours)
        self.has_news = bool(self._made)
        self._released = deque()
        self._map = None

    def close(self) -> None:
        """Give our segments back to the system; what the agent or a view of a result holds stays until it is let go."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        self._ours.clear()
        self._made.clear()


def _taken(numbers: deque[int]) -> tuple[int, ...]:
    return tuple(numbers.popleft() for _ in range(len(numbers)))
