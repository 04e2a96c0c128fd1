"""The way to an agent elsewhere with which we are logged in: its Comm port, over TLS with the pinned certificate.

Law: as for every connection, reading may be interrupted at any instruction without losing a byte: what came is kept as
it came, and becomes plain when it is parsed. TLS is a value here, bytes in and bytes out, so that one thread may read
the socket while another writes it; both hold the lock of the line while they use it.
"""

from __future__ import annotations

import socket
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentd.api.calls.connection import GREETING_S, Connection, NotWelcome, greet
from agentd.api.calls.dialogue import Refused
from agentd.api.calls.line import Line
from agentd.api.calls.uploads import Uploads
from agentd.api.places import LOOPBACK
from agentd.api.routes.pins import mismatch, pinned
from agentd.model.errors import PeerError, Unreachable

if TYPE_CHECKING:
    from agentd.api.places import Place
    from agentd.model.exchange import Submission
    from agentd.model.task import Template
    from agentd.wire.framing import Buffer
    from agentd.wire.messages import Message

CONNECT_S = 5.0
_READ_BYTES = 256 * 1024
_JOIN_BYTES = 32 * 1024
"""Up to here a copy costs less than a record more (chosen: two records)."""
_SILENT_S, _PROBE_S, _PROBES = 5, 2, 3
"""An agent that is gone without a word is noticed after some 10 s of silence, by the kernel's probes (tcp(7))."""


class Tls:
    """One end of TLS, without a socket; `certificate` (PEM) is the only one that is believed."""

    def __init__(self, certificate: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = pinned(certificate).wrap_bio(self._incoming, self._outgoing)

    def shake_hands(self, sock: socket.socket) -> None:
        """Agree on keys, over a socket that blocks.

        Raises:
            OSError: the connection is gone, or somebody else answers.
        """
        while True:
            try:
                self._object.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            sock.sendall(self._outgoing.read())
            if is_done:
                return
            data = sock.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the other end closed the connection in the handshake")
            self._incoming.write(data)

    def sealed(self, pieces: list[Buffer]) -> bytes:
        """Give the bytes to be sent for these, and for what the protocol itself has to say."""
        is_much = sum(map(len, pieces)) > _JOIN_BYTES
        for piece in pieces if is_much else (b"".join(pieces),):
            rest = memoryview(piece)
            while rest:
                rest = rest[self._object.write(rest) :]
        return self._outgoing.read()

    def opened(self, data: bytes) -> bytes:
        """Give what these bytes complete; it may be nothing yet.

        Raises:
            OSError: the other end has closed the connection, or what came was tampered with.
        """
        self._incoming.write(data)
        plain: list[bytes] = []
        while True:
            try:
                piece = self._object.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                return b"".join(plain)
            if not piece:
                raise ConnectionResetError("the agent closed the connection")
            plain.append(piece)


class SecretConnection(Connection):
    """A connection over TLS. No descriptors travel on it, and so no shared memory."""

    def __init__(self, sock: socket.socket, tls: Tls) -> None:
        super().__init__(sock, local=False)
        self._tls = tls

    def uploads(self) -> Uploads:
        """Make what keeps large arguments until the agent has fetched them."""
        said = self.ack.capabilities
        return Uploads(is_welcome=bool(said.get("arguments")), needs_hash=not said.get("bare"))

    def _heard(self, data: bytes) -> list[Message]:
        plain = self._tls.opened(data)
        return self.dialogue.hear(plain) if plain else []

    def write(self, messages: list[tuple[Message, tuple[int, ...]]]) -> None:
        """Write messages as far as the socket takes them at once; descriptors cannot come along.

        Raises:
            OSError: the connection is gone.
            LocalError: a message exceeds what a frame may hold; none of the messages was written.
        """
        self._seal([frame for message, _ in messages for frame in self.dialogue.say(message)])

    def submit(self, calls: list[Submission]) -> None:
        """Write calls and nothing else; as `write`.

        Raises:
            OSError: the connection is gone.
            LocalError: they exceed what the agent granted, or what a frame may hold.
        """
        self._seal(self.dialogue.submit(calls))

    def _sealed(self, pieces: list[Buffer]) -> bytes:
        return self._tls.sealed(pieces)

    def _seal(self, frames: list[list[Buffer]]) -> None:
        self.backlog.extend((memoryview(self._sealed(frame)), ()) for frame in frames)
        self.drain()


def line(place: Place, options: Template, *, name: str, reconnect_s: float) -> Line | None:
    """Give the way over the Comm port of an agent that we are logged in with; None where there is none from here.

    Raises:
        Unreachable: the agent does not answer at all.
        RequestError: it refuses this program.
    """
    if not (place.certificate and place.token):
        return None
    address = _comm_of(place)
    if not address:
        return None
    try:
        return Line(place, options, name=name, reconnect_s=reconnect_s, dial=partial(_dial, address, place))
    except Unreachable:
        return None  # a firewall lets the user port through alone, say


def _comm_of(place: Place) -> str:
    """Ask the agent where it listens for frames, and give that as it is reached from here; empty for nowhere."""
    from agentd.api.routes.client import Agent  # it loads an HTTP client

    with Agent(place) as agent:
        bound, _, port = (agent.agent().comm or "").rpartition(":")
    host = urlsplit(place.url).hostname or ""
    if not bound or (bound.strip("[]") in LOOPBACK and host not in LOOPBACK):
        return ""
    return f"{host}:{port}"


def _dial(address: str, place: Place, *, name: str, timeout_s: float = GREETING_S) -> Connection:
    """Connect to an agent's Comm port and greet it.

    Raises:
        Unreachable: nobody answers, somebody else does, or not in time; the message names the address.
        NotWelcome: the agent will not have us.
    """
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + timeout_s
    try:
        sock = socket.create_connection((host, int(port)), CONNECT_S)
    except OSError as error:
        raise Unreachable(f"no agent answers at {address}: {error.strerror or error}") from error
    try:
        _keep_alive(sock)
        tls = Tls(place.certificate)
        tls.shake_hands(sock)
        return greet(
            SecretConnection(sock, tls),
            place.token,
            name=name,
            deadline=deadline,
            capabilities={"data": True, "bare": True},
        )
    except Refused as error:
        raise NotWelcome(error) from error
    except (OSError, PeerError) as error:
        sock.close()
        raise Unreachable(f"no agent answers at {address}: {mismatch(error) or error}") from error
    except BaseException:
        sock.close()
        raise


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel look after a connection on which an agent may be silent for long, and send at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", _SILENT_S), ("TCP_KEEPINTVL", _PROBE_S), ("TCP_KEEPCNT", _PROBES)):
        if hasattr(socket, name):  # elsewhere than on Linux they may be called otherwise
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
