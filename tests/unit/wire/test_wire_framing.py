"""Frames: what a stream of bytes is cut into, and what is refused before it is kept."""

from __future__ import annotations

import pytest

from agentd.model.errors import PeerError
from agentd.wire.faults import TooLarge
from agentd.wire.framing import HEADER, HEADER_BYTES, MAGIC, FrameDecoder, encode_frame


def whole(kind: int, body: bytes, *buffers: bytes) -> bytes:
    return b"".join(encode_frame(kind, body, buffers))


def cut(frame: tuple[int, bytes, bytes]) -> tuple[int, bytes, bytes]:
    return frame.kind, bytes(frame.body), b"".join(frame.raw)


def cut_all(decoder: FrameDecoder, pieces: list[bytes]) -> list[int]:
    return [frame.kind for piece in pieces for frame in decoder.feed(piece)]


def test_a_header_is_twelve_bytes_in_network_order():
    """Magic, version, kind, length of the body, length of the buffers: nothing else, big-endian."""
    assert whole(17, b"body", b"raw", b"er") == b"\xa9D\x01\x11\x00\x00\x00\x04\x00\x00\x00\x05bodyrawer"


def test_frames_come_out_whole_when_fed_byte_by_byte():
    """However small the reads are, the frames are the same."""
    stream = whole(1, b"") + whole(2, b"two") + whole(3, b"three", b"xyz") + whole(4, b"", b"only raw")
    decoder = FrameDecoder()
    got = [cut(frame) for byte in stream for frame in decoder.feed(bytes([byte]))]
    assert got == [(1, b"", b""), (2, b"two", b""), (3, b"three", b"xyz"), (4, b"", b"only raw")]
    assert decoder.held_bytes == 0


def test_a_read_that_ends_before_the_buffers_is_no_whole_frame():
    """The quick way takes a read that is one frame and all of it; of one whose buffers are to come it takes nothing."""
    stream = whole(3, b"three", b"xyz")
    decoder = FrameDecoder()
    assert decoder.alone(stream[:-3]) is None
    assert [cut(frame) for piece in (stream[:-3], stream[-3:]) for frame in decoder.feed(piece)] == [
        (3, b"three", b"xyz")
    ]
    assert decoder.alone(whole(2, b"two")) == next(FrameDecoder().feed(whole(2, b"two")))


def test_many_frames_of_one_read_come_out_in_order():
    """A read that holds several frames and the beginning of another gives all that are complete."""
    stream = b"".join(whole(kind, bytes([kind]) * kind) for kind in range(1, 50))
    decoder = FrameDecoder()
    got = [frame.kind for frame in decoder.feed(stream[:-3])]
    assert got == list(range(1, 49))
    assert [cut(frame) for frame in decoder.feed(stream[-3:])] == [(49, b"1" * 49, b"")]


def test_a_large_frame_of_one_read_is_not_copied():
    """What is large and complete is handed on as a view of what was read."""
    stream = whole(5, b"b" * 100_000, b"r" * 100_000)
    (frame,) = FrameDecoder().feed(stream)
    assert frame.body.obj is stream
    assert frame.raw[0].obj is stream
    assert cut(frame) == (5, b"b" * 100_000, b"r" * 100_000)


def test_a_view_outlives_the_next_frames():
    """A frame that was put together from pieces is not overwritten by those after it."""
    stream = whole(5, b"b" * 100_000)
    decoder = FrameDecoder()
    assert list(decoder.feed(stream[:50_000])) == []
    (first,) = decoder.feed(stream[50_000:])
    list(decoder.feed(whole(6, b"c" * 200_000)[:150_000]))
    assert bytes(first.body) == b"b" * 100_000


@pytest.mark.parametrize(("body", "buffers"), [(2**32 - 1, 0), (0, 2**32 - 1), (1025, 0), (600, 425)])
@pytest.mark.parametrize("step", [1, 12, 4096])
def test_a_hostile_length_is_refused_before_the_payload_is_kept(body, buffers, step):
    """The header alone decides: nothing is allocated for, or kept of, a frame above the cap."""
    decoder = FrameDecoder(max_bytes=1024)
    stream = HEADER.pack(MAGIC, 1, 17, body, buffers) + b"x" * 100
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
    with pytest.raises(PeerError, match="exceeds the cap of 1024"):
        cut_all(decoder, pieces)
    assert decoder.held_bytes == 0


def test_a_frame_at_the_cap_passes():
    """The cap is the largest that is allowed."""
    (frame,) = FrameDecoder(max_bytes=1024).feed(whole(1, b"b" * 600, b"r" * 424))
    assert len(frame.body) + len(frame.raw[0]) == 1024


