"""Results on their way to the daemon: written so that its decoder makes its own objects of a whole frame in one call.

The layout is msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md): an array of results, each an array of
task, status, value, failure, started, seconds and, if there was any, output bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..protocol import HEADER, NUMBER, OUTPUT_ROW, Kind, frame

if TYPE_CHECKING:
    from collections import deque

    from .failures import Failure
    from .link import Link
    from .values import Encoded

FLUSH_BYTES = 64 * 1024
"""Results wait for each other in at most so many bytes."""
LEAST_TOGETHER = 32
"""So many at least are sent together while more are to come soon (chosen: by then a frame costs little for each)."""
TOGETHER_S = 0.01
"""What has waited for so long is sent with the next result, though it might be held longer (chosen: half of the work
that the agent hands out ahead, so that more of it comes before the line is empty)."""

_HEAD = struct.Struct(">BBQBBBBI")
"""array of n, uint64 task, status, array of m, codec, bin32 length."""
_HEAD_WITHOUT = struct.Struct(">BBQBBB")
"""The same where the value is in no bytes: an array with the codec alone."""
_WITHOUT = struct.Struct(">BBQBBBBBdBd")
"""All of a result without a value: `_HEAD_WITHOUT` and `_TAIL`."""
_TAIL = struct.Struct(">BBdBd")
"""nil, float64 started, float64 seconds."""
_pack_head, _pack_tail, _pack_without = _HEAD.pack, _TAIL.pack, _WITHOUT.pack
_TIMES = struct.Struct(">BdBd")
_U32 = struct.Struct(">BI")
_U64 = struct.Struct(">BQ")
_ARRAY, _UINT64, _NIL, _FLOAT64, _BIN32, _STR32, _ARRAY32 = 0x90, 0xCF, 0xC0, 0xCB, 0xC6, 0xDB, 0xDD


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    return _U32.pack(_STR32, len(data)) + data


def _number(value: int) -> bytes:
    return _U64.pack(_UINT64, value)


def _failure(failure: Failure) -> bytes:
    """Write the seven fields of a failure; the agent and the attempt are the daemon's to fill in."""
    head = bytes((_ARRAY | 7, failure.reason)) + _text(failure.type) + _text(failure.message) + _text(failure.traceback)
    return head + _text("") + b"\x00" + _U32.pack(_BIN32, len(failure.exception)) + failure.exception


def _parts(parts: list[tuple[int, bytes | memoryview, int, int]]) -> list[bytes | memoryview]:
    """Write an array of parts: size, inline bytes or nil, segment, offset."""
    chunks: list[bytes | memoryview] = [_U32.pack(_ARRAY32, len(parts))]
    for size, data, segment, offset in parts:
        chunks.append(bytes((_ARRAY | 4,)) + _number(size))
        if segment:
            chunks.append(bytes((_NIL,)) + _number(segment) + _number(offset))
        else:
            chunks += (_U32.pack(_BIN32, size), data, b"\x00\x00")
    return chunks


