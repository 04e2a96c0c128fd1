"""How entries lie in a row of the journal: framed, summed, and told twice where each begins.

Law: one flipped bit anywhere in a row costs at most the one record that it is in, and of that it is known whose it was.

A row holds the entries of one batch. Its *body* is each record as `u32 length · u32 crc32 · payload`, little-endian,
the payload being the entry in msgpack and the sum starting from the row's number, so that a record in the wrong row
does not fit. Its *head* tells the row's number and, for each record, length, kind and operation, under a sum of its
own; of a record about several, `EndedAlike`, how many, and behind the kinds which. Either of the two is enough to find
the records; a bit can only have flipped in one of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import attrgetter
from struct import Struct as Layout
from zlib import crc32

import msgspec
from msgspec import Struct

from agentd.core.journal.entries import (
    Accepted,
    Booted,
    CalledBack,
    Cancelling,
    Delivered,
    Ended,
    EndedAlike,
    Entry,
    Forgotten,
    HostAdded,
    HostRemoved,
    Returned,
    Started,
    WasRead,
)
from agentd.model.unreadable import UNREADABLE

_FRAME = Layout("<II")
_HEAD = Layout("<QI")
_SUM = Layout("<I")
_ALONE = Layout("<QIIQB")
"""The head of a row of one record, but for its sum: as `_HEAD`, then length, operation and kind."""
_PER_RECORD = 4 + 8 + 1
_OPERATION = attrgetter("operation")

ROW_BYTES = 256 * 1024
"""Chosen: a row is read as a whole to find one outcome, and is rewritten as a whole."""

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    Booted
    | Accepted
    | Started
    | Returned
    | Ended
    | EndedAlike
    | Cancelling
    | WasRead
    | Delivered
    | Forgotten
    | HostAdded
    | HostRemoved
    | CalledBack
).decode

KINDS: dict[type[Entry], int] = {
    Booted: 1,
    Accepted: 2,
    Started: 3,
    Returned: 4,
    Ended: 5,
    Cancelling: 6,
    WasRead: 7,
    Delivered: 8,
    Forgotten: 9,
    HostAdded: 10,
    HostRemoved: 11,
    CalledBack: 12,
    EndedAlike: 13,
}
"""The tags under which entries are written."""

_ENDED, _ALIKE = KINDS[Ended], KINDS[EndedAlike]

NAMES = {kind: entry.__name__ for entry, kind in KINDS.items()}


Row = tuple[int, bytes, bytes]
"""Number, head and body of a row of the journal."""


class Record(Struct, gc=False):
    """One entry in its written form, and what its row's head tells of it."""

    kind: int
    operations: Sequence[int]
    """Whose acceptance it is, or whose end; 0 alone for an entry of another kind."""
    payload: bytes


class Damage(Struct, frozen=True, gc=False):
    """A record that does not fit its sum. Kind is 0, and nothing known of operations, where the head was lost too."""

    kind: int
    operations: Sequence[int]
    raw: bytes


def decode(payload: bytes) -> Entry:
    """Read one entry back.

    Raises:
        msgspec.DecodeError: these are not the bytes of an entry.
    """
    entry: Entry = _decode(payload)
    return entry


def readable(payload: bytes) -> Entry | None:
    """Read an entry; None when sound bytes are none, which only another program can have written."""
    try:
        return decode(payload)
    except UNREADABLE:
        return None


def write(entry: Entry) -> Record:
    """Bring an entry into its written form."""
    return Record(KINDS[type(entry)], _subjects(entry), encode(entry))


def _subjects(entry: Entry) -> Sequence[int]:
    return tuple(entry.operations) if isinstance(entry, EndedAlike) else (getattr(entry, "operation", 0),)


def pack(row: int, records: Sequence[Record]) -> tuple[bytes, bytes]:
    """Lay records out as the head and the body of a row."""
    kinds = bytes([record.kind for record in records])
    subjects = [record.operations for record in records]
    payloads = [record.payload for record in records]
    return _pack(row, kinds, *_told(kinds, subjects), payloads, [*map(len, payloads)])


def _told(kinds: bytes, subjects: Sequence[Sequence[int]]) -> tuple[array[int], bytes]:
    """Give what a head tells of operations: one number of each record, and all of those that are about several."""
    told = [*zip(kinds, subjects, strict=True)]
    one_each = array("Q", [len(some) if kind == _ALIKE else some[0] for kind, some in told])
    return one_each, b"".join([array("Q", some).tobytes() for kind, some in told if kind == _ALIKE])


