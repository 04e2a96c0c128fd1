"""The client of `agentd.api.routes.client` for asyncio: the same methods, to be awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Self, TypeVar

from agentd.api.places import Place, find
from agentd.api.routes import requests, submissions, trust
from agentd.api.routes.client import LONGEST_WAIT_S, as_capacity, http_options, patience, unreachable, with_rest
from agentd.api.routes.requests import Answer, Blob, Health, NotInThisForm, Request
from agentd.api.routes.streams import Event, EventReader, LogLine, log_line
from agentd.api.routes.tables import Rows
from agentd.model.errors import AgentdError, RequestError
from agentd.model.views import (
    TERMINAL,
    AgentView,
    InvitationView,
    NeighbourView,
    OperationView,
    Page,
    PeerView,
    ResourceView,
    TaskView,
)

T = TypeVar("T")


def connect_async(address: str | os.PathLike[str] | None = None, token: str | None = None) -> AsyncAgent:
    """Find an agent, as `connect` does; nothing is sent yet.

    Raises:
        ConfigError: `address` is none.
        Unreachable: no agent has announced itself on this device, or it has no REST interface.
    """
    return AsyncAgent(with_rest(find(address, token)))


class AsyncAgent:
    """One agent, seen over HTTP from coroutines. Close it, or use it as a context manager, when it is not needed.

    Every method may raise `Unreachable` (no answer; the address is in the message) and `RequestError` (the agent
    refused; the message says why and what to do).
    """

    def __init__(self, place: Place) -> None:
        import httpx

        self._place = place
        self._http = httpx.AsyncClient(**http_options(place))
        self._has_answered = False

    # --- operations ---------------------------------------------------------------------------------------------

    async def call(self, function: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a function as an operation and give its value.

        Raises:
            TaskFailed: it did not end well; carries the remote traceback.
        """
        return await self.result(await self.submit(function, args, kwargs))

    async def submit(
        self,
        function: str | Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        wait_s: float = 0.0,
        **options: Any,
    ) -> OperationView:
        """Submit an operation: it is on the agent's disk when this returns. Options are those of a submission."""
        return await self.send(requests.submit(submissions.submission(function, args, kwargs, **options), wait_s))

    async def submit_script(
        self, source: str, file_name: str, args: Sequence[str] = (), **options: Any
    ) -> OperationView:
        """Submit a program that runs as `__main__`, with text arguments."""
        return await self.send(requests.submit(submissions.script(source, file_name, args, **options)))

    async def batch(self, submissions: Iterable[Mapping[str, Any]]) -> list[OperationView | AgentdError]:
        """Submit many, made by `submissions.submission`, 1,000 to a commit; a refused one is its error."""
        bodies: list[Mapping[str, Any]] = list(submissions)
        rows: list[OperationView | AgentdError] = []
        for start in range(0, len(bodies), requests.MOST_IN_BATCH):
            answers = await self.send(requests.batch(bodies[start : start + requests.MOST_IN_BATCH]))
            rows += answers
        return rows

    async def get(self, operation: str | OperationView, wait_s: float = 0.0) -> OperationView:
        """Look at an operation, waiting up to `wait_s` seconds for its end."""
        return await self.send(requests.operation(operation, wait_s))

    async def wait(self, operation: str | OperationView, timeout: float | None = None) -> OperationView:  # noqa: ASYNC109 - as in the sync client
        """Wait until an operation has ended.

        Raises:
            TimeoutError: it has not, after `timeout` seconds.
        """
        end_s = None if timeout is None else monotonic() + timeout
        while True:
            view = await self.get(operation, requests.seconds_left(end_s, monotonic(), LONGEST_WAIT_S))
            if view.state in TERMINAL:
                return view
            if end_s is not None and monotonic() >= end_s:
                raise TimeoutError(f"operation {view.id} is still {view.state} after {timeout:g} s")

    async def result(self, operation: str | OperationView, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as in the sync client
        """Wait for an operation's value: as JSON says it where JSON can, else unpickled.

        Raises:
            TimeoutError: there is none after `timeout` seconds.
            TaskFailed: it did not end well; carries the remote traceback.
        """
        ended = await self.wait(operation, timeout)
        try:
            return await self.send(requests.result(ended))
        except NotInThisForm as error:
            if requests.PICKLE not in error.available:
                raise
            return await self.send(requests.result(ended, accept=requests.PICKLE))

    async def operations(
        self,
        state: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        *,
        function: str | None = None,
        name: str | None = None,
    ) -> Rows[OperationView]:
        """List operations, newest first; of several states with commas between, by patterns with `*` and `?`.

        `page` also gives the cursor of the next page.
        """
        page = await self.page(state, limit, cursor, function=function, name=name)
        return Rows(page.operations)

    async def page(
        self,
        state: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        *,
        function: str | None = None,
        name: str | None = None,
    ) -> Page:
        """Give one page of operations and the cursor of the next."""
        return await self.send(requests.operations(state, limit, cursor, function, name))

    async def tasks(self, operation: str | OperationView) -> Rows[TaskView]:
        """List the tasks of an operation."""
        return await self.send(requests.tasks(operation))

    async def cancel(self, operation: str | OperationView) -> OperationView:
        """Cancel an operation: what waits is dropped, what runs is stopped."""
        return await self.send(requests.cancel(operation))

    async def logs(self, operation: str | OperationView, *, follow: bool = False) -> AsyncIterator[LogLine]:
        """Yield what users' code wrote; with `follow` until the operation has ended."""
        async with self._lines(requests.logs(operation, follow=follow)) as lines:
            async for line in lines:
                piece = log_line(line)
                if piece is not None:
                    yield piece

    async def put_blob(self, data: bytes | AsyncIterable[bytes]) -> Blob:
        """Store a large value, at once or streamed from an iterable (such as a file); `.argument` stands for it."""
        return await self.send(requests.blob(), data)

    # --- the agent ----------------------------------------------------------------------------------------------

    async def agent(self) -> AgentView:
        """Show who the agent is and how it stands."""
        return await self.send(requests.agent())

    async def resources(self) -> Rows[ResourceView]:
        """List the hosts of its pool."""
        return await self.send(requests.resources())

    async def add(
        self,
        name: str,
        capacity: int | Mapping[str, Any],
        adaptor: str = "comm",
        properties: Mapping[str, str] | None = None,
        *,
        is_parent: bool = False,
    ) -> ResourceView:
        """Add a host, or let a known one grow. `capacity`: a number of CPU units, or what the REST interface takes."""
        return await self.send(
            requests.add_resource(name, as_capacity(capacity), adaptor, properties or {}, is_parent=is_parent)
        )

    async def reduce(self, name: str, capacity: int | Mapping[str, Any]) -> ResourceView:
        """Take capacity away; what is in use is owed until it is free."""
        return await self.send(requests.reduce_resource(name, as_capacity(capacity)))

    async def remove(self, name: str, *, lost: bool = False) -> ResourceView:
        """Remove a host: drained, or at once because it is `lost`."""
        return await self.send(requests.remove_resource(name, lost=lost))

    async def neighbours(self) -> Rows[NeighbourView]:
        """List its links to other agents."""
        return await self.send(requests.neighbours())

    async def invite(
        self,
        user: str = "",
        *,
        scope: str = "submit",
        name: str = "",
        expires_s: float | None = None,
        addresses: Sequence[str] = (),
    ) -> InvitationView:
        """Invite an agent of another device, or with `user` a person's programs; the string is shown this once."""
        return await self.send(trust.invite("user" if user else "peer", user or name, scope, expires_s, addresses))

    async def invitations(self) -> Rows[InvitationView]:
        """List the invitations that are open, without their strings."""
        return await self.send(trust.invitations())

    async def cancel_invitation(self, identifier: str) -> None:
        """Void an invitation."""
        await self.send(trust.cancel_invitation(identifier))

    async def join(self, invitation: str, name: str = "", *, link: bool = True, is_parent: bool = False) -> PeerView:
        """Have it use another agent's invitation; with `link` it offers that one work from then on."""
        return await self.send(trust.join(invitation, name, link=link, is_parent=is_parent))

    async def peers(self) -> Rows[PeerView]:
        """List the agents that it is paired with."""
        return await self.send(trust.peers())

    async def change_peer(
        self, name: str, *, new_name: str | None = None, limits: Mapping[str, Any] | None = None
    ) -> PeerView:
        """Call it something else, or limit it: `functions`, `max_tasks`, `submit_upward`, `may_stop`; others stay."""
        return await self.send(trust.change_peer(name, new_name, limits))

    async def revoke_peer(self, name: str, reason: str = "") -> PeerView:
        """Have it trust a peer no more: the connection ends at once."""
        return await self.send(trust.revoke_peer(name, reason))

    async def forget_peer(self, name: str) -> None:
        """Have it strike a revoked peer out of its book."""
        await self.send(trust.forget_peer(name))

    async def events(self, last_id: int | None = None) -> AsyncIterator[Event]:
        """Yield a snapshot (unless `last_id` is still remembered) and then every change, until the agent stops."""
        reader = EventReader()
        async with self._lines(requests.events(last_id)) as lines:
            async for line in lines:
                event = reader.feed(line)
                if event is not None:
                    yield event

    async def shutdown(self, drain_s: float | None = None) -> None:
        """Have it drain and stop; returns when it has begun."""
        await self.send(requests.shutdown(drain_s))

    async def health(self) -> Health:
        """Ask whether it is alive."""
        return await self.send(requests.health())

    async def ready(self) -> bool:
        """Ask whether it takes work now."""
        try:
            await self.send(requests.ready())
        except RequestError as error:
            if error.status != 503:
                raise
            return False
        return True

    async def metrics(self) -> str:
        """Read its figures, as Prometheus text."""
        return await self.send(requests.metrics())

    # --- the shell ----------------------------------------------------------------------------------------------

    async def send(self, request: Request[T], content: bytes | AsyncIterable[bytes] | None = None) -> T:
        """Send any request and read its answer; `content` is a body that is streamed."""
        import httpx

        try:
            response = await self._http.request(
                request.method,
                request.path,
                content=request.body if content is None else content,
                headers=request.headers,
                timeout=patience(request.wait_s),
            )
        except httpx.TransportError as error:
            raise unreachable(self._place, error, has_answered=self._has_answered) from error
        self._has_answered = True
        return request.outcome(Answer(response.status_code, response.headers, response.content))

    @asynccontextmanager
    async def _lines(self, request: Request[Any]) -> AsyncIterator[AsyncIterator[str]]:
        import httpx

        try:
            async with self._http.stream(
                request.method, request.path, headers=request.headers, timeout=patience(request.wait_s)
            ) as response:
                if response.status_code >= 400:
                    request.outcome(Answer(response.status_code, response.headers, await response.aread()))
                yield response.aiter_lines()
        except httpx.TransportError as error:
            raise unreachable(self._place, error, has_answered=self._has_answered) from error

    async def go_on_at(self, place: Place) -> None:
        """Ask at another place from now on: an agent that was restarted may have another port."""
        import httpx

        if place == self._place:
            return
        self._place, before, self._http = place, self._http, httpx.AsyncClient(**http_options(place))
        await before.aclose()

    @property
    def url(self) -> str:
        """Base address of its REST interface."""
        return self._place.url

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncAgent {self._place.name + ' at ' if self._place.name else ''}{self._place.url}>"
