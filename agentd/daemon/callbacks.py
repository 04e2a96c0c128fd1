"""The outbox of callbacks: whoever asked is told of an operation's end at least once, or visibly given up.

Law: an address is resolved once per attempt, checked, and exactly that one is called; redirects are not followed, and
nothing of ours but the operation itself is sent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from agentd.core.events import CallbackEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

    from agentd.core.commands import CallBack
    from agentd.core.events import Event

log = logging.getLogger("agentd")

FIRST_S, MOST_S = 1.0, 300.0
"""Between attempts, doubling (promised: up to 5 min)."""
GIVE_UP_S = 24 * 3600.0
"""After which a callback is given up (promised)."""
ATTEMPT_S = 10.0
"""How long one attempt may take (chosen)."""
AT_ONCE = 16
"""Attempts under way at a time (chosen)."""


class Callbacks:
    """Calls back; an asynchronous context, which drops what is under way when it is left: the journal knows it."""

    def __init__(self, ending: Callable[[int], Awaitable[bytes | None]], post: Callable[[Event], None]) -> None:
        self._ending = ending
        self._post = post
        self._tasks = asyncio.TaskGroup()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._stack.aclose()

    def begin(self, command: CallBack) -> None:
        """Tell an address of an end, in the background."""
        task = self._tasks.create_task(self._deliver(command.operation, command.url))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _deliver(self, operation: int, url: str) -> None:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + GIVE_UP_S, FIRST_S
        while True:
            body = await self._ending(operation)
            if body is None or await self._attempt(url, body):
                self._post(CallbackEnded(operation))
                return
            if loop.time() + pause > until:
                self._post(CallbackEnded(operation, is_given_up=True))
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, MOST_S)

    async def _attempt(self, url: str, body: bytes) -> bool:
        """Call once; tells whether it was taken."""
        import httpx

        if self._client is None:
            self._client = await self._stack.enter_async_context(
                httpx.AsyncClient(follow_redirects=False, trust_env=False)
            )
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            async with self._slots, asyncio.timeout(ATTEMPT_S):
                address = await _resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
                target = httpx.URL(url).copy_with(host=address)
                answer = await self._client.post(
                    target,
                    content=body,
                    headers={"content-type": "application/json", "host": parts.netloc},
                    extensions={"sni_hostname": host},
                )
        except (httpx.HTTPError, OSError, TimeoutError, ValueError) as error:
            log.info("callback to %s failed: %r", host, error)
            return False
        if answer.is_success:
            return True
        log.info("callback to %s was answered with %d", host, answer.status_code)
        return False


async def _resolve(host: str, port: int) -> str:
    """Look a name up once and give an address that may be called.

    Raises:
        ValueError: it leads where nothing may be called.
        OSError: it cannot be resolved.
    """
    from agentd.rest.callbacks import is_never_called  # loads what only the user port needs

    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    address = str(found[0][4][0])
    if is_never_called(address):
        raise ValueError(f"{host} is {address}, which is never called back")
    return address
