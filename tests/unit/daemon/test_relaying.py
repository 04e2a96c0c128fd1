"""Objects on their way through: asked for as fast as they are taken, for one neighbour never more than its share."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from agentd.daemon.data.relaying import LINK_BYTES, PIECE_BYTES, RANGES_MOST, RELAY_BYTES, Relaying
from agentd.wire.checksum import checksum
from agentd.wire.messages import DataChunk, DataRequest

CHUNK = 1 << 20
HUGE = 1 << 40


class Link:
    """A link whose other end takes chunks when the test says so."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.needs_hash = True
        self.said: list[DataRequest] = []
        self.bulk: deque[Any] = deque()
        self.taken: list[DataChunk] = []

    def send(self, message: DataRequest) -> None:
        self.said.append(message)

    def send_bulk(self, bulk: Any) -> None:
        if bulk not in self.bulk:
            self.bulk.append(bulk)

    def flush(self) -> None:
        """Leave everything where it is."""

    def take(self, most: int = 1 << 30) -> list[DataChunk]:
        """Let the other end read so many chunks."""
        got: list[DataChunk] = []
        while self.bulk and len(got) < most:
            bulk = self.bulk.popleft()
            chunk = bulk.next()
            if chunk is not None:
                got.append(chunk)
                self.bulk.append(bulk)
        self.taken += got
        return got

    def asked_bytes(self) -> int:
        """Give how much was asked for over it."""
        return sum(each.size for each in self.said)


class Holder:
    """Answers what it is asked, in order, in chunks."""

    def __init__(self, relaying: Relaying, link: Link, tag: bytes = b"h") -> None:
        self._tag = tag
        self._relaying = relaying
        self.link = link
        self._answered = 0

    def answer(self) -> None:
        """Send all that was asked for until now."""
        while self._answered < len(self.link.said):
            request = self.link.said[self._answered]
            self._answered += 1
            for offset in range(request.offset, request.offset + request.size, CHUNK):
                size = min(CHUNK, request.offset + request.size - offset)
                data = memoryview(bytes(size))
                chunk = DataChunk(request.object, offset, HUGE, self._tag, "", data, request.stream)
                assert self._relaying.passed(self.link, chunk)


@pytest.fixture
def relaying() -> Relaying:
    return Relaying()


def ask(relaying: Relaying, link: Link, upstream: Link, stream: int = 1, offset: int = 0, end: int = HUGE) -> bool:
    return relaying.ask(link, DataRequest(5, offset, end - offset, "h", "b", stream, 2), end, upstream)