@pytest.mark.parametrize(
    "rubbish", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00", b"\0" * 12]
)
def test_rubbish_is_named_and_the_frames_before_it_are_kept(rubbish):
    """Another protocol on the port is told from ours, after the frames that were good; and for ever."""
    decoder = FrameDecoder()
    got = []
    with pytest.raises(PeerError, match="not a Comm frame"):
        got.extend(frame.kind for frame in decoder.feed(whole(1, b"a") + whole(2, b"b") + rubbish))
    with pytest.raises(PeerError, match="not a Comm frame"):
        list(decoder.feed(whole(3, b"c")))
    assert decoder.held_bytes == 0


def test_frames_before_rubbish_are_given():
    """Each frame is handed on before the next is looked at."""
    frames = FrameDecoder().feed(whole(1, b"a") + b"rubbish rubbish")
    assert next(frames).kind == 1
    with pytest.raises(PeerError):
        next(frames)


def test_another_version_is_refused_until_it_was_agreed_on():
    """The version of the headers is part of what two ends agreed on."""
    stream = b"".join(encode_frame(4, b"x", version=2))
    with pytest.raises(PeerError, match="version 2 on a connection of version 1"):
        list(FrameDecoder().feed(stream))
    decoder = FrameDecoder()
    decoder.version = 2
    assert [frame.kind for frame in decoder.feed(stream)] == [4]


def test_our_own_frame_above_the_cap_is_refused_before_anything_is_written():
    """A caller is told; the connection is not."""
    with pytest.raises(TooLarge, match="1025 bytes"):
        encode_frame(1, b"b" * 600, [b"r" * 425], max_bytes=1024)


def test_large_pieces_are_not_joined():
    """A large body and raw buffers are written from where they are."""
    body, raw = b"b" * 100_000, b"r" * 10
    pieces = encode_frame(1, body, [raw])
    assert len(pieces[0]) == HEADER_BYTES
    assert pieces[1] is body
    assert pieces[2] is raw


# --- raw bytes that are read to where they belong ---------------------------------------------------------------


def landing(frame: bytes, fed: int, room: memoryview | None) -> FrameDecoder:
    """Give a decoder that was fed the beginning of a frame, and was given room for its raw bytes."""
    decoder = FrameDecoder()
    decoder.land = lambda kind, body, size: room
    assert list(decoder.feed(frame[:fed])) == []
    return decoder


def test_raw_bytes_are_read_to_where_they_belong():
    """What had come before there was room is put there too; the frame's raw bytes are that room, without a copy."""
    raw = bytes(range(256)) * 1024
    place = bytearray(len(raw))
    frame = whole(5, b"body", raw)
    decoder = landing(frame, 1_000, memoryview(place))
    room = decoder.room
    assert room is not None
    assert len(room) == len(frame) - 1_000
    room[:5_000] = frame[1_000:6_000]
    assert list(decoder.landed(5_000)) == []
    assert list(decoder.feed(frame[6_000:7_000])) == []
    rest = decoder.room
    assert rest is not None
    rest[:] = frame[7_000:]
    (got,) = decoder.landed(len(rest))
    assert (got.kind, bytes(got.body), got.raw[0].obj) == (5, b"body", place)
    assert place == raw
    assert decoder.room is None


def test_room_that_is_needed_otherwise_is_not_written_any_more():
    """After `divert` the frame still comes whole, and not one byte more of it goes to the room that it had."""
    raw = b"r" * 200_000
    place = bytearray(len(raw))
    frame = whole(5, b"body", raw)
    decoder = landing(frame, 1_000, memoryview(place))
    decoder.divert()
    before = bytes(place)
    room = decoder.room
    assert room is not None
    room[:] = frame[1_000:]
    (got,) = decoder.landed(len(room))
    assert len(got.raw[0]) == len(raw)
    assert bytes(place) == before
    decoder.divert()
    assert [cut(frame) for frame in decoder.feed(whole(6, b"next"))] == [(6, b"next", b"")]


def test_room_is_asked_for_once_and_only_for_what_is_long():
    """A frame that is nearly here is kept as it comes, and a refusal holds for the whole frame."""
    asked: list[tuple[int, bytes, int]] = []

    def land(kind: int, body: bytes, size: int) -> None:
        asked.append((kind, bytes(body), size))

    decoder = FrameDecoder()
    decoder.land = land
    for kind, size in ((5, 1_000), (6, 300_000)):
        stream = whole(kind, b"body", b"r" * size)
        frames = [frame for at in range(0, len(stream), 700) for frame in decoder.feed(stream[at : at + 700])]
        assert [cut(frame) for frame in frames] == [(kind, b"body", b"r" * size)]
    assert asked == [(6, b"body", 300_000)]


def test_room_of_another_size_is_a_mistake_of_ours():
    """Bytes behind the room would be somebody else's."""
    with pytest.raises(ValueError, match="room of 7 bytes"):
        landing(whole(5, b"", b"r" * 200_000), 1_000, memoryview(bytearray(7)))
