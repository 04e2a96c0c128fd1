"""One open connection to the agent of this device: a Unix socket, and the protocol's state above it.

Law: reading may be interrupted by a signal at any instruction without losing a byte; whatever else is interrupted
must be followed by `close`.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING

from agentd import __version__
from agentd.api.calls.dialogue import Dialogue, Refused
from agentd.api.calls.spinning import SPIN_S, Spinning
from agentd.model.errors import PeerError, RequestError, Unreachable
from agentd.socket_path import fitting
from agentd.wire.messages import Hello, HelloAck

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentd.api.calls.uploads import Uploads
    from agentd.api.places import Place
    from agentd.model.exchange import Submission
    from agentd.wire.framing import Buffer
    from agentd.wire.messages import Message

READ_BYTES = 64 * 1024
GREETING_S = 10.0
"""How long an agent may take to answer HELLO; one that is just starting its workers takes a second. Chosen."""
MOST_DESCRIPTORS = 64
"""Descriptors taken with one read."""
_ANCILLARY_BYTES = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
_READ_FLAGS = (int(getattr(socket, "MSG_CMSG_CLOEXEC", 0) | socket.MSG_DONTWAIT),)
_AT_ONCE = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_TRANSIENT = frozenset({"draining", "full"})
"""Codes of a refusal after which trying again helps."""


class NotWelcome(RequestError):
    """The agent answered HELLO with a refusal.

    Attributes:
        is_transient: trying again later may help.
    """

    def __init__(self, refusal: Refused) -> None:
        super().__init__(str(refusal), status=403)
        self.is_transient = refusal.ack.code in _TRANSIENT


class Connection:
    """An open connection. One thread may read while another writes, if both hold a lock around `parse` and `write`.

    Attributes:
        dialogue: the words that are exchanged.
        declared: how many templates of the catalogue it knows.
        descriptors: received with frames that are not yet parsed, in order; whoever takes one closes it.
        as_before: with what to dial so that the agent knows the next connection for one of the same session.
    """

    as_before: Mapping[str, str] = MappingProxyType({})

    def __init__(self, sock: socket.socket, *, local: bool = True) -> None:
        self._socket = sock
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self.is_local = local
        self.beside = -1
        """A descriptor that whoever waits for bytes wants to know of as well; -1: none."""
        self.is_beside_ready = False
        """There was something to read of that one when `wait_for_any` looked last."""
        self._spinning = Spinning()
        """For what comes beside."""
        self.dialogue = Dialogue(local=local)
        self.declared = 0
        self.descriptors: deque[int] = deque()
        self._chunks: deque[tuple[bytes, list[tuple[int, int, bytes]], int, object]] = deque()
        """Where `read` puts what it got, in the same instruction that got it."""
        self.backlog: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        """What the socket did not take yet, with the descriptors that go with its first byte."""
        self._early: list[Message] = []
        """What came together with the agent's welcome."""

    def uploads(self) -> Uploads | None:
        """Make what keeps large arguments for an agent that shares no memory with us; None: it does."""
        return None

    @property
    def waiting_bytes(self) -> int:
        """What the socket has not taken yet."""
        return sum(len(piece) for piece, _ in self.backlog)

    @property
    def ack(self) -> HelloAck:
        """What the agent said of itself."""
        return self.dialogue.ack

    def fileno(self) -> int:
        """Give the socket's descriptor, for polling; -1 once it is closed."""
        return self._socket.fileno()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until there is something to read; what waits to be written is written meanwhile by the caller.

        Returns:
            Whether there is anything to read, here or beside, or room to write.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self.backlog else 0))
        if self.beside >= 0:
            poll.register(self.beside, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000))

    def watch(self, descriptor: int) -> None:
        """Have whoever waits for bytes wait for those of another descriptor as well, one at a time."""
        self._readable.register(descriptor, select.POLLIN)
        self.beside = descriptor

    def unwatch(self, descriptor: int) -> None:
        """Wait for bytes of that descriptor no longer, if that was the case."""
        if self.beside == descriptor >= 0:
            self.beside = -1
            self._readable.unregister(descriptor)

    def wait_for_any(self, timeout_s: float | None = None) -> bool:
        """Wait for bytes, here or beside, for so long at most; tell whether there are any here."""
        timeout_ms = None if timeout_s is None else timeout_s * 1000
        is_soon = self.beside >= 0 and (timeout_s is None or timeout_s > SPIN_S)
        found = (self._spinning.seek(self._readable.poll) if is_soon else None) or self._readable.poll(timeout_ms)
        ready = [descriptor for descriptor, _ in found]
        self.is_beside_ready = self.beside in ready
        return self._socket.fileno() in ready

    def read(self, *, blocking: bool = True) -> None:
        """Read what there is, waiting for it with `blocking`; it is kept until `parse` is called.

        Raises:
            OSError: the connection is gone.
        """
        if blocking:
            # Who sleeps in recvmsg itself is woken for nothing each time that the agent has read what it was sent, at
            # 10 us for each of the two (measured); who sleeps in poll is not.
            self._readable.poll()
        # A signal may raise between two instructions: `extend` calls recvmsg and keeps its answer within one.
        self._chunks.extend(map(self._socket.recvmsg, (READ_BYTES,), (_ANCILLARY_BYTES,), _READ_FLAGS))

    def is_welcomed(self) -> bool:
        """Tell whether what was read holds the agent's answer to HELLO, and it is a welcome.

        Raises:
            Refused: it is not.
            OSError: the agent has closed the connection.
            PeerError: it does not speak our protocol.
        """
        self._early = self.parse()[1:]
        return self.dialogue.ack.ok

    def parse(self) -> list[Message]:
        """Give the messages that were read.

        Raises:
            OSError: the agent has closed the connection.
            PeerError: it broke the protocol.
        """
        messages, self._early = self._early, []
        while self._chunks:
            data, ancillary, _, _ = self._chunks.popleft()
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self.descriptors.extend(memoryview(raw[: len(raw) - len(raw) % 4]).cast("i"))
            if not data:
                raise ConnectionResetError("the agent closed the connection")
            messages += self._heard(data)
        return messages

    def _heard(self, data: bytes) -> list[Message]:
        return self.dialogue.hear(data)

    def write(self, messages: list[tuple[Message, tuple[int, ...]]]) -> None:
        """Write messages, each with the descriptors that travel with it, as far as the socket takes them at once.

        Raises:
            OSError: the connection is gone.
            LocalError: a message exceeds what a frame may hold; none of the messages was written.
        """
        for message, descriptors in messages:
            for frame in self.dialogue.say(message):
                self.backlog.extend(
                    (memoryview(piece), () if index else descriptors) for index, piece in enumerate(frame)
                )
        self.drain()

    def send_hello(self, hello: Hello, deadline: float) -> None:
        """Write the first frame, waiting for it to be taken; the connection blocks from then on.

        Raises:
            OSError: the connection is gone, or the deadline (monotonic seconds) has passed.
        """
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        self._socket.sendall(self._sealed(self.dialogue.hello(hello)))
        self._socket.settimeout(None)

    def _sealed(self, pieces: list[Buffer]) -> bytes:
        """Give the bytes that go out for pieces of a frame."""
        return b"".join(pieces)

    def submit(self, calls: list[Submission]) -> None:
        """Write calls and nothing else; as `write`.

        Raises:
            OSError: the connection is gone.
            LocalError: they exceed what the agent granted, or what a frame may hold.
        """
        frames = self.dialogue.submit(calls)
        if len(frames) == 1 and len(frames[0]) == 1:
            self._write_short(frames[0][0])
            return
        self.backlog.extend((memoryview(piece), ()) for frame in frames for piece in frame)
        self.drain()

    def announce(self, line: int, call: Submission) -> None:
        """Write that a call is made over a direct line; as `write`.

        Raises:
            OSError: the connection is gone.
            LocalError: it exceeds what the agent granted.
        """
        self._write_short(self.dialogue.announce(line, call))

    def _write_short(self, piece: Buffer) -> None:
        """Write one piece behind what waits, at once where nothing does."""
        if self.backlog:
            self.backlog.append((memoryview(piece), ()))
            self.drain()
            return
        try:
            sent = self._socket.send(piece, _AT_ONCE)
        except BlockingIOError:
            sent = 0
        if sent < len(piece):
            self.backlog.append((memoryview(piece)[sent:], ()))

    def drain(self) -> None:
        """Write what waits, as far as the socket takes it at once.

        Raises:
            OSError: the connection is gone.
        """
        while self.backlog:
            piece, descriptors = self.backlog[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _packed(descriptors))] if descriptors else []
            group = [piece] if descriptors else self._next_pieces()
            try:
                sent = self._socket.sendmsg(group, rights, _AT_ONCE)
            except BlockingIOError:
                return
            self._advance(sent)

    def _next_pieces(self) -> list[memoryview]:
        """The pieces from the first on that bring no descriptors; at most as many as one call should gather."""
        group: list[memoryview] = []
        for piece, descriptors in self.backlog:
            if descriptors or len(group) == 64:
                break
            group.append(piece)
        return group

    def _advance(self, sent: int) -> None:
        while self.backlog:
            piece = self.backlog[0][0]
            if sent < len(piece):
                if sent:
                    self.backlog[0] = (piece[sent:], ())
                return
            sent -= len(piece)
            self.backlog.popleft()

    def shut(self) -> None:
        """End the connection in both directions: a thread that reads it wakes up."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Give everything back. May be called twice."""
        self._socket.close()
        while self.descriptors:
            os.close(self.descriptors.popleft())
        for _, ancillary, _, _ in self._chunks:
            for _, _, raw in ancillary:
                for descriptor in memoryview(raw[: len(raw) - len(raw) % 4]).cast("i"):
                    os.close(descriptor)
        self._chunks.clear()


