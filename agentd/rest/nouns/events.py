"""Server-sent events: first a snapshot, then every change, for as long as the client stays and keeps up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from agentd.rest.answering.answers import SSE, Emit, Stream, closing
from agentd.rest.call import Call, current
from agentd.rest.nouns.operations import parameter
from agentd.rest.port import Change
from agentd.rest.routes import Route

HEARTBEAT = b": alive\n\n"
TOO_SLOW = b'event: reconnect\nretry: 1000\ndata: {"reason":"this reader is slower than the changes"}\n\n'


class Backlog:
    """The changes that wait for one reader; never more than its caps."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.is_over = False
        """Nothing more will come: the changes ended, or the reader is too slow."""
        self.has_overflowed = False
        self._most = most
        self._most_bytes = most_bytes
        self._changes: deque[Change] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()
        self._taken = asyncio.Event()

    async def put(self, change: Change, patience_s: float) -> bool:
        """Add a change; false when no room was made for it in `patience_s`, and then there never is again.

        A burst that is larger than the caps does not make a reader slow; one that takes nothing meanwhile is.
        """
        while not self._has_room(len(change.data)):
            self._taken.clear()
            try:
                async with asyncio.timeout(patience_s):
                    await self._taken.wait()
            except TimeoutError:
                self.has_overflowed = True
                self.end()
                return False
        self._bytes += len(change.data)
        self._changes.append(change)
        self._woken.set()
        return True

    def _has_room(self, size: int) -> bool:
        """Tell whether a change of this size fits; one that is larger than the cap goes alone."""
        return not self._changes or (len(self._changes) < self._most and self._bytes + size <= self._most_bytes)

    def end(self) -> None:
        """Say that nothing more will come."""
        self.is_over = True
        self._woken.set()

    async def take(self, patience_s: float) -> list[Change]:
        """Take all changes that are there, waiting for the first one; none after `patience_s` or at the end."""
        if not self._changes and not self.is_over:
            try:
                async with asyncio.timeout(patience_s):
                    await self._woken.wait()
            except TimeoutError:
                return []
        self._woken.clear()
        changes = list(self._changes)
        self._changes.clear()
        self._bytes = 0
        self._taken.set()
        return changes


def framed(change: Change) -> bytes:
    """Write a change as one event; a line break in JSON is between its words and means nothing."""
    data = change.data.replace(b"\r", b"").replace(b"\n", b"")
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (change.id, change.topic.encode(), data)


async def _collect(changes: AsyncIterator[Change], backlog: Backlog, patience_s: float) -> None:
    try:
        async with closing(changes):
            async for change in changes:
                if not await backlog.put(change, patience_s):
                    return
    finally:
        backlog.end()


async def _deliver(backlog: Backlog, emit: Emit, heartbeat_s: float) -> None:
    while True:
        was_over = backlog.is_over
        changes = await backlog.take(heartbeat_s)
        if changes and not await emit(b"".join(map(framed, changes))):
            return
        if was_over:
            break
        if not changes and not backlog.is_over and not await emit(HEARTBEAT):
            return
    if backlog.has_overflowed:
        await emit(TOO_SLOW)


async def follow_events(call: Annotated[Call, Depends(current)]) -> Response:
    """Follow what happens: a snapshot, then changes, each with an id.

    `Last-Event-ID` goes on after that change, as long as the agent remembers it. A comment comes at least each
    15 seconds. A reader that does not keep up gets the event `reconnect`, and the stream ends.
    """
    last = call.headers.get(b"last-event-id", b"")
    after = int(last) if last.isdigit() and len(last) <= 18 else None
    settings = call.settings

    async def write(emit: Emit) -> None:
        backlog = Backlog(settings.stream_queue, settings.stream_queue_bytes)
        async with asyncio.TaskGroup() as tasks:
            collecting = tasks.create_task(_collect(call.port.changes(after), backlog, settings.stream_patience_s))
            await _deliver(backlog, emit, settings.heartbeat_s)
            collecting.cancel()

    return Stream(write, SSE, settings.send_deadline_s, call.connection.cut)


ROUTES = (
    Route(
        method="GET",
        path="/v1/events",
        scope="read",
        endpoint=follow_events,
        tag="events",
        is_endless=True,
        answers={200: None},
        media=("text/event-stream",),
        problems=(503,),
        parameters=(parameter("Last-Event-ID", "header", {"type": "string"}, "The last change that was seen."),),
        example="-N",
    ),
)
