"""Frames: twelve bytes of header, a body, raw buffers.

Law: a length is judged before anything of the payload is kept, and what is kept never exceeds what was received.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct as Layout

from msgspec import Struct

from agentd.model.errors import PeerError
from agentd.wire.faults import TooLarge

Buffer = bytes | bytearray | memoryview

MAGIC = b"\xa9D"
"""First octets of each frame; 0xa9 starts no UTF-8 text, so HTTP and typed text are told apart at once."""
OPENING_VERSION = 1
"""Version in the header of HELLO and HELLO_ACK for ever; later frames bear the version that was agreed on."""
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Cap on body and buffers together (product default)."""
HEADER = Layout("!2sBBII")
HEADER_BYTES = HEADER.size

_JOIN_BYTES = 65_536
"""Up to here copying a body behind its header costs less than another write (chosen: one socket buffer's page run)."""
_VIEW_BYTES = 65_536
"""From here a slice is a view of what was read instead of a copy (chosen: a view costs 0.1 us, as copying 4 KiB)."""


class Frame(Struct, frozen=True, gc=False):
    """One frame as it was received; a view is valid as long as somebody holds it."""

    kind: int
    body: Buffer
    buffers: Buffer = b""
    """All raw buffers, one after the other."""


def encode_frame(
    kind: int,
    body: Buffer,
    buffers: Sequence[Buffer] = (),
    *,
    version: int = OPENING_VERSION,
    max_bytes: int = MAX_FRAME_BYTES,
) -> list[Buffer]:
    """Give the pieces to write for one frame, in order; large ones are not copied.

    Raises:
        TooLarge: body and buffers exceed `max_bytes`.
    """
    raw_bytes = sum(map(len, buffers))
    total = len(body) + raw_bytes
    if total > max_bytes:
        raise TooLarge(f"a frame of {total} bytes exceeds the cap of {max_bytes}: put large values into the store")
    header = HEADER.pack(MAGIC, version, kind, len(body), raw_bytes)
    if len(body) <= _JOIN_BYTES:
        return [header + body, *buffers]
    return [header, body, *buffers]


class FrameDecoder:
    """Cuts a stream of bytes into frames, whatever the sizes of the reads.

    Attributes:
        max_bytes: cap on body and buffers together; may be changed between two frames.
        version: what the headers must bear; may be changed between two frames.
    """

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES, version: int = OPENING_VERSION) -> None:
        self.max_bytes = max_bytes
        self.version = version
        self._partial = bytearray()
        self._missing = HEADER_BYTES
        """How many bytes `_partial` lacks: of its header at first, then of the whole frame."""
        self._body_bytes = -1
        """Length of the body of the partial frame; -1 until its header is complete."""
        self._fault: PeerError | None = None

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished frame is kept."""
        return len(self._partial)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes; to be exhausted before the next call.

        Raises:
            PeerError: this is not our protocol, another version of it, or a frame above the cap. The frames before it
                were yielded; all later calls raise the same.
        """
        if self._fault is not None:
            raise self._fault
        position = 0
        if self._partial:
            position = self._complete(data)
            if self._missing:
                return
            yield self._taken()
        size = len(data)
        while size - position >= HEADER_BYTES:
            magic, version, kind, body_bytes, raw_bytes = HEADER.unpack_from(data, position)
            if magic != MAGIC or version != self.version or body_bytes + raw_bytes > self.max_bytes:
                raise self._refused(magic, version, kind, body_bytes + raw_bytes)
            start = position + HEADER_BYTES
            middle = start + body_bytes
            end = middle + raw_bytes
            if end > size:
                break
            position = end
            if end - start < _VIEW_BYTES:
                yield Frame(kind, data[start:middle], data[middle:end])
            else:
                view = memoryview(data)
                yield Frame(kind, view[start:middle], view[middle:end])
        if position < size:
            self._complete(memoryview(data)[position:])

    def _complete(self, data: Buffer) -> int:
        """Move into the partial frame what it lacks, and tell how much of `data` that was."""
        used = min(self._missing, len(data))
        self._partial += memoryview(data)[:used]
        self._missing -= used
        if self._missing or self._body_bytes >= 0:
            return used
        magic, version, kind, self._body_bytes, raw_bytes = HEADER.unpack_from(self._partial)
        self._missing = self._body_bytes + raw_bytes
        if magic != MAGIC or version != self.version or self._missing > self.max_bytes:
            raise self._refused(magic, version, kind, self._missing)
        return used + self._complete(memoryview(data)[used:])

    def _taken(self) -> Frame:
        """Hand out the partial frame, which is complete, and begin anew."""
        view = memoryview(self._partial)
        middle = HEADER_BYTES + self._body_bytes
        frame = Frame(view[3], view[HEADER_BYTES:middle], view[middle:])
        self._partial = bytearray()  # a new one: the frame's views keep the old one
        self._missing = HEADER_BYTES
        self._body_bytes = -1
        return frame

    def _refused(self, magic: bytes, version: int, kind: int, total: int) -> PeerError:
        if magic != MAGIC:
            self._fault = PeerError(f"not a Comm frame: it begins with {magic.hex()}, expected {MAGIC.hex()}")
        elif version != self.version:
            self._fault = PeerError(f"a frame of version {version} on a connection of version {self.version}")
        else:
            self._fault = PeerError(f"a frame of kind {kind} with {total} bytes exceeds the cap of {self.max_bytes}")
        self._partial = bytearray()
        return self._fault
