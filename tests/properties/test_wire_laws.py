"""Laws of the Comm protocol: round trips under any cut, and no input that does more than end its own connection."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agentd.model.errors import PeerError
from agentd.model.exchange import End, EndedLot, Lot, Offer, Refusal, Settled, Submission
from agentd.model.task import Constraints, Failure, Outcome, Template
from agentd.model.values import Part, Payload
from agentd.wire import lot_messages as lots
from agentd.wire import messages as m
from agentd.wire.codec import decode, decode_chunk, encode
from agentd.wire.framing import HEADER, MAGIC, Frame, FrameDecoder, encode_frame
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms

FUZZ_EXAMPLES = int(os.environ.get("AGENTD_FUZZ_EXAMPLES", "3000"))
CAP = 65_536

numbers = st.integers(-(2**63), 2**63 - 1)
whole = st.integers(0, 2**63 - 1)
small = st.integers(0, 2**31)
names = st.text(max_size=12)
data = st.binary(max_size=40)
parts = st.one_of(
    st.binary(max_size=64).map(lambda raw: Part(len(raw), raw)),
    st.integers(4_097, 6_000).map(lambda size: Part(size, b"\x07" * size)),
)
payloads = st.builds(Payload, st.integers(0, 4), data, st.lists(parts, max_size=3).map(tuple))
failures = st.builds(Failure, small, names, names, names, names, small, data)
seconds = st.floats(allow_nan=False)
outcomes = st.builds(Outcome, st.integers(0, 4), payloads, st.none() | failures, seconds, names, small, small)
templates = st.builds(
    Template,
    function=names,
    code=data,
    timeout_s=st.none() | seconds,
    constraints=st.builds(Constraints, computing_units=small, software=st.lists(names, max_size=2).map(tuple)),
    name=names,
)
tasks = st.lists(whole, max_size=4)
texts = st.lists(data, max_size=4)
attempts = st.lists(st.tuples(numbers, small), max_size=4).map(tuple)
refusals = st.lists(st.builds(Refusal, numbers, small, names, st.booleans()), max_size=3).map(tuple)
messages = st.one_of(
    st.builds(m.Hello, small, small, names, names, names, names, small, st.tuples(small, small), credits=small),
    st.builds(m.HelloAck, st.booleans(), small, names, names, reason=names, heartbeat_s=seconds),
    st.builds(m.Goodbye, names, names),
    st.builds(m.Heartbeat, numbers, seconds, numbers, seconds, seconds),
    st.builds(m.Declare, st.lists(st.tuples(numbers, templates), max_size=3).map(tuple)),
    st.builds(m.Submit, st.lists(st.builds(Submission, numbers, numbers, payloads, numbers), max_size=4)),
    st.builds(m.SettledCalls, st.lists(st.builds(Settled, numbers, outcomes), max_size=4)),
    st.builds(m.Offers, st.lists(st.builds(Offer, whole, numbers, payloads, small, small, names), max_size=4)),
    st.builds(m.Answers, st.just(()), refusals, refusals),
    st.builds(m.Ends, st.lists(st.builds(End, numbers, small, small, outcomes), max_size=4)),
    st.builds(m.Inventory, attempts, attempts),
    st.builds(lots.OfferLot, st.builds(Lot, numbers, small, small, names, small, tasks=tasks, arguments=texts)),
    st.builds(lots.AcceptLot, small, small, tasks),
    st.builds(lots.EndedLotTold, st.builds(EndedLot, small, small, names, tasks=tasks, values=texts)),
    st.builds(lots.EndedLotAck, small, tasks),
    st.builds(m.DataChunk, numbers, small, small, data, names, data.map(memoryview)),
    st.builds(m.Output, numbers, small, small, data, st.booleans()),
)


def stream_of(said: list[m.Message]) -> bytes:
    frames = [frame for each in said for frame in encode(each, version=1, max_bytes=2**24, local=False)]
    return b"".join(piece for frame in frames for piece in frame)


def cut_at(stream: bytes, cuts: list[float]) -> list[bytes]:
    places = sorted({0, len(stream), *(int(cut * len(stream)) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


@settings(max_examples=150, deadline=None)
@given(said=st.lists(messages, max_size=5), cuts=st.lists(st.floats(0, 1), max_size=12))
def test_messages_come_back_whatever_the_cuts(said, cuts):
    """Any messages, encoded, cut anywhere, and decoded, are the messages; nothing is left over."""
    decoder = FrameDecoder(2**24)
    heard = [decode(frame, local=False) for piece in cut_at(stream_of(said), cuts) for frame in decoder.feed(piece)]
    assert heard == said
    assert decoder.held_bytes == 0


@settings(max_examples=150, deadline=None)
@given(
    said=st.lists(messages, min_size=1, max_size=3),
    rubbish=st.binary(min_size=12, max_size=40),
    cuts=st.lists(st.floats(0, 1)),
)
def test_rubbish_after_the_end_costs_no_message_before_it(said, rubbish, cuts):
    """All frames before the rubbish are heard, however it was cut; the rubbish is an error and stays one."""
    if rubbish.startswith(MAGIC):
        rubbish = b"\0" + rubbish
    decoder = FrameDecoder(2**24)
    heard = []
    with pytest.raises(PeerError, match="not a Comm frame"):
        hear(decoder, cut_at(stream_of(said) + rubbish, cuts), heard)
    assert heard == said


def hear(decoder: FrameDecoder, pieces: list[bytes], heard: list[m.Message]) -> None:
    for piece in pieces:
        heard.extend(decode(frame, local=False) for frame in decoder.feed(piece))


@settings(max_examples=200, deadline=None)
@given(body=st.integers(0, 2**32 - 1), raw=st.integers(0, 2**32 - 1), cuts=st.lists(st.floats(0, 1), max_size=5))
def test_what_is_kept_never_exceeds_what_was_received(body, raw, cuts):
    """Whatever a header claims, an unfinished frame takes the bytes that came, and none above the cap."""
    decoder = FrameDecoder(CAP)
    stream = HEADER.pack(MAGIC, 1, 17, body, raw) + b"x" * 100
    fed = 0
    try:
        for piece in cut_at(stream, cuts):
            fed += len(piece)
            list(decoder.feed(piece))
            assert decoder.held_bytes <= fed
    except PeerError:
        assert body + raw > CAP or body + raw <= 100
        assert decoder.held_bytes <= fed
    else:
        assert body + raw <= CAP


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 200_000), min_size=1, max_size=3),
    reads=st.lists(st.integers(1, 150_000), min_size=1, max_size=8),
    wanted=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_chunks_that_are_read_to_their_place_are_the_same_chunks(sizes, reads, wanted):
    """However long the reads are, and whoever gets a place: chunks and what stands between them come as they were."""
    said: list[m.Message] = []
    for number, size in enumerate(sizes):
        said += [m.DataChunk(number, 0, size, b"h", "", memoryview(bytes([number + 1]) * size), 7), m.Heartbeat(number)]
    decoder = FrameDecoder(2**24)
    decoder.land = lambda kind, body, size: (
        memoryview(bytearray(size)) if kind == 49 and wanted[decode_chunk(body).object] else None
    )
    stream, heard, turn, at = stream_of(said), [], 0, 0
    while at < len(stream):
        read = stream[at : at + reads[turn % len(reads)]]
        room, turn = decoder.room, turn + 1
        if room is None:
            frames = decoder.feed(read)
        else:
            read = read[: len(room)]
            room[: len(read)] = read
            frames = decoder.landed(len(read))
        heard.extend(decode(frame, local=False) for frame in frames)
        at += len(read)
    assert list(map(plain, heard)) == said
    assert decoder.held_bytes == 0


def plain(message: m.Message) -> m.Message:
    """Give a chunk with its bytes in one piece."""
    if isinstance(message, m.DataChunk):
        return replace(message, data=memoryview(b"".join(message.pieces)), raw=())
    return message


# --- fuzz -------------------------------------------------------------------------------------------------------


def opened(side: Side, role: str) -> Session:
    """Give one end of an open connection that will be told anything."""
    terms = Terms(frame_bytes=CAP)
    dialler, acceptor = Session(Side.DIALLER, terms, 0.0), Session(Side.ACCEPTOR, terms, 0.0)
    hello = dialler.send(m.Hello(role=role, credits=50), 0.0)
    list(acceptor.receive(b"".join(hello[0]), 0.0))
    ack = acceptor.send(acceptor.welcome(m.HelloAck(credits=50)), 0.0)
    list(dialler.receive(b"".join(ack[0]), 0.0))
    return dialler if side is Side.DIALLER else acceptor


CORPUS = [
    stream_of([each])
    for each in (
        m.Hello(role="peer", libraries={"numpy": "2"}, capabilities={"lends": True}),
        m.HelloAck(ok=True, version=1),
        m.Declare(((1, Template("a:b", code=b"abc")),)),
        m.Submit([Submission(1, 1, Payload(1, b"abc", (Part(3, b"xyz"), Part(5_000, b"r" * 5_000))))]),
        m.Submit([Submission(1, 1, Payload(1, b"abc", (Part(3, b"xyz"),)), 7)]),
        m.SettledCalls([Settled(1, Outcome(failure=Failure(1, "E", "m", "t")))]),
        m.Offers([Offer(1, 1, Payload(2, b"{}"), 1, 1, "o", 1, ("a", "b"), 3)]),
        m.Answers(((1, 1, 1),), (Refusal(2, 1, "no"),)),
        m.Ends([End(1, 1, 1, Outcome(value=Payload(3, b"v")))]),
        m.Load(),
        m.Heartbeat(1, 2.0, 3, 4.0, 5.0),
        m.DataChunk(1, 0, 3, b"", "", memoryview(b"abc")),
        m.Inventory(((1, 1),), ((2, 1),)),
        m.Goodbye("a", "b"),
    )
]


def mangled(chance: random.Random) -> bytes:
    """Give frames that were changed a little, much, or not made from frames at all."""
    stream = bytearray(b"".join(chance.choices(CORPUS, k=chance.randint(1, 4))))
    way = chance.randrange(6)
    if way == 0:
        return chance.randbytes(chance.randint(0, 200))
    if way == 1:
        body = chance.randbytes(chance.randint(0, 60))
        return b"".join(encode_frame(chance.choice(list(m.Kind)), body, [chance.randbytes(chance.randint(0, 9))]))
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(stream))
        if way == 2:
            stream[place] = chance.randrange(256)
        elif way == 3:
            del stream[place : place + chance.randint(1, 20)]
        elif way == 4:
            stream[place:place] = chance.randbytes(chance.randint(1, 9))
        else:
            stream[place] ^= 1 << chance.randrange(8)
        if not stream:
            break
    return bytes(stream)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("role", ["peer", "user", None])
def test_fuzz_whatever_comes_in_is_a_message_or_the_peers_fault(side, role):
    """Mangled frames, in any cut, before and after the opening, raise nothing but `PeerError`."""
    chance = random.Random(f"{side} {role}")
    refused = 0
    for _ in range(FUZZ_EXAMPLES // 6):
        session = opened(side, role) if role else Session(side, Terms(opening_bytes=CAP), 0.0)
        stream = mangled(chance)
        try:
            for piece in cut_at(stream, [chance.random() for _ in range(chance.randrange(4))]):
                list(session.receive(piece, 1.0))
        except PeerError:
            refused += 1
    assert refused, "a fuzz that is never refused tests nothing"


HOSTILE = [
    b"\x91\xdd\xff\xff\xff\xff",
    b"\x91\xdd\x00\x00\xff\xff",
    b"\x91\xdf\xff\xff\xff\xff",
    b"\x91\x91\x93\x01\x01\x93\x01\xc6\xff\xff\xff\xff",
    b"\x91\x91\x93\x01\x01\x93\x01\xc4\x00\xdd\xff\xff\xff\xff",
    b"\x93\x90\x90\xdb\xff\xff\xff\xff",
    b"\x91" * 60_000,
    b"\x91\xdd\x00\x00\xff\xff" + b"\x93\x01\x01\x90" * 16_000,
]


@pytest.mark.parametrize("kind", [m.Kind.SUBMIT, m.Kind.OFFER, m.Kind.DECLARE, m.Kind.LOAD, m.Kind.HELLO])
@pytest.mark.parametrize("body", HOSTILE)
def test_lengths_inside_a_body_allocate_nothing(kind, body):
    """A claim of four thousand million items costs no more than the bytes that were really sent deserve."""
    frame = Frame(kind, body)
    tracemalloc.start()
    try:
        with pytest.raises(PeerError):
            decode(frame, local=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000 + 100 * len(body)


def test_the_header_is_as_long_as_the_document_says():
    """Twelve bytes, in network order, so that no language needs a library for it."""
    assert struct.calcsize("!2sBBII") == HEADER.size == 12
