"""Arguments that an agent fetches: what they were at the call, a chunk at a time, for as long as the call is open."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest

from agentd.api.calls.uploads import CHUNK_MOST_BYTES, RANGES_MOST, Uploads
from agentd.model.errors import PeerError
from agentd.model.values import Part, Payload
from agentd.wire.checksum import checksum
from agentd.wire.messages import DataChunk, DataRequest
from tests.fakes.descriptors import open_files

SIZE = 3 * CHUNK_MOST_BYTES + 5


def uploads(**more: Any) -> Uploads:
    return Uploads(**{"is_welcome": True, "needs_hash": False, **more})


def views(*values: Any) -> list[memoryview]:
    return [pickle.PickleBuffer(value).raw() for value in values]


def named(parts: tuple[Part, ...] | None) -> tuple[Part, ...]:
    assert parts is not None
    return parts


def asked(part: Part, offset: int = 0, size: int = 0, stream: int = 1) -> DataRequest:
    assert part.remote is not None
    return DataRequest(part.remote.number, offset, size, "", "", stream)


def fetched(kept: Uploads) -> list[DataChunk]:
    """Take all chunks that were asked for."""
    chunks = []
    while (chunk := kept.next()) is not None:
        chunks.append(chunk)
    return chunks


def joined(chunks: list[DataChunk]) -> bytes:
    assert [chunk.error for chunk in chunks] == [""] * len(chunks)
    return b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30], ids=["on the disk", "in memory"])
def test_an_argument_is_what_it_was_at_the_call(memory_bytes):
    """Buffers of all kinds and sizes lie aligned in one object; what is written to them later is not seen."""
    kept = uploads(memory_bytes=memory_bytes)
    first, second, third = bytearray(os.urandom(SIZE)), os.urandom(100), bytearray(os.urandom(SIZE))
    before = bytes(first), second, bytes(third)
    parts = named(kept.place(views(first, second, third)))
    first[:] = third[:] = bytes(SIZE)
    kept.requested(asked(parts[0]))
    chunks = fetched(kept)
    data = joined(chunks)
    assert tuple(data[part.offset : part.offset + part.size] for part in parts) == before
    assert [part.offset % 64 for part in parts] == [0, 0, 0]
    assert {part.remote for part in parts} == {parts[0].remote}
    assert max(len(chunk.data) for chunk in chunks) <= CHUNK_MOST_BYTES
    assert {chunk.size for chunk in chunks} == {len(data)}


def test_any_range_may_be_asked_for_in_any_order():
    """An agent that begins again where it stopped gets exactly that."""
    kept, data = uploads(), os.urandom(SIZE)
    (part,) = named(kept.place(views(data)))
    for offset, size in ((SIZE - 7, 7), (0, 1), (64, 100_000), (5, 0)):
        kept.requested(asked(part, offset, size))
        assert joined(fetched(kept)) == data[offset : offset + size if size else SIZE]


def test_streams_take_turns():
    """A large argument does not keep a small one waiting."""
    kept = uploads()
    large, small = (named(kept.place(views(bytes(size))))[0] for size in (64 << 20, 2 << 20))
    kept.requested(asked(large, stream=1))
    kept.requested(asked(small, stream=2))
    streams = [chunk.stream for chunk in fetched(kept)]
    assert streams[:4] == [1, 2, 1, 2]
    assert set(streams[-8:]) == {1}


def test_what_ended_is_refused_and_let_go():
    """Also in the middle; the agent hears why, and that asking again is of no use."""
    kept = uploads()
    (part,) = named(kept.place(views(bytearray(SIZE))))
    kept.requested(asked(part))
    assert kept.next() is not None
    kept.settle(Payload(1, b"", (part,)))
    assert kept.next() is None
    kept.requested(asked(part))
    refusal = kept.next()
    assert refusal is not None
    assert (refusal.gone, refusal.stream, bool(refusal.error), len(refusal.data)) == (True, 1, True, 0)


def test_room_in_memory_is_used_again():
    """What has ended makes room; meanwhile more goes to the disk, and comes from there as it was."""
    kept = uploads(memory_bytes=SIZE)
    before = open_files()
    values = [bytearray(os.urandom(SIZE)) for _ in range(3)]
    parts = [named(kept.place(views(value)))[0] for value in values]
    assert len(open_files() - before) == 2
    for part, value in zip(parts, values, strict=True):
        kept.requested(asked(part))
        assert joined(fetched(kept)) == value
        kept.settle(Payload(1, b"", (part,)))
    assert open_files() <= before
    kept.place(views(values[0]))
    assert open_files() <= before


def test_a_new_connection_begins_without_what_was_asked_for():
    """And gets all of it when it asks."""
    kept, data = uploads(), os.urandom(SIZE)
    (part,) = named(kept.place(views(data)))
    kept.requested(asked(part))
    kept.reset()
    assert kept.next() is None
    kept.requested(asked(part))
    assert joined(fetched(kept)) == data


@pytest.mark.parametrize(("offset", "size"), [(-1, 5), (SIZE, 1), (SIZE, 0), (0, SIZE + 1), (5, -5)])
def test_what_cannot_be_asked_for_ends_the_connection(offset, size):
    """Bytes before, behind and beyond, and none."""
    kept = uploads()
    (part,) = named(kept.place(views(bytes(SIZE))))
    with pytest.raises(PeerError):
        kept.requested(asked(part, offset, size))


def test_what_waits_to_be_sent_is_bounded():
    """An agent that asks and asks breaks the protocol."""
    kept = uploads()
    (part,) = named(kept.place(views(bytes(SIZE))))
    for _ in range(RANGES_MOST):
        kept.requested(asked(part))
    with pytest.raises(PeerError):
        kept.requested(asked(part))


def test_a_chunk_bears_its_hash_where_nothing_else_protects_it():
    """As between agents."""
    kept, data = uploads(needs_hash=True), os.urandom(SIZE)
    (part,) = named(kept.place(views(data)))
    kept.requested(asked(part))
    for chunk in fetched(kept):
        assert chunk.hash == checksum((chunk.data,))


def test_an_agent_that_fetches_nothing_is_named_nothing():
    """An older one: then the value has to fit into the message."""
    assert uploads(is_welcome=False).place(views(bytes(SIZE))) is None


def test_chunks_shrink_on_a_slow_connection():
    """One takes no longer than a call behind it can wait."""
    kept = uploads()
    (part,) = named(kept.place(views(bytes(64 << 20))))
    kept.requested(asked(part))
    first = kept.next()
    assert first is not None
    kept.measure(len(first.data), 0.0)
    kept.measure(0, 1.0)
    second = kept.next()
    assert second is not None
    assert len(second.data) < len(first.data)
