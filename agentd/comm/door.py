"""The agent's Comm door: links on one side, the engine's events and commands on the other.

Law: what comes in is posted in the order in which it came; what goes out leaves once per drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from agentd.comm.ends.floodgate import Floodgate
from agentd.comm.ends.lines import Lines
from agentd.comm.ends.peer_end import PeerEnd
from agentd.comm.ends.wiring import Identity, Land, Route, Wiring
from agentd.comm.link import Link
from agentd.comm.ports.listener import OwnerOf
from agentd.comm.reception import OnGuest, OnMet, Reception, no_guests
from agentd.comm.settings import CommSettings
from agentd.comm.trust.admission import Admission
from agentd.comm.trust.same_user import Address, owner_uid
from agentd.comm.trust.security import Security
from agentd.comm.whereabouts import joined
from agentd.core import commands as c
from agentd.core.events import Event, LinkClosed
from agentd.model.addresses import COMM_PORT
from agentd.model.errors import ConfigError
from agentd.model.exchange import Offer
from agentd.model.peers import NO_LIMITS, Limits, PinBook
from agentd.model.task import Template
from agentd.model.values import Payload, Remote
from agentd.wire.messages import Message


class Door:
    """All Comm connections of one agent. An asynchronous context: leaving it closes them.

    Attributes:
        lines: connections of their own to neighbours, for direct lines.

    `post` gives the engine an event. `admit` tells why a template may not run here, None if it may. `number` gives
    link numbers, which are caller numbers, so nobody else may be given the same. `inline` brings the bytes of a
    payload into the message from shared memory or the store. `random` spreads the attempts to dial. `on_guest` is told
    who comes with an invitation, `on_met` where paired agents are. `held` gives the tasks of a neighbour that have not
    ended here. `is_full` tells whether the queue is nearly full: users who fill it wait then.
    """

    def __init__(
        self,
        agent: Identity,
        settings: CommSettings,
        *,
        post: Callable[[Event], None],
        admit: Callable[[Template], str | None],
        admission: Admission,
        number: Callable[[], int],
        random: Random,
        security: Security,
        inline: Callable[[Payload], Payload] = lambda payload: payload,
        owner_of: OwnerOf = owner_uid,
        on_guest: OnGuest = no_guests,
        on_met: OnMet = lambda _: None,
        held: Callable[[str], set[int]] = lambda _: set(),
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._security = security
        self._floodgate = Floodgate(is_full, settings.write_buffer_bytes)
        self._loop = asyncio.get_running_loop()
        self._wiring = Wiring(
            agent=agent,
            settings=settings,
            post=post,
            admit=admit,
            inline=inline,
            held=held,
            floodgate=self._floodgate,
            later=partial(self._loop.call_later, settings.patience_s),
        )
        self._reception = Reception(
            self._wiring,
            admission,
            security,
            number=number,
            random=random,
            owner_of=owner_of,
            on_connected=self._watch,
            on_guest=on_guest,
            on_met=on_met,
        )
        self._tasks = asyncio.TaskGroup()
        self.lines = Lines(self._wiring, self.peer, self._tasks)
        self._ticker: asyncio.Handle | None = None
        self._ticks_at = 0.0  # by the loop's clock; uvloop's handle of a time that has come does not tell

    # --- the door itself ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("the agent stops")
        try:
            await self._last_words()
        finally:
            await self._tasks.__aexit__(kind, error, trace)

    async def open_tcp(self, host: str, port: int = 0) -> Address:
        """Listen on a TCP port, 0 for any, and give the address.

        Raises:
            ConfigError: the address is not this device's, or would need TLS.
            StateInUse: the port is taken.
        """
        address = await self._reception.listener.open_tcp(host, port, self._tasks)
        self._reception.address = joined(*address)
        return address

    def open_unix(self, path: Path) -> None:
        """Listen on a Unix socket for programs of the same user.

        Raises:
            ConfigError: the folder is not safe, or the path too long.
            StateInUse: another agent answers there.
        """
        self._reception.listener.open_unix(path)

    @property
    def identity(self) -> Identity:
        """Who this agent is to others."""
        return self._wiring.agent

    def route(self, kind: type[Message], taker: Route) -> None:
        """Name who takes messages of a kind that are no events: data, output, segments, notices."""
        self._wiring.routes[kind] = taker

    def land(self, land: Land) -> None:
        """Name who gives room for the bytes of large chunks, so that they are read to where they belong."""
        self._wiring.lands.append(land)

    def judge(self, objection: Callable[[Remote, str, bool], str | None]) -> None:
        """Name who tells why an object cannot be the one that a neighbour names, or may not be named by it."""
        self._wiring.judges.append(objection)

    def put_sockets(self, put: Callable[[Link, Offer], Offer | str]) -> None:
        """Name who puts the connection into the offer of a line's task, or says why it cannot."""
        self._wiring.sockets.append(put)

    def send(self, link: Link, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Append a message, for who takes such; it leaves with the drain, and descriptors with it.

        Raises:
            LocalError: it may not be sent there.
        """
        link.send(message, fds)
        self._wiring.dirty.add(link)

    def link(self, number: int) -> Link | None:
        """Give an open link by its number."""
        end = self._reception.users.get(number) or self._reception.peers.get(number)
        return end.link if end is not None else None

    def link_to(self, neighbour: str) -> Link | None:
        """Give the open link to a neighbour."""
        end = self._end_of(neighbour)
        return end.link if end is not None else None

    def look_at_tokens(self) -> None:
        """End the sessions of users whose token is worth nothing any more."""
        self._reception.look_at_tokens()

    def trust(self, book: PinBook) -> None:
        """Go by another book of paired agents from now on, also with those who are connected."""
        self._security.trust(book)
        self._reception.book_changed()

    def neighbour_of(self, link: Link) -> str:
        """Name the neighbour at the other end of a link; empty for a user."""
        end = self._reception.peers.get(link.number)
        return end.neighbour if end is not None else ""

    def limits_of(self, link: Link) -> Limits:
        """Give what the neighbour at the other end of a link may ask for, as it is now."""
        end = self._reception.peers.get(link.number)
        return end.limits if end is not None else NO_LIMITS

    def peer(self, link: Link) -> PeerEnd | None:
        """Give what is known of the neighbour at the other end of a link; None for a user."""
        return self._reception.peers.get(link.number)

    def peers(self) -> list[PeerEnd]:
        """List the neighbours that are connected."""
        return list(self._reception.peers.values())

    def close(self, reason: str) -> None:
        """Accept and dial no more, and say goodbye to everybody."""
        self._reception.listener.close()
        self.lines.close()
        for neighbour in self._reception.roster:
            neighbour.stop_dialling()
        for end in self._reception.peers.values():
            end.catch_up()
        for link in list(self._reception.links()):
            link.close("stopping", reason)
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    async def _last_words(self) -> None:
        """Wait until what was said has reached the others, for as long as a link may linger."""
        try:
            async with asyncio.timeout(self._settings.linger_s * 1.5):
                await self._reception.emptied()
        except TimeoutError:
            for link in list(self._reception.links()):
                link.abort()

    # --- what the engine wants done -----------------------------------------------------------------------------

    def performers(self) -> dict[type[c.Command], Callable[[Any], None]]:
        """Tell which method performs which command."""
        return {
            c.SettleCalls: self.settle_calls,
            c.DeclareTemplates: self.declare_templates,
            c.SendOffers: self.send_offers,
            c.AnswerOffers: self.answer_offers,
            c.SendEnds: self.send_ends,
            c.OfferLot: self.offer_lot,
            c.AcceptLot: self.accept_lot,
            c.EndLot: self.end_lot,
            c.AcknowledgeLot: self.acknowledge_lot,
            c.AcknowledgeEnds: self.acknowledge_ends,
            c.CancelTasks: self.cancel_tasks,
            c.SendReport: self.send_report,
            c.SendInventory: self.send_inventory,
            c.SendDrain: self.send_drain,
            c.ReleaseObjects: self.release_objects,
            c.TellHeld: self.tell_held,
            c.OpenLink: self.open_link,
            c.CloseLink: self.close_link,
        }

    def flush(self) -> None:
        """Write what this drain of the lane had to say: once per link."""
        if self._floodgate.is_closed:
            self._floodgate.open()
        dirty = self._wiring.dirty
        if not dirty:
            return
        is_timed = False
        for link in dirty:
            link.flush()
            is_timed = is_timed or link.wants_ticks
        dirty.clear()
        if is_timed and self._ticker is None:
            self._watch()

    def settle_calls(self, command: c.SettleCalls) -> None:
        """Tell a user how calls ended; one that has left is not told."""
        user = self._reception.users.get(command.caller)
        if user is not None:
            user.settle(command.settled)

    def declare_templates(self, command: c.DeclareTemplates) -> None:
        """Tell a neighbour templates."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.offering.declare(command.templates)

    def send_offers(self, command: c.SendOffers) -> None:
        """Offer tasks to a neighbour; if it has gone meanwhile, `LinkClosed` is on its way to the engine."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.offering.offer(command.offers)

    def answer_offers(self, command: c.AnswerOffers) -> None:
        """Answer offers, over the link over which they came; over another they will be offered again."""
        end = self._end_of(command.neighbour)
        if end is not None and end.link.number == command.link:
            end.answer(command.accepted, command.refused, may_wait=command.may_wait)

    def send_ends(self, command: c.SendEnds) -> None:
        """Tell a neighbour how its tasks ended."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.end(command.ends)

    def offer_lot(self, command: c.OfferLot) -> None:
        """Offer tasks that are alike to a neighbour."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.offering.offer_lot(command.lot)

    def accept_lot(self, command: c.AcceptLot) -> None:
        """Accept tasks that are alike, over the link over which they were offered."""
        end = self._end_of(command.neighbour)
        if end is not None and end.link.number == command.link:
            end.accept_lot(command.attempt, command.epoch, command.tasks, may_wait=command.may_wait)

    def end_lot(self, command: c.EndLot) -> None:
        """Tell a neighbour how tasks of its ended that are alike."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.end_lot(command.lot)

    def acknowledge_lot(self, command: c.AcknowledgeLot) -> None:
        """Tell a neighbour that ends of tasks that are alike are recorded."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.acknowledge_lot(command.attempt, command.tasks)

    def acknowledge_ends(self, command: c.AcknowledgeEnds) -> None:
        """Tell a neighbour that ends are recorded."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.acknowledge(command.tasks, may_wait=command.may_wait)

    def cancel_tasks(self, command: c.CancelTasks) -> None:
        """Ask a neighbour to stop tasks."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.offering.cancel(command.tasks)

    def send_inventory(self, command: c.SendInventory) -> None:
        """Tell a neighbour what we hold of its tasks."""
        end = self._end_of(command.neighbour)
        if end is not None and end.compares:
            end.inventory(command.held, command.finished)

    def send_drain(self, command: c.SendDrain) -> None:
        """Tell a neighbour that we will leave."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.drain(command.grace_s, command.reason)

    def send_report(self, command: c.SendReport) -> None:
        """Tell a neighbour how we stand."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.report(command.report)

    def release_objects(self, command: c.ReleaseObjects) -> None:
        """Tell a neighbour which objects are needed no more; one that is gone asks for the rest when it is back."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.release_objects(command.objects)

    def tell_held(self, command: c.TellHeld) -> None:
        """Tell a neighbour that is back which objects are still needed."""
        end = self._end_of(command.neighbour)
        if end is not None:
            end.tell_held(command.objects, is_last=command.is_last)

    def open_link(self, command: c.OpenLink) -> None:
        """Keep a link to a neighbour: properties `Host` (default: its name) and `Port`."""
        properties = dict(command.properties)
        try:
            host, port = properties.get("Host", command.neighbour), _port(properties.get("Port", str(COMM_PORT)))
        except ConfigError as error:
            self._wiring.post(LinkClosed(command.neighbour, 0, str(error)))
            return
        self._reception.dial(command.neighbour, joined(host, port), self._tasks)

    def close_link(self, command: c.CloseLink) -> None:
        """Let a neighbour go: its connection ends, and it is dialled again only if that was asked for."""
        neighbour = self._reception.roster.get(command.neighbour)
        if neighbour is None:
            return
        if not command.redial:
            neighbour.stop_dialling()
        if neighbour.end is not None:
            neighbour.end.catch_up()
            neighbour.end.link.close("removed", "the other agent ended this connection")

    def _end_of(self, neighbour: str) -> PeerEnd | None:
        found = self._reception.roster.get(neighbour)
        return found.end if found is not None else None

    # --- time ---------------------------------------------------------------------------------------------------

    def _watch(self, now: float | None = None) -> None:
        """See to it that time is told to the links, while there are any to which it matters.

        Once per beat, or sooner where somebody will be taken for lost by then.
        """
        now = self._loop.time() if now is None else now
        links = [link for link in self._reception.links() if link.wants_ticks]
        if not links:
            return
        delays = [link.session.heartbeat_s for link in links]
        delays += [link.lost_at - now for link in links if link.lost_at > now]
        when = now + min(delays)
        if self._ticker is not None:
            if self._ticks_at <= when:
                return
            self._ticker.cancel()
        self._ticker, self._ticks_at = self._loop.call_at(when, self._tick), when

    def _tick(self) -> None:
        now = self._loop.time()
        slept_s = now - self._ticks_at if self._ticker is not None else 0.0
        self._ticker = None
        for link in list(self._reception.links()):
            if slept_s > 0:
                link.overslept(slept_s)
            link.tick(now)
        for end in list(self._reception.peers.values()):
            end.tell_heard(now)
        self._reception.look_at_tokens()
        self._floodgate.open()
        self._watch(now)


def _port(text: str) -> int:
    """Read a port number.

    Raises:
        ConfigError: it is none.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) < 65_536:
        return int(text)
    raise ConfigError(f"property Port is {text!r}: give the Comm port of the other agent, 1 to 65535")
