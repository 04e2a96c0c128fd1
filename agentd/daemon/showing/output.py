"""What users' code wrote, wherever it runs: read here, or asked of the neighbour that holds the task."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from agentd.wire.messages import Output, OutputRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentd.comm.door import Door
    from agentd.comm.link import Link
    from agentd.wire.messages import Message
    from agentd.workers.written import Written

    Key = tuple[int, int, int, int]
    """What was asked, and of whom: number of the link, task, stream, offset."""
    Elsewhere = Callable[[str, int, str, int, int], Awaitable[bytes | None]]
    """Reads at a neighbour that has no link: (neighbour, task, stream, offset, limit); None: it is not there."""

PATIENCE_S = 3.0
"""How long a neighbour's answer is waited for (chosen: under its lease)."""
STREAMS = {"stdout": 1, "stderr": 2}
NAMES = {1: "out", 2: "err"}
MOST_BYTES = 1 << 20
"""Of one answer."""


class RemoteOutput:
    """Reads output of tasks by number; a neighbour that has handed a task on asks further itself."""

    def __init__(self, door: Door, written: Written, elsewhere: Elsewhere) -> None:
        self._door = door
        self._written = written
        self._elsewhere = elsewhere
        self._waiting: dict[Key, list[asyncio.Future[bytes]]] = {}
        self.holder_of: Callable[[int], str] = _nobody
        """Tells the neighbour that holds a task; empty for this agent."""
        self.may_read: Callable[[str, int], bool] = _anybody
        """Tells whether a neighbour may read what a task wrote: not what was never its own."""
        self.when_here: Callable[[int, Callable[[], None]], None] = _at_once
        """Does something when what other agents wrote for an operation is here."""
        door.route(OutputRequest, self._asked)
        door.route(Output, self._answered)

    def is_linked(self, host: str) -> bool:
        """Tell whether a neighbour can be asked now."""
        return self._door.link_to(host) is not None

    async def read(self, host: str, task: int, stream: str, offset: int, limit: int) -> bytes:
        """Read what a task wrote; nothing when there is nothing (more), or its holder does not answer."""
        return await self.ask(host, task, stream, offset, limit) or b""

    async def ask(self, host: str, task: int, stream: str, offset: int, limit: int) -> bytes | None:
        """Read what a task wrote; nothing when there is nothing (more), None when its holder does not answer."""
        number = STREAMS[stream]
        if not host:
            return self._written.read(task, NAMES[number], offset, limit)
        link = self._door.link_to(host)
        if link is None:
            return await self._elsewhere(host, task, stream, offset, limit)
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        key = (link.number, task, number, offset)
        self._waiting.setdefault(key, []).append(waiter)
        self._door.send(link, OutputRequest(task=task, stream=number, offset=offset, limit=limit))
        self._door.flush()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await waiter
        except TimeoutError:
            return None
        finally:
            self._drop(key, waiter)

    def _drop(self, key: Key, waiter: asyncio.Future[bytes]) -> None:
        waiters = self._waiting.get(key, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiting.pop(key, None)

    # --- messages -----------------------------------------------------------------------------------------------

    def _asked(self, link: Link, message: Message) -> None:
        """A neighbour wants output of a task that it gave us; one that went further is asked for there."""
        assert isinstance(message, OutputRequest)
        if message.stream not in NAMES:
            return
        neighbour = self._door.neighbour_of(link)
        if neighbour and not self.may_read(neighbour, message.task):
            self._answer(link, message, b"")
            return
        host = self.holder_of(message.task)
        onward = self._door.link_to(host) if host else None
        if onward is not None and onward is not link:
            self._forward(link, onward, message)
            return
        self.when_here(message.task, partial(self._answer_here, link, message))

    def _answer_here(self, link: Link, message: OutputRequest) -> None:
        limit = min(message.limit, MOST_BYTES)
        self._answer(link, message, self._written.read(message.task, NAMES[message.stream], message.offset, limit))

    def _forward(self, link: Link, onward: Link, message: OutputRequest) -> None:
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        key = (onward.number, message.task, message.stream, message.offset)
        self._waiting.setdefault(key, []).append(waiter)

        def done(found: asyncio.Future[bytes]) -> None:
            self._drop(key, found)
            self._answer(link, message, b"" if found.cancelled() else found.result())

        waiter.add_done_callback(done)
        asyncio.get_running_loop().call_later(PATIENCE_S, waiter.cancel)
        self._door.send(onward, message)
        self._door.flush()

    def _answer(self, link: Link, message: OutputRequest, data: bytes) -> None:
        if not link.is_closed:
            answer = Output(task=message.task, stream=message.stream, offset=message.offset, data=data)
            self._door.send(link, answer)
            self._door.flush()

    def _answered(self, link: Link, message: Message) -> None:
        """Take what was asked for, from who was asked."""
        assert isinstance(message, Output)
        for waiter in self._waiting.pop((link.number, message.task, message.stream, message.offset), []):
            if not waiter.done():
                waiter.set_result(message.data)


def _nobody(_: int) -> str:
    return ""


def _anybody(_: str, __: int) -> bool:
    return True


def _at_once(_: int, act: Callable[[], None]) -> None:
    act()
