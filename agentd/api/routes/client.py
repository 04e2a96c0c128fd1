"""A client of one agent: each method is one route of its REST interface."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agentd.api.places import ANNOUNCED, LOOPBACK, Place, find, has_died
from agentd.api.routes import requests, submissions, trust
from agentd.api.routes.pins import MISMATCH, mismatch, pinned
from agentd.api.routes.requests import Answer, Blob, Health, NotInThisForm, Request
from agentd.api.routes.streams import Event, EventReader, LogLine, log_line
from agentd.api.routes.tables import Rows
from agentd.model.addresses import COMM_PORT, REST_PORT
from agentd.model.errors import AgentdError, RequestError, Unreachable
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

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
PATIENCE_S = 30.0
"""How long an agent may take to answer, beside what it was asked to wait. Chosen: a busy small device."""
CONNECT_S = 5.0
"""How long a connection may take to be made. Chosen: some lost packets on the slowest link."""
NO_TLS = "WRONG_VERSION_NUMBER"
"""What OpenSSL says of a port that answers its greeting in another language."""
_ERRNO = re.compile(r"\[Errno -?\d+\] ")
LONGEST_WAIT_S = 60.0
"""Longest wait in one request: what stands between may cut connections that say nothing for longer. Chosen."""


def connect(address: str | os.PathLike[str] | None = None, token: str | None = None) -> Agent:
    """Find an agent; nothing is sent yet.

    Args:
        address: None for the agent on this device; a state folder, `host:port`, or `http(s)://host:port`.
        token: for an agent elsewhere; the one on this device needs none, or its own is found.

    Raises:
        ConfigError: `address` is none.
        Unreachable: no agent has announced itself on this device, or it has no REST interface.
    """
    return Agent(with_rest(find(address, token)))


def with_rest(place: Place) -> Place:
    """Insist on a REST interface.

    Raises:
        Unreachable: the agent has none.
    """
    if not place.url:
        raise Unreachable(f"the agent {place.name or place.where} has no REST interface: start it with --rest-port")
    return place


def http_options(place: Place) -> dict[str, Any]:
    """Give the settings of an HTTP client for an agent, the same for sync and async."""
    import httpx  # 0.1 s: whoever only makes an executor on this device does not pay for it

    headers = {"authorization": f"Bearer {place.token}"} if place.token else {}
    host = httpx.URL(place.url).host
    trusted = {"verify": pinned(place.certificate)} if place.certificate else {}
    return {
        **trusted,
        "base_url": place.url,
        "headers": headers,
        "trust_env": host not in LOOPBACK,  # a proxy of the environment cannot reach this device's loopback
        "limits": httpx.Limits(max_connections=32, max_keepalive_connections=8),
    }


def patience(wait_s: float) -> httpx.Timeout:
    """Give the time-outs of a request whose answer may take `wait_s` on purpose; without end, only dialling has one."""
    import httpx

    return httpx.Timeout(None if math.isinf(wait_s) else wait_s + PATIENCE_S, connect=CONNECT_S)


def unreachable(place: Place, error: Exception, *, has_answered: bool = False) -> Unreachable:
    """Say that no answer came, with the address; one that has answered before speaks what we speak."""
    words = str(error) or type(error).__name__
    if MISMATCH in words:
        words = (
            mismatch(error)
            if place.certificate
            else "its certificate is not known here: use `agentd login` with an invitation (agentd invite --user NAME)"
        )
    elif _is_refused(error) and has_died(place.pid):
        # One that stops in order takes its socket away; the name that users' code knows it by stays.
        is_left = place.socket is not None and place.socket.parent.name != ANNOUNCED
        how = "was killed, or the device went down" if is_left else "was stopped"
        words = f"its process {place.pid} {how}: `agentd start` starts it again, and what it had accepted goes on"
    elif _is_refused(error):
        words = "nobody listens there; `agentd start` prints its address when it is ready"
    elif has_answered and "disconnected" in words:
        words = "it closed the connection"
    elif place.url.startswith("http:") and "disconnected" in words:
        words += (
            f" If its port speaks TLS: https{place.url.removeprefix('http')}; if it is the one for agents "
            f"({COMM_PORT} unless it was set): users have another ({REST_PORT})"
        )
    elif NO_TLS in words:
        words = f"its port does not speak TLS: http{place.url.removeprefix('https')}"
    return Unreachable(f"the agent at {place.url} cannot be reached: {_ERRNO.sub('', words)}")


def _is_refused(error: BaseException | None) -> bool:
    """Tell whether, below what libraries made of it, nobody listened."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


