"""One request on its way from the guard to its route: who asks, where it goes, and what it brings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import parse_qsl

from fastapi import Request
from msgspec import Struct
from starlette.types import Scope

from agentd.rest.answering.problems import Problem
from agentd.rest.port import SCOPES, AgentPort
from agentd.rest.routes import Route
from agentd.rest.settings import RestSettings

CALL = "agentd.call"
CONNECTION = "agentd.connection"
"""Keys of the ASGI scope."""

RANK = {scope: rank for rank, scope in enumerate(SCOPES)}


class Caller(Struct, frozen=True):
    """Who asks, and how far they may go."""

    identity: str
    scope: str

    def may(self, scope: str) -> bool:
        """Tell whether the caller's scope includes this one."""
        return RANK[self.scope] >= RANK[scope]

    def demand(self, scope: str, what: str) -> None:
        """Insist on a scope that depends on what the request says.

        Raises:
            Problem: 403, the caller has less.
        """
        if not self.may(scope):
            raise too_little(self, scope, what)


def too_little(caller: Caller, scope: str, what: str) -> Problem:
    """Refuse a caller who is known but may not do this."""
    return Problem(
        403,
        f"{what} needs the scope {scope!r}, and {caller.identity} has {caller.scope!r}. "
        f"Make a token for it with: agentd token add NAME --scope {scope}",
        kind="scope",
        members={"scope": scope},
    )


class Connection:
    """What is known of one client connection for as long as it lives.

    Attributes:
        is_same_user: whether the peer is a process of the agent's own user; None until somebody asked.
        is_streamed: the request on it has a body that is judged by its progress, not by its duration.
        is_endless: the response on it may go on for as long as the client stays.
        task: what is to be cancelled when the client leaves.
        is_lost: the client has left.
    """

    __slots__ = ("cut", "is_endless", "is_lost", "is_same_user", "is_streamed", "task")

    def __init__(self, cut: Callable[[], None] = lambda: None) -> None:
        self.cut = cut
        self.is_same_user: bool | None = None
        self.is_streamed = False
        self.is_endless = False
        self.task: asyncio.Task[object] | None = None
        self.is_lost = False

    def lose(self) -> None:
        """Note that the client has left, and stop what only it was waiting for."""
        self.is_lost = True
        if self.task is not None:
            self.task.cancel()


class Call:
    """One admitted request."""

    __slots__ = ("body", "caller", "connection", "headers", "params", "port", "query", "route", "settings")

    def __init__(
        self,
        route: Route,
        params: dict[str, str],
        headers: dict[bytes, bytes],
        query: bytes,
        port: AgentPort,
        settings: RestSettings,
        connection: Connection,
    ) -> None:
        self.route = route
        self.params = params
        self.headers = headers
        self.query = query
        self.port = port
        self.settings = settings
        self.connection = connection
        self.caller = Caller("nobody", "none")
        self.body = b""

    def wishes(self) -> dict[str, str]:
        """Give all query parameters, the last one of each if it is repeated."""
        return _wishes(self.query)

    def wish(self, name: str) -> str | None:
        """Give a query parameter, the last one if it is repeated."""
        if not self.query:
            return None
        wishes = _known_wishes if len(self.query) < 100 else _wishes
        return wishes(self.query).get(name)


def _wishes(query: bytes) -> dict[str, str]:
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


_known_wishes = lru_cache(maxsize=256)(_wishes)
"""Short queries are mostly the same ones, and reading one takes as long as reading a body."""


def call_of(scope: Scope) -> Call:
    """Give the admitted request of an ASGI scope."""
    call = scope[CALL]
    assert isinstance(call, Call)
    return call


async def current(request: Request) -> Call:
    """Give a route its admitted request (a FastAPI dependency)."""
    return call_of(request.scope)


async def agent(request: Request) -> AgentPort:
    """Give a route its agent (a FastAPI dependency)."""
    return call_of(request.scope).port
