"""One connection: a session of the protocol over a carrier of bytes.

Law: messages are handed on synchronously, in the turn of the loop in which their last byte was read; the end is told
exactly once; nothing is told after it.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from agentd.comm.carrying.carriers import CARRIER_BYTES, Carrier
from agentd.comm.carrying.chunks import Bulk, Chunks, chunk_bytes
from agentd.comm.carrying.outbox import Outbox
from agentd.comm.settings import CommSettings
from agentd.comm.trust.admission import Origin
from agentd.comm.trust.same_machine import may_be_bare
from agentd.model.errors import PeerError
from agentd.wire.measure import Bandwidth
from agentd.wire.messages import Goodbye, HelloAck, Kind, Message
from agentd.wire.session import Session
from agentd.wire.terms import Life, Phase

_URGENT = frozenset({Kind.HEARTBEAT, Kind.CREDIT, Kind.LOAD})
"""These pass frames that wait: no other message's meaning depends on coming after or before them."""
_LAST = frozenset({Kind.GOODBYE, Kind.HELLO_ACK})
"""After these the connection may be over."""
_ACCOMPANIED = frozenset({Kind.SEGMENT, Kind.DIRECT_LINE})
"""Frames with which a descriptor travels, but for a DIRECT_LINE to a neighbour."""
_CUT = frozenset({"", "lost", "replaced", "fault"})
"""Codes with which a connection ends whose other end had not said that it leaves."""
_STRAY_DESCRIPTORS = 64
"""Descriptors that may have arrived ahead of their frames."""


Bytes = TypeVar("Bytes")
OnMessage = Callable[["Link", Message], None]
OnClosed = Callable[["Link", str], None]


