"""Objects for others: pieces of what is here, and the way through for what is not.

Law: nothing is read before the link has room for it, and of what is passed on no more is kept than was asked for.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from agentd.daemon.data.relaying import RANGES_MOST, Relaying, Stream
from agentd.daemon.data.windows import piece
from agentd.model.errors import AgentdError
from agentd.wire.checksum import checksum
from agentd.wire.messages import DataChunk, DataRequest

if TYPE_CHECKING:
    from agentd.comm.door import Door
    from agentd.comm.link import Link
    from agentd.core.data.objects import Object
    from agentd.core.state import AgentState
    from agentd.daemon.data.loans import Loans
    from agentd.daemon.data.windows import Windows
    from agentd.store.objects import Objects as Stored
    from agentd.workers.segments import Segments

HOPS_MOST = 8
"""Agents that pass a request on (as for tasks)."""
STREAMS_MOST = 256
"""Streams of one neighbour (chosen: far above what one asks for at a time)."""

View = Callable[[int, int], memoryview]
"""Gives a piece of an object, by its offset and size."""

log = logging.getLogger("agentd")


class Serving:
    """Answers requests for objects."""

    def __init__(
        self, state: AgentState, door: Door, segments: Segments, stored: Stored, loans: Loans, windows: Windows
    ) -> None:
        self._state = state
        self._door = door
        self._segments = segments
        self._stored = stored
        self._loans = loans
        self._windows = windows
        self._sending: dict[Stream, _Sending] = {}
        self._streams: Counter[int] = Counter()
        """How many of them each link has."""
        self._relaying = Relaying()
        self._warned: set[int] = set()
        """Links over which somebody asked for what is not for it."""
        door.judge(state.fetches.objection)
        self.served_bytes = 0

    # --- requests ---------------------------------------------------------------------------------------------

    def requested(self, link: Link, message: DataRequest) -> None:
        """A neighbour wants a range of an object, or a program of a result that it was told of."""
        neighbour = self._door.neighbour_of(link)
        key = message.home, message.boot, message.object
        found = self._state.objects.get(key) if neighbour else self._loans.find(link, key)
        if found is None:
            self._refuse(link, message, f"{self._state.identity.name} does not have that object any more", gone=True)
        elif self._door.limits_of(link).is_confined and not self._state.fetches.was_given(found.key, neighbour):
            self._withhold(link, message, neighbour)
        elif not self._is_sound(found, message):
            self._refuse(link, message, f"the object has {found.remote.size} bytes", gone=True)
        elif not self._is_of_its_stream(link, message):
            self._refuse(link, message, "a stream is for one object")
        elif self._streams[link.number] + self._relaying.streams(link.number) >= STREAMS_MOST:
            self._refuse(link, message, "too many transfers at once")
        elif found.place is not None:
            self._send(link, message, found)
        else:
            self._pass_on(link, message, found, neighbour)

    def _is_of_its_stream(self, link: Link, message: DataRequest) -> bool:
        sending = self._sending.get((link.number, message.stream))
        first = sending.request if sending is not None else self._relaying.begun(link.number, message.stream)
        key = message.home, message.boot, message.object
        return first is None or (first.home, first.boot, first.object) == key

    @staticmethod
    def _is_sound(found: Object, message: DataRequest) -> bool:
        return 0 <= message.offset < max(found.remote.size, 1) and message.size >= 0

    def _withhold(self, link: Link, message: DataRequest, neighbour: str) -> None:
        """Give nothing to who has few rights and was not given this: that it knows the number is no right."""
        self._refuse(link, message, f"{self._state.identity.name} limits {neighbour}: it was not given that", gone=True)
        if link.number not in self._warned:
            self._warned.add(link.number)
            log.warning("%s asked for a value that was not given to it, and got nothing", neighbour)

    def _refuse(self, link: Link, message: DataRequest, why: str, *, gone: bool = False) -> None:
        link.send(DataChunk(message.object, message.offset, error=why, stream=message.stream, gone=gone))

    # --- what is here -----------------------------------------------------------------------------------------

    def _send(self, link: Link, message: DataRequest, found: Object) -> None:
        key = link.number, message.stream
        sending = self._sending.get(key)
        if sending is None:
            try:
                view, close = self._open(found)
            except (AgentdError, OSError, KeyError) as error:
                self._refuse(link, message, f"it cannot be read: {error}", gone=True)
                return
            sending = self._sending[key] = _Sending(self, link, message, found.remote.size, view, close)
            self._streams[link.number] += 1
        if len(sending.ranges) >= RANGES_MOST:
            sending.ranges.clear()
            self._refuse(link, message, "too much was asked for at once")
            return
        sending.ranges.append((message.offset, _end_of(message, found)))
        link.send_bulk(sending)

    def _open(self, found: Object) -> tuple[View, Callable[[], None]]:
        """Give what looks into an object, and what lets go of it."""
        place, end = found.place, found.remote.size
        assert place is not None
        if place.stored:
            fd, _ = self._stored.open(place.stored)
            return partial(piece, fd), partial(os.close, fd)
        segment, fd = place.segment, self._segments.fd(place.segment)
        self._segments.retain(segment)
        look = partial(read, fd) if self._segments.is_file(segment) else partial(self._windows.view, segment, fd, end)
        return look, partial(self._segments.release, segment)

    def sent(self, sending: _Sending) -> None:
        """A stream has nothing more to send at the moment."""
        if self._sending.pop((sending.link.number, sending.stream), None) is not None:
            self._streams[sending.link.number] -= 1
            if not self._streams[sending.link.number]:
                del self._streams[sending.link.number]

    # --- what is elsewhere ------------------------------------------------------------------------------------

    def _pass_on(self, link: Link, message: DataRequest, found: Object, asker: str) -> None:
        upstream = None
        if self._relaying.begun(link.number, message.stream) is None:
            way = self._state.fetches.way(found, asker) if message.hops < HOPS_MOST else ""
            upstream = self._door.link_to(way) if way else None
            if upstream is None:
                is_lost = self._state.fetches.is_lost(found, asker)
                self._refuse(link, message, f"{self._state.identity.name} cannot reach who has it", gone=is_lost)
                return
        if not self._relaying.ask(link, message, _end_of(message, found), upstream):
            self._refuse(link, message, "too much was asked for at once")

    def passed(self, link: Link, message: DataChunk) -> bool:
        """Pass a chunk on that was asked for in another's name; False: it was not."""
        return self._relaying.passed(link, message)

    @property
    def relayed_bytes(self) -> int:
        """What was passed on since the start."""
        return self._relaying.relayed_bytes

    def link_closed(self, number: int) -> None:
        """A link is gone: what went over it towards others ends with a word to them."""
        self._warned.discard(number)
        self._relaying.link_closed(number)