def _packed(descriptors: tuple[int, ...]) -> bytes:
    return b"".join(descriptor.to_bytes(4, sys.byteorder, signed=True) for descriptor in descriptors)


def dial(place: Place, *, name: str, timeout_s: float = GREETING_S) -> Connection:
    """Connect to the agent of this device and greet it.

    Raises:
        Unreachable: nobody answers, or not in time; the message names the socket.
        NotWelcome: the agent will not have us.
    """
    if place.socket is None:
        raise Unreachable(f"the agent at {place.where} has no socket on this device")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        deadline = time.monotonic() + timeout_s
        sock.settimeout(timeout_s)
        with fitting(place.socket) as path:
            sock.connect(path)
        return greet(Connection(sock), place.token, name=name, deadline=deadline, capabilities={"segments": True})
    except Refused as error:
        raise NotWelcome(error) from error
    except (OSError, PeerError) as error:
        sock.close()
        raise Unreachable(f"no agent answers at {place.socket}: {error}; is it running? (`agentd status`)") from error
    except BaseException:
        sock.close()
        raise


def greet(
    connection: Connection, token: str, *, name: str, deadline: float, capabilities: dict[str, bool | int | str]
) -> Connection:
    """Exchange HELLO over a connection, which blocks from then on; it is closed if that fails.

    Raises:
        OSError: the connection is gone, or there was no answer by the `deadline` (monotonic seconds).
        PeerError: the other end does not speak our protocol.
        Refused: the agent will not have us.
    """
    hello = Hello(
        role="user",
        name=name[:256],
        python=sys.version_info[:2],
        libraries={"agentd": __version__},
        capabilities=capabilities,
        token=token,
    )
    try:
        connection.send_hello(hello, deadline)
        while True:
            if not connection.wait(deadline - time.monotonic()):
                raise TimeoutError("no answer to HELLO in time")
            connection.read()
            if connection.is_welcomed():
                return connection
    except BaseException:
        connection.close()
        raise