class Link:
    """One connection to a peer or a user.

    Attributes:
        number: unique within this agent; the caller number of what comes over it.
        session: the state of the protocol.
        where: the other end's address, for people.
        on_message: told each message; a `PeerError` from it drops the connection, as one of the session does.
        on_closed: told the end and its reason, once.
        on_gone: told, at the end or a little later, that nothing is left of the connection.
        origin_of: tells who is at the other end of a connection that was accepted; None for one that we dialled.
        bandwidth: estimate of what the link carries.
        burden_bytes: what has come since the other end last had no calls open.
        shared_bytes: shared memory that the other end has announced.
        lent_bytes: shared memory that it was lent by messages that it has not read.
        certificate: DER of which the other end has proven to hold the key; None for none.
        dialled: the socket address that we dialled; None where the other end did.
        is_paused: what the other end sends is left unread for now.
        program: under this name the program at the other end may come back; empty: it may not.
        closed_for: code of the reason, where this end closed it or was sent away.
        closed_reason: the reason, for people.
    """

    def __init__(
        self,
        number: int,
        session: Session,
        settings: CommSettings,
        *,
        where: str,
        on_message: OnMessage,
        on_closed: OnClosed,
        on_gone: Callable[[Link], None] = lambda _: None,
        origin_of: Callable[[], Origin] | None = None,
    ) -> None:
        self.number = number
        self.session = session
        self.where = where
        self.on_message = on_message
        self.on_closed = on_closed
        self.on_gone = on_gone
        self.origin_of = origin_of
        self.bandwidth = Bandwidth()
        self.burden_bytes = 0
        self.shared_bytes = 0
        self.lent_bytes = 0
        self._lent: deque[tuple[int, int]] = deque()
        """How many bytes were sent before each loan, and what it is of."""
        self.certificate: bytes | None = None
        self.dialled: tuple[str | int, ...] | None = None
        self.program = ""
        self.is_closed = False
        self.is_paused = False
        self.closed_for = ""
        self.closed_reason = ""
        self._settings = settings
        self._is_local = session.terms.local
        self._loop = asyncio.get_running_loop()
        self._carrier: Carrier | None = None
        self._outbox = Outbox(settings.write_buffer_bytes, settings.overflow_folder)
        self._needs_hash: bool | None = None
        """Known from the first chunk on, when both ends have introduced themselves."""
        self._chunks = Chunks(self._loop, self.flush)
        self._written_bytes = 0
        self._descriptors: deque[int] = deque()
        self._slow_since: float | None = None
        self._slow_bytes = 0
        self._linger_until = 0.0

    def __repr__(self) -> str:
        return f"<Link {self.number} {self.where} {self.session.phase.name}>"

    def carried_by(self, carrier: Carrier) -> None:
        """Take the carrier: once, before anything is sent."""
        self._carrier = carrier

    @property
    def was_open(self) -> bool:
        """Tell whether the two ends ever agreed."""
        return self.session.was_open

    @property
    def pending_bytes(self) -> int:
        """What was sent and the kernel has not taken."""
        return self._outbox.pending_bytes + (self._carrier.pending_bytes if self._carrier is not None else 0)

    @property
    def needs_hash(self) -> bool:
        """Tell whether bytes could change between the two ends unseen: chunks then bear a hash of theirs."""
        if self._needs_hash is None:
            self._needs_hash = not may_be_bare(self.session.theirs, is_secret=self.is_secret)
        return self._needs_hash

    @property
    def is_secret(self) -> bool:
        """Tell whether TLS protects it."""
        return self._carrier is not None and self._carrier.is_secret

    @property
    def way_s(self) -> float | None:
        """Give the least time from bytes to the answer of the other end's kernel, in seconds; None: nobody knows."""
        return self._carrier.way_s if self._carrier is not None else None

    @property
    def wants_ticks(self) -> bool:
        """Tell whether time matters to it: not to a link on this device that has nothing to write."""
        return not self.is_closed and (not self._is_local or self.pending_bytes > 0 or self.lent_bytes > 0)

    @property
    def may_return(self) -> bool:
        """Tell whether the program at the other end, which is gone, may come back: it was cut off."""
        return bool(self.program) and self.closed_for in _CUT

    @property
    def lost_at(self) -> float:
        """When the other end will be taken for lost if nothing more is heard."""
        return self.session.lost_at

    def expect_open(self) -> None:
        """Close it if it is not open by the end of the time for HELLO."""
        self._loop.call_later(self._settings.hello_s, self._check_open)

    def _check_open(self) -> None:
        if self.session.phase < Phase.OPEN:
            self.close("silent", f"no answer to HELLO within {self._settings.hello_s:g} s")

    # --- sending ------------------------------------------------------------------------------------------------

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Append a message, to be written from the next `flush` on.

        Descriptors stay the caller's, who keeps them open until the other end has answered them or the link is gone.

        Raises:
            LocalError: it may not be sent now.
            Unsendable: it, or items of it, cannot travel on this link.
        """
        if self.is_closed:
            return
        frames = self.session.send(message, self._loop.time())
        urgent = message.kind in _URGENT
        for pieces in frames:
            self._outbox.put(pieces, urgent=urgent, fds=fds)
        if self._outbox.fault:
            self.close_soon("slow", f"it does not keep up, and {self._outbox.fault}")

    def flush(self) -> None:
        """Write what the carrier takes."""
        carrier = self._carrier
        if carrier is None:
            return
        outbox = self._outbox
        while outbox.pending_bytes or self._chunks:
            if carrier.is_full:
                carrier.flush()
            if carrier.is_full:
                self.bandwidth.begin(self._loop.time(), self._drained_bytes)
                break
            most_bytes = CARRIER_BYTES
            if not outbox.pending_bytes:
                if self._chunks.is_turn_over():
                    break
                chunk = self._chunks.take()
                if chunk is not None:
                    self.send(chunk)
                most_bytes = outbox.pending_bytes  # at once: nothing may come between the parts of a frame anyway
                if not outbox.pending_bytes:
                    continue
            pending = outbox.pending_bytes
            pieces, fds = outbox.take(most_bytes)
            self._written_bytes += pending - outbox.pending_bytes
            carrier.write(pieces, fds)
        carrier.flush()

    def send_bulk(self, bulk: Bulk) -> None:
        """Send chunks of this, in turn with others, until it gives none; the caller flushes."""
        if self.is_closed:
            bulk.close()
        else:
            self._chunks.add(bulk)

    @property
    def chunk_bytes(self) -> int:
        """How large a chunk may be, so that a heartbeat behind it is not late."""
        return chunk_bytes(self.bandwidth.bytes_per_s)

    # --- what the carrier tells ---------------------------------------------------------------------------------

    def received(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Take what was read: hand its messages on, and write what they made us say."""
        if fds:
            self._descriptors.extend(fds)
        self.burden_bytes += len(data)
        if self.is_closed:
            self._close_descriptors()
        else:
            self._take(self.session.receive, data)

    @property
    def landing(self) -> memoryview | None:
        """Where the bytes belong that come next; None: that is not known yet."""
        return None if self.is_closed else self.session.landing

    def landed(self, count: int) -> None:
        """Take note that so many bytes were read to `landing`."""
        if not self.is_closed:
            self._take(self.session.landed, count)

    def _take(self, read: Callable[[Bytes, float], Iterator[Message]], what: Bytes) -> None:
        try:
            self._hand_on(read(what, self._loop.time()))
        except PeerError as error:
            self.close("protocol", str(error))
        except BaseException:
            self.close("fault", "a fault of its own stopped it in the middle of a message: its log has it")
            raise
        else:
            if self._outbox.pending_bytes or self._chunks:
                self.flush()

    def _hand_on(self, messages: Iterator[Message]) -> None:
        for message in messages:
            kind = message.kind
            if kind in _ACCOMPANIED and not getattr(message, "at", ""):
                self._hand_on_accompanied(message)
            else:
                self.on_message(self, message)
            if self.is_closed:
                return
            if kind in _LAST:
                self._part(message)
        if len(self._descriptors) > _STRAY_DESCRIPTORS:
            raise PeerError(f"{len(self._descriptors)} descriptors without a frame that names them")

    def _part(self, message: Message) -> None:
        """End it where the other end has said that it is over."""
        if isinstance(message, Goodbye):
            self.close(message.code, f"the other end left: {message.reason or message.code or 'no reason given'}")
        elif isinstance(message, HelloAck) and not message.ok:
            self.close(message.code, f"refused: {message.reason or message.code}; {message.remedy}".rstrip("; "))

    def _hand_on_accompanied(self, message: Message) -> None:
        if not self._descriptors:
            raise PeerError(f"{message.kind.name} without its descriptor")
        before = len(self._descriptors)
        self.on_message(self, message)
        if len(self._descriptors) == before:  # nobody wanted it
            os.close(self.take_descriptor())

    def take_descriptor(self) -> int:
        """Give the descriptor of the frame that is being handed on; it is the caller's to close."""
        return self._descriptors.popleft()

    def pause_reading(self) -> None:
        """Let the other end wait with what it sends."""
        self.is_paused = True
        if self._carrier is not None:
            self._carrier.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self.is_paused = False
        if self._carrier is not None and not self.is_closed:
            self._carrier.resume_reading()

    def writable(self) -> None:
        """Go on writing what waits."""
        self.bandwidth.end(self._loop.time(), self._drained_bytes)
        self.flush()

    def lost(self, reason: str) -> None:
        """Take note that the carrier is gone."""
        self._carrier = None
        self._outbox.discard()
        self._tell_closed(reason)
        self.session.end()
        self.on_gone(self)

    # --- time ---------------------------------------------------------------------------------------------------

    def overslept(self, seconds: float) -> None:
        """Hold nothing against the other end of the time in which this agent stood still, or its machine did."""
        self.session.overslept(seconds)
        if self._slow_since is not None:
            self._slow_since += seconds

    def tick(self, now: float) -> None:
        """Do what time demands: a heartbeat, or dropping an end that is silent or does not read."""
        if self.is_closed:
            return
        beat = self.session.heartbeat(now)
        if beat is not None and not self.session.terms.local:
            self.send(beat)
            self.flush()
        if self.session.life(now) is Life.LOST:
            self.close("lost", f"silent for {now - self.session.heard_s:.1f} s")
        elif self._is_stalled(now):
            self.close("slow", f"it does not read: {self.pending_bytes + self.lent_bytes} bytes wait for it")

    @property
    def link_wait_s(self) -> float:
        """How long what waits will take."""
        return self.pending_bytes * self.bandwidth.seconds_per_byte

    @property
    def _drained_bytes(self) -> int:
        return self._written_bytes - (self._carrier.pending_bytes if self._carrier is not None else 0)

    def lent(self, size_bytes: int) -> None:
        """Note that the other end is lent shared memory, by the message that is sent next."""
        self._lent.append((self._written_bytes + self._outbox.pending_bytes, size_bytes))
        self.lent_bytes += size_bytes
        if self.lent_bytes > self._settings.write_buffer_bytes:
            self._forget_read()

    @property
    def _read_bytes(self) -> int:
        return self._drained_bytes - (self._carrier.unread_bytes if self._carrier is not None else 0)

    def _forget_read(self) -> None:
        """Count no longer as lent what the other end has read of, and may keep for as long as it likes."""
        read_bytes = self._read_bytes
        while self._lent and self._lent[0][0] < read_bytes:
            self.lent_bytes -= self._lent.popleft()[1]

    def _is_stalled(self, now: float) -> bool:
        settings, pending = self._settings, self.pending_bytes
        if self._lent:
            self._forget_read()
        is_behind = pending > settings.progress_bytes
        if not is_behind and self.lent_bytes <= settings.write_buffer_bytes:
            self._slow_since = None
            return False
        if pending > settings.write_cap_bytes or self.lent_bytes > settings.lent_cap_bytes:
            return True
        drained, progress_bytes = self._read_bytes, settings.progress_bytes if is_behind else 1
        if self._slow_since is None or drained - self._slow_bytes >= progress_bytes:
            self._slow_since, self._slow_bytes = now, drained
        return now - self._slow_since >= self._settings.stalled_s

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, code: str, reason: str) -> None:
        """End it: tell the other end why, after what it was already sent. The owner is told at once.

        What waits goes out for as long as the other end reads it, but not longer than the linger time.
        """
        if self.is_closed:
            return
        self.closed_for = code
        if code in {"protocol", "lost", "slow", "fault"}:
            self._outbox.discard()
        last_words = self.session.farewell(code, reason)
        if last_words is not None:
            self.send(last_words)
        self.session.end()
        self._linger_until = self._loop.time() + self._settings.linger_s
        self._tell_closed(reason)
        self._linger()

    def close_soon(self, code: str, reason: str) -> None:
        """As `close`, once the present turn is over: for who is in the middle of sending."""
        self._loop.call_soon(self.close, code, reason)

    def abort(self) -> None:
        """End it at once, without a word."""
        if self._carrier is not None:
            self._carrier.abort()

    def _linger(self) -> None:
        """Write the last words and wait for the other end to close too, so that nothing cuts them off."""
        carrier = self._carrier
        if carrier is None:
            return
        self.flush()
        if self._loop.time() >= self._linger_until:
            carrier.abort()
            return
        if not self.pending_bytes:
            carrier.finish()
        self._loop.call_later(self._settings.linger_s / 10, self._linger)

    def _tell_closed(self, reason: str) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.closed_reason = reason
            self._chunks.close()
            self._close_descriptors()
            self.on_closed(self, reason)

    def _close_descriptors(self) -> None:
        while self._descriptors:
            with suppress(OSError):
                os.close(self._descriptors.popleft())
