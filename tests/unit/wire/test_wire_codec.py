"""Messages to frames and back: every kind, older and newer writers, raw buffers, and batches that are cut."""

from __future__ import annotations

import json

import msgspec
import pytest

from agentd.model.errors import PeerError
from agentd.model.exchange import End, Lot, Offer, Settled, Submission
from agentd.model.task import Outcome, Template
from agentd.model.values import Codec, Part, Payload
from agentd.wire import lot_messages as lots
from agentd.wire import messages as m
from agentd.wire.codec import BULK_BYTES, decode, encode
from agentd.wire.faults import LocalError, NotPortable, TooLarge
from agentd.wire.framing import MAX_FRAME_BYTES, Frame, FrameDecoder, encode_frame
from agentd.wire.kinds import TYPES
from tests.unit.wire.wire_examples import EXAMPLES, LARGE, PAYLOAD, VECTORS, described, frame_of

CAP = MAX_FRAME_BYTES


def frames(message: m.Message, *, max_bytes: int = CAP, local: bool = False) -> list[Frame]:
    pieces = encode(message, version=1, max_bytes=max_bytes, local=local)
    return list(FrameDecoder(max_bytes).feed(b"".join(piece for frame in pieces for piece in frame)))


def back(message: m.Message, *, local: bool = False) -> m.Message:
    (frame,) = frames(message, local=local)
    return decode(frame, local=local)


def raw(kind: m.Kind, fields: object, *buffers: bytes) -> Frame:
    (frame,) = FrameDecoder().feed(b"".join(encode_frame(kind, msgspec.msgpack.encode(fields), buffers)))
    return frame


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_kind_comes_back_equal(name):
    """What one end says is what the other hears, in every field."""
    message = EXAMPLES[name]
    assert back(message) == message
    assert type(back(message)) is type(message)


def test_versions_travel_with_their_raw_buffers():
    """What a task reads and what it makes come back equal, large parts and all, in the order in which they were."""
    large = [Payload(Codec.PICKLE, b"x", (Part(9000, bytes([n]) * 9000), Part(2, b"ab"))) for n in range(3)]
    offers = m.Offers(
        [
            Offer(1, 2, large[0], inputs=(large[1], PAYLOAD, Payload())),
            Offer(2, 2, Payload(), inputs=(large[2],), makes=3),
        ]
    )
    assert back(offers) == offers
    ends = m.Ends([End(1, 1, 0, Outcome(made=(large[0], Payload(), large[1]))), End(2, 1, 0, Outcome(value=large[2]))])
    assert back(ends) == ends


def test_a_version_in_memory_of_this_device_does_not_leave_it():
    """A value in a segment is refused where it would travel, also when it is not the first one of an offer."""
    segment = Payload(Codec.PICKLE, b"", (Part(5, None, 3, 0),))
    with pytest.raises(NotPortable):
        back(m.Offers([Offer(1, 2, Payload(), inputs=(Payload(), segment))]))
    with pytest.raises(NotPortable):
        back(m.Ends([End(1, 1, 0, Outcome(made=(segment,)))]))


def test_there_is_an_example_of_each_kind():
    """No kind is left out of the vectors."""
    assert {message.kind for message in EXAMPLES.values()} == set(m.Kind)
    assert set(TYPES) == {int(kind) for kind in m.Kind}


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_vectors_are_what_is_spoken(name):
    """The bytes on the wire are those that other implementations were tested against."""
    stored = bytes.fromhex((VECTORS / f"{name}.hex").read_text())
    assert frame_of(EXAMPLES[name]) == stored
    (frame,) = FrameDecoder().feed(stored)
    assert decode(frame, local=True) == EXAMPLES[name]


def test_the_index_describes_all_vectors():
    """The description says of each file what it holds."""
    index = json.loads((VECTORS / "index.json").read_text())
    assert index["frames"] == json.loads(json.dumps([described(name) for name in EXAMPLES]))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if not name.startswith("data_chunk")])
def test_unknown_fields_at_the_end_are_ignored(name):
    """A newer writer may say more than an older reader knows."""
    message = EXAMPLES[name]
    (frame,) = frames(message)
    fields = msgspec.msgpack.decode(frame.body)
    longer = Frame(frame.kind, msgspec.msgpack.encode([*fields, {"new": [1, 2]}, None]), frame.raw)
    assert decode(longer, local=False) == message


@pytest.mark.parametrize("kind", list(m.Kind))
def test_missing_fields_get_their_defaults(kind):
    """An older writer may say less than a newer reader knows."""
    assert decode(raw(kind, []), local=False) == TYPES[kind]()


