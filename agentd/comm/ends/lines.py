"""TCP connections of their own between this agent and its neighbours, for lines between a session and a worker.

Law: a connection is made by the agent that made the link, is asked for over the link, and is of use only while that is
there; what nobody takes within a moment is closed. It says nothing but its ticket before its two users have it: where
the link is TLS they make it TLS themselves, and were told over the link how to know each other.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from itertools import count
from typing import NamedTuple

from agentd.comm.ends.peer_end import PeerEnd
from agentd.comm.ends.wiring import Wiring
from agentd.comm.link import Link
from agentd.model.errors import AgentdError
from agentd.wire.line_messages import LineAnswer, LineOpen
from agentd.wire.messages import Message
from agentd.wire.preamble import TAKEN, TICKET_BYTES, preamble

TICKET_S = 2.0
"""From asking for a connection until somebody must have taken it (chosen: as long as a stranger has for HELLO)."""
LINES_MOST = 8
"""Connections of one link that are being made, or wait to be taken (chosen: sessions that ask in the same moment)."""
BUFFER_BYTES = 256 * 1024
"""What either end may have on its way (chosen: above the largest frame, so that a frame leaves at once)."""
SECRET_BYTES = 32


class Half(NamedTuple):
    """One end of a connection, which is its owner's to close, and how its user and the other one's know each other."""

    sock: socket.socket
    ticket: bytes
    secret: bytes = b""
    """What the session says first within TLS; empty where the line is plain."""
    certificate: bytes = b""
    """That of the worker (DER), for the session."""


Made = Callable[[Half | None, str], None]
"""Is told of a connection that was asked for, or why there is none."""


class _Opening:
    """A connection that we have asked for."""

    def __init__(self, link: Link, made: Made) -> None:
        self.link = link
        self.made = made
        self.ticket = secrets.token_bytes(TICKET_BYTES)
        self.secret = secrets.token_bytes(SECRET_BYTES) if link.is_secret else b""
        self.certificate = b""
        self.sock: socket.socket | None = None
        self.timer: asyncio.TimerHandle | None = None


class _Waiting:
    """A connection for a neighbour, until the offer of its task is there."""

    def __init__(self, message: LineOpen, timer: asyncio.TimerHandle) -> None:
        self.message = message
        self.timer = timer
        self.sock: socket.socket | None = None


async def _no_certificate() -> bytes:
    raise AgentdError("this agent has no key for lines over TLS")


class Lines:
    """Asks neighbours for connections, and answers those who ask.

    `peer` gives the neighbour at the other end of a link; what takes time happens in `tasks`.

    Attributes:
        certificate: gives that of our workers' ends of lines over TLS (DER), or raises `AgentdError`.
    """

    def __init__(self, wiring: Wiring, peer: Callable[[Link], PeerEnd | None], tasks: asyncio.TaskGroup) -> None:
        self._wiring = wiring
        self._peer = peer
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._openings: dict[int, _Opening] = {}
        self._waiting: dict[tuple[int, bytes], _Waiting] = {}
        """By link and ticket."""
        self._under_way: set[asyncio.Task[None]] = set()
        self.certificate: Callable[[], Awaitable[bytes]] = _no_certificate
        wiring.routes[LineOpen] = self._asked
        wiring.routes[LineAnswer] = self._answered

    def _begin(self, act: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(act, name="a line is made")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def prepare(self) -> None:
        """Have the certificate made, if it is not yet: a neighbour has come over TLS, and may ask for a line."""
        self._begin(self._made_ready())

    async def _made_ready(self) -> None:
        with suppress(AgentdError):  # who asks for a line is told why there is none
            await self.certificate()

    # --- asking -------------------------------------------------------------------------------------------------

    def open(self, end: PeerEnd, made: Made) -> None:
        """Ask a neighbour for a connection; `made` is told of it once, now or later."""
        link = end.link
        if sum(1 for one in self._openings.values() if one.link is link) >= LINES_MOST:
            made(None, f"{LINES_MOST} lines to {end.neighbour} are being made")
            return
        number, opening = next(self._numbers), _Opening(link, made)
        if not end.is_dialled and not self._wiring.tickets.expect(opening.ticket, partial(self._came, opening)):
            made(None, "too many connections are expected")
            return
        self._openings[number] = opening
        opening.timer = self._loop.call_later(TICKET_S, self._over, number, f"{end.neighbour} does not answer")
        link.send(LineOpen(number, opening.ticket, not end.is_dialled, opening.secret))
        link.flush()

    def _came(self, opening: _Opening, sock: socket.socket) -> None:
        """The neighbour has made the connection, and will say so."""
        if _welcomed(sock):
            opening.sock = sock
        else:
            sock.close()

    def _answered(self, link: Link, message: Message) -> None:
        assert isinstance(message, LineAnswer)
        opening, end = self._openings.get(message.number), self._peer(link)
        if opening is None or opening.link is not link or end is None:
            return
        opening.certificate = message.certificate
        if message.objection:
            self._over(message.number, message.objection)
        elif opening.secret and not message.certificate:
            self._over(message.number, f"{end.neighbour} does not say by what its worker is known")
        elif end.is_dialled:
            self._begin(self._make(message.number, opening))
        else:
            self._over(message.number)

    async def _make(self, number: int, opening: _Opening) -> None:
        sock = await self._dialled(opening.link, opening.ticket)
        if self._openings.get(number) is opening:
            opening.sock = sock
            self._over(number)
        elif sock is not None:
            sock.close()

    def _over(self, number: int, why: str = "") -> None:
        """The connection is there, or will not be."""
        opening = self._openings.pop(number)
        self._wiring.tickets.forget(opening.ticket)
        if opening.timer is not None:
            opening.timer.cancel()
        sock = opening.sock
        if sock is not None and (why or opening.link.is_closed):
            sock.close()
            sock = None
        if sock is None:
            opening.made(None, why or "the connection could not be made")
        else:
            opening.made(Half(sock, opening.ticket, opening.secret, opening.certificate), "")

    # --- being asked --------------------------------------------------------------------------------------------

    def _asked(self, link: Link, message: Message) -> None:
        assert isinstance(message, LineOpen)
        end, key = self._peer(link), (link.number, message.ticket)
        if end is None:
            return
        objection = self._objection(end, message)
        if not objection and not message.dial and not self._expects(key):
            objection = "too many connections are expected here"
        if objection:
            self._answer(link, message.number, objection)
            return
        self._waiting[key] = _Waiting(message, self._loop.call_later(TICKET_S, self._expire, key))
        self._begin(self._prepare(link, message))

    def _objection(self, end: PeerEnd, message: LineOpen) -> str:
        """Say why a neighbour gets no line to a worker of ours; empty: it does."""
        name = self._wiring.agent.name
        if not self._wiring.agent.lends:
            return f"agent {name} lends nothing"
        if not end.limits.is_none:
            return f"agent {name} limits {end.neighbour}: no worker is called directly"
        if len(message.secret) != (SECRET_BYTES if end.link.is_secret else 0):
            return "a line has a secret where its link is TLS, and there alone"
        if len(message.ticket) != TICKET_BYTES or (end.link.number, message.ticket) in self._waiting:
            return "that is no new ticket"
        if message.dial and not end.is_dialled:
            return "the connection is made by whoever made the link"
        if sum(1 for number, _ in self._waiting if number == end.link.number) >= LINES_MOST:
            return f"{LINES_MOST} lines are being made"
        return ""

    def _expects(self, key: tuple[int, bytes]) -> bool:
        return self._wiring.tickets.expect(key[1], lambda sock: self._hold(key, sock, is_good=_welcomed(sock)))

    async def _prepare(self, link: Link, message: LineOpen) -> None:
        """Make ready what is ours of a line, and say that it is."""
        certificate, objection = b"", ""
        try:
            if link.is_secret:
                certificate = await self.certificate()
        except AgentdError as error:
            objection = str(error)
        if message.dial and not objection:
            sock = await self._dialled(link, message.ticket)
            if sock is not None:
                self._hold((link.number, message.ticket), sock)
            else:
                objection = "the connection could not be made"
        self._answer(link, message.number, objection, certificate)

    @staticmethod
    def _answer(link: Link, number: int, objection: str, certificate: bytes = b"") -> None:
        if not link.is_closed:
            link.send(LineAnswer(number, objection[:4_096], certificate))
            link.flush()

    def _hold(self, key: tuple[int, bytes], sock: socket.socket, *, is_good: bool = True) -> None:
        """Keep a connection until the offer of its task is there."""
        waiting = self._waiting.get(key)
        if waiting is None or not is_good:
            sock.close()
        else:
            waiting.sock = sock

    def _expire(self, key: tuple[int, bytes]) -> None:
        self._wiring.tickets.forget(key[1])
        sock = self._waiting.pop(key).sock
        if sock is not None:
            sock.close()

    def take(self, link: Link, ticket: bytes) -> Half | None:
        """Give the connection that a neighbour's task is to serve, once; None: it is not here."""
        waiting = self._waiting.get((link.number, ticket))
        if waiting is None or waiting.sock is None:
            return None
        del self._waiting[link.number, ticket]
        waiting.timer.cancel()
        return Half(waiting.sock, ticket, waiting.message.secret)

    # --- connections ----------------------------------------------------------------------------------------------

    async def _dialled(self, link: Link, ticket: bytes) -> socket.socket | None:
        """Make a connection to where the link goes, and say what it is for; None where that fails."""
        address = link.dialled
        if address is None:
            return None
        sock = socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            _set_up(sock)
            async with asyncio.timeout(TICKET_S):
                await self._loop.sock_connect(sock, address)
                await self._loop.sock_sendall(sock, preamble(ticket))
                taken = await self._loop.sock_recv(sock, len(TAKEN)) == TAKEN
        except (OSError, TimeoutError):
            taken = False
        except BaseException:
            sock.close()
            raise
        if taken and not link.is_closed:
            return sock
        sock.close()
        return None

    def close(self) -> None:
        """Let go of all that is not taken."""
        for task in list(self._under_way):
            task.cancel()
        for number in list(self._openings):
            self._over(number, "the agent stops")
        for key, waiting in list(self._waiting.items()):
            waiting.timer.cancel()
            self._expire(key)


def _welcomed(sock: socket.socket) -> bool:
    """Say on a connection that came that it was found to be expected; tell whether it is still there."""
    with suppress(OSError):
        _set_up(sock)
        return sock.send(TAKEN, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) == len(TAKEN)
    return False


def _set_up(sock: socket.socket) -> None:
    """Let each frame leave at once, and wholly.

    Raises:
        OSError: the connection is gone.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
