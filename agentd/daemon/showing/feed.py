"""What happens at this agent, for whoever watches: the last changes by number, and queues for those who follow."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

from agentd.rest.port import Change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

REMEMBERED = 1000
"""Changes that a watcher who comes back can still be told (chosen: minutes on a busy agent)."""


_Note = tuple[int, str, str | int, dict[str, object] | str]
"""Number, topic, subject, detail; or of an end: the operation's number, and its state as the detail."""


def _change(note: _Note) -> Change:
    number, topic, subject, detail = note
    told = {"state": detail} if isinstance(detail, str) else detail
    return Change(number, topic, msgspec.json.encode({"subject": str(subject), **told}))


class Feed:
    """Numbers changes and hands them to watchers; one that does not keep up is cut off and may resume."""

    def __init__(self, snapshot: Callable[[], dict[str, object]]) -> None:
        self._snapshot = snapshot
        self._last = 0
        self._recent: deque[_Note] = deque(maxlen=REMEMBERED)
        """Written out only when somebody wants to know."""
        self._watchers: set[asyncio.Queue[Change | None]] = set()

    def publish(self, topic: str, subject: str, detail: dict[str, object]) -> None:
        """Tell everyone who watches."""
        self._last += 1
        note = (self._last, topic, subject, detail)
        self._recent.append(note)
        if self._watchers:
            self._tell(_change(note))

    def publish_ends(self, ends: list[tuple[int, str]]) -> None:
        """Tell everyone who watches how operations ended, by number and state."""
        if not ends:
            return
        first = self._last + 1
        self._last += len(ends)
        operations, states = zip(*ends, strict=True)
        notes: list[_Note] = [*zip(range(first, self._last + 1), repeat("operation"), operations, states, strict=False)]
        self._recent.extend(notes)
        if self._watchers:
            for note in notes:
                self._tell(_change(note))

    def _tell(self, change: Change) -> None:
        for queue in list(self._watchers):
            if queue.full():
                self._watchers.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(change)

    async def follow(self, after: int | None) -> AsyncIterator[Change]:
        """Yield what came after a number that is still remembered, else a snapshot; then every change."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue(REMEMBERED)
        self._watchers.add(queue)
        try:
            missed = self._missed(after)
            if missed is None:
                yield Change(self._last, "snapshot", msgspec.json.encode(self._snapshot()))
            else:
                for change in missed:
                    yield change
            while (change_or_end := await queue.get()) is not None:
                yield change_or_end
        finally:
            self._watchers.discard(queue)

    def _missed(self, after: int | None) -> list[Change] | None:
        if after is None or after > self._last:
            return None
        oldest = self._recent[0][0] if self._recent else self._last + 1
        if after + 1 < oldest:
            return None
        return [_change(note) for note in self._recent if note[0] > after]

    def close(self) -> None:
        """Let all watchers go."""
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
        self._watchers.clear()