def test_an_unknown_kind_is_refused():
    """What is not understood is not guessed at."""
    with pytest.raises(PeerError, match="unknown kind of frame 99"):
        decode(Frame(99, b"\x90"), local=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x90\x90",
        b"\xc1",
        b"\x91\xa2\xff\xfe",
        b"\x91\x05",
        b"\x90" + b"\x91" * 9,
        b"\x93\x90\x90" + b"\x91" * 100_000,
    ],
)
def test_a_body_that_cannot_be_read_is_the_peers_fault(body):
    """Truncated, trailing, malformed, not UTF-8, of the wrong type, or nested without end: one error."""
    with pytest.raises(PeerError, match="SUBMIT"):
        decode(Frame(m.Kind.SUBMIT, body), local=False)


@pytest.mark.parametrize("kind", [m.Kind.SUBMIT, m.Kind.SETTLED, m.Kind.OFFER, m.Kind.ENDED, m.Kind.CANCEL_TASKS])
def test_a_batch_of_more_items_than_allowed_is_refused(kind):
    """A small frame cannot make its reader build millions of objects."""
    with pytest.raises(PeerError, match="65536"):
        decode(Frame(kind, b"\x91\xdd" + (70_000).to_bytes(4) + b"\x90" * 70_000), local=False)


@pytest.mark.parametrize("way", [["x" * 257, 1, []], ["x", 1, ["y" * 257]], ["x", 1, ["y"] * 257]])
def test_the_way_of_a_task_is_no_room_for_anything_else(way):
    """It is kept with each task that waits, and counts for nothing of what its sender may have waiting."""
    offer = [1, 1, [2, b"{}"], 1, 0]
    with pytest.raises(PeerError, match="OFFER"):
        decode(raw(m.Kind.OFFER, [[[*offer, *way]]]), local=False)
    assert decode(raw(m.Kind.OFFER, [[[*offer, "x" * 256, 1, ["y" * 256] * 256]]]), local=False)


# --- raw buffers ------------------------------------------------------------------------------------------------


def submission(*parts: Part, ref: int = 1) -> m.Submit:
    return m.Submit([Submission(ref, 1, Payload(Codec.PICKLE, b"p", parts))])


def test_large_parts_travel_behind_the_body():
    """An array is not copied into the body: the buffers are the very objects, and the body stays small."""
    message = submission(Part(len(LARGE), LARGE), Part(3, b"abc"))
    (pieces,) = encode(message, version=1, max_bytes=CAP, local=False)
    assert pieces[1] is LARGE
    assert len(pieces[0]) < 100
    assert message.calls[0].payload.parts[0].data is LARGE, "what was sent is left as it was"


def test_parts_of_several_items_are_told_apart_by_their_order():
    """The first such part of a message has the first bytes."""
    calls = [
        Submission(ref, 1, Payload(1, b"", (Part(5000 + ref, bytes([ref]) * (5000 + ref)), Part(1, b"x"))))
        for ref in range(5)
    ]
    assert back(m.Submit(calls)) == m.Submit(calls)


def test_the_text_of_parts_is_checked_against_the_raw_bytes():
    """More claimed than there is, or less: both are refused."""
    part = [5000, None, 0, 0, 0]
    fields = [[[1, 1, [1, b"", [part]]]]]
    assert decode(raw(m.Kind.SUBMIT, fields, b"x" * 5000), local=False)
    with pytest.raises(PeerError, match="claims 5000 raw bytes where 4999 are left"):
        decode(raw(m.Kind.SUBMIT, fields, b"x" * 4999), local=False)
    with pytest.raises(PeerError, match="1 raw bytes belong to no part"):
        decode(raw(m.Kind.SUBMIT, fields, b"x" * 5001), local=False)
    with pytest.raises(PeerError, match="claims 5000"):
        decode(raw(m.Kind.SUBMIT, fields), local=False)


@pytest.mark.parametrize("part", [[-1], [5, None, -1], [5, None, 1, -1], [5, None, 0, 0, -2], [4, b"abc"]])
def test_a_part_that_cannot_be_is_refused(part):
    """Negative figures and sizes that lie end the connection, not the agent."""
    with pytest.raises(PeerError, match="part"):
        decode(raw(m.Kind.SUBMIT, [[[1, 1, [1, b"", [part]]]]]), local=True)


def test_raw_bytes_behind_a_message_that_has_none_are_refused():
    """Nothing is carried that nobody reads."""
    with pytest.raises(PeerError, match="raw bytes behind a message of kind CREDIT"):
        decode(raw(m.Kind.CREDIT, [5], b"x"), local=False)


@pytest.mark.parametrize("part", [Part(10, None, 3), Part(10, None, 0, 0, 8)])
def test_shared_memory_and_stored_objects_are_named_on_one_device_only(part):
    """Over TCP a part must have its bytes; neither end can be made to read another's memory."""
    message = submission(part)
    assert back(message, local=True) == message
    with pytest.raises(NotPortable) as caught:
        encode(message, version=1, max_bytes=CAP, local=False)
    assert caught.value.items == (0,)
    (frame,) = frames(message, local=True)
    with pytest.raises(PeerError, match="between devices"):
        decode(frame, local=False)