def _pack(
    row: int,
    kinds: bytes,
    operations: array[int],
    alike: bytes,
    payloads: Sequence[bytes],
    sizes: Sequence[int],
) -> tuple[bytes, bytes]:
    """Make head and body of records that are told by their fields, one list each: a look less at every record."""
    lengths = array("I", sizes)
    head = _HEAD.pack(row, len(payloads)) + lengths.tobytes() + operations.tobytes() + kinds + alike
    sums = map(crc32, payloads, repeat(row & 0xFFFFFFFF))
    body = [b""] * (2 * len(payloads))
    body[::2] = map(_FRAME.pack, sizes, sums)
    body[1::2] = payloads
    return head + _SUM.pack(crc32(head)), b"".join(body)


class Head(Struct, frozen=True, gc=False):
    """What a sound head tells."""

    row: int
    lengths: Sequence[int]
    operations: Sequence[int]
    """Of each record, or of how many it is about."""
    kinds: bytes
    alike: Sequence[int] = ()
    """The operations of all records about several, in order."""

    def records(self) -> Iterator[tuple[int, int, Sequence[int]]]:
        """Yield length, kind and operations of each record."""
        at = 0
        for length, kind, operation in zip(self.lengths, self.kinds, self.operations, strict=True):
            if kind == _ALIKE:
                yield length, kind, tuple(self.alike[at : at + operation])
                at += operation
            else:
                yield length, kind, (operation,)


def read_head(head: object) -> Head | None:
    """Read a head; None when it does not fit its sum."""
    if not isinstance(head, bytes) or len(head) < _HEAD.size + _SUM.size:
        return None
    told, (total,) = head[: -_SUM.size], _SUM.unpack(head[-_SUM.size :])
    row, count = _HEAD.unpack_from(told)
    alike_at = _HEAD.size + count * _PER_RECORD
    if crc32(told) != total or len(told) < alike_at or (len(told) - alike_at) % 8:
        return None
    lengths, operations, alike = array("I"), array("Q"), array("Q")
    operations_at = _HEAD.size + 4 * count
    kinds_at = operations_at + 8 * count
    lengths.frombytes(told[_HEAD.size : operations_at])
    operations.frombytes(told[operations_at:kinds_at])
    alike.frombytes(told[alike_at:])
    found = Head(row, lengths, operations, told[kinds_at:alike_at], alike)
    named = sum([many for kind, many in zip(found.kinds, operations, strict=True) if kind == _ALIKE])
    return found if named == len(alike) else None


def _walk(row: int, body: memoryview) -> Iterator[memoryview]:
    """Follow the frames in the body until one does not fit."""
    seed, at, end = row & 0xFFFFFFFF, 0, len(body)
    while at + _FRAME.size <= end:
        length, total = _FRAME.unpack_from(body, at)
        at += _FRAME.size
        payload = body[at : at + length]
        if len(payload) != length or crc32(payload, seed) != total:
            return
        yield payload
        at += length


def find_end(row: int, head: Head, body: bytes, operation: int) -> Ended | None:
    """Give the first end of an operation in a row; None when it is not there, or cannot be read."""
    at = 0
    for length, kind, operations in head.records():
        if kind in {_ENDED, _ALIKE} and operation in operations:
            payload = _sound(row, body[at : at + _FRAME.size + length])
            return _end_of(operation, payload) if payload is not None else None
        at += _FRAME.size + length
    return None


def _end_of(operation: int, payload: bytes) -> Ended | None:
    entry = readable(payload)
    if isinstance(entry, EndedAlike):
        return next((end for end in entry.each() if end.operation == operation), None)
    return entry if isinstance(entry, Ended) else None


def _sound(row: int, framed: bytes) -> bytes | None:
    """Give the payload of one whole frame; None when it does not fit its sum."""
    if len(framed) < _FRAME.size:
        return None
    length, total = _FRAME.unpack_from(framed)
    payload = framed[_FRAME.size :]
    return payload if len(payload) == length and crc32(payload, row & 0xFFFFFFFF) == total else None


