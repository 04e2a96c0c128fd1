"""The user's side of the protocol, without a socket: calls to bytes and bytes to outcomes by the shortest way.

It says what `agentd.wire.session` would say for a user; a test holds the two together. Law: how much may be in flight
is the agent's word, and what the agent may not say ends the connection.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from agentd.model.errors import PeerError
from agentd.model.unreadable import UNREADABLE
from agentd.wire.codec import decode, encode
from agentd.wire.faults import LocalError
from agentd.wire.framing import HEADER, HEADER_BYTES, MAGIC, MAX_FRAME_BYTES, OPENING_VERSION, FrameDecoder
from agentd.wire.line_messages import Announce
from agentd.wire.messages import Credit, DirectLine, HelloAck, Kind, SettledCalls, Submit
from agentd.wire.rights import Speaker, may_send
from agentd.wire.terms import PROTOCOL_MAX, PROTOCOL_MIN

if TYPE_CHECKING:
    from agentd.model.exchange import Submission
    from agentd.wire.framing import Buffer, Frame
    from agentd.wire.messages import Hello, Message

SHORT_BYTES = 256 * 1024
"""Calls that make a body up to here go as one frame, and are not looked at for being cut. Chosen."""
OPENING_BYTES = 64 * 1024
"""Cap on the agent's answer to HELLO, as the agent's on HELLO."""

_HEARD = may_send(Speaker.SERVER, local=True)
_SAID = may_send(Speaker.USER, local=True)
_HEARD_AFAR = may_send(Speaker.SERVER, local=False)
_SAID_AFAR = may_send(Speaker.USER, local=False)
_SETTLED = int(Kind.SETTLED)
_SUBMIT = int(Kind.SUBMIT)
_ANNOUNCE = int(Kind.ANNOUNCE)
_encode = msgspec.msgpack.Encoder().encode
_decode_settled = msgspec.msgpack.Decoder(SettledCalls).decode
_argument_parts = attrgetter("payload.parts")
_result_parts = attrgetter("outcome.value.parts")


class Refused(PeerError):
    """The agent answered HELLO with a refusal.

    Attributes:
        ack: its words.
    """

    def __init__(self, ack: HelloAck) -> None:
        super().__init__(f"{ack.reason or 'the agent refused'}{': ' + ack.remedy if ack.remedy else ''}")
        self.ack = ack


class Dialogue:
    """One connection's words. Not safe to use from several threads at once.

    `local` tells that both ends are on one device, where values may lie in shared memory.

    Attributes:
        ack: what the agent said of itself; not `ok` until it has said so.
        room: how many calls it takes now.
    """

    def __init__(self, *, local: bool = True) -> None:
        self._local = local
        self._heard = _HEARD if local else _HEARD_AFAR
        self._said = _SAID if local else _SAID_AFAR
        self.ack = HelloAck()
        self.room = 0
        self._version = OPENING_VERSION
        self._decoder = FrameDecoder(OPENING_BYTES)
        self._is_whole = True
        """No part of a frame waits for the rest."""

    def hello(self, message: Hello) -> list[Buffer]:
        """Give the pieces of the first frame."""
        return _flat(encode(message, version=OPENING_VERSION, max_bytes=OPENING_BYTES, local=self._local))

    def say(self, message: Message) -> list[list[Buffer]]:
        """Give the frames for a message, each a list of pieces.

        Raises:
            LocalError: it is none that a user may send, or more than the agent takes.
        """
        if message.kind not in self._said:
            raise LocalError(f"{message.kind.name} is not for a user to say")
        if isinstance(message, Submit):
            return self.submit(message.calls)
        if isinstance(message, DirectLine):
            self.room -= 1
        return encode(message, version=self._version, max_bytes=MAX_FRAME_BYTES, local=self._local)

    def submit(self, calls: list[Submission]) -> list[list[Buffer]]:
        """Give the frames that ask for calls.

        Raises:
            LocalError: they are more than the agent takes, or one of them fits into no frame.
        """
        if len(calls) > self.room:
            raise LocalError(f"{len(calls)} calls where {self.room} are granted")
        message = Submit(calls)
        if not any(map(_argument_parts, calls)):
            body = _encode(message)
            if len(body) <= SHORT_BYTES:
                self.room -= len(calls)
                return [[HEADER.pack(MAGIC, self._version, _SUBMIT, len(body), 0) + body]]
        frames = encode(message, version=self._version, max_bytes=MAX_FRAME_BYTES, local=self._local)
        self.room -= len(calls)
        return frames

    def announce(self, line: int, call: Submission) -> bytes:
        """Give the frame that tells of a call without parts over a direct line; it is short.

        Raises:
            LocalError: it is more than the agent takes.
        """
        if not self.room:
            raise LocalError("a call where none is granted")
        body = _encode(Announce(line, [call]))
        self.room -= 1
        return HEADER.pack(MAGIC, self._version, _ANNOUNCE, len(body), 0) + body

    def hear(self, data: bytes) -> list[Message]:
        """Give the messages that these bytes complete.

        Raises:
            Refused: the agent will not have us.
            PeerError: it broke the protocol.
        """
        if self._is_whole and len(data) >= HEADER_BYTES:
            magic, version, kind, body_bytes, raw_bytes = HEADER.unpack_from(data)
            if (
                kind == _SETTLED
                and body_bytes + HEADER_BYTES == len(data)
                and not raw_bytes
                and magic == MAGIC
                and version == self._version
                and self.ack.ok
            ):
                message = self._settled(data)
                if message is not None:
                    return [message]
        messages = [self._read(frame) for frame in self._decoder.feed(data)]
        self._is_whole = not self._decoder.held_bytes
        return messages

    def _settled(self, data: bytes) -> SettledCalls | None:
        """Read outcomes whose values are in the frame; None: others are there too, which need a closer look."""
        try:
            message = _decode_settled(memoryview(data)[HEADER_BYTES:])
        except UNREADABLE as error:
            raise PeerError(f"a body of kind SETTLED that cannot be read: {error}") from error
        if any(map(_result_parts, message.settled)):
            return None
        self.room += len(message.settled)
        return message

    def _read(self, frame: Frame) -> Message:
        message = decode(frame, local=self._local)
        if not self.ack.ok:
            self._greeted(message)
        elif message.kind not in self._heard:
            raise PeerError(f"{message.kind.name} is not for an agent to send to a user")
        elif isinstance(message, SettledCalls):
            self.room += len(message.settled)
        elif isinstance(message, Credit):
            if message.grant < 0:
                raise PeerError(f"CREDIT grants {message.grant}")
            self.room += message.grant
        return message

    def _greeted(self, message: Message) -> None:
        if not isinstance(message, HelloAck):
            raise PeerError(f"the agent answered HELLO with {message.kind.name}")
        if not message.ok:
            raise Refused(message)
        if not PROTOCOL_MIN <= message.version <= PROTOCOL_MAX:
            raise PeerError(f"the agent chose version {message.version} of the protocol, which was not offered")
        if message.credits < 0:
            raise PeerError(f"the agent grants {message.credits} calls")
        self.ack, self.room = message, message.credits
        self._version = self._decoder.version = message.version
        self._decoder.max_bytes = MAX_FRAME_BYTES


def _flat(frames: list[list[Buffer]]) -> list[Buffer]:
    return [piece for frame in frames for piece in frame]
