"""Frames: twelve bytes of header, a body, raw buffers.

Law: a length is judged before anything of the payload is kept, and what is kept never exceeds what was received.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
_PIECE_BYTES = 4_096
"""Reads smaller than this are put together at once: a frame in single bytes must not cost an object per byte."""


Land = Callable[[int, Buffer, int], "memoryview | None"]
"""Tells, by kind, body and size, where the raw bytes of a frame that is coming belong; None: nowhere yet."""


class Frame(Struct, frozen=True, gc=False):
    """One frame as it was received; a view is valid as long as somebody holds it."""

    kind: int
    body: Buffer
    raw: Sequence[Buffer] = ()
    """Pieces that, one after the other, are all raw buffers: cut by how they were read, not by what they mean."""


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
    raw_bytes = sum(map(len, buffers)) if buffers else 0
    total = len(body) + raw_bytes
    if total > max_bytes:
        raise TooLarge(f"a frame of {total} bytes exceeds the cap of {max_bytes}: put large values into the store")
    header = HEADER.pack(MAGIC, version, kind, len(body), raw_bytes)
    if len(body) <= _JOIN_BYTES:
        return [header + body, *buffers]
    return [header, body, *buffers]


class FrameDecoder:
    """Cuts a stream of bytes into frames, whatever the sizes of the reads.

    Raw bytes may be read straight to where they belong: while `room` gives memory, who reads from the socket may read
    into that, and say `landed` instead of `feed`.

    Attributes:
        max_bytes: cap on body and buffers together; may be changed between two frames.
        version: what the headers must bear; may be changed between two frames.
        land: asked once for each frame of which much is still to come when its body is here.
    """

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES, version: int = OPENING_VERSION) -> None:
        self.max_bytes = max_bytes
        self.version = version
        self.land: Land | None = None
        self._header = bytearray()
        """Of the unfinished frame, as far as it came."""
        self._pieces: list[Buffer] = []
        """What came behind that header."""
        self._missing = HEADER_BYTES
        """How many bytes are awaited: of the header at first, then of all behind it."""
        self._body_bytes = 0
        self._room: memoryview | None = None
        """Where the raw bytes of the unfinished frame go, all of them; None: they are kept in pieces."""
        self._is_asked = False
        """`land` was asked of the unfinished frame."""
        self._fault: PeerError | None = None

    @property
    def held_bytes(self) -> int:
        """How much of an unfinished frame is kept."""
        return len(self._header) + sum(map(len, self._pieces))

    def alone(self, data: bytes) -> Frame | None:
        """Give the frame that `data` is, one without raw buffers and nothing else, as most reads are.

        None: it is not that, and nothing was taken; `feed` knows the rest.
        """
        if self._header or len(data) < HEADER_BYTES or self._fault is not None:
            return None
        magic, version, kind, body_bytes, raw_bytes = HEADER.unpack_from(data)
        if body_bytes + HEADER_BYTES != len(data) or raw_bytes or magic != MAGIC or version != self.version:
            return None
        return Frame(kind, data[HEADER_BYTES:]) if body_bytes < min(_VIEW_BYTES, self.max_bytes) else None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes; to be exhausted before the next call.

        Raises:
            PeerError: this is not our protocol, another version of it, or a frame above the cap. The frames before it
                were yielded; all later calls raise the same.
        """
        if self._fault is not None:
            raise self._fault
        position = 0
        if self._header:
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
            if end - start >= _VIEW_BYTES:
                view = memoryview(data)
                yield Frame(kind, view[start:middle], (view[middle:end],) if raw_bytes else ())
            elif raw_bytes:
                yield Frame(kind, data[start:middle], (data[middle:end],))
            else:
                yield Frame(kind, data[start:end])
        if position < size:
            self._complete(memoryview(data)[position:])

    # --- raw bytes that go where they belong --------------------------------------------------------------------

    @property
    def room(self) -> memoryview | None:
        """Where the next bytes may be read to, at most so many; None: they are to be fed."""
        return None if self._room is None else self._room[-self._missing :]

    def landed(self, count: int) -> Iterator[Frame]:
        """Note that `count` bytes were read to `room`, and yield the frame if that completes it; to be exhausted."""
        self._missing -= count
        if not self._missing:
            yield self._taken()

    def divert(self) -> None:
        """Let what is still to come of the unfinished frame go to memory of its own: its room is needed otherwise."""
        if self._room is not None:
            self._room = memoryview(bytearray(len(self._room)))

    def _ask_for_room(self, land: Land) -> None:
        """Find out where the raw bytes belong, if their body is here."""
        if sum(map(len, self._pieces)) < self._body_bytes:
            return
        self._is_asked = True
        body, raw = _parted(self._pieces, self._body_bytes)
        room = land(self._header[3], body, self._missing + sum(map(len, raw)))
        if room is None:
            return
        if len(room) != self._missing + sum(map(len, raw)):
            raise ValueError(f"room of {len(room)} bytes was given for other raw bytes")
        position = 0
        for piece in raw:
            room[position : position + len(piece)] = piece
            position += len(piece)
        self._room, self._pieces = room, [body]

    # --- the unfinished frame -----------------------------------------------------------------------------------

    def _complete(self, data: Buffer) -> int:
        """Take what the unfinished frame lacks, and tell how much of `data` that was."""
        used = 0
        if len(self._header) < HEADER_BYTES:
            used = min(self._missing, len(data))
            self._header += data[:used]
            self._missing -= used
            if self._missing:
                return used
            magic, version, kind, self._body_bytes, raw_bytes = HEADER.unpack(self._header)
            self._missing = self._body_bytes + raw_bytes
            if magic != MAGIC or version != self.version or self._missing > self.max_bytes:
                raise self._refused(magic, version, kind, self._missing)
        end = min(used + self._missing, len(data))
        if end <= used:
            return end
        if self._room is not None:
            self._room[-self._missing :][: end - used] = memoryview(data)[used:end]
            self._missing -= end - used
            return end
        self._keep(memoryview(data)[used:end])
        self._missing -= end - used
        if self._missing >= _VIEW_BYTES and self.land is not None and not self._is_asked:
            self._ask_for_room(self.land)
        return end

    def _keep(self, piece: memoryview) -> None:
        """Keep a large piece as it was read; add a small one to the piece before it."""
        if len(piece) >= _PIECE_BYTES:
            self._pieces.append(piece)
            return
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytearray) and len(last) < _VIEW_BYTES:
            last += piece
        else:
            self._pieces.append(bytearray(piece))

    def _taken(self) -> Frame:
        """Hand out the unfinished frame, which is complete, and begin anew."""
        body, raw = _parted(self._pieces, self._body_bytes)
        frame = Frame(self._header[3], body, raw if self._room is None else (self._room,))
        self._room, self._is_asked = None, False
        self._header = bytearray()
        self._pieces = []
        self._missing = HEADER_BYTES
        return frame

    def _refused(self, magic: bytes, version: int, kind: int, total: int) -> PeerError:
        if magic != MAGIC:
            self._fault = PeerError(f"not a Comm frame: it begins with {magic.hex()}, expected {MAGIC.hex()}")
        elif version != self.version:
            self._fault = PeerError(f"a frame of version {version} on a connection of version {self.version}")
        else:
            self._fault = PeerError(f"a frame of kind {kind} with {total} bytes exceeds the cap of {self.max_bytes}")
        self._header = bytearray()
        self._pieces = []
        return self._fault


def _parted(pieces: list[Buffer], body_bytes: int) -> tuple[Buffer, list[Buffer]]:
    """Part the pieces of a frame into its body, in one, and the pieces of its raw buffers."""
    of_body: list[Buffer] = []
    for number, piece in enumerate(pieces):
        if body_bytes < len(piece):
            view = memoryview(piece)
            of_body.append(view[:body_bytes])
            return b"".join(of_body), [view[body_bytes:], *pieces[number + 1 :]]
        of_body.append(piece)
        body_bytes -= len(piece)
    return b"".join(of_body), []
