"""The port for users: its address is taken at once, what serves it is loaded while the Comm door serves already."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agentd.comm.trust.security import serving
from agentd.comm.whereabouts import joined
from agentd.daemon.neighbours.addresses import reachable_here
from agentd.daemon.readings import OFF
from agentd.rest.serving.listening import listen
from agentd.rest.settings import RestSettings
from agentd.store.identity import FILE_NAME as KEY_FILE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from agentd.daemon.settings import Settings
    from agentd.daemon.users.agent import Agent
    from agentd.rest.serving.server import RestServer

STOP_S = 2.0
"""How long requests have to end when the agent stops (chosen)."""


class UserPort:
    """One agent's port for users, if it has one."""

    def __init__(self, settings: Settings, folder: Path, stack: AsyncExitStack) -> None:
        """Take the address; who comes early waits.

        Raises:
            StateInUse: the port is taken.
            ConfigError: the address is none of this machine.
        """
        self._settings = settings
        self._folder = folder
        self._listening: socket.socket | None = None
        self.number = 0
        """Of the port; 0 for none."""
        if settings.rest_port != OFF:
            self._listening = listen(settings.rest_host, settings.rest_port)
            self.number = self._listening.getsockname()[1]
            stack.callback(self._listening.close)

    async def open(self, stack: AsyncExitStack, agent: Agent) -> None:
        """Load what serves it, and serve; the agent is told under which URL."""
        if self._listening is None:
            return
        rest_server, create_app, compss_routes = await asyncio.to_thread(_load)
        settings = self._settings
        limits = RestSettings(
            names=(settings.hostname, settings.rest_host),
            rest_names=settings.rest_name,
            local_access=settings.local_access,
            callback_hosts=settings.callback_host,
        )
        tls = serving(self._folder / KEY_FILE) if settings.rest_tls else None
        opened = rest_server(create_app(agent, limits, compss_routes), self._listening, limits, tls=tls)
        await opened.start()
        stack.push_async_callback(opened.stop, STOP_S)
        stack.callback(agent.feed.close)
        agent.rest_bound = f"{'http' if tls is None else 'https'}://{joined(settings.rest_host, self.number)}"
        agent.rest = reachable_here(agent.rest_bound)


def _load() -> tuple[type[RestServer], Callable[..., Any], tuple[Any, ...]]:
    """Import what only this port needs: FastAPI and uvicorn take longer than all the rest together."""
    from agentd.rest.app import create_app
    from agentd.rest.compss.routes import ROUTES
    from agentd.rest.serving.server import RestServer

    return RestServer, create_app, ROUTES
