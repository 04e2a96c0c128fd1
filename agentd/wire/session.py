"""One connection's state: who may say what and when, how much may be in flight, and whether the other end lives.

Law: no I/O and no clock. Bytes go in and messages come out; messages go in and pieces to write come out; every time
is given by the caller, in seconds of its own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from agentd.model.errors import PeerError
from agentd.wire.codec import decode, decode_chunk, encode
from agentd.wire.faults import LocalError
from agentd.wire.framing import OPENING_VERSION, Buffer, Frame, FrameDecoder
from agentd.wire.kinds import TYPES
from agentd.wire.line_messages import Announce
from agentd.wire.lot_messages import AcceptLot, OfferLot
from agentd.wire.measure import RoundTrip
from agentd.wire.messages import (
    Answers,
    Credit,
    DataChunk,
    DirectLine,
    Goodbye,
    Heartbeat,
    Hello,
    HelloAck,
    Kind,
    Message,
    Offers,
    SettledCalls,
    Submit,
)
from agentd.wire.rights import Speaker, may_send
from agentd.wire.terms import Life, Phase, Side, Terms, agreed_version

_CREDITS_CAP = 2**31
"""Far above any sensible grant: a sum of grants stays a small number."""
_EQUALS = {"peer": Speaker.PEER, "guest": Speaker.GUEST}
"""Roles with which both ends have the same rights."""
_CLOSED = Phase.CLOSED
_COUNTED = frozenset(
    {Kind.SUBMIT, Kind.ANNOUNCE, Kind.DIRECT_LINE, Kind.OFFER, Kind.OFFER_LOT}  # use credits up
    | {Kind.SETTLED, Kind.ANSWER, Kind.ACCEPT_LOT}  # give them back
)
"""What uses up credits, or gives them back."""


class Session:
    """One connection, seen from one end.

    Attributes:
        phase: how far it has come.
        version: the protocol's version; what both speak once it is open.
        was_open: whether it ever came to be open.
        role: `peer`, `user` or `guest`: what the dialler is; empty until HELLO.
        theirs: HELLO or HELLO_ACK of the other end; None before.
        heard_s: when anything at all was last received.
        round_trip: estimate from heartbeats.
        granted: how many calls or offers the other end may have open with us.
        received_open: how many it has.
    """

    def __init__(self, side: Side, terms: Terms, now: float) -> None:
        self.side = side
        self.terms = terms
        self.phase = Phase.OPENING
        self.version = OPENING_VERSION
        self.role = ""
        self.was_open = False
        self.theirs: Hello | HelloAck | None = None
        self.heard_s = now
        self._slept_s = 0.0
        self._slept_after_s = now
        self.heartbeat_s = terms.heartbeat_s
        self.lease_s = terms.heartbeat_s * terms.lost_beats
        self.round_trip = RoundTrip()
        self.granted = 0
        self.received_open = 0
        self._window = 0
        self._sent_open = 0
        self._sent_s = now
        self._beat_s = now
        self._beats = 0
        self._last_beat: Heartbeat | None = None
        self._last_beat_s = now
        self._decoder = FrameDecoder(terms.opening_bytes)
        self._sendable: frozenset[int] = frozenset({Kind.HELLO} if side is Side.DIALLER else ())
        self._receivable: frozenset[int] = frozenset({Kind.HELLO} if side is Side.ACCEPTOR else ())
        self._on_received: dict[int, Callable[[Any], None]] = {
            Kind.HELLO: self._hello_received,
            Kind.HELLO_ACK: self._ack_received,
            Kind.GOODBYE: self._goodbye_received,
            Kind.HEARTBEAT: self._beat_received,
            Kind.CREDIT: self._credit_received,
            Kind.SUBMIT: self._work_received,
            Kind.DIRECT_LINE: self._work_received,
            Kind.ANNOUNCE: self._work_received,
            Kind.OFFER: self._work_received,
            Kind.OFFER_LOT: self._work_received,
            Kind.SETTLED: self._work_answered,
            Kind.ANSWER: self._work_answered,
            Kind.ACCEPT_LOT: self._work_answered,
        }
        self._on_sent: dict[int, Callable[[Any], None]] = {
            Kind.HELLO: self._hello_sent,
            Kind.HELLO_ACK: self._ack_sent,
            Kind.GOODBYE: self._goodbye_sent,
            Kind.HEARTBEAT: self._beat_sent,
            Kind.CREDIT: self._credit_sent,
        }

    # --- receiving ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> Iterator[Message]:
        """Give the messages that `data` completes, each after its effect on this state; to be exhausted.

        Raises:
            PeerError: the other end broke the protocol: say `farewell` and drop the connection.
        """
        self.heard_s = now
        frame = self._decoder.alone(data)
        if frame is not None and frame.kind in self._receivable:  # most reads: no generators for one short message
            return iter((self._message(frame),))
        return self._messages(self._decoder.feed(data))

    def _messages(self, frames: Iterator[Frame]) -> Iterator[Message]:
        for frame in frames:
            if self.phase is _CLOSED:
                return
            if frame.kind not in self._receivable:
                raise self._misplaced(frame)
            yield self._message(frame)

    def _message(self, frame: Frame) -> Message:
        message = decode(frame, local=self.terms.local)
        note = self._on_received.get(frame.kind)
        if note is not None:
            note(message)
        return message

    @property
    def landing(self) -> memoryview | None:
        """Where the next bytes may be read to, straight; None: they are to be received."""
        return self._decoder.room

    def landed(self, count: int, now: float) -> Iterator[Message]:
        """As `receive`, for bytes that were read to `landing`."""
        self.heard_s = now
        return self._messages(self._decoder.landed(count))

    def divert(self) -> None:
        """Let go of the room that was given for a chunk that is coming."""
        self._decoder.divert()

    def land_chunks(self, land: Callable[[DataChunk, int], memoryview | None]) -> None:
        """Ask `land` where the bytes of large chunks belong: it gives memory of that size, or None."""

        def room_for(kind: int, body: Buffer, size: int) -> memoryview | None:
            if kind != Kind.DATA_CHUNK or kind not in self._receivable:
                return None
            return land(decode_chunk(body), size)

        self._decoder.land = room_for

    def _misplaced(self, frame: Frame) -> PeerError:
        if frame.kind not in TYPES:
            return PeerError(f"unknown kind of frame {frame.kind} in version {self.version} of the protocol")
        said = Kind(frame.kind).name
        if self.phase is Phase.OPEN:
            return PeerError(f"{said} is not for {self._speaker(of_other=True).value} to send on this connection")
        expected = " or ".join(sorted(Kind(kind).name for kind in self._receivable)) or "nothing yet"
        return PeerError(f"{said} while the connection opens: expected {expected}")

    def _hello_received(self, message: Hello) -> None:
        if message.role not in {"peer", "user", "guest"}:
            raise PeerError(f"HELLO with role {message.role!r}: expected peer, user or guest")
        self.theirs, self.role = message, message.role
        self._window = _checked_credits(message.credits) if message.role == "peer" else 0
        self._enter_deciding()

    def _ack_received(self, message: HelloAck) -> None:
        self.theirs = message
        if not message.ok:
            self.end()
            return
        if not self.terms.protocol_min <= message.version <= self.terms.protocol_max:
            raise PeerError(f"HELLO_ACK chose version {message.version}, which was not offered")
        if not (0.01 <= message.heartbeat_s <= 3600 and message.lease_s > message.heartbeat_s):
            raise PeerError(f"HELLO_ACK with a heartbeat of {message.heartbeat_s} s, a lease of {message.lease_s} s")
        self._window = _checked_credits(message.credits)
        self.heartbeat_s, self.lease_s = message.heartbeat_s, message.lease_s
        self._open(message.version)

    def _work_received(self, message: Message) -> None:
        self.received_open += _work_in(message)
        if self.received_open > self.granted:
            raise PeerError(f"{self.received_open} calls or offers in flight where {self.granted} were granted")

    def _work_answered(self, message: Message) -> None:
        self._sent_open -= _answers_in(message)
        if self._sent_open < 0:
            raise PeerError("more calls settled, or offers answered, than were sent")

    def _credit_received(self, message: Credit) -> None:
        self._window = _checked_credits(self._window + _checked_credits(message.grant))

    def _beat_received(self, message: Heartbeat) -> None:
        self._last_beat, self._last_beat_s = message, self.heard_s
        if message.echo_sequence:
            self.round_trip.add(self.heard_s - message.echo_sent_s - message.held_s)

    def _goodbye_received(self, _message: Message) -> None:
        self.end()

    # --- sending ------------------------------------------------------------------------------------------------

    def send(self, message: Message, now: float) -> list[list[Buffer]]:
        """Give the frames for a message, each a list of pieces to write in order.

        Raises:
            LocalError: it may not be sent now, or exceeds the credits; nothing has changed.
            Unsendable: it, or items of it, cannot travel on this connection; nothing has changed.
        """
        kind = message.kind
        if kind not in self._sendable:
            raise LocalError(f"{kind.name} may not be sent by this end in phase {self.phase.name}")
        work = answers = 0
        if kind in _COUNTED:
            work, answers = _work_in(message), _answers_in(message)
            if work > self.room:
                raise LocalError(f"{work} calls or offers where credits are left for {self.room}: wait for answers")
            if answers > self.received_open:
                raise LocalError(f"{answers} answers to {self.received_open} calls or offers: one was answered twice")
        frames = encode(message, version=self.version, max_bytes=self.terms.frame_bytes, local=self.terms.local)
        self._sent_open += work
        self.received_open -= answers
        self._sent_s = now
        note = self._on_sent.get(kind)
        if note is not None:
            note(message)
        return frames

    @property
    def room(self) -> int:
        """How many calls or offers may still be sent before others are settled or answered."""
        return self._window - self._sent_open

    def welcome(self, ack: HelloAck) -> HelloAck:
        """Complete a favourable answer to HELLO with what this state knows, for `send`.

        Raises:
            LocalError: there is no HELLO to answer, or no common version: refuse it.
        """
        version = agreed_version(self.terms, self.theirs) if isinstance(self.theirs, Hello) else None
        if version is None:
            raise LocalError("no HELLO that this end could welcome")
        return replace(ack, ok=True, version=version, heartbeat_s=self.heartbeat_s, lease_s=self.lease_s)

    def farewell(self, code: str, reason: str) -> Message | None:
        """Give the last message that this end may send in its phase; None if it may say nothing."""
        if self.phase is Phase.OPEN:
            return Goodbye(code=code, reason=reason[:4_096])
        if self.side is Side.ACCEPTOR and self.phase is not Phase.CLOSED:
            self._enter_deciding()
            return HelloAck(code=code, reason=reason[:4_096])
        return None

    def heartbeat(self, now: float) -> Heartbeat | None:
        """Give the heartbeat that is due, if one is: nothing was sent for a beat, or no heartbeat for three.

        A beat is over a tenth early, so that who asks once per beat does not miss it by a hair.
        """
        if self.phase is not Phase.OPEN:
            return None
        if now - self._sent_s < 0.9 * self.heartbeat_s and now - self._beat_s < 3 * self.heartbeat_s:
            return None
        last = self._last_beat
        if last is None:
            return Heartbeat(self._beats + 1, now)
        return Heartbeat(self._beats + 1, now, last.sequence, last.sent_s, max(0.0, now - self._last_beat_s))

    def life(self, now: float) -> Life:
        """Tell what the silence means. The kernel tells for a local connection, and a user owes no heartbeats."""
        if self.terms.local or (self.side is Side.ACCEPTOR and self.role == "user"):
            return Life.ALIVE
        silence_s = now - self._silent_from_s
        if silence_s >= self.lease_s:
            return Life.LOST
        return Life.SUSPECT if silence_s >= self.heartbeat_s * self.terms.suspect_beats else Life.ALIVE

    @property
    def lost_at(self) -> float:
        """When the other end will be taken for lost if nothing more is heard."""
        return self._silent_from_s + self.lease_s

    @property
    def _silent_from_s(self) -> float:
        return self.heard_s + (self._slept_s if self._slept_after_s == self.heard_s else 0.0)

    def overslept(self, seconds: float) -> None:
        """Do not count so many seconds as silence: nobody looked at what came in them."""
        if self._slept_after_s != self.heard_s:
            self._slept_after_s, self._slept_s = self.heard_s, 0.0
        self._slept_s += seconds

    def _hello_sent(self, message: Hello) -> None:
        self.role = message.role
        self.granted = message.credits if message.role == "peer" else 0
        self._enter_deciding()

    def _ack_sent(self, message: HelloAck) -> None:
        if not message.ok:
            self.end()
            return
        self.granted = message.credits
        self._open(message.version)

    def _credit_sent(self, message: Credit) -> None:
        self.granted += message.grant

    def _beat_sent(self, _message: Message) -> None:
        self._beats += 1
        self._beat_s = self._sent_s

    def _goodbye_sent(self, _message: Message) -> None:
        self.end()

    # --- phases -------------------------------------------------------------------------------------------------

    def _enter_deciding(self) -> None:
        self.phase = Phase.DECIDING
        dialled = self.side is Side.DIALLER
        self._sendable = frozenset(() if dialled else {Kind.HELLO_ACK})
        self._receivable = frozenset({Kind.HELLO_ACK} if dialled else ())

    def _open(self, version: int) -> None:
        self.phase = Phase.OPEN
        self.was_open = True
        self.version = self._decoder.version = version
        self._decoder.max_bytes = self.terms.frame_bytes
        self._sendable = may_send(self._speaker(), local=self.terms.local)
        self._receivable = may_send(self._speaker(of_other=True), local=self.terms.local)

    def end(self) -> None:
        """Nothing more is said or listened to, and nothing of an unfinished frame is kept."""
        self.phase = Phase.CLOSED
        self._decoder = FrameDecoder()
        self._sendable = self._receivable = frozenset()

    def _speaker(self, *, of_other: bool = False) -> Speaker:
        if self.role in _EQUALS:
            return _EQUALS[self.role]
        return Speaker.USER if (self.side is Side.DIALLER) != of_other else Speaker.SERVER


def _work_in(message: Message) -> int:
    """Count the calls or offers in a message."""
    if type(message) is Submit:
        return len(message.calls)
    if type(message) is DirectLine:
        return 1
    if type(message) is Announce:
        return len(message.calls)
    if type(message) is OfferLot:
        return len(message.lot.tasks)
    return len(message.offers) if type(message) is Offers else 0


def _answers_in(message: Message) -> int:
    """Count the calls that a message settles, or the offers that it answers."""
    if type(message) is SettledCalls:
        return len(message.settled)
    if type(message) is AcceptLot:
        return len(message.tasks)
    return len(message.accepted) + len(message.refused) if type(message) is Answers else 0


def _checked_credits(credits_: int) -> int:
    if not 0 <= credits_ <= _CREDITS_CAP:
        raise PeerError(f"a grant of {credits_} credits: expected 0 to {_CREDITS_CAP}")
    return credits_
