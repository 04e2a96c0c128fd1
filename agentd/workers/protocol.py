"""The wire between the daemon and the processes it started: frames over a Unix stream socket.

Standard library only: both sides load this file, and the other side may be another Python. A frame is a header
(u32 length of the body, u8 kind) and a body. Integers are little-endian; only the results are msgpack, so that the
daemon's decoder turns a whole frame into its own objects in one call.

Law: no body is buffered before its length was checked against the limit of the reader.
"""

from __future__ import annotations

from struct import Struct

HEADER = Struct("<IB")
"""Length of the body in bytes, kind."""
RUN_HEAD = Struct("<IH")
"""Number of tasks; for how many milliseconds a result of theirs may be held back while the worker goes on."""
RUN_ROW = Struct("<QIBHIHH")
"""One task of a RUN frame: id, template, codec, number of parts, length of the encoded bytes, inputs, makes."""
INPUT = Struct("<BHI")
"""One version that a task reads: codec, number of parts, length of the encoded bytes; those and the parts follow."""
KEPT_INPUT = Struct("<QH")
"""The bytes of an input of codec `KEPT`: the task that makes it, and the place of the version among what that makes."""
KEPT = 255
"""In the place of a codec: the worker has the value itself once the task before in its line has ended."""
RESUME_HEAD = Struct("<QI")
"""Token of the wait that is over, number of rows."""
KNOWN_ROW = Struct("<QBBHI")
"""One version that was waited for: number, standing, codec, number of parts, length of the encoded bytes."""
PART = Struct("<BQQQ")
"""One part: where it is (`INLINE`, `SEGMENT`, `STORED`, `GONE`), number, offset, size; the bytes follow when inline."""
TEMPLATE_HEAD = Struct("<IBBII")
"""Number, form, whether JSON is wanted, lengths of name and hosts; the name, the hosts and the code follow."""
COUNT = Struct("<I")
NUMBER = Struct("<Q")
SIZED = Struct("<QQ")
"""A number and a size in bytes."""
OUTPUT_ROW = Struct("<QQQ")
"""Task, bytes that it wrote to stdout, bytes that it wrote to stderr."""
STATUS_ROW = Struct("<QQi")
"""Worker, pid, wait status as from waitpid(2)."""

INLINE, SEGMENT, STORED, GONE = range(4)

TO_WORKER_LIMIT = 1 << 32
"""A worker trusts the daemon; the limit only tells garbage from lengths."""
TO_DAEMON_LIMIT = 64 * 1024 * 1024
"""Largest body taken from a worker, in bytes; chosen: what is larger goes through shared memory."""
SPAWNER_LIMIT = 1024 * 1024
"""Largest body between the daemon and its spawner (chosen: its settings and an environment)."""


