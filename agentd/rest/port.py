"""What the REST door asks of the agent behind it; the daemon and the tests' fake each satisfy it.

Law: the door decides who may ask and how an answer looks; the agent decides everything else. Errors are
`RequestError`s, which carry the HTTP status and say what to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from msgspec import Struct

from agentd.model.peers import Limits
from agentd.model.task import Template
from agentd.model.values import Payload
from agentd.model.views import (
    AgentView,
    InvitationView,
    LoginView,
    NeighbourView,
    OperationView,
    Page,
    PeerView,
    ResourceView,
    TaskView,
)
from schedulers.capacity import Capacity

SCOPES = ("none", "read", "submit", "code", "admin")
"""Each includes those before it. `peer` stands apart and is of no use at this door."""


class Request(Struct, frozen=True):
    """One operation that a user asks for, checked in form, not yet in substance."""

    template: Template
    payload: Payload
    """`Codec.JSON` bytes of {"args": …, "kwargs": …}, or a pickle for scope `code`."""
    blobs: tuple[int, ...] = ()
    """Objects named by `{"$blob": id}` in the arguments."""
    key: str = ""
    digest: bytes = b""
    callback: str = ""
    identity: str = ""
    """Who asks; scopes the idempotency key."""


class Wanted(Struct, frozen=True):
    """Which operations are listed: those that are all of this."""

    states: frozenset[str] = frozenset()
    """One of these; empty: any."""
    function: str = ""
    """A pattern with `*` and `?`, as for files; empty: any."""
    name: str = ""
    """Likewise, of the name that people gave it."""


class Made(Struct, frozen=True):
    """The operation that answers a request, and whether it is new (202) or was there before (200)."""

    operation: OperationView
    is_new: bool


class ResultView(Struct, frozen=True):
    """The recorded result of a terminal operation, as bytes that only the reader decodes."""

    operation: OperationView
    json: bytes | None
    """UTF-8 JSON, where the value can be said in JSON."""
    pickle: Callable[[], bytes] | None
    """Writes it, where there is one."""
    raw: bytes | None
    """The value itself when it is bytes."""


class Change(Struct, frozen=True):
    """One server-sent event."""

    id: int
    topic: str
    data: bytes
    """JSON."""


class PairingPort(Protocol):
    """Who is trusted, and how one comes to be. What is answered is on the disk."""

    def invite(
        self, role: str, name: str, scope: str, lifetime_s: float | None, addresses: list[str]
    ) -> InvitationView:
        """Make an invitation for a `peer` or a `user`; its string is shown this once.

        Raises:
            RequestError: 422, nobody could use it, and what to do about that.
        """
        ...

    def invitations(self) -> list[InvitationView]:
        """List those that are open, without their strings."""
        ...

    def cancel_invitation(self, identifier: str) -> None:
        """Void an invitation.

        Raises:
            RequestError: 404, none of that name is open.
        """
        ...

    async def login(self, secret: bytes, where: str) -> LoginView:
        """Give a user that comes with an invitation a token, shown this once.

        Raises:
            RequestError: 403, the invitation does not let anybody in, and why.
        """
        ...

    async def join(self, text: str, name: str, *, link: bool, is_parent: bool) -> PeerView:
        """Use another agent's invitation; with `link`, keep a link to it from then on.

        Raises:
            RequestError: 422, the string is none; 403, it lets nobody in; 503, nobody answers.
        """
        ...

    def peers(self) -> list[PeerView]:
        """List all peers, revoked ones included."""
        ...

    async def change(self, name: str, new_name: str | None, limits: Callable[[Limits], Limits] | None) -> PeerView:
        """Call a peer something else, or limit what it may ask for, from this moment on.

        `limits` gives what is to hold, from what holds.

        Raises:
            RequestError: 404, there is no such peer; 422, what is asked for makes no sense.
        """
        ...

    async def revoke(self, name: str, reason: str) -> PeerView:
        """Trust a peer no more: its connection ends now, and it is told why.

        Raises:
            RequestError: 404, there is no such peer.
        """
        ...

    async def forget(self, name: str) -> None:
        """Strike a revoked peer out of the book.

        Raises:
            RequestError: 404, none of that name is revoked.
        """
        ...


class Pooled(Struct, frozen=True):
    """One host of the pool with all that was granted of it."""

    name: str
    adaptor: str
    """By which it is reached; empty for the own device."""
    capacity: Capacity


class AgentPort(Protocol):
    """One running agent."""

    @property
    def pairing(self) -> PairingPort:
        """Whom it trusts."""
        ...

    def identify(self, token: str) -> tuple[str, str] | None:
        """Give the name and scope of a bearer token, in constant time; None when it is unknown."""
        ...

    def is_same_user(self, client: tuple[str, int], server: tuple[str, int]) -> bool:
        """Tell whether the client end of this loopback TCP connection is held by the agent's own user."""
        ...

    async def submit(self, request: Request, *, is_patient: bool = False) -> Made:
        """Accept one operation: returns when it is committed; if the caller is going to wait anyway, a little later.

        A result that a waiting caller gets with it counts as read.

        Raises:
            RequestError: 422 unknown or forbidden function, bad constraint, key reused with another body;
                429 queue full; 503 draining; 507 disk full.
        """
        ...

    async def submit_all(self, requests: list[Request]) -> list[Made | Exception]:
        """Accept many in one commit, each with an answer of its own."""
        ...

    async def operation(self, operation: int, wait_s: float = 0.0) -> OperationView:
        """Give the operation, waiting up to `wait_s` for its end.

        Raises:
            RequestError: 404, never heard of it or expired.
        """
        ...

    async def operations(self, wanted: Wanted, limit: int, cursor: str | None) -> Page:
        """List operations, newest first.

        Raises:
            RequestError: 422, the operation of the cursor is not kept any more.
        """
        ...

    async def result(self, operation: int) -> ResultView:
        """Give the recorded result.

        Raises:
            RequestError: 404; 409 while it runs.
        """
        ...

    async def tasks(self, operation: int) -> list[TaskView]:
        """List the tasks of an operation."""
        ...

    def logs(self, operation: int, follow: bool) -> AsyncIterator[tuple[str, bytes]]:
        """Yield (`stdout` or `stderr`, bytes) of users' code; with `follow`, until the operation is terminal."""
        ...

    async def cancel(self, operation: int) -> OperationView:
        """Stop an operation: what waits is dropped, what runs is interrupted."""
        ...

    def agent(self) -> AgentView:
        """Say who the agent is."""
        ...

    def resources(self) -> list[ResourceView]:
        """List the pool."""
        ...

    async def add_resource(
        self, name: str, capacity: Capacity, adaptor: str, properties: dict[str, str], is_parent: bool
    ) -> ResourceView:
        """Add a host, or let a known one grow."""
        ...

    async def reduce_resource(self, name: str, capacity: Capacity) -> ResourceView:
        """Take capacity away; what is in use is owed."""
        ...

    async def remove_resource(self, name: str, lost: bool) -> ResourceView:
        """Remove a host: drained, or lost at once."""
        ...

    def pool(self) -> list[Pooled]:
        """List the pool with the whole capacity of each host, this device first."""
        ...

    def neighbours(self) -> list[NeighbourView]:
        """List the links."""
        ...

    def changes(self, after: int | None) -> AsyncIterator[Change]:
        """Yield a snapshot (unless `after` is still remembered) and then every change."""
        ...

    async def store_blob(self, chunks: AsyncIterator[bytes], length: int | None) -> int:
        """Stream a large value into the object store and give its id.

        Raises:
            RequestError: 413 above the cap, 507 disk full.
        """
        ...

    async def shutdown(self, drain_s: float | None) -> None:
        """Begin to drain and stop; returns when it has begun."""
        ...

    async def neighbour_at(self, url: str) -> str:
        """Name the neighbour that is connected and has its port for users at an URL; empty when it is nobody's."""
        ...

    async def until_stopped(self) -> None:
        """Wait until all has ended that ends before the doors close."""
        ...

    # --- for COMPSs' door ---------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a line, or several, on the agent's own stdout; never waits for who reads it."""
        ...

    def wall_s(self) -> float:
        """Say what the wall clock shows, in seconds since 1970."""
        ...

    def begin_job(self, operation: int) -> None:
        """Give an operation the next number of a job, under which its output is kept at its end."""
        ...

    def functions(self) -> list[str]:
        """Name the functions that were asked for lately."""
        ...

    def readiness(self) -> str:
        """Say why no work can be taken; empty when it can."""
        ...

    def metrics(self) -> str:
        """Give Prometheus text."""
        ...
