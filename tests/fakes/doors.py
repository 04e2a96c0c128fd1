"""A REST door in front of an agent in memory, on a loop of its own, for as long as a test lasts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx

from agentd.rest.app import create_app
from agentd.rest.compss.routes import ROUTES as COMPSS
from agentd.rest.serving.listening import listen
from agentd.rest.serving.server import RestServer
from agentd.rest.settings import RestSettings
from tests.fakes.agent_port import MemoryAgent

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of no use on loopback; to make one that knows all authorities takes longer than a test."""
TOKENS = {f"{scope}-token": (scope, scope) for scope in ("read", "submit", "code", "admin")}


class Door:
    """A running door: its address, its agent, and a way to act on its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, agent: MemoryAgent, server: RestServer, port: int) -> None:
        self.agent = agent
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._loop = loop

    def do(self, action: Callable[[], Any]) -> Any:
        """Run a function on the door's loop and give its value."""

        async def acted() -> Any:
            return action()

        return self.wait(acted())

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the door's loop and give its value."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def client(self, scope: str | None = None, **headers: str) -> httpx.Client:
        """Make a client with the token of a scope, or with none."""
        if scope is not None:
            headers["Authorization"] = f"Bearer {scope}-token"
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, verify=PLAIN)

    def socket(self) -> socket.socket:
        """Connect without a client."""
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def send(self, data: bytes) -> bytes:
        """Send bytes and read until the door hangs up."""
        with self.socket() as connection:
            connection.sendall(data)
            return drained(connection)


def drained(connection: socket.socket) -> bytes:
    """Read until the other end hangs up."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


async def until(condition: Callable[[], object]) -> None:
    """Wait on a door's loop until something is so; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)


@contextlib.contextmanager
def open_door(settings: RestSettings | None = None, *, same_user: bool = True, **changes: Any) -> Iterator[Door]:
    """Open a door on a free loopback port, and close it at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> Door:
        agent = MemoryAgent(TOKENS, same_user=same_user)
        for name, value in changes.items():
            setattr(agent, name, value)
        used = settings or RestSettings()
        server = RestServer(create_app(agent, used, COMPSS), listen("127.0.0.1", 0), used)
        return Door(loop, agent, server, await server.start())

    async def end() -> None:
        await door.server.stop(1.0)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_asyncgens()

    door = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
    try:
        yield door
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
