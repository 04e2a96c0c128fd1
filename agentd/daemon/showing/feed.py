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


_Note = tuple[int, str, str, dict[str, object]]
"""Number, topic, subject, detail."""
_Ends = tuple[int, list[tuple[int, str]]]
"""Number of the last one, and ends that were told together: of each the operation's number and its state."""


def _changes(note: _Note | _Ends) -> list[Change]:
    if len(note) == 4:
        number, topic, subject, detail = note
        return [Change(number, topic, msgspec.json.encode({"subject": subject, **detail}))]
    last, ends = note
    told = [msgspec.json.encode({"subject": str(operation), "state": state}) for operation, state in ends]
    return [Change(number, "operation", one) for number, one in enumerate(told, last + 1 - len(ends))]


class Feed:
    """Numbers changes and hands them to watchers; one that does not keep up is cut off and may resume."""

    def __init__(self, snapshot: Callable[[], dict[str, object]]) -> None:
        self._snapshot = snapshot
        self._last = 0
        self._recent: deque[_Note | _Ends] = deque()
        """Written out only when somebody wants to know; the first of the first may be older than what is remembered."""
        self._watchers: set[asyncio.Queue[Change | None]] = set()

    def publish(self, topic: str, subject: str, detail: dict[str, object]) -> None:
        """Tell everyone who watches."""
        self._last += 1
        self._note((self._last, topic, subject, detail))

    def publish_ends(self, ends: list[tuple[int, str]]) -> None:
        """Tell everyone who watches how operations ended, by number and state; the list is ours from now on."""
        if ends:
            self._last += len(ends)
            self._note((self._last, ends if self._watchers else ends[-REMEMBERED:]))

    def _note(self, note: _Note | _Ends) -> None:
        recent = self._recent
        recent.append(note)
        while recent[0][0] <= self._last - REMEMBERED:
            recent.popleft()
        if self._watchers:
            for change in _changes(note):
                self._tell(change)

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
        if after < self._last - REMEMBERED:
            return None
        return [change for note in self._recent if note[0] > after for change in _changes(note) if change.id > after]

    def close(self) -> None:
        """Let all watchers go."""
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
        self._watchers.clear()