def _end_of(message: DataRequest, found: Object) -> int:
    """Give where the range that was asked for ends."""
    return found.remote.size if not message.size else min(message.offset + message.size, found.remote.size)


class _Sending:
    """Ranges of one object on their way to one neighbour."""

    def __init__(
        self, serving: Serving, link: Link, request: DataRequest, size: int, view: View, close: Callable[[], None]
    ) -> None:
        self.link = link
        self.request = request
        self.stream = request.stream
        self.ranges: deque[tuple[int, int]] = deque()
        self._serving = serving
        self._number = request.object
        self._size = size
        self._view = view
        self._close = close

    def next(self) -> DataChunk | None:
        if not self.ranges:
            self.close()
            return None
        offset, end = self.ranges.popleft()
        size = min(end - offset, self.link.chunk_bytes)
        if offset + size < end:
            self.ranges.appendleft((offset + size, end))
        view = self._view(offset, size)
        if len(view) != size:
            self.ranges.clear()
            return DataChunk(self._number, offset, error="the file was cut off", stream=self.stream, gone=True)
        self._serving.served_bytes += size
        tag = checksum((view,)) if self.link.needs_hash else b""
        return DataChunk(self._number, offset, self._size, tag, "", view, self.stream)

    def close(self) -> None:
        self.ranges.clear()
        self._serving.sent(self)
        self._close()


def read(fd: int, offset: int, size: int) -> memoryview:
    """Give a range of a file that may be cut off: a page that is not there any more would be the end of us."""
    return memoryview(os.pread(fd, size, offset))
