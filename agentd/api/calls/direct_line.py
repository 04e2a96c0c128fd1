"""One direct line, seen from the session: frames out, frames in.

Law: a byte that was read is never lost, wherever a signal raises.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from agentd.api.calls import direct_frames as frames
from agentd.model.errors import PeerError
from agentd.model.task import Failure, Outcome, Status
from agentd.model.values import NO_VALUE, Codec, Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.api.calls.tls import Tls
    from agentd.model.exchange import Submission
    from agentd.model.task import Template

_READ_BYTES = 64 * 1024
_BODY_MOST = 1024 * 1024
"""No answer is as large (the worker's limit is `ANSWER_MOST`, in bytes before they are laid out)."""
PATIENCE_S = 0.005
"""For so long a call waits for a line to be served, at most (chosen: as long as a call of a loop may take)."""
_NOW = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_AT_ONCE = (int(socket.MSG_DONTWAIT),)


class _Ended(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A result as a worker writes it."""

    number: int
    status: int
    value: Payload = NO_VALUE
    failure: Failure | None = None
    started: float = 0.0
    seconds: float = 0.0


decode_ended = msgspec.msgpack.Decoder(list[_Ended]).decode
"""Read the body of an ENDED frame."""


class Line:
    """One line. Its socket holds the calls while the task that serves it waits for a core.

    Attributes:
        ref: the number of the task that serves it, among the session's calls.
        agent: the name of the agent that the worker is of.
        fd: the descriptor of the session's end; -1 while there is none.
        is_ready: calls may be sent.
        there: the worker's end, until it is on its way.
        current: the call that is not answered.
        begun: how many calls were begun, once the worker has said so.
        is_durable: the agent was told of it, and tells how it ends.
        is_last_of_task: the end of the last call is the end of the task.
        is_leaving: no more calls go over it.
    """

    hops = 0
    """How far away its worker is."""
    due_s = 0.0
    """When it is given up if it is not ready."""

    def __init__(self, ref: int, agent: str) -> None:
        self.ref = ref
        self.agent = agent
        self._socket, self.there = self._pair()
        self.fd = self._socket.fileno()
        self.is_ready = True
        self.is_durable = False
        self.current: Submission | None = None
        self.sent = 0
        self.begun: int | None = None
        self.is_last_of_task = False
        self.is_leaving = False
        self._declared: set[int] = set()
        self._chunks: deque[bytes] = deque()
        """Where `read` puts what it got, in the same instruction that got it."""
        self._rest = b""
        self.is_at_end = False

    @staticmethod
    def _pair() -> tuple[socket.socket, socket.socket | None]:
        here, there = socket.socketpair()
        return here, there

    def take(self, descriptor: int, certificate: bytes, secret: bytes) -> None:  # noqa: ARG002 - as `FarLine`
        """Take the session's end from the agent.

        Raises:
            PeerError: it has been there from the start.
        """
        raise PeerError(f"the agent gave descriptor {descriptor} for a line that has one")

    def is_awaited(self, seconds: float) -> bool:  # noqa: ARG002 - calls may be sent from the start
        """Tell whether there is something to read that a call waits for."""
        return False

    def is_known_begun(self, outcome: Outcome) -> bool:  # noqa: ARG002 - here nothing is lost on the way
        """Tell whether the call at hand may have begun."""
        return True

    @property
    def has_bytes(self) -> bool:
        """Tell whether something was read and not looked at."""
        return bool(self._chunks)

    def send(self, call: Submission, template: Template) -> None:
        """Send one call.

        Raises:
            OSError: the worker has left, or does not take it at once.
        """
        kind, number, codec = frames.CALL, call.template, call.payload.codec
        if template.durable:
            kind, head = frames.DURABLE_CALL, frames.DURABLE_HEAD.pack(number, codec, call.ref)
        else:
            head = frames.CALL_HEAD.pack(number, codec)
        body = head + call.payload.data
        data = frames.HEADER.pack(len(body), kind) + body
        if call.template not in self._declared:
            self._declared.add(call.template)
            data = _declaration(call.template, template) + data
        self.current, self.is_durable = call, template.durable
        self.sent += 1
        data = self._sealed(data)
        if self._socket.send(data, _NOW) != len(data):
            raise BrokenPipeError("the worker does not read")

    def _sealed(self, data: bytes) -> bytes:
        """Give what is to be sent for these bytes.

        Raises:
            OSError: the worker has left.
        """
        return data

    def _opened(self, data: bytes) -> bytes:
        """Give what these bytes complete; it may be nothing yet.

        Raises:
            OSError: they were tampered with.
        """
        return data

    def read(self) -> None:
        """Read what there is, without waiting."""
        try:
            # A signal may raise between two instructions: `extend` calls recv and keeps its answer within one.
            self._chunks.extend(map(self._socket.recv, (_READ_BYTES,), _AT_ONCE))
        except BlockingIOError:
            return
        except OSError:
            self.is_at_end = True

    def heard(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the frames that were read: kind and body.

        Raises:
            PeerError: a length that no frame has.
            OSError: what came was tampered with.
        """
        while self._chunks:
            data = self._chunks.popleft()
            if not data:
                self.is_at_end = True
                return
            data = self._opened(data)
            data = self._rest + data if self._rest else data
            position, end = 0, len(data)
            while end - position >= frames.HEADER.size:
                length, kind = frames.HEADER.unpack_from(data, position)
                if length > _BODY_MOST:
                    raise PeerError(f"a worker announced {length} bytes")
                start = position + frames.HEADER.size
                if end - start < length:
                    break
                yield kind, memoryview(data)[start : start + length]
                position = start + length
            self._rest = data[position:]

    def leave(self) -> None:
        """Let the worker go after the calls that it was sent."""
        self.is_leaving = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close_there(self) -> None:
        """Let the worker's end go here: from then on its death is seen."""
        if self.there is not None:
            self.there.close()
            self.there = None

    def close(self) -> None:
        """Give the descriptors back."""
        self.close_there()
        self._socket.close()


class FarLine(Line):
    """A line to a worker of a neighbour, which the session is given when the agents have made it."""

    hops = 1

    def __init__(self, ref: int, agent: str, due_s: float) -> None:
        super().__init__(ref, agent)
        self.fd, self.is_ready = -1, False
        self.due_s = due_s
        self._certificate = self._secret = b""
        self._tls: Tls | None = None
        """What makes bytes secret, once the two ends have agreed on keys."""
        self._calls = 0
        """That were made by the daemons since the session has its end: with the first of them the task is offered."""

    @staticmethod
    def _pair() -> tuple[socket.socket, socket.socket | None]:
        none_yet = socket.socket()
        none_yet.close()
        return none_yet, None

    def take(self, descriptor: int, certificate: bytes, secret: bytes) -> None:
        """Take the session's end; with a certificate (DER), that of the worker, the line is to be made TLS."""
        self._socket = socket.socket(fileno=descriptor)
        self.fd = descriptor
        self._certificate, self._secret = certificate, secret

    def _sealed(self, data: bytes) -> bytes:
        """Seal bytes where the line is TLS; the first are those behind which all else may be said.

        Raises:
            OSError: the worker has left, or somebody else answers.
        """
        if not self._certificate:
            return data
        tls = self._tls
        if tls is None:
            tls = self._tls = self._agreed()
            data = self._secret + data
        return tls.sealed((data,))

    def _agreed(self) -> Tls:
        """Agree on keys with the worker, which has said that it serves.

        Raises:
            OSError: it has left, or somebody else answers.
        """
        from agentd.api.calls.tls import Tls  # loads TLS

        tls = Tls(certificate_text(self._certificate))
        tls.shake_hands(self._socket, frames.HANDSHAKE_S)
        self._socket.setblocking(False)
        return tls

    def _opened(self, data: bytes) -> bytes:
        return data if self._tls is None else self._tls.opened(data)

    def is_awaited(self, seconds: float) -> bool:
        """Before a call: tell whether there is something to read; before the second one wait for it for so long."""
        if self.fd < 0:
            return False
        self._calls += 1
        readable = select.poll()
        readable.register(self.fd, select.POLLIN)
        return bool(readable.poll(min(seconds, PATIENCE_S) * 1000 if self._calls == 2 else 0))

    def read(self) -> None:
        """Read what there is, if there is a connection yet."""
        if self.fd >= 0:
            super().read()

    def is_known_begun(self, outcome: Outcome) -> bool:
        """Tell whether the call at hand may have begun: the worker says how many did, in its result if not before."""
        if outcome.status != Status.DONE or outcome.value.codec != Codec.JSON:
            return True
        return not outcome.value.data.isdigit() or int(outcome.value.data) >= self.sent


@lru_cache(maxsize=8)
def certificate_text(certificate: bytes) -> str:
    """Give a certificate in DER as PEM."""
    import ssl  # which most programs never need

    return ssl.DER_cert_to_PEM_cert(certificate)


def _declaration(number: int, template: Template) -> bytes:
    name = template.function.encode()
    body = frames.TEMPLATE_HEAD.pack(number, template.form, len(name)) + name + template.code
    return frames.HEADER.pack(len(body), frames.TEMPLATE) + body
