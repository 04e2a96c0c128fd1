"""The user port on a socket: uvicorn's protocol in the daemon's own loop.

uvicorn's `Server` is not used: it installs signal handlers and wakes up ten times a second. All that was needed of it
is here: listening, the Date header, and the end.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from agentd.model.errors import ConfigError, StateInUse
from agentd.rest.protocol import GuardedProtocol, make
from agentd.rest.settings import RestSettings

ABORT_S = 1.0
"""How long cancelled requests have to notice it. Chosen: they only have to unwind."""


class RestServer:
    """Serves an ASGI application on one TCP port. `start` and `stop` are each called once, on the daemon's loop."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        settings: RestSettings,
        *,
        tls: ssl.SSLContext | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._settings = settings
        self._tls = tls
        self._date = Date(wall)
        self._state = ServerState()
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and give the port: the one that was asked for, or the one that was free for 0.

        Raises:
            StateInUse: the port is taken.
            ConfigError: the address is not one of this machine, or the port is not ours to take.
        """
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
        bound = bind(self._host, self._port)
        self._listener = await asyncio.get_running_loop().create_server(
            make(config, self._state, self._settings, self._date),
            sock=bound,
            ssl=self._tls,
            ssl_handshake_timeout=self._settings.header_deadline_s if self._tls else None,
            backlog=min(self._settings.connections, 1024),
        )
        return int(bound.getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Take no more connections, give requests `grace_s` to end, cut off the rest. Streams are cut off at once.

        Cancelled in between, it leaves connections open; call it again.
        """
        if self._listener is None:
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


def bind(host: str, port: int) -> socket.socket:
    """Open a listening address.

    Raises:
        StateInUse: the port is taken.
        ConfigError: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"--rest-host {host}: {error.strerror}; give a name or an address of this machine") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise _not_bound(host, port, error) from error
    return bound


def _not_bound(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return StateInUse(f"port {port} of {host} is in use: choose another with --rest-port N, or --rest-port auto")
    if error.errno == errno.EACCES:
        return ConfigError(f"port {port} needs privileges: choose one above 1023 with --rest-port N")
    return ConfigError(f"--rest-host {host}: {error.strerror}; give an address of this machine")
