"""Values between bytes and objects: arguments are read here, results are written here."""

from __future__ import annotations

import importlib
import json
import mmap
import os
import pickle
from contextlib import suppress
from functools import partial
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from ..protocol import INLINE, INPUT, PART, SEGMENT, STORED
from .borrowed import load
from .failures import Reason, Refused
from .readable import to_json
from .shared import clone, copy_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .interrupts import Guard
    from .shared import SegmentMap, SegmentPool

NONE, PICKLE, JSON, BYTES, BOTH, FILE, DIRECTORY = range(7)
"""As `agentd.model.values.Codec`, which this side cannot import."""
LINK_BYTES = 16 << 20
"""From this size on a file that a task reads is not copied for it (chosen: below, a copy costs some milliseconds)."""
INLINE_LIMIT = 48 * 1024 * 1024
"""Bytes of a result that may travel through the socket; chosen below the daemon's limit of a frame."""
_SCALARS = frozenset({int, float, bool})
"""Types whose values are small and hold nothing: most results of short tasks."""
_pickle_dumps = pickle.dumps

Part = tuple[int, int, int, int, memoryview]
"""A part of arguments: where it is, number, offset, size, inline bytes."""
Encoded = tuple[int, bytes, "list[tuple[int, bytes | memoryview, int, int]] | None"]
"""Codec, encoded bytes, parts: (size, inline bytes, segment, offset)."""


class Reader:
    """Finds the buffers of arguments; large ones are views of shared memory.

    `released(number)` is told of a segment that could not be lent: nobody else will.
    """

    def __init__(self, segments: SegmentMap, released: Callable[[int], None]) -> None:
        self._segments = segments
        self._released = released
        self.files: dict[int, list[tuple[int, int]]] = {}
        """Stored objects whose descriptors have come: number to (descriptor, size), one for each use."""

    def buffers(self, parts: Sequence[Part], *, private: bool = False) -> list[memoryview]:
        """Give read-only views of the parts; `private`: views that can be written, which changes nobody else's.

        Raises:
            Refused: shared memory or a stored object cannot be mapped.
        """
        try:
            lent = self._lend(parts, private=private)
            views = []
            for kind, number, offset, size, data in parts:
                if kind == SEGMENT:
                    views.append(next(lent[number]))
                elif kind == INLINE:
                    views.append(memoryview(bytearray(data)) if private else data)
                elif kind == STORED:
                    views.append(self._open(number, offset, size, private=private))
                else:
                    raise LookupError(f"{size} bytes of it are no longer on this agent")
        except (OSError, LookupError, ValueError) as error:
            raise Refused(Reason.NOT_DECODABLE, f"an argument cannot be mapped: {error}") from error
        return views

    def pour(self, parts: Sequence[Part], to: int) -> None:
        """Write what the parts hold into a file; it does not pass through our memory.

        Raises:
            Refused: shared memory, a file or a stored object is not there.
            OSError: it cannot be written.
        """
        left = list(parts)
        try:
            while left:
                kind, number, offset, size, data = left[0]
                if kind == SEGMENT:
                    copy_range(self._segments.fd(number), offset, size, to)
                elif kind == INLINE:
                    os.writev(to, [data])
                elif kind == STORED:
                    self._pour_stored(number, offset, size, to)
                else:
                    raise Refused(Reason.NOT_DECODABLE, f"{size} bytes of a file are no longer on this agent")
                del left[0]
        except LookupError as error:
            raise Refused(Reason.NOT_DECODABLE, f"a file cannot be read: {error}") from error
        finally:
            for number in {number for kind, number, *_ in parts if kind == SEGMENT}:
                self._released(number)
            for kind, number, *_ in left[1:]:
                if kind == STORED:
                    os.close(self._claim(number)[0])

    def link(self, parts: Sequence[Part], path: str, files: str) -> bool:
        """Give a large file that came a path, without a copy of its bytes, where that does nobody any harm.

        A file system that can share what is the same makes a file of the task's own. Else it is another name of the
        agent's file, if this user may not write that: root may write everything.

        Args:
            parts: of the file.
            path: where nothing is yet.
            files: folder of the agent's files.
        """
        if len(parts) != 1:
            return False
        kind, number, offset, size, _ = parts[0]
        source = os.path.join(files, str(number))
        if kind != SEGMENT or offset or size < LINK_BYTES or not os.path.exists(source):
            return False
        try:
            if not clone(self._segments.fd(number), path):
                if os.access(source, os.W_OK):
                    return False
                os.link(source, path)
        except (OSError, LookupError):
            return False
        self._released(number)
        return True

    def _pour_stored(self, number: int, offset: int, size: int, to: int) -> None:
        fd, _ = self._claim(number)
        try:
            copy_range(fd, offset, size, to)
        finally:
            os.close(fd)

    def discard(self, parts: Sequence[Part]) -> None:
        """Let go the parts of a task that will not run."""
        for number in {number for kind, number, *_ in parts if kind == SEGMENT}:
            self._released(number)
        for kind, number, *_ in parts:
            if kind == STORED:
                os.close(self._claim(number)[0])

    def _lend(self, parts: Sequence[Part], *, private: bool) -> dict[int, Iterator[memoryview]]:
        wanted: dict[int, list[tuple[int, int]]] = {}
        for kind, number, offset, size, _ in parts:
            if kind == SEGMENT:
                wanted.setdefault(number, []).append((offset, size))
        lent: dict[int, Iterator[memoryview]] = {}
        try:
            for number, spans in wanted.items():
                lend = self._segments.lend_private if private else self._segments.lend
                lent[number] = iter(lend(number, spans))
        except BaseException:
            for number in wanted.keys() - lent.keys():
                self._released(number)
            raise
        return lent

    def _claim(self, number: int) -> tuple[int, int]:
        uses = self.files[number]
        use = uses.pop()
        if not uses:
            del self.files[number]
        return use

    def _open(self, number: int, offset: int, size: int, *, private: bool) -> memoryview:
        fd, length = self._claim(number)
        try:
            if not length:
                return memoryview(b"")
            access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
            return memoryview(mmap.mmap(fd, length, access=access))[offset : offset + size]
        finally:
            os.close(fd)


