"""Arguments that are too large for a message, for an agent that shares no memory with us: it fetches them in chunks.

Law: an argument is what it was when the call was made, until the call has ended; what is made of it to be sent is one
chunk at a time, when the connection has room for it.
"""

from __future__ import annotations

import os
import tempfile
import threading
from bisect import bisect_right
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from agentd.model.errors import PeerError
from agentd.model.values import Part, Remote
from agentd.wire.measure import Bandwidth
from agentd.wire.messages import DataChunk

if TYPE_CHECKING:
    from typing import IO

    from agentd.model.values import Payload
    from agentd.wire.framing import Buffer
    from agentd.wire.messages import DataRequest

MEMORY_BYTES = 256 << 20
"""What is kept in memory of arguments that their caller could still change; more goes to the disk (chosen)."""
CHUNK_MOST_BYTES, CHUNK_LEAST_BYTES = 1 << 20, 64 << 10
FIRST_BYTES = 256 << 10
"""Of a chunk while the speed of the connection is not known (chosen)."""
CHUNK_S = 0.05
"""A chunk and how long it may occupy a slow connection: a call behind it waits no longer (as between agents)."""
RANGES_MOST = 64
STREAMS_MOST = 256
"""Ranges of one stream that may wait, and streams (as an agent has it)."""
_ALIGNED = 64
"""Bytes to which buffers are aligned, as in shared memory (a cache line)."""


class _Kept:
    """The buffers of one call, one behind the other, from `starts` on; those without a view lie in the file."""

    def __init__(self, number: int, starts: list[int], size: int) -> None:
        self.number = number
        self.starts = starts
        self.size = size
        self.views: list[memoryview | None] = []
        self.copied_bytes = 0
        """So many of them are copies in memory."""
        self.file: IO[bytes] | None = None

    def read(self, offset: int, size: int) -> list[Buffer]:
        """Give a range in pieces; what lies between two buffers is zeros.

        Raises:
            OSError: the disk does not give it.
        """
        pieces: list[Buffer] = []
        end = offset + size
        index = bisect_right(self.starts, offset) - 1
        while offset < end:
            start, view = self.starts[index], self.views[index]
            until = min(end, self.starts[index + 1] if index + 1 < len(self.starts) else self.size)
            piece = self._from_file(offset, until - offset) if view is None else view[offset - start : until - start]
            pieces.append(piece)
            if len(piece) < until - offset:
                pieces.append(bytes(until - offset - len(piece)))
            offset, index = until, index + 1
        return pieces

    def _from_file(self, offset: int, size: int) -> bytes:
        assert self.file is not None
        data = os.pread(self.file.fileno(), size, offset)
        if len(data) != size:
            raise OSError("the file in which it was kept was cut off")
        return data

    def close(self) -> None:
        """Let go of all of it; what is on its way keeps its piece."""
        self.views.clear()
        if self.file is not None:
            self.file.close()

    __del__ = close  # in a child process nobody else does


class _Stream:
    """What the agent has asked for on one of its streams."""

    def __init__(self, number: int, kept: _Kept) -> None:
        self.number = number
        self.kept = kept
        self.ranges: deque[tuple[int, int]] = deque()