class Agent:
    """One agent, seen over HTTP. Close it, or use it as a context manager, when it is not needed any more.

    Every method may raise `Unreachable` (no answer; the address is in the message) and `RequestError` (the agent
    refused; the message says why and what to do).
    """

    def __init__(self, place: Place) -> None:
        import httpx

        self._place = place
        self._http = httpx.Client(**http_options(place))
        self._has_answered = False

    # --- operations ---------------------------------------------------------------------------------------------

    def call(self, function: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a function as an operation and give its value; blocks until it has ended.

        Raises:
            TaskFailed: it did not end well; carries the remote traceback.
        """
        return self.result(self.submit(function, args, kwargs))

    def submit(
        self,
        function: str | Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        wait_s: float = 0.0,
        **options: Any,
    ) -> OperationView:
        """Submit an operation: it is on the agent's disk when this returns. Options are those of a submission."""
        return self.send(requests.submit(submissions.submission(function, args, kwargs, **options), wait_s))

    def submit_script(self, source: str, file_name: str, args: Sequence[str] = (), **options: Any) -> OperationView:
        """Submit a program that runs as `__main__`, with text arguments."""
        return self.send(requests.submit(submissions.script(source, file_name, args, **options)))

    def batch(self, submissions: Iterable[Mapping[str, Any]]) -> list[OperationView | AgentdError]:
        """Submit many, made by `submissions.submission`, 1,000 to a commit; a refused one is its error."""
        bodies: list[Mapping[str, Any]] = list(submissions)
        rows: list[OperationView | AgentdError] = []
        for start in range(0, len(bodies), requests.MOST_IN_BATCH):
            answers = self.send(requests.batch(bodies[start : start + requests.MOST_IN_BATCH]))
            rows += answers
        return rows

    def get(self, operation: str | OperationView, wait_s: float = 0.0) -> OperationView:
        """Look at an operation, waiting up to `wait_s` seconds for its end."""
        return self.send(requests.operation(operation, wait_s))

    def wait(self, operation: str | OperationView, timeout: float | None = None) -> OperationView:
        """Wait until an operation has ended.

        Raises:
            TimeoutError: it has not, after `timeout` seconds.
        """
        end_s = None if timeout is None else monotonic() + timeout
        while True:
            view = self.get(operation, requests.seconds_left(end_s, monotonic(), LONGEST_WAIT_S))
            if view.state in TERMINAL:
                return view
            if end_s is not None and monotonic() >= end_s:
                raise TimeoutError(f"operation {view.id} is still {view.state} after {timeout:g} s")

    def result(self, operation: str | OperationView, timeout: float | None = None) -> Any:
        """Wait for an operation's value: as JSON says it where JSON can, else unpickled.

        Raises:
            TimeoutError: there is none after `timeout` seconds.
            TaskFailed: it did not end well; carries the remote traceback.
        """
        ended = self.wait(operation, timeout)
        try:
            return self.send(requests.result(ended))
        except NotInThisForm as error:
            if requests.PICKLE not in error.available:
                raise
            return self.send(requests.result(ended, accept=requests.PICKLE))

    def operations(
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
        page = self.page(state, limit, cursor, function=function, name=name)
        return Rows(page.operations)

    def page(
        self,
        state: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        *,
        function: str | None = None,
        name: str | None = None,
    ) -> Page:
        """Give one page of operations and the cursor of the next."""
        return self.send(requests.operations(state, limit, cursor, function, name))

    def tasks(self, operation: str | OperationView) -> Rows[TaskView]:
        """List the tasks of an operation."""
        return self.send(requests.tasks(operation))

    def cancel(self, operation: str | OperationView) -> OperationView:
        """Cancel an operation: what waits is dropped, what runs is stopped."""
        return self.send(requests.cancel(operation))

    def logs(self, operation: str | OperationView, *, follow: bool = False) -> Iterator[LogLine]:
        """Yield what users' code wrote; with `follow` until the operation has ended."""
        with self._lines(requests.logs(operation, follow=follow)) as lines:
            for line in lines:
                piece = log_line(line)
                if piece is not None:
                    yield piece

    def put_blob(self, data: bytes | Iterable[bytes]) -> Blob:
        """Store a large value, at once or streamed from an iterable (such as a file); `.argument` stands for it."""
        return self.send(requests.blob(), data)

    # --- the agent ----------------------------------------------------------------------------------------------

    def agent(self) -> AgentView:
        """Show who the agent is and how it stands."""
        return self.send(requests.agent())

    def resources(self) -> Rows[ResourceView]:
        """List the hosts of its pool."""
        return self.send(requests.resources())

    def add(
        self,
        name: str,
        capacity: int | Mapping[str, Any],
        adaptor: str = "comm",
        properties: Mapping[str, str] | None = None,
        *,
        is_parent: bool = False,
    ) -> ResourceView:
        """Add a host, or let a known one grow. `capacity`: a number of CPU units, or what the REST interface takes."""
        return self.send(
            requests.add_resource(name, as_capacity(capacity), adaptor, properties or {}, is_parent=is_parent)
        )

    def reduce(self, name: str, capacity: int | Mapping[str, Any]) -> ResourceView:
        """Take capacity away; what is in use is owed until it is free."""
        return self.send(requests.reduce_resource(name, as_capacity(capacity)))

    def remove(self, name: str, *, lost: bool = False) -> ResourceView:
        """Remove a host: drained, or at once because it is `lost`."""
        return self.send(requests.remove_resource(name, lost=lost))

    def neighbours(self) -> Rows[NeighbourView]:
        """List its links to other agents."""
        return self.send(requests.neighbours())

    def invite(
        self,
        user: str = "",
        *,
        scope: str = "submit",
        name: str = "",
        expires_s: float | None = None,
        addresses: Sequence[str] = (),
    ) -> InvitationView:
        """Invite an agent of another device, or with `user` a person's programs; the string is shown this once."""
        return self.send(trust.invite("user" if user else "peer", user or name, scope, expires_s, addresses))

    def invitations(self) -> Rows[InvitationView]:
        """List the invitations that are open, without their strings."""
        return self.send(trust.invitations())

    def cancel_invitation(self, identifier: str) -> None:
        """Void an invitation."""
        self.send(trust.cancel_invitation(identifier))

    def join(self, invitation: str, name: str = "", *, link: bool = True, is_parent: bool = False) -> PeerView:
        """Have it use another agent's invitation; with `link` it offers that one work from then on."""
        return self.send(trust.join(invitation, name, link=link, is_parent=is_parent))

    def peers(self) -> Rows[PeerView]:
        """List the agents that it is paired with."""
        return self.send(trust.peers())

    def change_peer(
        self, name: str, *, new_name: str | None = None, limits: Mapping[str, Any] | None = None
    ) -> PeerView:
        """Call it something else, or limit it: `functions`, `max_tasks`, `submit_upward`, `may_stop`; others stay."""
        return self.send(trust.change_peer(name, new_name, limits))

    def revoke_peer(self, name: str, reason: str = "") -> PeerView:
        """Have it trust a peer no more: the connection ends at once."""
        return self.send(trust.revoke_peer(name, reason))

    def forget_peer(self, name: str) -> None:
        """Have it strike a revoked peer out of its book."""
        self.send(trust.forget_peer(name))

    def events(self, last_id: int | None = None) -> Iterator[Event]:
        """Yield a snapshot (unless `last_id` is still remembered) and then every change, until the agent stops."""
        reader = EventReader()
        with self._lines(requests.events(last_id)) as lines:
            for line in lines:
                event = reader.feed(line)
                if event is not None:
                    yield event

    def shutdown(self, drain_s: float | None = None) -> None:
        """Have it drain and stop; returns when it has begun."""
        self.send(requests.shutdown(drain_s))

    def health(self) -> Health:
        """Ask whether it is alive."""
        return self.send(requests.health())

    def ready(self) -> bool:
        """Ask whether it takes work now."""
        try:
            self.send(requests.ready())
        except RequestError as error:
            if error.status != 503:
                raise
            return False
        return True

    def metrics(self) -> str:
        """Read its figures, as Prometheus text."""
        return self.send(requests.metrics())

    # --- the shell ----------------------------------------------------------------------------------------------

    def send(self, request: Request[T], content: bytes | Iterable[bytes] | None = None) -> T:
        """Send any request and read its answer; `content` is a body that is streamed."""
        import httpx

        try:
            response = self._http.request(
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

    @contextmanager
    def _lines(self, request: Request[Any]) -> Iterator[Iterator[str]]:
        import httpx

        try:
            with self._http.stream(
                request.method, request.path, headers=request.headers, timeout=patience(request.wait_s)
            ) as response:
                if response.status_code >= 400:
                    request.outcome(Answer(response.status_code, response.headers, response.read()))
                yield response.iter_lines()
        except httpx.TransportError as error:
            raise unreachable(self._place, error, has_answered=self._has_answered) from error

    def go_on_at(self, place: Place) -> None:
        """Ask at another place from now on: an agent that was restarted may have another port."""
        import httpx

        if place == self._place:
            return
        self._place, before, self._http = place, self._http, httpx.Client(**http_options(place))
        before.close()

    @property
    def url(self) -> str:
        """Base address of its REST interface."""
        return self._place.url

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Agent {self._place.name + ' at ' if self._place.name else ''}{self._place.url}>"

    def _repr_html_(self) -> str:
        return Rows([self.agent()])._repr_html_()


def as_capacity(capacity: int | Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a capacity as the REST interface takes it; a number is so many CPU units."""
    return {"processors": [{"units": capacity}]} if isinstance(capacity, int) else capacity
