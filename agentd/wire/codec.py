"""Messages to bodies and raw buffers, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import force_setattr, replace

from agentd.model.errors import PeerError
from agentd.model.unreadable import UNREADABLE
from agentd.model.values import Payload
from agentd.wire.faults import Unsendable
from agentd.wire.framing import Buffer, Frame, encode_frame
from agentd.wire.kinds import TYPES
from agentd.wire.messages import MAX_ITEMS, MAX_TEMPLATES, DataChunk, Kind, Message
from agentd.wire.parts import RawBytes, attach, detach

BULK_BYTES = 1024 * 1024
"""A batch is cut into frames of about this size, so that a heartbeat can pass (chosen: 8 ms at 1 Gbit/s)."""
SMALL_BYTES = BULK_BYTES // 4
"""A batch with a body up to here goes as it is, and is not looked at for being cut (chosen)."""

_encode_body = msgspec.msgpack.Encoder().encode
_decoders: dict[int, Callable[[Buffer], Message]] = {
    kind: msgspec.msgpack.Decoder(type_).decode for kind, type_ in TYPES.items()
}
_EMPTY = memoryview(b"")


class _Values(NamedTuple):
    """How to get at the payloads of one item of a batch."""

    payloads: Callable[[Any], tuple[Payload, ...]]
    """In the order in which they appear in the message."""
    parts: Callable[[Any], object]
    """Gives something true where one of them may have parts."""
    rebuilt: Callable[[Any, list[Payload]], object]


class _Batch(NamedTuple):
    """Where the items of a message are, how many one frame may hold, and whether they bring values."""

    field: str
    most: int = MAX_ITEMS
    values: _Values | None = None


_BY_PAYLOAD = _Values(
    lambda item: (item.payload,),
    attrgetter("payload.parts"),
    lambda item, payloads: replace(item, payload=payloads[0]),
)
_BY_OUTCOME = _Values(
    lambda item: (item.outcome.value,),
    attrgetter("outcome.value.parts"),
    lambda item, payloads: replace(item, outcome=replace(item.outcome, value=payloads[0])),
)
_OF_OFFER = _Values(
    lambda offer: (offer.payload, *offer.inputs),
    lambda offer: offer.payload.parts or offer.inputs,
    lambda offer, payloads: replace(offer, payload=payloads[0], inputs=tuple(payloads[1:])),
)
_OF_END = _Values(
    lambda end: (end.outcome.value, *end.outcome.made),
    attrgetter("outcome.has_parts"),
    lambda end, payloads: replace(end, outcome=replace(end.outcome, value=payloads[0], made=tuple(payloads[1:]))),
)
_BATCHES: dict[int, _Batch] = {
    Kind.SUBMIT: _Batch("calls", values=_BY_PAYLOAD),
    Kind.ANNOUNCE: _Batch("calls", values=_BY_PAYLOAD),
    Kind.SETTLED: _Batch("settled", values=_BY_OUTCOME),
    Kind.OFFER: _Batch("offers", values=_OF_OFFER),
    Kind.ENDED: _Batch("ends", values=_OF_END),
    Kind.DECLARE: _Batch("templates", MAX_TEMPLATES),
    Kind.CANCEL_CALLS: _Batch("refs"),
    Kind.CANCEL_TASKS: _Batch("tasks"),
    Kind.ENDED_ACK: _Batch("tasks"),
    Kind.DATA_RELEASE: _Batch("objects"),
    Kind.SEGMENT_FREE: _Batch("segments"),
    Kind.SEGMENT_RELEASE: _Batch("segments"),
}


def encode(message: Message, *, version: int, max_bytes: int, local: bool) -> list[list[Buffer]]:
    """Give the frames for a message: one, or several for a batch that is better cut; each a list of pieces to write.

    Raises:
        Unsendable: the message, or items of the batch (which the error names), cannot travel here.
    """
    batch = _BATCHES.get(message.kind)
    if batch is None:
        body, buffers = _plain(message)
        return [encode_frame(message.kind, body, buffers, version=version, max_bytes=max_bytes)]
    items = getattr(message, batch.field)
    if len(items) <= batch.most and (batch.values is None or not any(map(batch.values.parts, items))):
        body = _encode_body(message)
        if len(body) <= min(SMALL_BYTES, max_bytes):
            return [encode_frame(message.kind, body, version=version, max_bytes=max_bytes)]
    frames: list[list[Buffer]] = []
    faults: list[tuple[int, Unsendable]] = []
    _cut(_Job(message, batch, version, max_bytes, local), items, 0, frames, faults)
    if faults:
        raise type(faults[0][1])(str(faults[0][1]), tuple(position for position, _ in faults))
    return frames


def decode(frame: Frame, *, local: bool) -> Message:
    """Read the message of a frame.

    Raises:
        PeerError: an unknown kind, or a body that is not what its kind demands.
    """
    decoder = _decoders.get(frame.kind)
    if decoder is None:
        raise PeerError(f"unknown kind of frame {frame.kind}")
    message = _decoded(decoder, frame.kind, frame.body)
    batch = _BATCHES.get(frame.kind)
    if batch is not None and batch.values is not None:
        items = getattr(message, batch.field)
        if frame.raw or any(map(batch.values.parts, items)):
            _attach_all(chain.from_iterable(map(batch.values.payloads, items)), RawBytes(frame.raw), local)
    elif isinstance(message, DataChunk):
        message = _with_data(message, frame.raw)
    elif frame.raw:
        raise PeerError(f"raw bytes behind a message of kind {Kind(frame.kind).name}, which has none")
    return message


def decode_chunk(body: Buffer) -> DataChunk:
    """Read what is said of a chunk whose bytes are still to come.

    Raises:
        PeerError: it cannot be read.
    """
    chunk = _decoded(_decoders[Kind.DATA_CHUNK], Kind.DATA_CHUNK, body)
    assert isinstance(chunk, DataChunk)
    return chunk


def _decoded(decoder: Callable[[Buffer], Message], kind: int, body: Buffer) -> Message:
    try:
        return decoder(body)
    except UNREADABLE as error:
        raise PeerError(f"a body of kind {Kind(kind).name} that cannot be read: {error}") from error


class _Job(NamedTuple):
    """What stays the same while a batch is cut."""

    message: Message
    batch: _Batch
    version: int
    max_bytes: int
    local: bool


def _cut(
    job: _Job, items: Sequence[Any], start: int, frames: list[list[Buffer]], faults: list[tuple[int, Unsendable]]
) -> None:
    """Append the frames for `items`, halving them until each frame is small or holds one item."""
    if len(items) <= job.batch.most:
        try:
            frame = _encoded(job, items)
        except Unsendable as error:
            if len(items) <= 1:
                faults.append((start, error))
                return
        else:
            if len(items) <= 1 or sum(map(len, frame)) <= BULK_BYTES:
                frames.append(frame)
                return
    middle = len(items) // 2
    _cut(job, items[:middle], start, frames, faults)
    _cut(job, items[middle:], start + middle, frames, faults)


def _encoded(job: _Job, items: Sequence[Any]) -> list[Buffer]:
    message, values = job.message, job.batch.values
    buffers: list[Buffer] = []
    sent = items
    if values is not None and any(map(values.parts, items)):
        sent = [
            values.rebuilt(item, [detach(one, buffers, local=job.local) for one in values.payloads(item)])
            for item in items
        ]
    if sent is not getattr(message, job.batch.field):
        message = replace(message, **{job.batch.field: sent})
    return encode_frame(message.kind, _encode_body(message), buffers, version=job.version, max_bytes=job.max_bytes)


def _plain(message: Message) -> tuple[bytes, Sequence[Buffer]]:
    if isinstance(message, DataChunk) and (message.data or message.raw):
        return _encode_body(replace(message, data=_EMPTY, raw=())), message.pieces
    return _encode_body(message), ()


def _attach_all(payloads: Iterable[Payload], raw: RawBytes, local: bool) -> None:
    for payload in payloads:
        attach(payload, raw, local=local)
    raw.finish()


def _with_data(message: DataChunk, raw: Sequence[Buffer]) -> DataChunk:
    if message.data or message.raw:
        raise PeerError("a DATA_CHUNK with its bytes in the body: they belong behind it")
    if len(raw) == 1:
        force_setattr(message, "data", memoryview(raw[0]))
    elif raw:
        force_setattr(message, "raw", tuple(raw))
    return message