def read_arguments(codec: int, data: memoryview, buffers: Sequence[memoryview]) -> tuple[Any, dict[str, Any]]:
    """Read (args, kwargs).

    Raises:
        Exception: they are not what the codec says, or users' classes refuse to be made.
    """
    if codec == PICKLE:
        args, kwargs = pickle.loads(data, buffers=buffers) if buffers else pickle.loads(data)
        return args, kwargs
    if codec == NONE:
        return (), {}
    if codec == JSON:
        found = json.loads(bytes(data))
        if buffers:
            found = _with_blobs(found, buffers, {})
        return tuple(found.get("args", ())), dict(found.get("kwargs", {}))
    raise ValueError(f"arguments cannot be in codec {codec}")


def _with_blobs(value: Any, buffers: Sequence[memoryview], seen: dict[str, bytes]) -> Any:
    """Put bytes in the place of `{"$blob": id}`; the n-th id, in the order of the text, stands for the n-th buffer."""
    if isinstance(value, list):
        return [_with_blobs(item, buffers, seen) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$blob"}:
        name = str(value["$blob"])
        if name not in seen:
            seen[name] = bytes(buffers[len(seen)])
        return seen[name]
    return {key: _with_blobs(item, buffers, seen) for key, item in value.items()}


class _Nested:
    """Pickles as what a stream of bytes, itself a pickle, gives: so that the stream can be a buffer of its own."""

    def __init__(self, stream: bytes, buffers: list[PickleBuffer]) -> None:
        self._stream = stream
        self._buffers = buffers

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return partial(pickle.loads, buffers=self._buffers), (PickleBuffer(self._stream),)


class _Raw:
    """Pickles as bytes or a bytearray whose content is a buffer."""

    def __init__(self, value: bytes | bytearray) -> None:
        self._value = value

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return type(self._value), (PickleBuffer(self._value),)


class Writer:
    """Writes results; buffers of together at least `threshold` bytes go into shared memory."""

    def __init__(
        self, pool: SegmentPool, threshold: int, guard: Guard, catch_up: Callable[[], None], names: str = ""
    ) -> None:
        self._names = names
        """What the names of files begin with that are handed over; empty: they get none."""
        self._pool = pool
        self._threshold = threshold
        self._guard = guard
        self._catch_up = catch_up
        self.placed: list[int] = []
        """The segments of the values that were encoded last, until `keep` or `take_back`."""

    def keep(self) -> None:
        """The last values are on their way."""
        self.placed = []

    def take_back(self) -> None:
        """Nobody will see the last value."""
        for number in self.placed:
            self._pool.free(number)
        self.placed = []

    def place(self, view: memoryview) -> list[tuple[int, bytes | memoryview, int, int]]:
        """Put bytes where a value's large buffers go: into shared memory, or beside the frame where they are few.

        Raises:
            MemoryError: they are too many for what shared memory is left.
        """
        return self._place([view])

    def place_file(self, fd: int, size: int) -> list[tuple[int, bytes | memoryview, int, int]]:
        """Hand a file over as it is, whoever reads it: nobody may write it any more.

        Raises:
            OSError: the agent is gone.
        """
        task, self._guard.task = self._guard.task, 0
        try:
            number = self._pool.lend_file(fd, size, partial(self._name, fd))
            self.placed.append(number)
        finally:
            self._guard.task = task
        return [(size, b"", number, 0)]

    def _name(self, fd: int, number: int) -> None:
        """Keep a name for a file that has one, which the agent takes over; nobody is to write it."""
        if not self._names:
            return
        with suppress(OSError):
            os.fchmod(fd, 0o444)
            # The descriptor of a folder, of which an absolute path makes no use, is what has Python follow links.
            os.link(f"/proc/self/fd/{fd}", f"{self._names}{number}", src_dir_fd=fd, follow_symlinks=True)

    def encode(self, value: Any, wants_json: bool) -> Encoded:
        """Write a result.

        Raises:
            Refused: it cannot be pickled; the message names the element.
            MemoryError: it is too large for what shared memory is left.
        """
        if value is None:
            return NONE, b"", None
        if not wants_json:
            if type(value) in _SCALARS:
                return PICKLE, _pickle_dumps(value, 5), None
            return self._pickle(value)
        if type(value) is bytes:
            return self._whole(BYTES, value)
        text, is_all = to_json(value)
        if text is not None and is_all:
            return self._whole(JSON, text)
        data = _dumps(value, None)
        if text is None:
            return self._whole(PICKLE, data)
        return self._whole(BOTH, len(text).to_bytes(4, "big") + text + data)

    def _whole(self, codec: int, data: bytes) -> Encoded:
        """Give a value in one piece; a large one is not in the data but in its one part."""
        if len(data) < self._threshold:
            return codec, data, None
        return codec, b"", self._place([memoryview(data)])

    def _pickle(self, value: Any) -> Encoded:
        large = type(value) in {bytes, bytearray} and len(value) >= self._threshold
        buffers: list[PickleBuffer] = []
        data = _dumps(_Raw(value) if large else value, buffers)
        if len(data) >= self._threshold:
            nested, buffers = _Nested(data, buffers), []
            data = pickle.dumps(nested, 5, buffer_callback=buffers.append)
        return PICKLE, data, self._place([buffer.raw() for buffer in buffers]) if buffers else None

    def _place(self, buffers: list[memoryview]) -> list[tuple[int, bytes | memoryview, int, int]]:
        total = sum(map(len, buffers))
        if total >= self._threshold:
            placed = self._put(buffers, total)
            if placed is not None:
                number, offsets = placed
                return [(len(buffer), b"", number, offset) for buffer, offset in zip(buffers, offsets)]  # noqa: B905 - as long as each other
        if total > INLINE_LIMIT:
            raise MemoryError(f"no shared memory is left for a result of {total} bytes")
        if total < self._threshold:  # it waits for others to be sent, and its object may change meanwhile
            return [(len(buffer), bytes(buffer), 0, 0) for buffer in buffers]
        return [(len(buffer), buffer, 0, 0) for buffer in buffers]

    def _put(self, buffers: list[memoryview], total: int) -> tuple[int, list[int]] | None:
        """Copy into a segment, not interrupted: half a frame on the socket would be the end of this worker."""
        task, self._guard.task = self._guard.task, 0
        try:
            if not self._pool.has_idle(total):
                self._catch_up()  # segments may have been freed since the last look
            placed = self._pool.put(buffers)
            if placed is not None:
                self.placed.append(placed[0])
            return placed
        finally:
            self._guard.task = task


def _dumps(value: Any, buffers: list[PickleBuffer] | None) -> bytes:
    """Pickle, by value where by name does not do; its large buffers go beside it, or into it where that is None."""
    callback = None if buffers is None else buffers.append
    try:
        return pickle.dumps(value, 5, buffer_callback=callback)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - users' code runs here
        reason = error
    if buffers:
        buffers.clear()
    try:
        by_value = importlib.import_module("cloudpickle")
        data: bytes = by_value.dumps(value, 5, buffer_callback=callback)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - users' code runs here
        if not isinstance(error, ModuleNotFoundError):
            reason = error
        culprits = load("tasks.culprits")
        where = culprits.innermost("the result", value, culprits.can_pickle)
        raise Refused(Reason.NOT_ENCODABLE, f"{where} cannot be pickled: {type(reason).__name__}: {reason}") from reason
    return data


def read_parts(body: memoryview, position: int, count: int) -> tuple[list[Part], int]:
    """Read the parts of a task from a RUN frame; gives them and where they end."""
    parts: list[Part] = []
    for _ in range(count):
        kind, number, offset, size = PART.unpack_from(body, position)
        position += PART.size
        end = position + size if kind == INLINE else position
        parts.append((kind, number, offset, size, body[position:end]))
        position = end
    return parts, position


def read_inputs(body: memoryview, position: int, count: int) -> tuple[list[tuple[int, memoryview, list[Part]]], int]:
    """Read the versions that a task reads from a RUN frame: (codec, encoded bytes, parts); and where they end."""
    values: list[tuple[int, memoryview, list[Part]]] = []
    for _ in range(count):
        codec, parts, length = INPUT.unpack_from(body, position)
        start = position + INPUT.size
        read, position = read_parts(body, start + length, parts)
        values.append((codec, body[start : start + length], read))
    return values, position
