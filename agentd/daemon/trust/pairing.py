"""Who is trusted, and how one comes to be: invitations, joining, limits, revocation; and what the book says of peers.

Law: what was answered as done is on the disk. The book in memory is the one on the disk, and the connections are held
to it from the same moment.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from agentd.comm.settings import CommSettings
from agentd.comm.trust.admission import Denial
from agentd.comm.trust.joining import join
from agentd.comm.trust.security import Security, check_certificate
from agentd.comm.whereabouts import host_of, told
from agentd.daemon.neighbours.addresses import reachable
from agentd.daemon.neighbours.located import placed
from agentd.daemon.repeats import Repeats
from agentd.daemon.trust.invitations import Invitations, Issued, used_already
from agentd.model.errors import ConfigError, RequestError
from agentd.model.peers import Limits, Peer, PinBook
from agentd.model.views import InvitationView, LoginView, PeerView
from agentd.rest.port import SCOPES
from agentd.store.peers import write_peers
from agentd.wire import invitation as strings
from agentd.wire.messages import Hello, HelloAck
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from agentd.comm.door import Door
    from agentd.comm.whereabouts import Met
    from agentd.daemon.clock import Clock
    from agentd.daemon.trust.tokens import TokenBook
    from agentd.daemon.users.agent import Agent
    from agentd.store.disk import Disk
    from agentd.store.identity import KeyFile

INVITED_S = 600.0
"""How long an invitation is good, unless somebody says otherwise."""

log = logging.getLogger("agentd.pairing")


class Pairing:
    """The operator's side of trust. An asynchronous context: leaving it waits for what is under way.

    Attributes:
        security: what holds the connections to the book; nobody else changes it.
    """

    def __init__(
        self,
        *,
        disk: Disk,
        folder: Path,
        identity: KeyFile | None,
        security: Security,
        tokens: TokenBook,
        clock: Clock,
        settings: CommSettings,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._identity = identity
        self.security = security
        self._tokens = tokens
        self._clock = clock
        self._settings = settings
        self._invitations = Invitations(clock.now)
        self._writing = asyncio.Lock()
        """Held from a look at the book to its being written."""
        self._tasks = asyncio.TaskGroup()
        self._repeats = Repeats(log, asyncio.get_running_loop().call_later)

    def serve(self, agent: Agent, door: Door, hello: Callable[[], Hello]) -> None:
        """Take what is behind the doors; called once, before anybody asks. `hello` introduces this agent."""
        self._agent = agent
        self._door = door
        self._hello = hello

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)
        self._repeats.close()

    @property
    def _book(self) -> PinBook:
        return self.security.book

    async def _write(self, book: PinBook) -> None:
        """Put a book in the place of the present one; to be called under the lock.

        Raises:
            RequestError: 507, the disk does not take it; nothing has changed.
        """
        try:
            await asyncio.to_thread(write_peers, self._disk, self._folder, book)
        except OSError as error:
            raise RequestError(
                f"the book of peers cannot be written: {error.strerror or error}; nothing has changed", status=507
            ) from error
        self._door.trust(book)

    def _own_identity(self) -> KeyFile:
        if self._identity is None:
            raise RequestError("this agent has no key: `pip install cryptography`, then start it again")
        return self._identity

    @property
    def certificate(self) -> str:
        """This agent's certificate as PEM, for programs of this device; empty when it has none."""
        return "" if self._identity is None else self._identity.pem

    @property
    def fingerprint(self) -> str:
        """What others pin of this agent: sha256 of its certificate; empty when it has none."""
        return "" if self._identity is None else self._identity.fingerprint

    # --- inviting -------------------------------------------------------------------------------------------------

    def invite(
        self, role: str, name: str, scope: str, lifetime_s: float | None, addresses: list[str]
    ) -> InvitationView:
        """Make an invitation; its string is shown this once.

        Raises:
            RequestError: nobody could use it, and what to do about that.
        """
        identity = self._own_identity()
        where, notes = self._addresses(role, addresses)
        if role == strings.USER:
            self._check_user(name, scope)
        secret, issued = self._invitations.issue(
            role, INVITED_S if lifetime_s is None else lifetime_s, name=name, scope=scope
        )
        made = strings.Invitation(
            role=role,
            addresses=tuple(where),
            fingerprint=bytes.fromhex(identity.fingerprint),
            secret=secret,
            expires_at=round(self._clock.now() + self._clock.wall_offset_s() + issued.lifetime_s),
            name=self._agent.agent().name,
        )
        log.info("invitation %s for a %s, good for %g s", issued.identifier, role, issued.lifetime_s)
        return InvitationView(
            issued.identifier, role, name, scope, issued.lifetime_s, where, strings.write(made), notes
        )

    def invitations(self) -> list[InvitationView]:
        """List those that are open, without their strings."""
        left = self._invitations.seconds_left
        return [
            InvitationView(issued.identifier, issued.role, issued.name, issued.scope, left(issued))
            for issued in self._invitations.open()
        ]

    def cancel_invitation(self, identifier: str) -> None:
        """Void an invitation."""
        self._invitations.cancel(identifier)

    def _addresses(self, role: str, asked: list[str]) -> tuple[list[str], list[str]]:
        """Give where the guest is to come, and what the operator should know about that."""
        bound = self._comm_address() if role == strings.PEER else self._rest_address()
        host, _, port = bound.rpartition(":")
        host = host.strip("[]")
        wrong = [each for each in asked if not strings.is_address(each) and not strings.is_address(f"{each}:1")]
        if wrong:
            raise RequestError(f"{wrong[0]!r} is no address: write host or host:port")
        where = [each if strings.is_address(each) else f"{each}:{port}" for each in asked]
        where = where or reachable(host, int(port))
        if not where:
            raise RequestError("this device has no address but loopback: name one with --address HOST[:PORT]")
        option = "--comm-host" if role == strings.PEER else "--rest-host"
        notes = []
        if not asked and self.security.may_be_plain(host) and not self.security.insecure:
            notes.append(f"only this device reaches {bound}: for others, start the agent with {option} 0.0.0.0")
        return where[: strings.MOST_ADDRESSES], notes

    def _comm_address(self) -> str:
        if not self._agent.comm:
            raise RequestError("this agent's port for other agents is closed: start it with --comm-port 46102")
        return self._agent.comm

    def _rest_address(self) -> str:
        scheme, _, address = (self._agent.rest_bound or "").partition("://")
        if scheme != "https":
            raise RequestError(
                "users on other devices come over TLS, and this agent's user port has none: "
                "start it with --rest-tls --rest-host 0.0.0.0"
            )
        return address

    def _check_user(self, name: str, scope: str) -> None:
        if scope not in SCOPES[1:]:
            raise RequestError(f"scope {scope!r} is none of {', '.join(SCOPES[1:])}")
        try:
            self._tokens.check_free(name)
        except ConfigError as error:
            raise RequestError(str(error)) from error

    # --- guests ---------------------------------------------------------------------------------------------------

    def receive(self, hello: Hello, where: str, answer: Callable[[Denial | None], None]) -> None:
        """Take an agent that comes with an invitation, and tell it when the book says so, or why not."""
        self._tasks.create_task(self._receive(hello, where, answer), name="a guest comes in")

    async def _receive(self, hello: Hello, where: str, answer: Callable[[Denial | None], None]) -> None:
        try:
            name = await self._let_in(hello)
        except RequestError as error:
            self._repeats.warn(host_of(where), "a guest from %s was refused: %s", where, error)
            answer(Denial("forbidden", str(error)))
        else:
            log.info("paired with %s, who came from %s", name, where)
            answer(None)

    async def _let_in(self, hello: Hello) -> str:
        async with self._writing:
            used = self._book.invited_by(strings.identifier_of(hello.secret))
            if used is not None:  # also before this agent was started
                raise used_already(used.name)
            issued = self._invitations.look(hello.secret, strings.PEER)
            check_certificate(hello.certificate)
            name = self._name(issued.name, hello)
            peer = self._peer(name, hello.agent_id, hello.certificate, (hello.address,), issued.identifier)
            book = self._book.add(peer)
            issued.used_by = peer.name  # before anything is awaited: nobody else comes in by it
            try:
                await self._write(book)
            except RequestError:
                issued.used_by = ""
                raise
        return peer.name

    def _peer(
        self, name: str, agent_id: str, certificate: bytes, addresses: tuple[str, ...], invitation: str = ""
    ) -> Peer:
        own = self._agent.agent()
        if agent_id == own.id or certificate == self._own_identity().certificate:
            raise RequestError("an agent cannot be paired with itself: use the invitation on another device")
        if name == own.name:
            raise RequestError(f"both agents are called {name}: start one of them with another --hostname")
        known = tuple(dict.fromkeys(each for each in addresses if strings.is_address(each)))
        return Peer(
            name=name,
            agent_id=agent_id,
            certificate=certificate,
            addresses=known,
            paired_at=self._clock.now() + self._clock.wall_offset_s(),
            invitation=invitation,
        )

    async def login(self, secret: bytes, where: str) -> LoginView:
        """Give a user that comes with an invitation a token, shown this once.

        Raises:
            RequestError: 403, the invitation does not let anybody in; 422, the user has a token already.
        """
        try:
            issued, token = await self._log_in(secret)
        except RequestError as error:
            self._repeats.warn(where, "a login from %s was refused: %s", where, error)
            raise
        log.info("user %s came in from %s, with scope %s", issued.name, where, issued.scope)
        return LoginView(issued.name, issued.scope, token, self._agent.agent().name)

    async def _log_in(self, secret: bytes) -> tuple[Issued, str]:
        async with self._writing:
            issued = self._invitations.look(secret, strings.USER)
            issued.used_by = issued.name
            try:
                token = await asyncio.to_thread(self._tokens.add, issued.name, issued.scope)
            except ConfigError as error:
                issued.used_by = ""
                raise RequestError(str(error)) from error
        return issued, token

    # --- joining --------------------------------------------------------------------------------------------------

    async def join(self, text: str, name: str, *, link: bool, is_parent: bool) -> PeerView:
        """Use an invitation of another agent: both know each other from then on, and a link is kept if wanted.

        Raises:
            RequestError: the string is none, or nobody lets us in, and why.
        """
        invitation = strings.read(text)
        if invitation.role != strings.PEER:
            raise RequestError("this invitation is for a person's programs: use it with `agentd login`")
        identity = self._own_identity()
        if invitation.fingerprint.hex() == identity.fingerprint:
            raise RequestError("this is an invitation of this very agent: use it on another device")
        if invitation.name == self._agent.agent().name:
            raise RequestError(f"both agents are called {invitation.name}: start one of them with another --hostname")

        def hello(own: str, other: str) -> Hello:
            return replace(
                self._hello(),
                role="guest",
                address=told(self._agent.comm or "", own, other),
                secret=invitation.secret,
                certificate=identity.certificate,
            )

        host = await join(invitation, hello, self._settings)
        async with self._writing:
            addresses = (host.address, *invitation.addresses)
            peer = self._peer(self._name(name, host.ack), host.ack.agent_id, host.certificate, addresses)
            book = self._book.add(peer)
            await self._write(book)
        added = book.of(peer.agent_id)
        assert added is not None, "it was added"
        log.info("paired with %s at %s", added.name, host.address)
        if link:  # one that is there already may have moved
            await self._agent.add_resource(added.name, Capacity(), "comm", placed(host.address), is_parent)
        return self._view(added)

    def _name(self, wanted: str, them: Hello | HelloAck) -> str:
        """Give the name of an agent that is paired: as people want it, as ever, or as it calls itself."""
        known = self._book.of(them.agent_id)
        return wanted or (known.name if known is not None else them.name)

    # --- the book -------------------------------------------------------------------------------------------------

    def peers(self) -> list[PeerView]:
        """List all peers, revoked ones included."""
        return [self._view(peer) for peer in self._book.peers]

    async def change(self, name: str, new_name: str | None, limits: Callable[[Limits], Limits] | None) -> PeerView:
        """Call a peer something else, or limit what it may ask for; both hold from this moment on."""
        async with self._writing:
            book = self._book
            if limits is not None:
                book = book.limit(name, limits(book.get(name).limits))
            if new_name is not None:
                if new_name == self._agent.agent().name:
                    raise RequestError(f"{new_name} is this agent's own name")
                book = book.rename(name, new_name)
            await self._write(book)
        return self._view(book.get(new_name or name))

    async def revoke(self, name: str, reason: str) -> PeerView:
        """Trust a peer no more: its connection ends now, and it is told why."""
        async with self._writing:
            peer = self._book.get(name)
            book = self._book.revoke(name, reason or "its operator ended the pairing")
            await self._write(book)
        log.info("revoked %s: %s", name, reason or "no reason given")
        if any(row.name == name for row in self._agent.resources()):
            await self._agent.remove_resource(name, lost=True)
        return self._view(next(each for each in book.peers if each.agent_id == peer.agent_id))

    async def forget(self, name: str) -> None:
        """Strike a revoked peer out of the book."""
        async with self._writing:
            await self._write(self._book.forget(name))

    def _view(self, peer: Peer) -> PeerView:
        link = self._agent.link_of(peer)
        state = "not linked" if link is None else link.state
        why_not = "" if link is None else link.why_not
        return PeerView(
            name=peer.name,
            agent_id=peer.agent_id,
            fingerprint=peer.fingerprint,
            state="revoked" if peer.revoked else state,
            addresses=list(peer.addresses),
            paired_at=peer.paired_at,
            functions=list(peer.limits.functions),
            max_tasks=peer.limits.max_tasks,
            submit_upward=peer.limits.submit_upward,
            may_stop=peer.limits.may_stop,
            revoked=peer.revoked,
            why_not=peer.revoked or why_not,
        )

    # --- where they are -------------------------------------------------------------------------------------------

    def met(self, met: Met) -> None:
        """A paired agent was met somewhere: the book notes where, and the pool follows it there."""
        peer = self._book.of(met.agent_id)
        if peer is None:
            return
        self._agent.follow(met, peer)
        is_news = met.address not in peer.addresses or (met.dialled_as and met.address != peer.addresses[0])
        if is_news and strings.is_address(met.address):
            self._tasks.create_task(self._note(met), name="note where a peer is")

    async def _note(self, met: Met) -> None:
        async with self._writing:
            try:
                await self._write(self._book.met(met.agent_id, met.address))
            except RequestError as error:
                log.warning("where a peer is was not noted: %s", error)