class Kind:
    """What a frame is. Daemon to worker below 20, worker to daemon below 40, spawner from 40."""

    TEMPLATE = 1
    """`TEMPLATE_HEAD`, the name in UTF-8, where its nodes are (names parted by commas, mostly none), the code."""
    RUN = 2
    """`RUN_HEAD`, as many `RUN_ROW`, then for each task its encoded bytes, its parts and its inputs (`INPUT`)."""
    REVOKE = 3
    """u32: so many tasks at the end of the line are taken back."""
    BIND = 4
    """JSON: {"cpus": [...], "gpus": [...]}."""
    MAP = 5
    """`SIZED` number and size of a segment, whose descriptor comes with this frame."""
    UNMAP = 6
    """`NUMBER`s of segments that no value will name again."""
    FREE = 7
    """`NUMBER`s of the worker's own segments that may be reused."""
    FILE = 8
    """`SIZED` number and size of a stored object, whose descriptor comes with this frame; for one use."""
    STOP = 9
    """Empty: end when the line is empty."""
    RESUME = 10
    """`RESUME_HEAD`, as many `KNOWN_ROW`, then for each its encoded bytes and its parts.

    Of a version that failed: JSON of the failure, its one part being the pickled exception. After a BARRIER there is
    one row, of version 0: how the group stands.
    """
    STACK = 11
    """As RUN, one task: to be run at once, on top of the one that waits in AWAIT or BARRIER."""
    LINE = 12
    """`NUMBER` of a segment which is a session's socket, whose descriptor comes with this frame; for one task."""

    HELLO = 20
    """`NUMBER`: the worker's pid; it is ready."""
    RESULTS = 21
    """msgpack: an array of results."""
    OUTPUT = 22
    """`OUTPUT_ROW`s of tasks that wrote something; comes before their results."""
    SETTLED = 23
    """u32: so many REVOKE frames were obeyed."""
    NEW_SEGMENT = 24
    """`SIZED` number and size of a segment that the worker made; its descriptor comes with this frame."""
    DROPPED = 25
    """`NUMBER`s of its own segments that the worker has given up."""
    RELEASED = 26
    """`NUMBER`s of segments, one for each use by a task that is over."""
    ANSWER = 27
    """UTF-8: why a probed function cannot be called; empty when it can."""
    DECLARE = 28
    """msgpack: an array of (number, template as a map): what this worker's tasks will ask for."""
    SPAWN = 29
    """msgpack: (parent task, array of tasks as `agentd.model.graph.Spawned`)."""
    PUT = 30
    """msgpack: (parent task, array of (version, value))."""
    AWAIT = 31
    """msgpack: (parent task, token, array of versions, whether their values are wanted); answered by RESUME."""
    BARRIER = 32
    """msgpack: (parent task, token, group); 0: all tasks that it asked for so far; answered by RESUME."""
    RELEASE = 33
    """msgpack: (parent task, array of versions that it needs no longer)."""
    CANCEL = 34
    """msgpack: (parent task, group); 0: all that it asked for."""
    LIMIT = 35
    """msgpack: (parent task, seconds that its tasks may take from now on)."""

    PASSED = 36
    """`NUMBER`s of tasks that were the next and were not started: of what they read this worker has not all."""

    RODE = 37
    """As RESULTS, of durable calls that came over a direct line, by their session's numbers for them."""
    LAST = 38
    """`NUMBER` that the session has for a durable call: its end is that of the task which serves the line."""

    LEAVES = 39
    """Empty: it begins nothing more and ends by itself, as a task was interrupted in the middle of an import."""

    CONFIG = 40
    """JSON: what every worker of this spawner shares."""
    READY = 41
    FORK = 42
    """`NUMBER` of the worker; its five descriptors come with this frame."""
    SIGNAL = 43
    """`SIZED` number of the worker and signal."""
    EXITED = 44
    """`STATUS_ROW`."""
    PROBE = 45
    """`NUMBER` and the function to look for; one descriptor comes with this frame."""


class ProtocolError(Exception):
    """The other end sent what is not the protocol."""


def frame(kind: int, body: bytes = b"") -> bytes:
    """Build one frame."""
    return HEADER.pack(len(body), kind) + body


def numbers(body: bytes | memoryview) -> list[int]:
    """Read a body of `NUMBER`s.

    Raises:
        ProtocolError: its length is none of a list of numbers.
    """
    if len(body) % NUMBER.size:
        raise ProtocolError(f"a list of numbers has {len(body)} bytes")
    return [number for (number,) in NUMBER.iter_unpack(body)]


class FrameReader:
    """Cuts a stream of bytes into frames, however it arrives."""

    __slots__ = ("_chunks", "_have", "_limit", "_need")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = HEADER.size

    def feed(self, data: bytes) -> list[tuple[int, memoryview]]:
        """Take bytes and give the frames that are complete: (kind, body).

        Raises:
            ProtocolError: a length is above the limit.
        """
        if self._chunks:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._have = 0
        frames: list[tuple[int, memoryview]] = []
        view = memoryview(data)
        position, end = 0, len(data)
        need = HEADER.size
        while end - position >= HEADER.size:
            length, kind = HEADER.unpack_from(data, position)
            if length > self._limit:
                raise ProtocolError(f"a frame of {length} bytes was announced, {self._limit} are allowed")
            need = HEADER.size + length
            if end - position < need:
                break
            frames.append((kind, view[position + HEADER.size : position + need]))
            position += need
            need = HEADER.size
        if position < end:
            self._chunks.append(data[position:] if position else data)
            self._have = end - position
        self._need = need
        return frames
