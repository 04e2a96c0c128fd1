"""Who comes and goes: from HELLO to a user's or a neighbour's end, one connection per neighbour.

Law: of each neighbour the engine hears opened, then closed, then opened; never two connections at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from msgspec.structs import replace

from agentd.comm.ends.peer_end import PeerEnd
from agentd.comm.ends.user_end import UserEnd
from agentd.comm.ends.wiring import Wiring
from agentd.comm.link import Link
from agentd.comm.ports.dialer import Dialer
from agentd.comm.ports.listener import Listener, OwnerOf
from agentd.comm.roster import Neighbour, Roster
from agentd.comm.trust.admission import Admission, Denial, is_name, program_of
from agentd.comm.trust.security import Security
from agentd.comm.whereabouts import Met, host_of, is_shown, told
from agentd.core.events import CallerLeft, LinkClosed, LinkOpened
from agentd.model.peers import NO_LIMITS, Limits, Peer, fingerprint_of
from agentd.wire.messages import Hello, HelloAck, Message
from agentd.wire.session import Session
from agentd.wire.terms import Side, unlike

OnMet = Callable[[Met], None]
"""Told where a paired agent was met."""
OnGuest = Callable[[Hello, str, Callable[[Denial | None], None]], None]
"""Told who comes with an invitation, from where, and how to answer: with None to let in."""


def no_guests(_hello: Hello, _where: str, answer: Callable[[Denial | None], None]) -> None:
    """Let nobody in."""
    answer(Denial("forbidden", "this agent invites nobody"))


class Reception:
    """Makes links into ends.

    Attributes:
        listener: the open ports.
        roster: the neighbours.
        users: users' ends, by link number.
        peers: neighbours' ends, by link number.
        address: at which this agent listens, `host:port`; empty for nowhere.
    """

    def __init__(
        self,
        wiring: Wiring,
        admission: Admission,
        security: Security,
        *,
        number: Callable[[], int],
        random: Random,
        owner_of: OwnerOf,
        on_connected: Callable[[], None],
        on_guest: OnGuest,
        on_met: OnMet,
    ) -> None:
        self._wiring = wiring
        self._admission = admission
        self._security = security
        self._number = number
        self._random = random
        self._on_connected = on_connected
        self._on_guest = on_guest
        self._on_met = on_met
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._dialled: dict[Link, Neighbour] = {}
        """Links that we dialled and whose sockets are still there."""
        self.address = ""
        self.users: dict[int, UserEnd] = {}
        self.peers: dict[int, PeerEnd] = {}
        self.roster = Roster(wiring.agent.agent_id, wiring.agent.name)
        self.listener = Listener(
            wiring.settings,
            security,
            number=number,
            on_message=self._opening,
            on_closed=self._closed,
            on_gone=self._link_gone,
            owner_of=owner_of,
            tickets=wiring.tickets,
        )

    def links(self) -> Iterator[Link]:
        """Give all links whose sockets are still there."""
        yield from self.listener.links()
        yield from list(self._dialled)

    async def emptied(self) -> None:
        """Wait until the last link is gone."""
        while any(True for _ in self.links()):
            self._gone.clear()
            await self._gone.wait()

    def dial(self, name: str, address: str, tasks: asyncio.TaskGroup) -> None:
        """Keep a link to a neighbour from now on, dialling from a task of this group."""
        neighbour = self.roster.ensure(name)
        dialer = Dialer(
            name,
            address,
            self._wiring.settings,
            self._security,
            self._random,
            ways=lambda: self._ways_to(name, address),
            make_link=lambda where, on_gone: self._make_link(neighbour, where, on_gone),
            greet=self._greet,
            on_failed=lambda reason: self._wiring.post(LinkClosed(name, 0, reason)),
        )
        neighbour.dial(dialer, tasks)

    def _ways_to(self, name: str, address: str) -> tuple[str, ...]:
        """Give where a neighbour may be: where the operator says, and where the book says; a mere name is a guess."""
        peer = self._security.book.named(name)
        if peer is None:
            is_revoked = any(each.name == name for each in self._security.book.peers)
            return () if is_revoked and host_of(address) == name else (address,)
        if host_of(address) != name:
            return (address, *peer.addresses)
        return (*peer.addresses, address) if peer.addresses else ()

    # --- links that we dial -------------------------------------------------------------------------------------

    def _make_link(self, neighbour: Neighbour, where: str, on_gone: Callable[[Link], None]) -> Link:
        settings = self._wiring.settings

        def gone(link: Link) -> None:
            self._dialled.pop(link, None)
            self._link_gone(link)
            on_gone(link)

        link = Link(
            self._number(),
            Session(Side.DIALLER, settings.terms(local=False), self._loop.time()),
            settings,
            where=where,
            on_message=self._opening,
            on_closed=self._closed,
            on_gone=gone,
        )
        self._dialled[link] = neighbour
        return link

    def _greet(self, link: Link, own: str) -> None:
        settings = self._wiring.settings
        address = told(self.address, own, host_of(link.where))
        hello = self._wiring.agent.hello("peer", address, settings.offer_credits)
        link.send(replace(hello, protocol_min=settings.protocol_min, protocol_max=settings.protocol_max))
        link.flush()

    # --- the first message --------------------------------------------------------------------------------------

    def _opening(self, link: Link, message: Message) -> None:
        """Take the first message of a link: HELLO from who dialled us, or the answer of whom we dialled."""
        if isinstance(message, Hello):
            self._judge(link, message)
        elif isinstance(message, HelloAck) and message.ok:
            self._welcomed(link, message)

    def _judge(self, link: Link, hello: Hello) -> None:
        assert link.origin_of is not None, "only who was accepted says HELLO"
        verdict = self._admission.judge(hello, link.origin_of(), link.session.terms)
        if isinstance(verdict, Denial):
            self._refuse(link, verdict)
        elif hello.role == "guest":
            self._on_guest(hello, link.where, partial(self._answer_guest, link))
        elif hello.role == "user":
            self._take_over(link, program_of(hello, verdict.user))
            self._welcome(link, verdict.scope, self._wiring.settings.call_credits)
            user = UserEnd(link, verdict.scope, self._wiring, verdict.user)
            self.users[link.number] = user
            link.on_message = user.take
            self._on_connected()
        else:
            self._judge_peer(link, hello, verdict.peer)

    def _take_over(self, link: Link, program: str) -> None:
        """Have a session that comes back go on over its new connection: the old one is of no use, if it is there."""
        link.program = "" if link.session.terms.local else program
        for user in [user for user in self.users.values() if link.program and user.link.program == link.program]:
            user.link.close("replaced", "a newer connection of the same program takes its place")

    def _answer_guest(self, link: Link, denial: Denial | None) -> None:
        """Tell a guest whether it was let in; then it has to come again, as what it is now."""
        if link.is_closed:
            return
        if denial is not None:
            self._refuse(link, denial)
            return
        self._welcome(link, "peer", 0)
        link.close("paired", "come again, as a peer")

    def _judge_peer(self, link: Link, hello: Hello, peer: Peer | None) -> None:
        neighbour = self.roster.who_is(hello) if peer is None else self.roster.who_is_paired(peer)
        denial = self.roster.objection(hello, neighbour)
        if denial is None and self.roster.keeps(neighbour, hello, is_dialled=False, now=self._loop.time()):
            denial = Denial("linked", "the two agents are connected already", "use that connection")
        if denial is not None:
            self._refuse(link, denial)
            return
        self._leave(neighbour)
        self._welcome(link, "peer", self._wiring.settings.offer_credits)
        self._connect(link, self.roster.ensure(neighbour.name), hello, is_dialled=False)
        if peer is not None and is_shown(hello.address, link.where):
            self._on_met(Met(peer.agent_id, hello.address))

    @staticmethod
    def _refuse(link: Link, denial: Denial) -> None:
        link.send(HelloAck(code=denial.code, reason=denial.reason, remedy=denial.remedy))
        link.close(denial.code, denial.reason)

    def _welcome(self, link: Link, scope: str, credits_: int) -> None:
        link.send(link.session.welcome(self._wiring.agent.welcome(scope, self.address, credits_)))
        link.flush()
        self.listener.welcomed(link)

    def _welcomed(self, link: Link, ack: HelloAck) -> None:
        neighbour = self._dialled[link]
        denial = self._other_than_pinned(link, ack) or self._known_otherwise(link, ack, neighbour)
        if denial is None:
            denial = self.roster.objection(ack, neighbour)
        if denial is None and not is_name(ack.name, ack.agent_id, ack.boot):
            denial = Denial("identity", "that agent's name or id is no name")
        if denial is None and self.roster.keeps(neighbour, ack, is_dialled=True, now=self._loop.time()):
            denial = Denial("linked", "the two agents are connected already")
        if denial is not None:
            link.close(denial.code, f"{denial.reason}; {denial.remedy}".rstrip("; "))
            return
        self._leave(neighbour)
        self._connect(link, neighbour, ack, is_dialled=True)
        if link.certificate is not None:
            self._on_met(Met(ack.agent_id, link.where, neighbour.name))

    def _known_otherwise(self, link: Link, ack: HelloAck, neighbour: Neighbour) -> Denial | None:
        """Tell why an agent is not linked by the name under which it was dialled: the book has another one for it."""
        peer = self._security.book.of(ack.agent_id) if link.certificate is not None else None
        if peer is None or peer.name == neighbour.name or neighbour.agent_id:
            return None
        self._on_met(Met(peer.agent_id, link.where, neighbour.name))
        return Denial("identity", f"the agent there is {peer.name}, and is linked by that name")

    def _other_than_pinned(self, link: Link, ack: Hello | HelloAck) -> Denial | None:
        """Tell why whom we reached over TLS is not who its certificate was pinned for."""
        if link.certificate is None:
            return None
        peer = self._security.book.with_certificate(fingerprint_of(link.certificate))
        if peer is None or not peer.is_trusted:
            return Denial("revoked", "it is trusted no more", "pair the two devices anew")
        if peer.agent_id != ack.agent_id:
            return Denial("identity", f"the certificate of {peer.name} was pinned for another agent id", "pair anew")
        return None

    def look_at_tokens(self) -> None:
        """End the sessions of users whose token was revoked since they came."""
        for user in list(self.users.values()):
            hello = user.link.session.theirs
            if isinstance(hello, Hello) and hello.token and not self._admission.knows(hello.token, user.scope):
                user.link.close("revoked", "the token of this session was revoked")

    # --- neighbours ---------------------------------------------------------------------------------------------

    @staticmethod
    def _leave(neighbour: Neighbour) -> None:
        """End the connection that a newer one replaces."""
        if neighbour.end is not None:
            neighbour.end.link.close("replaced", "a newer connection of the same two agents takes its place")

    def _connect(self, link: Link, neighbour: Neighbour, them: Hello | HelloAck, *, is_dialled: bool) -> None:
        end = PeerEnd(link, neighbour.name, them, self._wiring, is_dialled=is_dialled)
        end.limits = self._limits_of(link)
        neighbour.connect(end)
        self.peers[link.number] = end
        link.on_message = end.take
        differs = unlike(self._wiring.agent.python, them)
        fetches, takes_lots = (
            bool(them.capabilities.get(name, False)) and name in self._wiring.agent.services
            for name in ("data", "lots")
        )
        opened = LinkOpened(neighbour.name, them.agent_id, them.boot, link.number, end.compares, differs, fetches)
        libraries = tuple(sorted(them.libraries.items()))
        self._wiring.post(replace(opened, python=them.python, libraries=libraries, takes_lots=takes_lots))
        self._on_connected()

    def _limits_of(self, link: Link) -> Limits:
        peer = link.certificate and self._security.book.with_certificate(fingerprint_of(link.certificate))
        return peer.limits if peer else NO_LIMITS

    def book_changed(self) -> None:
        """Go by the book as it is now: end the connections of who is trusted no more, and hold the others to limits."""
        for end in list(self.peers.values()):
            denial = self._other_than_pinned(end.link, end.them)
            if denial is None:
                end.limits = self._limits_of(end.link)
            else:
                peer = self._security.book.with_certificate(fingerprint_of(end.link.certificate or b""))
                reason = (peer.revoked if peer is not None else "") or denial.reason
                end.link.close("revoked", f"the pairing was revoked: {reason}")
        for neighbour in self.roster:
            if neighbour.dialer is not None:
                neighbour.dialer.hurry()

    def _closed(self, link: Link, reason: str) -> None:
        self._wiring.dirty.discard(link)
        if self.users.pop(link.number, None) is not None:
            self._wiring.post(CallerLeft(link.number))
        end = self.peers.pop(link.number, None)
        if end is None:
            return
        neighbour = self.roster.get(end.neighbour)
        if neighbour is not None and neighbour.end is end:
            neighbour.disconnect()
        self._wiring.post(LinkClosed(end.neighbour, link.number, reason, link.closed_for))

    def _link_gone(self, _link: Link) -> None:
        self._gone.set()
