"""The TCP port: takes connections, and finds out by their first byte whether they speak TLS.

Law: a connection counts as a stranger's from the moment it was taken, before a byte of it was read; who is silent,
slow, or not allowed to be plain is gone when the time for HELLO is over.

One port for both, because an agent that others reach is also reached by programs of its own device, which need no TLS.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from agentd.comm.carrying.carriers import TcpCarrier
from agentd.comm.carrying.tls_carrier import TlsCarrier
from agentd.comm.settings import CommSettings
from agentd.comm.trust.same_user import Address
from agentd.comm.trust.security import Security
from agentd.comm.trust.tickets import Tickets
from agentd.model.errors import ConfigError, StateInUse
from agentd.wire.messages import HelloAck
from agentd.wire.preamble import FIRST, PREAMBLE_BYTES, may_begin, ticket_in
from agentd.wire.session import Session
from agentd.wire.terms import Side

_BACKLOG = 128
"""Connections that the kernel holds until they are taken (chosen: beyond it who dials waits)."""
_ACCEPTS_A_TURN = 16
"""Connections taken in one turn of the loop: a flood must not starve those that are open."""
_HANDSHAKE = b"\x16"
"""A TLS record of a handshake begins so (RFC 8446, 5.1), and no frame of ours does."""
_OUT_OF_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REST_S = 1.0
"""Pause when this process has no room for more descriptors (chosen: some connections end within it)."""
_DRAINED_BYTES = 65_536
"""Read of what a refused connection has sent already, so that it hears why (chosen: more than a HELLO)."""


class TcpPort:
    """One listening port, on one or more addresses.

    `refusal` gives the frame for whom there is no room, empty if there is; `on_made` is told each connection, with its
    TLS in place if it has any, and when the time for its HELLO is over. What comes with one of the `tickets` is handed
    on as it is. `tasks` holds the handshakes.
    """

    def __init__(
        self,
        settings: CommSettings,
        security: Security,
        *,
        refusal: Callable[[], bytes],
        on_made: Callable[[TcpCarrier | TlsCarrier, float], None],
        tickets: Tickets,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._security = security
        self._refusal = refusal
        self._on_made = on_made
        self._tickets = tickets
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        """Connections that have not said anything, or no whole ticket, and when that ends them."""
        self._begun: dict[socket.socket, bytearray] = {}
        """Those that bring a ticket, and what of it has come."""
        self._greeting: set[asyncio.Task[None]] = set()
        """Connections in a TLS handshake."""
        self._resting: asyncio.TimerHandle | None = None

    @property
    def strangers(self) -> int:
        """How many connections have not come far enough to be anybody's."""
        return len(self._silent) + len(self._greeting)

    async def open(self, host: str, port: int) -> Address:
        """Listen, and give the address; port 0 for any that is free, the same on all addresses of `host`.

        Raises:
            ConfigError: the address is not this device's, or would need TLS.
            StateInUse: the port is taken.
        """
        self._security.check_listening(host)
        try:
            found = await self._loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, address in found:
                taken = self._listening[0].getsockname()[1] if self._listening else port
                self._listen(family, kind, protocol, (address[0], taken, *address[2:]))
        except OSError as error:
            self.close()
            if error.errno == errno.EADDRINUSE:
                raise StateInUse(f"Comm port {port} on {host} is taken: give another --comm-port, or auto") from error
            raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
        bound = self._listening[0].getsockname()
        return bound[0], bound[1]

    def _listen(self, family: int, kind: int, protocol: int, address: tuple[object, ...]) -> None:
        sock = socket.socket(family, kind, protocol)
        self._listening.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._loop.add_reader(sock, self._accept, sock)

    def close(self) -> None:
        """Take no more, and let those go that are nobody's yet."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        for sock in self._listening:
            if sock.fileno() >= 0:
                self._loop.remove_reader(sock)
                sock.close()
        self._listening.clear()
        for sock in list(self._silent):
            self._forget(sock)
            sock.close()
        for greeting in list(self._greeting):
            greeting.cancel()

    # --- one connection -----------------------------------------------------------------------------------------

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_ROOM:
                    self._rest()
                    return
                continue  # that one went away before we took it
            self._taken(sock)

    def _taken(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        refusal = self._refusal()
        if refusal:
            send_away(sock, refusal)
            return
        self._silent[sock] = self._loop.call_later(self._settings.hello_s, self._time_is_up, sock)
        self._loop.add_reader(sock, self._first_byte, sock)

    def _time_is_up(self, sock: socket.socket) -> None:
        is_line = sock in self._begun
        self._forget(sock)
        if is_line:
            sock.close()
            return
        reason = f"no HELLO within {self._settings.hello_s:g} s"
        send_away(sock, refusal_frame(HelloAck(code="silent", reason=reason)))

    def _first_byte(self, sock: socket.socket) -> None:
        """See who is there, without taking anything away from whoever reads next."""
        try:
            byte = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            byte = b""
        if byte == FIRST:
            self._begun[sock] = bytearray()
            self._loop.remove_reader(sock)
            self._loop.add_reader(sock, self._ticket, sock)
            return
        until = self._forget(sock)
        if not byte:
            sock.close()
        elif byte == _HANDSHAKE and self._security.has_identity:
            self._carry(sock, self._security.accepting, until)
        elif self._security.may_be_plain(_host_of(sock)):
            self._carry(sock, None, until)
        else:
            send_away(sock, refusal_frame(_TLS_ONLY))

    def _ticket(self, sock: socket.socket) -> None:
        """Read no more than a ticket, and hand the connection to whoever expects it."""
        begun = self._begun[sock]
        try:
            data = sock.recv(PREAMBLE_BYTES - len(begun))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        begun += data
        if data and len(begun) < PREAMBLE_BYTES and may_begin(begun):
            return
        self._forget(sock)
        ticket = ticket_in(begun)
        if ticket is None or not self._tickets.present(ticket, sock):
            sock.close()

    def _forget(self, sock: socket.socket) -> float:
        """Watch a connection no more, and give when its time is over."""
        self._loop.remove_reader(sock)
        self._begun.pop(sock, None)
        timer = self._silent.pop(sock)
        timer.cancel()
        return timer.when()

    def _carry(self, sock: socket.socket, context: ssl.SSLContext | None, until: float) -> None:
        greeting = self._tasks.create_task(self._greet(sock, context, until), name="a connection comes in")
        self._greeting.add(greeting)
        greeting.add_done_callback(self._greeting.discard)

    async def _greet(self, sock: socket.socket, context: ssl.SSLContext | None, until: float) -> None:
        """Make a transport of a connection; one whose handshake fails just ends, as nobody could read why."""
        try:
            if context is None:
                made = partial(TcpCarrier, lambda carrier: self._on_made(carrier, until))
                await self._loop.connect_accepted_socket(made, sock)
            else:
                await self._agree(sock, context, until)
        except OSError:  # that of TLS, and of time, included
            sock.close()

    async def _agree(self, sock: socket.socket, context: ssl.SSLContext, until: float) -> None:
        carrier = TlsCarrier(sock, context, linger_s=self._settings.linger_s)
        try:
            async with asyncio.timeout_at(until):
                await carrier.agreed()
        except BaseException:
            carrier.abort()
            raise
        self._on_made(carrier, until)

    def _rest(self) -> None:
        """Out of descriptors: leave those who dial in the backlog for a while."""
        if self._resting is None:
            for sock in self._listening:
                self._loop.remove_reader(sock)
            self._resting = self._loop.call_later(_REST_S, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        for sock in self._listening:
            self._loop.add_reader(sock, self._accept, sock)


_TLS_ONLY = HelloAck(
    code="forbidden",
    reason="from other devices this agent is reached over TLS only",
    remedy="pair the two devices: agentd invite on the one, agentd join on the other",
)


def refusal_frame(ack: HelloAck) -> bytes:
    """Give the one frame that sends somebody away before there is a session."""
    session = Session(Side.ACCEPTOR, CommSettings().terms(local=False), 0.0)
    session.farewell(ack.code, ack.reason)
    return b"".join(piece for pieces in session.send(ack, 0.0) for piece in pieces)


def send_away(sock: socket.socket, last_words: bytes) -> None:
    """Say a last word on a socket that nobody else uses, and close it."""
    with suppress(OSError):
        sock.recv(_DRAINED_BYTES, socket.MSG_DONTWAIT)  # closing with something unread would take the words back
    with suppress(OSError):
        sock.send(last_words, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    sock.close()


def _host_of(sock: socket.socket) -> str:
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return ""  # it is gone, and nobody is what nobody trusts