class Outbox:
    """Collects results and sends many of them in one frame."""

    __slots__ = ("_bytes", "_chunks", "_count", "_kind", "_link", "_most", "_outputs", "hold_s", "oldest", "released")

    def __init__(self, link: Link, released: deque[int], kind: int = Kind.RESULTS) -> None:
        self._kind = kind
        self._link = link
        self._chunks: list[bytes | memoryview] = []
        self._bytes = 0
        self._count = 0
        self._most = LEAST_TOGETHER
        self._outputs: list[bytes] = []
        self.oldest = 0.0
        """When the first result that waits was ready; 0 when none waits."""
        self.hold_s = 0.0
        """For so long after that those that wait may do so, if it must be: as long as the least patient of them."""
        self.released = released
        """Segments that were let go; filled from anywhere."""

    def expect(self, tasks: int) -> None:
        """Take note of how many results are to come: they are sent by halves, so that more work comes meanwhile."""
        self._most = max(tasks // 2, LEAST_TOGETHER)

    def add(
        self,
        task: int,
        status: int,
        encoded: Encoded,
        failure: Failure | None,
        started: float,
        seconds: float,
        hold_s: float,
        written: tuple[int, int] | None = None,
        made: list[Encoded] | None = None,
    ) -> None:
        """Take one result that may be held for `hold_s`; send what is here when it is much or old."""
        codec, data, parts = encoded
        chunks = self._chunks
        fields = 0x96 if written is None else 0x97
        if made is not None:
            self._add_made(task, status, failure, started, seconds, written, made)
        elif parts is None and failure is None:
            # The commonest results; plain numbers, as names would cost a tenth of what a short task takes in all.
            if codec:
                head = _pack_head(fields, 0xCF, task, status, 0x92, codec, 0xC6, len(data))
                chunks.append(head + data + _pack_tail(0xC0, 0xCB, started, 0xCB, seconds))
            else:
                chunks.append(_pack_without(fields, 0xCF, task, status, 0x91, 0, 0xC0, 0xCB, started, 0xCB, seconds))
        else:
            self._add_large(task, status, encoded, failure, started, seconds, fields)
        if written is not None:
            if made is None:
                chunks.append(_number(sum(written)))
            self._outputs.append(OUTPUT_ROW.pack(task, *written))
        self._count += 1
        self._bytes += 64 + len(data)
        ended = started + seconds
        if not self.oldest:
            self.oldest, self.hold_s = ended, hold_s
        elif hold_s < self.hold_s:
            self.hold_s = hold_s
        held_s = ended - self.oldest
        if held_s > TOGETHER_S or held_s > self.hold_s or self._count >= self._most or self._bytes > FLUSH_BYTES:
            self.flush()

    def _add_large(
        self,
        task: int,
        status: int,
        encoded: Encoded,
        failure: Failure | None,
        started: float,
        seconds: float,
        fields: int,
    ) -> None:
        codec, data, parts = encoded
        self._chunks.append(_HEAD.pack(fields, _UINT64, task, status, _ARRAY | 3, codec, _BIN32, len(data)))
        self._chunks.append(data)
        for chunk in _parts(parts or []):
            self._chunks.append(chunk)
            self._bytes += len(chunk)
        self._chunks.append(bytes((_NIL,)) if failure is None else _failure(failure))
        self._chunks.append(_TIMES.pack(_FLOAT64, started, _FLOAT64, seconds))

    def _add_made(
        self,
        task: int,
        status: int,
        failure: Failure | None,
        started: float,
        seconds: float,
        written: tuple[int, int] | None,
        made: list[Encoded],
    ) -> None:
        """Write the result of a task that makes versions: no value, and theirs at the end."""
        chunks = self._chunks
        chunks.append(_HEAD_WITHOUT.pack(0x98, _UINT64, task, status, 0x91, 0))
        if failure is None:
            chunks.append(_pack_tail(_NIL, _FLOAT64, started, _FLOAT64, seconds))
        else:
            chunks += (_failure(failure), _TIMES.pack(_FLOAT64, started, _FLOAT64, seconds))
        chunks.append(_number(sum(written) if written else 0))
        chunks.append(bytes((_ARRAY | len(made),)) if len(made) < 16 else _U32.pack(_ARRAY32, len(made)))
        for codec, data, parts in made:
            if parts is None:
                chunks.append(bytes((_ARRAY | 2, codec)) + _U32.pack(_BIN32, len(data)) + data)
                self._bytes += len(data)
            else:
                chunks.append(bytes((_ARRAY | 3, codec)) + _U32.pack(_BIN32, len(data)) + data)
                for chunk in _parts(parts):
                    chunks.append(chunk)
                    self._bytes += len(chunk)

    def flush(self) -> None:
        """Send all that waits; blocks while the daemon is slow."""
        if self.released:
            self._send_released()
        if not self._count:
            return
        if self._outputs:
            self._link.send(frame(Kind.OUTPUT, b"".join(self._outputs)))
            self._outputs.clear()
        count = _U32.pack(_ARRAY32, self._count)
        body = b"".join(self._chunks)
        self._chunks.clear()
        self._count = self._bytes = 0
        self.oldest = 0.0
        self._link.send(HEADER.pack(len(count) + len(body), self._kind) + count + body)

    def _send_released(self) -> None:
        gone = []
        while self.released:
            gone.append(NUMBER.pack(self.released.popleft()))
        self._link.send(frame(Kind.RELEASED, b"".join(gone)))
