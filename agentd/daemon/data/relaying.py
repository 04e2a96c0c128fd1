"""Objects on their way through this agent: asked for in another's name, passed on as they come, and not kept.

Law: for one neighbour no more is here, or on its way here, than `LINK_BYTES`, whatever it asks for and however slowly
it takes it; the others do not wait for it.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.wire.checksum import checksum
from agentd.wire.messages import DataChunk, DataRequest

if TYPE_CHECKING:
    from agentd.comm.link import Link

PIECE_BYTES = 4 << 20
"""What one request of ours asks for."""
RELAY_BYTES = 2 * PIECE_BYTES
"""Of one object, that was asked for and has not left (as who fetches keeps it)."""
LINK_BYTES = 8 * RELAY_BYTES
"""The same of all objects for one neighbour (chosen: a fast link is kept full, and many neighbours fit)."""
RANGES_MOST = 64
"""Requests of one stream that may wait (chosen: who keeps its window has two)."""

Stream = tuple[int, int]
"""Link and the asker's number on it."""


class _Line:
    """All that is passed on to one neighbour; `bytes` were asked for and have not left."""

    def __init__(self) -> None:
        self.bytes = 0
        self.relays: dict[int, _Relay] = {}
        """By the neighbour's stream."""


class _Relay:
    """One object on its way through."""

    def __init__(self, relaying: Relaying, line: _Line, link: Link, request: DataRequest, upstream: Link) -> None:
        self.link = link
        self.line = line
        self.request = request
        self.upstream = upstream
        self.number = next(relaying.numbers)
        self.ranges: deque[tuple[int, int]] = deque()
        """Asked of us, and not by us yet."""
        self.asked_bytes = 0
        """Asked by us, and not here yet."""
        self.chunks: deque[DataChunk] = deque()
        self.held_bytes = 0
        self._relaying = relaying

    def next(self) -> DataChunk | None:
        if not self.chunks:
            return None
        chunk = self.chunks.popleft()
        size = _size(chunk)
        self.held_bytes -= size
        self.line.bytes -= size
        self._relaying.feed(self.line)
        return chunk

    def close(self) -> None:
        self.chunks.clear()


class Relaying:
    """Everything that is passed on."""

    def __init__(self) -> None:
        self.numbers = itertools.count(-1, -1)
        """Of our streams: those of what we fetch for ourselves are positive."""
        self._lines: dict[int, _Line] = {}
        self._upstream: dict[Stream, _Relay] = {}
        """By the stream on which we ask."""
        self.relayed_bytes = 0

    def __len__(self) -> int:
        return len(self._upstream)

    def streams(self, link: int) -> int:
        """How many objects are passed on over a link."""
        line = self._lines.get(link)
        return len(line.relays) if line is not None else 0

    def begun(self, link: int, stream: int) -> DataRequest | None:
        """Give the first request of a stream that is passed on already."""
        line = self._lines.get(link)
        relay = line.relays.get(stream) if line is not None else None
        return relay.request if relay is not None else None

    def ask(self, link: Link, request: DataRequest, end: int, upstream: Link | None) -> bool:
        """Ask for what a neighbour asked us for, up to `end`, when there is room; `upstream` is for a new stream.

        False: too much of it waits.
        """
        line = self._lines.setdefault(link.number, _Line())
        relay = line.relays.get(request.stream)
        if relay is None:
            assert upstream is not None
            relay = line.relays[request.stream] = _Relay(self, line, link, request, upstream)
            self._upstream[upstream.number, relay.number] = relay
        if len(relay.ranges) >= RANGES_MOST:
            return False
        relay.ranges.append((request.offset, end))
        self.feed(line)
        return True

    def feed(self, line: _Line) -> None:
        """Ask for more, for each object in turn, as far as there is room."""
        is_moving = True
        while is_moving and line.bytes < LINK_BYTES:
            is_moving = False
            for relay in list(line.relays.values()):
                room = RELAY_BYTES - relay.asked_bytes - relay.held_bytes
                if relay.ranges and room >= PIECE_BYTES and line.bytes < LINK_BYTES:
                    self._ask_piece(relay)
                    is_moving = True

    @staticmethod
    def _ask_piece(relay: _Relay) -> None:
        offset, end = relay.ranges.popleft()
        size = min(PIECE_BYTES, end - offset)
        if offset + size < end:
            relay.ranges.appendleft((offset + size, end))
        relay.asked_bytes += size
        relay.line.bytes += size
        hops = relay.request.hops + 1
        relay.upstream.send(replace(relay.request, offset=offset, size=size, stream=relay.number, hops=hops))
        relay.upstream.flush()

    def passed(self, link: Link, message: DataChunk) -> bool:
        """Pass a chunk on that was asked for in another's name; False: it was not."""
        relay = self._upstream.get((link.number, message.stream))
        if relay is None:
            return False
        size = _size(message)
        if message.error:
            self._break(relay, message)
        elif not 0 < size <= relay.asked_bytes:
            self._break(relay, DataChunk(error="whoever has it sent what was not asked for"))
        elif not message.hash and link.needs_hash:
            self._break(relay, DataChunk(error="whoever has it sent it without a hash"))
        else:
            self.relayed_bytes += size
            relay.asked_bytes -= size
            relay.held_bytes += size
            self._hand_on(relay, message)
            if not relay.asked_bytes and not relay.ranges:
                self._end(relay)
        return True

    @staticmethod
    def _hand_on(relay: _Relay, chunk: DataChunk) -> None:
        tag = chunk.hash
        if not (tag or chunk.error) and relay.link.needs_hash:
            tag = checksum(chunk.pieces)  # it came over a link that needs none
        relay.chunks.append(replace(chunk, hash=tag, stream=relay.request.stream))
        relay.link.send_bulk(relay)
        relay.link.flush()

    def _break(self, relay: _Relay, last: DataChunk) -> None:
        """Nothing more will come: say why behind what has."""
        self._end(relay)
        self._hand_on(relay, last)

    def _end(self, relay: _Relay) -> None:
        """Forget a relay; what is here of it still leaves."""
        relay.line.bytes -= relay.asked_bytes
        relay.asked_bytes = 0
        relay.ranges.clear()
        if relay.line.relays.get(relay.request.stream) is relay:
            del relay.line.relays[relay.request.stream]
        self._upstream.pop((relay.upstream.number, relay.number), None)

    def link_closed(self, number: int) -> None:
        """A link is gone: what went over it towards others ends with a word to them."""
        line = self._lines.pop(number, None)
        for relay in list(line.relays.values()) if line is not None else ():
            self._end(relay)
        for relay in [one for one in self._upstream.values() if one.upstream.number == number]:
            self._break(relay, DataChunk(error="the way to who has it is cut"))


def _size(chunk: DataChunk) -> int:
    return sum(map(len, chunk.pieces))
