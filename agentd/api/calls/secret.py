"""The way to an agent elsewhere with which we are logged in: its Comm port, over TLS with the pinned certificate.

Law: as for every connection, reading may be interrupted at any instruction without losing a byte: what came is kept as
it came, and becomes plain when it is parsed. One thread may read the socket while another writes it; both hold the lock
of the line while they use TLS.
"""

from __future__ import annotations

import secrets
import socket
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentd.api.calls.connection import GREETING_S, Connection, NotWelcome, greet
from agentd.api.calls.dialogue import Refused
from agentd.api.calls.tls import Tls
from agentd.api.calls.uploads import Uploads
from agentd.api.places import LOOPBACK
from agentd.api.routes.pins import mismatch
from agentd.model.errors import PeerError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.places import Place
    from agentd.model.exchange import Submission
    from agentd.wire.framing import Buffer
    from agentd.wire.messages import Message

CONNECT_S = 5.0
_SILENT_S, _PROBE_S, _PROBES = 5, 2, 3
"""An agent that is gone without a word is noticed after some 10 s of silence, by the kernel's probes (tcp(7))."""


class SecretConnection(Connection):
    """A connection over TLS. No descriptors travel on it, and so no shared memory.

    `session` is what the agent knows this program by when it comes back after a cut.
    """

    def __init__(self, sock: socket.socket, tls: Tls, session: str) -> None:
        super().__init__(sock, local=False)
        self._tls = tls
        self.as_before = {"session": session}

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


def dialler(place: Place) -> Callable[..., Connection] | None:
    """Give what connects to the Comm port of an agent that we are logged in with; None where that is not open to us."""
    if not (place.certificate and place.token):
        return None
    address = _comm_of(place)
    return partial(_dial, address, place) if address else None


def _comm_of(place: Place) -> str:
    """Ask the agent where it listens for frames, and give that as it is reached from here; empty for nowhere."""
    from agentd.api.routes.client import Agent  # it loads an HTTP client

    with Agent(place) as agent:
        bound, _, port = (agent.agent().comm or "").rpartition(":")
    host = urlsplit(place.url).hostname or ""
    if not bound or (bound.strip("[]") in LOOPBACK and host not in LOOPBACK):
        return ""
    return f"{host}:{port}"


def _dial(address: str, place: Place, *, name: str, session: str = "", timeout_s: float = GREETING_S) -> Connection:
    """Connect to an agent's Comm port and greet it; without a `session` a new one begins.

    Raises:
        Unreachable: nobody answers, somebody else does, or not in time; the message names the address.
        NotWelcome: the agent will not have us.
    """
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + timeout_s
    session = session or secrets.token_hex(16)
    try:
        sock = socket.create_connection((host, int(port)), CONNECT_S)
    except OSError as error:
        raise Unreachable(f"no agent answers at {address}: {error.strerror or error}") from error
    try:
        _keep_alive(sock)
        tls = Tls(place.certificate)
        tls.shake_hands(sock)
        return greet(
            SecretConnection(sock, tls, session),
            place.token,
            name=name,
            deadline=deadline,
            capabilities={"data": True, "bare": True, "session": session},
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