def is_sound(row: int, head: object, body: object) -> bool:
    """Tell whether all of a row fits its sums."""
    told = read_head(head)
    if told is None or told.row != row or not isinstance(body, bytes):
        return False
    if sum(told.lengths) + _FRAME.size * len(told.lengths) != len(body):
        return False
    seed, at, view = row & 0xFFFFFFFF, 0, memoryview(body)
    for length in told.lengths:
        stated, total = _FRAME.unpack_from(body, at)
        at += _FRAME.size
        if stated != length or crc32(view[at : at + length], seed) != total:
            return False
        at += length
    return True


def unpack(row: int, head: object, body: object) -> tuple[list[Record | Damage], bool]:
    """Read a row of which nothing is taken for granted.

    Returns:
        Its records in order, the damaged ones among them; and whether all of it, the head too, was sound.
    """
    told = read_head(head)
    raw = body if isinstance(body, bytes) else b""
    if told is not None and told.row == row:
        return _by_head(row, told, raw)
    return _by_body(row, raw)


def _by_head(row: int, head: Head, body: bytes) -> tuple[list[Record | Damage], bool]:
    records: list[Record | Damage] = []
    at = 0
    for length, kind, operations in head.records():
        framed = body[at : at + _FRAME.size + length]
        payload = _sound(row, framed)
        records.append(Damage(kind, operations, framed) if payload is None else Record(kind, operations, payload))
        at += _FRAME.size + length
    return records, at == len(body) and not any(isinstance(record, Damage) for record in records)


def _by_body(row: int, body: bytes) -> tuple[list[Record | Damage], bool]:
    records: list[Record | Damage] = []
    at = 0
    for payload in _walk(row, memoryview(body)):
        records.append(_described(bytes(payload)))
        at += _FRAME.size + len(payload)
    if at < len(body):
        records.append(Damage(0, (), body[at:]))
    return records, False


def _described(payload: bytes) -> Record | Damage:
    """Work out anew what a lost head told of a record."""
    entry = readable(payload)
    if entry is None:
        return Damage(0, (), payload)
    return Record(KINDS[type(entry)], _subjects(entry), payload)


class Laid(Struct, frozen=True, gc=False):
    """A row as it is to be written, and the entries that it holds with the bytes of each."""

    row: Row
    entries: Sequence[Entry]
    sizes: Sequence[int]
    are_bare: bool = False
    """They are ends without parts alone."""


def lay_out(entries: Sequence[Entry], number: int, *, are_bare: bool = False) -> list[Laid]:
    """Lay entries out in as many rows as they need, the first of this number; `are_bare`: ends without parts alone."""
    if len(entries) == 1 and type(entries[0]) is not EndedAlike:
        return [_laid_alone(number, entries, are_bare=are_bare)]
    payloads = [encode(entry) for entry in entries]
    sizes = [*map(len, payloads)]
    if sum(sizes) <= ROW_BYTES:
        return [_laid(number, entries, payloads, sizes, are_bare=are_bare)]
    laid: list[Laid] = []

    def row_of(some: slice) -> Laid:
        return _laid(number + len(laid), entries[some], payloads[some], sizes[some], are_bare=are_bare)

    begin = size = 0
    for at, length in enumerate(sizes):
        if at > begin and size + length > ROW_BYTES:
            laid.append(row_of(slice(begin, at)))
            begin, size = at, 0
        size += length
    laid.append(row_of(slice(begin, None)))
    return laid


def _laid_alone(number: int, entries: Sequence[Entry], *, are_bare: bool) -> Laid:
    """Lay one entry out, as `_laid` does: somebody waits for it, and for nothing else."""
    (entry,) = entries
    payload = encode(entry)
    size = len(payload)
    head = _ALONE.pack(number, 1, size, getattr(entry, "operation", 0), KINDS[type(entry)])
    body = _FRAME.pack(size, crc32(payload, number & 0xFFFFFFFF)) + payload
    return Laid((number, head + _SUM.pack(crc32(head)), body), entries, (size,), are_bare)


def _laid(
    number: int, entries: Sequence[Entry], payloads: Sequence[bytes], sizes: Sequence[int], *, are_bare: bool
) -> Laid:
    kinds = bytes(map(KINDS.__getitem__, map(type, entries)))
    if kinds.count(_ENDED) == len(kinds):  # most rows hold nothing else
        operations, alike = array("Q", [*map(_OPERATION, entries)]), b""
    else:
        operations, alike = _told(kinds, [*map(_subjects, entries)])
    return Laid((number, *_pack(number, kinds, operations, alike, payloads, sizes)), entries, sizes, are_bare)