class Uploads:
    """Everything that the agent may fetch from this program. Placing and settling are safe from any thread."""

    def __init__(self, *, is_welcome: bool, needs_hash: bool, memory_bytes: int = MEMORY_BYTES) -> None:
        """Begin with nothing.

        Args:
            is_welcome: the agent fetches arguments.
            needs_hash: nothing else sees to it that bytes do not change on their way.
            memory_bytes: of copies; more goes to the disk.
        """
        self._is_welcome = is_welcome
        self._needs_hash = needs_hash
        self._memory_bytes = memory_bytes
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._kept: dict[int, _Kept] = {}
        self._copied_bytes = 0
        self._streams: dict[int, _Stream] = {}
        self._turns: deque[int] = deque()
        """Streams with something to be sent, in turn."""
        self._refusals: deque[DataChunk] = deque()
        self.is_active = False
        """Something was asked for, and the connection may not have taken all of it."""
        self._speed = Bandwidth()
        self._made_bytes = 0

    # --- arguments ----------------------------------------------------------------------------------------------

    def place(self, views: list[memoryview]) -> tuple[Part, ...] | None:
        """Keep the buffers of one value as they are now, and give what names them; None: the agent fetches nothing.

        Raises:
            OSError: the disk takes no more of them.
        """
        if not self._is_welcome:
            return None
        starts, end = [], 0
        for view in views:
            starts.append(-(-end // _ALIGNED) * _ALIGNED)
            end = starts[-1] + view.nbytes
        kept = _Kept(next(self._numbers), starts, end)
        self._keep(kept, views)
        with self._lock:
            self._kept[kept.number] = kept
        remote = Remote("", "", kept.number, end)
        return tuple(Part(view.nbytes, offset=start, remote=remote) for view, start in zip(views, starts, strict=True))

    def _keep(self, kept: _Kept, views: list[memoryview]) -> None:
        """Copy what could be changed meanwhile: to memory while there is room, else to a file without a name."""
        copied = sum(view.nbytes for view in views if _may_change(view))
        with self._lock:
            if self._copied_bytes + copied <= self._memory_bytes:
                self._copied_bytes += copied
                kept.copied_bytes = copied
        if copied == kept.copied_bytes:
            kept.views = [memoryview(bytes(view)) if _may_change(view) else view for view in views]
            return
        kept.file = _nameless()
        kept.views = [None if _may_change(view) else view for view in views]
        for view, start in zip(views, kept.starts, strict=True):
            if _may_change(view):
                _write(kept.file.fileno(), start, view)

    def settle(self, payload: Payload) -> None:
        """A call has ended for good: nobody asks for its arguments again."""
        for number in {part.remote.number for part in payload.parts if part.remote is not None}:
            with self._lock:
                kept = self._kept.pop(number, None)
                if kept is not None:
                    self._copied_bytes -= kept.copied_bytes
                    for stream in [one.number for one in self._streams.values() if one.kept is kept]:
                        del self._streams[stream]
                    kept.close()

    def close(self) -> None:
        """Nobody asks for anything any more."""
        with self._lock:
            for kept in self._kept.values():
                kept.close()
            self._kept.clear()
            self._streams.clear()

    # --- the agent ----------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """What was asked for over the last connection is wanted no more; all of it may be asked for again."""
        with self._lock:
            self._streams.clear()
            self._turns.clear()
            self._refusals.clear()
            self._speed = Bandwidth()

    def requested(self, request: DataRequest) -> None:
        """Note what the agent asks for.

        Raises:
            PeerError: it asks for what cannot be, or for too much at once.
        """
        with self._lock:
            kept = self._kept.get(request.object)
            if kept is None or request.home or request.boot:
                why = "the program does not need that call any more"
                refusal = DataChunk(request.object, request.offset, error=why, stream=request.stream, gone=True)
                self._refusals.append(refusal)
                self.is_active = True
                return
            end = request.offset + request.size if request.size else kept.size
            if not 0 <= request.offset < end <= kept.size:
                raise PeerError(f"the agent asked for bytes {request.offset} to {end} of {kept.size}")
            stream = self._streams.get(request.stream)
            if stream is None or stream.kept is not kept:
                stream = self._streams[request.stream] = _Stream(request.stream, kept)
            if len(stream.ranges) >= RANGES_MOST or len(self._streams) > STREAMS_MOST:
                raise PeerError("the agent asked for too much at once")
            stream.ranges.append((request.offset, end))
            self.is_active = True
            if stream.number not in self._turns:
                self._turns.append(stream.number)

    @property
    def has_chunks(self) -> bool:
        """Tell whether the agent waits for anything."""
        return bool(self._turns or self._refusals)

    def next(self) -> DataChunk | None:
        """Make the next chunk, of each stream in turn; None when nothing is asked for."""
        with self._lock:
            if self._refusals:
                return self._refusals.popleft()
            while self._turns:
                stream = self._streams.get(self._turns.popleft())
                if stream is not None and stream.ranges:
                    return self._chunk(stream)
        return None

    def _chunk(self, stream: _Stream) -> DataChunk:
        offset, end = stream.ranges.popleft()
        size = min(end - offset, self._chunk_bytes)
        if offset + size < end:
            stream.ranges.appendleft((offset + size, end))
        if stream.ranges:
            self._turns.append(stream.number)
        else:
            del self._streams[stream.number]
        kept = stream.kept
        try:
            pieces = kept.read(offset, size)
        except OSError as error:
            why = f"its program cannot read it any more: {error}"
            return DataChunk(kept.number, offset, error=why, stream=stream.number, gone=True)
        data = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        tag = _checksum(data) if self._needs_hash else b""
        self._made_bytes += size
        return DataChunk(kept.number, offset, kept.size, tag, "", data, stream.number)

    @property
    def _chunk_bytes(self) -> int:
        speed = self._speed.bytes_per_s
        if speed is None:
            return FIRST_BYTES
        return min(max(int(speed * CHUNK_S), CHUNK_LEAST_BYTES), CHUNK_MOST_BYTES)

    def measure(self, waiting_bytes: int, now: float) -> None:
        """Take note of how much of what was made the connection has not taken at a time (in monotonic seconds)."""
        drained = self._made_bytes - waiting_bytes
        if waiting_bytes:
            self._speed.begin(now, drained)
        else:
            self._speed.end(now, drained)
            self.is_active = self.has_chunks


def _checksum(data: memoryview) -> bytes:
    from agentd.wire.checksum import checksum  # large arguments only: it loads a library of ciphers

    return checksum((data,))


def _may_change(view: memoryview) -> bool:
    """Tell whether anybody could write what a view shows: of others than bytes the owner may."""
    return type(view.obj) is not bytes


def _nameless() -> IO[bytes]:
    """Open a file that is gone with its descriptor; where the system says nothing else, on a disk: /tmp may be memory.

    Raises:
        OSError: there is no folder to write to.
    """
    folder = tempfile.gettempdir()
    if folder == "/tmp" and os.access("/var/tmp", os.W_OK):  # noqa: S108 - the file has no name there
        folder = "/var/tmp"  # noqa: S108
    return tempfile.TemporaryFile(dir=folder)


def _write(file: int, offset: int, view: memoryview) -> None:
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
