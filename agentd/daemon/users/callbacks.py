"""The outbox of callbacks: whoever asked is told of an operation's end at least once, or visibly given up.

What is to be done at the end of an operation of COMPSs' door goes the same way: it too survives a restart.

Law: an address is resolved once per attempt, checked, and exactly that one is called; redirects are not followed, and
nothing of ours but the operation itself is sent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

from agentd.core.events import CallbackEnded, DrainRequested
from agentd.rest.compss import hooks as compss

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import httpx

    from agentd.core.commands import CallBack
    from agentd.core.events import Event
    from agentd.daemon.settings import Settings
    from agentd.daemon.users.jobs import Jobs
    from agentd.daemon.users.stopping import Stopping
    from agentd.model.views import OperationView

log = logging.getLogger("agentd")

FIRST_S, MOST_S = 1.0, 300.0
"""Between attempts, doubling (promised: up to 5 min)."""
GIVE_UP_S = 24 * 3600.0
"""After which a callback is given up (promised)."""
ATTEMPT_S = 10.0
"""How long one attempt may take (chosen)."""
AT_ONCE = 16
"""Attempts under way at a time (chosen)."""
STOP_TRIES = 3
"""How often another agent is asked to stop before that is given up (chosen: it may be gone already)."""
JSON, XML = "application/json", "application/xml"


class Ended(Protocol):
    """Where the end of an operation is read."""

    stopping: Stopping

    async def ending(self, operation: int) -> bytes | None:
        """Give an ended operation as JSON; None when it has expired."""
        ...

    async def ended(self, operation: int) -> OperationView | None:
        """Give an ended operation; None when it has expired."""
        ...

    def logs(self, operation: int, follow: bool) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what it printed."""
        ...


class Callbacks:
    """Calls back; an asynchronous context, which drops what is under way when it is left: the journal knows it."""

    def __init__(self, operations: Ended, jobs: Jobs, post: Callable[[Event], None], settings: Settings) -> None:
        self._operations = operations
        self._jobs = jobs
        self._post = post
        self._grace_s = settings.grace_s
        self._allowed = settings.callback_host
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
        hooks = compss.read(command.url)
        work = self._deliver(command.operation, command.url) if hooks is None else self._end(command.operation, hooks)
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _deliver(self, operation: int, url: str) -> None:
        async def attempt() -> bool:
            body = await self._operations.ending(operation)
            return body is None or await self._attempt("POST", url, body, JSON)

        self._post(CallbackEnded(operation, is_given_up=not await self._insist(attempt)))

    async def _end(self, operation: int, hooks: compss.Hooks) -> None:
        """Do what was asked for at the end of an operation of COMPSs' door."""
        view = await self._operations.ended(operation)
        if view is None:
            self._post(CallbackEnded(operation))
            return
        await self._jobs.end(view, self._operations.logs(operation, False))
        is_told = True
        if hooks.notify:
            from agentd.rest.compss.written import ended_xml  # loads the schedule of types, for those who want it

            notice = ended_xml(view)
            is_told = await self._insist(lambda: self._attempt("PUT", hooks.notify, notice, XML))
        async with asyncio.TaskGroup() as stops:
            for agent in hooks.agents:
                stops.create_task(self._stop(agent))
        self._post(CallbackEnded(operation, is_given_up=not is_told))
        if hooks.stops:
            log.info("operation %d has ended, and this agent with it, as was asked for", operation)
            self._post(DrainRequested(self._grace_s))

    async def _stop(self, agent: str) -> None:
        """Ask another agent to stop, over the link where it is a neighbour; one that does not is named in the log."""
        from agentd.rest.bodies.callbacks import objection  # loads what only the user port needs

        stopping = self._operations.stopping
        neighbour = await stopping.neighbour_at(agent)
        if neighbour:
            why = await stopping.ask(neighbour, "an operation has ended, and you were to stop with it")
        else:
            why = objection(agent, self._allowed) or await self._stop_by_its_port(agent)
        if why:
            log.warning("the agent at %s was not stopped: %s", agent, why)

    async def _stop_by_its_port(self, agent: str) -> str:
        """Ask at its port for users, as COMPSs does; gives why it did not stop."""
        for pause in (*[FIRST_S] * (STOP_TRIES - 1), 0.0):
            if await self._attempt("DELETE", f"{agent}/COMPSs/", b"", XML, self._grace_s + ATTEMPT_S):
                return ""
            await asyncio.sleep(pause)
        return "it could not be asked"

    async def _insist(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """Try until it succeeds; False when that was given up."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + GIVE_UP_S, FIRST_S
        while not await attempt():
            if loop.time() + pause > until:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, MOST_S)
        return True

    async def _attempt(self, method: str, url: str, body: bytes, kind: str, patience_s: float = ATTEMPT_S) -> bool:
        """Call once; tells whether it was taken."""
        import httpx

        if self._client is None:
            self._client = await self._stack.enter_async_context(
                httpx.AsyncClient(follow_redirects=False, trust_env=False)
            )
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            async with self._slots, asyncio.timeout(patience_s):
                address = await _resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
                target = httpx.URL(url).copy_with(host=address)
                answer = await self._client.request(
                    method,
                    target,
                    content=body,
                    headers={"content-type": kind, "host": parts.netloc},
                    extensions={"sni_hostname": host},
                    timeout=patience_s,
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
    from agentd.rest.bodies.callbacks import is_never_called  # loads what only the user port needs

    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    address = str(found[0][4][0])
    if is_never_called(address):
        raise ValueError(f"{host} is {address}, which is never called back")
    return address
