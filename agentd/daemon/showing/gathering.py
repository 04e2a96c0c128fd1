"""Output of tasks that ran elsewhere, brought to the operation that asked for them.

Law: each attempt's output is asked for once, when its end has come and says that there is any; who reads the log of an
operation to its end waits for what is on its way. Of each no more is read than would be kept, whatever a neighbour has.
What a cut interrupts goes on over the next link, and what is lost for good is told where it would stand.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Self

from agentd.daemon.showing.output import NAMES, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from agentd.core.events import EndsReceived
    from agentd.daemon.showing.output import RemoteOutput
    from agentd.model.exchange import End
    from agentd.workers.written import Written

CHUNK_BYTES = 1 << 16
"""Output that is asked of a neighbour at a time (chosen)."""
AT_ONCE = 8
"""Tasks whose output is read at a time (chosen)."""
KNOWN_MOST = 10_000
"""Attempts of which it is remembered that they were asked for (chosen: an end may come again over the next link)."""
AWAY_S = 60.0
"""How long a neighbour that is cut off is waited for (specified: so long it keeps what was written, at the least)."""
TRIES = 20
"""How often one is asked that is there and does not answer in its time, which makes that as long."""
AWAY_MOST = 1_000
"""Tasks that wait for their neighbours at a time; what more of them wrote is lost (chosen: a few MB of memory)."""
PATIENCE_S = 3.0
"""How long a reader waits for what is on its way (chosen: as for the output of one task)."""


class Gathering:
    """Reads what was written at neighbours; an asynchronous context, which drops what is under way when it is left."""

    def __init__(self, output: RemoteOutput, written: Written) -> None:
        self._output = output
        self._written = written
        self._tasks = asyncio.TaskGroup()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._known: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._under_way: dict[int, set[asyncio.Task[None]]] = {}
        """By operation."""
        self._away: dict[str, asyncio.Event] = {}
        """Neighbours that are waited for; set when they are there."""
        self._waiting = 0

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tasks in self._under_way.values():
            for task in tasks:
                task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def ended(self, event: EndsReceived) -> None:
        """Bring what tasks wrote that have ended at a neighbour; called before the engine takes their ends."""
        for end in event.ends:
            if end.outcome.output_bytes:
                self._begin(event.neighbour, end)

    def _begin(self, neighbour: str, end: End) -> None:
        root, key = self._written.root_of(end.task), (end.task, end.attempt)
        if root == end.task or key in self._known:
            return  # an operation's own output is read where it is; what came late is of nobody
        self._known[key] = None
        if len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)
        task = self._tasks.create_task(self._bring(neighbour, end.task, root))
        tasks = self._under_way.setdefault(root, set())
        tasks.add(task)

        def over(done: asyncio.Task[None]) -> None:
            tasks.discard(done)
            if not tasks and self._under_way.get(root) is tasks:
                del self._under_way[root]

        task.add_done_callback(over)

    def linked(self, neighbour: str) -> None:
        """A neighbour is there again."""
        found = self._away.pop(neighbour, None)
        if found is not None:
            found.set()

    async def _bring(self, neighbour: str, task: int, root: int) -> None:
        offsets = dict.fromkeys(STREAMS, 0)
        for _ in range(TRIES):
            async with self._slots:
                if await self._read_on(neighbour, task, root, offsets):
                    return
            if not await self._back(neighbour):
                break
        self._written.add(root, "err", b"[what a task wrote on %b could not be read]\n" % neighbour.encode())

    async def _read_on(self, neighbour: str, task: int, root: int, offsets: dict[str, int]) -> bool:
        """Read each stream from where that stopped; false: the neighbour does not answer."""
        for stream, number in STREAMS.items():
            while offsets[stream] < self._written.limit_bytes:
                data = await self._output.ask(neighbour, task, stream, offsets[stream], CHUNK_BYTES)
                if data is None:
                    return False
                if not data:
                    break
                self._written.add(root, NAMES[number], data)
                offsets[stream] += len(data)
        return True

    async def _back(self, neighbour: str) -> bool:
        """Wait until a neighbour is there; false: it stays away for too long, or too many wait."""
        if self._output.is_linked(neighbour):
            return True
        if self._waiting >= AWAY_MOST:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(AWAY_S):
                await self._away.setdefault(neighbour, asyncio.Event()).wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def after(self, operation: int, act: Callable[[], None]) -> None:
        """Do something when the output of an operation's tasks that have ended by now is here, or does not come."""
        left = set(self._under_way.get(operation, ()))
        if not left:
            act()
            return

        def over(done: asyncio.Task[None]) -> None:
            left.discard(done)
            if not left:
                act()

        for task in tuple(left):
            task.add_done_callback(over)

    async def settled(self, operation: int) -> None:
        """Wait until the output of an operation's tasks that have ended is here, or does not come."""
        tasks = self._under_way.get(operation)
        if tasks:
            await asyncio.wait(set(tasks), timeout=PATIENCE_S)