def test_a_part_of_no_form_is_our_own_fault():
    """Exactly one of three forms."""
    with pytest.raises(LocalError, match="no data"):
        encode(submission(Part(10)), version=1, max_bytes=CAP, local=True)


def test_data_chunks_carry_their_bytes_raw():
    """The chunk's bytes are written from where they are and read as a view."""
    data = memoryview(b"d" * 300_000)
    (pieces,) = encode(m.DataChunk(1, 0, 300_000, data=data), version=1, max_bytes=CAP, local=False)
    assert pieces[-1] is data
    stream = b"".join(pieces)
    (frame,) = FrameDecoder().feed(stream)
    assert decode(frame, local=False).data.obj is stream
    with pytest.raises(PeerError, match="in the body"):
        decode(raw(m.Kind.DATA_CHUNK, [1, 0, 3, b"", "", b"abc"]), local=False)


# --- batches that are cut ---------------------------------------------------------------------------------------


def test_a_batch_above_the_cap_becomes_several_frames():
    """Many results that do not fit in one frame leave in several, in order, none lost."""
    settled = [Settled(ref, Outcome(value=Payload(Codec.BYTES, b"v" * 900))) for ref in range(20)]
    got = frames(m.SettledCalls(settled), max_bytes=4096)
    assert len(got) > 4
    assert [one for frame in got for one in decode(frame, local=False).settled] == settled


def test_a_large_batch_is_cut_so_that_heartbeats_can_pass():
    """No frame of several items is much larger than what may stand in a heartbeat's way."""
    offers = [Offer(task, 1, Payload(Codec.BYTES, b"v" * 100_000)) for task in range(40)]
    got = frames(m.Offers(offers))
    assert all(len(frame.body) <= BULK_BYTES for frame in got)
    assert [one.task for frame in got for one in decode(frame, local=False).offers] == list(range(40))


def test_a_batch_of_too_many_items_is_cut():
    """The most items of a frame are a law for the writer as well."""
    refs = tuple(range(m.MAX_ITEMS + 5))
    got = [decode(frame, local=False).refs for frame in frames(m.CancelCalls(refs))]
    assert sum(got, ()) == refs
    assert max(map(len, got)) <= m.MAX_ITEMS


def test_items_that_fit_in_no_frame_are_named():
    """The error says which of a batch cannot travel, and nothing of the batch was encoded for sending."""
    sizes = [10, 5000, 10, 10, 9000]
    calls = [Submission(ref, 1, Payload(Codec.BYTES, b"v" * size)) for ref, size in enumerate(sizes)]
    with pytest.raises(TooLarge, match="exceeds the cap of 4096") as caught:
        encode(m.Submit(calls), version=1, max_bytes=4096, local=False)
    assert caught.value.items == (1, 4)


def test_a_plain_message_above_the_cap_is_refused():
    """Also what is no batch."""
    with pytest.raises(TooLarge):
        encode(m.Output(data=b"x" * 5000), version=1, max_bytes=4096, local=False)
    with pytest.raises(TooLarge):
        encode(m.Declare(((1, Template("f:g", code=b"x" * 5000)),)), version=1, max_bytes=4096, local=False)


def test_a_payload_comes_back_with_all_its_bytes():
    """Inline bytes and raw ones together are the value that was sent."""
    message = back(submission(*PAYLOAD.parts))
    assert message.calls[0].payload.size_bytes == 1 + 3 + len(LARGE)
    assert message.calls[0].payload.is_portable


@pytest.mark.parametrize(
    "message",
    [
        m.Offers([Offer(-1, 1, Payload())]),
        m.Offers([Offer(1, 1, Payload(256))]),
        m.Offers([Offer(1, 1, Payload(-1))]),
        m.Offers([Offer(1, 1, Payload(), makes=65_536)]),
        m.Offers([Offer(1, 1, Payload(), inputs=(Payload(),) * 65_536)]),
        m.Submit([Submission(1, 1, Payload(300))]),
        m.Submit([Submission(1, 1, Payload(1, b"", (Part(0, b""),) * 65_536))]),
        lots.OfferLot(Lot(1, codec=300, tasks=[1], arguments=[b""])),
        lots.OfferLot(Lot(1, tasks=[-1], arguments=[b""])),
    ],
    ids=["number", "codec", "negative", "makes", "inputs", "user", "parts", "lot", "of a lot"],
)
def test_what_no_frame_to_a_worker_can_hold_is_nobodys_message(message: m.Message) -> None:
    """A figure beyond its field would end the agent where it is written; it ends the connection where it is read."""
    (pieces,) = encode(message, version=1, max_bytes=MAX_FRAME_BYTES, local=True)
    (frame,) = FrameDecoder(MAX_FRAME_BYTES).feed(b"".join(pieces))
    with pytest.raises(PeerError, match="cannot be read"):
        decode(frame, local=True)
