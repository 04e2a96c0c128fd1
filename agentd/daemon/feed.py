"""What happens at this agent, for whoever watches: the last changes by number, and queues for those who follow."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from agentd.rest.port import Change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

REMEMBERED = 1000
"""Changes that a watcher who comes back can still be told (chosen: minutes on a busy agent)."""


class Feed:
    """Numbers changes and hands them to watchers; one that does not keep up is cut off and may resume."""

    def __init__(self, snapshot: Callable[[], dict[str, object]]) -> None:
        self._snapshot = snapshot
        self._last = 0
        self._recent: deque[Change] = deque(maxlen=REMEMBERED)
        self._watchers: set[asyncio.Queue[Change | None]] = set()

    def publish(self, topic: str, subject: str, detail: dict[str, object]) -> None:
        """Tell everyone who watches."""
        self._last += 1
        change = Change(self._last, topic, msgspec.json.encode({"subject": subject, **detail}))
        self._recent.append(change)
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
        oldest = self._recent[0].id if self._recent else self._last + 1
        if after + 1 < oldest:
            return None
        return [change for change in self._recent if change.id > after]

    def close(self) -> None:
        """Let all watchers go."""
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
        self._watchers.clear()