def test_no_more_is_asked_for_than_is_taken(relaying):
    """Who asks for everything at once and reads nothing has a window of it here; it goes on as that is read."""
    asker, upstream = Link(1), Link(2)
    holder = Holder(relaying, upstream)
    assert ask(relaying, asker, upstream)
    assert upstream.asked_bytes() == RELAY_BYTES
    holder.answer()
    assert upstream.asked_bytes() == RELAY_BYTES
    asker.take(PIECE_BYTES // CHUNK)
    assert upstream.asked_bytes() == RELAY_BYTES + PIECE_BYTES
    for _ in range(20):
        holder.answer()
        asker.take()
    offsets = [chunk.offset for chunk in asker.taken]
    assert offsets == [number * CHUNK for number in range(len(offsets))]
    assert len(offsets) >= 20 * RELAY_BYTES // CHUNK
    assert {(each.hops, each.stream < 0) for each in upstream.said} == {(3, True)}


def test_a_neighbour_has_one_share_whatever_the_number_of_objects(relaying):
    """A thousand streams of one neighbour are within its share together, and another neighbour is served at once."""
    greedy, other, upstream = Link(1), Link(3), Link(2)
    holder = Holder(relaying, upstream)
    for stream in range(1000):
        ask(relaying, greedy, upstream, stream)
    holder.answer()
    assert upstream.asked_bytes() == LINK_BYTES
    ask(relaying, other, upstream, 7)
    holder.answer()
    assert len(other.take()) == RELAY_BYTES // CHUNK
    before = upstream.asked_bytes()
    greedy.take()
    assert upstream.asked_bytes() - before >= LINK_BYTES - RELAY_BYTES


@pytest.mark.parametrize("tag", [b"", b"h"])
def test_what_came_without_a_hash_gets_one_where_it_needs_one(relaying, tag):
    """A hash is passed on as it came; one that was left out is made when the next link is not as safe."""
    asker, upstream = Link(1), Link(2)
    upstream.needs_hash = False
    ask(relaying, asker, upstream, end=CHUNK)
    Holder(relaying, upstream, tag).answer()
    (chunk,) = asker.take()
    assert chunk.hash == tag or (not tag and chunk.hash == checksum((bytes(CHUNK),)))


def test_what_should_have_a_hash_and_has_none_is_not_passed_on(relaying):
    """It may be anything: the asker is told, although its own link would need no hash."""
    asker, upstream = Link(1), Link(2)
    asker.needs_hash = False
    ask(relaying, asker, upstream, end=CHUNK)
    Holder(relaying, upstream, b"").answer()
    assert [chunk.error for chunk in asker.take()] == ["whoever has it sent it without a hash"]


def test_a_stream_that_is_done_leaves_nothing(relaying):
    """When all that was asked for has passed, the next request of the stream finds its way anew."""
    asker, upstream, elsewhere = Link(1), Link(2), Link(4)
    holder = Holder(relaying, upstream)
    ask(relaying, asker, upstream, end=CHUNK)
    assert relaying.begun(1, 1) is not None
    holder.answer()
    assert (len(relaying), relaying.streams(1), relaying.begun(1, 1)) == (0, 0, None)
    ask(relaying, asker, elsewhere, offset=CHUNK, end=2 * CHUNK)
    Holder(relaying, elsewhere).answer()
    assert [chunk.offset for chunk in asker.take()] == [0, CHUNK]


def test_who_asks_on_and_on_is_refused(relaying):
    """Requests that wait are bounded too."""
    asker, upstream = Link(1), Link(2)
    given = [ask(relaying, asker, upstream, offset=number * HUGE, end=(number + 1) * HUGE) for number in range(200)]
    assert given == [True] * RANGES_MOST + [False] * (200 - RANGES_MOST)


@pytest.mark.parametrize("size", [0, RELAY_BYTES + 1])
def test_a_holder_that_sends_what_was_not_asked_for_is_stopped(relaying, size):
    """It cannot fill our memory: the asker is told, and what still comes is nobody's."""
    asker, upstream = Link(1), Link(2)
    ask(relaying, asker, upstream)
    stream = upstream.said[0].stream
    chunk = DataChunk(5, 0, HUGE, b"h", "", memoryview(bytes(size)), stream)
    assert relaying.passed(upstream, chunk)
    (last,) = asker.take()
    assert (last.error, last.stream) == ("whoever has it sent what was not asked for", 1)
    assert not relaying.passed(upstream, chunk)


def test_an_error_follows_what_came_before_it(relaying):
    """The chunks that are here leave first, and the share is free again."""
    asker, upstream = Link(1), Link(2)
    holder = Holder(relaying, upstream)
    ask(relaying, asker, upstream)
    holder.answer()
    relaying.passed(upstream, DataChunk(error="no", stream=upstream.said[0].stream, gone=True))
    got = asker.take()
    assert [chunk.error for chunk in got] == [""] * (RELAY_BYTES // CHUNK) + ["no"]
    for stream in range(100):
        ask(relaying, asker, upstream, stream)
    assert upstream.asked_bytes() == RELAY_BYTES + LINK_BYTES


def test_a_cut_on_either_side_ends_what_went_over_it(relaying):
    """Those who asked are told of a cut behind us; of who is gone itself nothing is left."""
    asker, gone, upstream = Link(1), Link(3), Link(2)
    ask(relaying, asker, upstream)
    ask(relaying, gone, upstream)
    relaying.link_closed(3)
    assert (len(relaying), relaying.streams(3)) == (1, 0)
    relaying.link_closed(2)
    assert [chunk.error for chunk in asker.take()] == ["the way to who has it is cut"]
    assert len(relaying) == 0
