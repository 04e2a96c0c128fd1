"""The user port on a socket: uvicorn's protocol in the daemon's own loop.

uvicorn's `Server` is not used: it installs signal handlers and wakes up ten times a second. All that was needed of it
is here: listening, the Date header, and the end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from agentd.rest.serving.protocol import GuardedProtocol, make
from agentd.rest.settings import RestSettings

ABORT_S = 1.0
"""How long cancelled requests have to notice it. Chosen: they only have to unwind."""


class RestServer:
    """Serves an ASGI application on a listening socket; `start` and `stop` are called once each, on its loop."""

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        settings: RestSettings,
        *,
        tls: ssl.SSLContext | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._listening = listening
        self._settings = settings
        self._tls = tls
        self._date = Date(wall)
        self._state = ServerState()
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Serve who comes, and give the port."""
        config = Config(
            self._app,
            interface="asgi3",
            loop="none",
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=self._settings.keep_alive_s,  # type: ignore[arg-type]
        )
        config.load()
        self._listener = await asyncio.get_running_loop().create_server(
            make(config, self._state, self._settings, self._date),
            sock=self._listening,
            ssl=self._tls,
            ssl_handshake_timeout=self._settings.header_deadline_s if self._tls else None,
            backlog=min(self._settings.connections, 1024),
        )
        return int(self._listening.getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Take no more connections, give requests `grace_s` to end, cut off the rest. Streams are cut off at once.

        Cancelled in between, it leaves connections open; call it again.
        """
        if self._listener is None:
            self._listening.close()
            return
        self._listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        self._abort(only_endless=True)
        await self._settle(grace_s)
        self._abort(only_endless=False)
        await self._settle(ABORT_S)
        for task in list(self._state.tasks):
            task.cancel()
        await self._listener.wait_closed()

    async def _settle(self, seconds: float) -> None:
        """Let requests end by themselves."""
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=seconds)

    def _abort(self, *, only_endless: bool) -> None:
        for connection in list(self._state.connections):
            if isinstance(connection, GuardedProtocol) and (connection.is_endless or not only_endless):
                connection.transport.abort()


class Date:
    """The Date header, made once a second."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._second = -1
        self._headers: list[tuple[bytes, bytes]] = []

    def __call__(self) -> list[tuple[bytes, bytes]]:
        """Give the header as a list of its own kind, to which nothing may be added."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers
