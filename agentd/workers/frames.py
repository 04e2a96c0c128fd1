"""The daemon's side of the wire to a worker: tasks into frames, frames into results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from agentd.core.events import TaskResult
from agentd.model.graph import Put, Spawned, Standing
from agentd.model.task import Template
from agentd.model.unreadable import UNREADABLE
from agentd.model.values import Codec, Kept, Part, Payload
from agentd.workers.protocol import (
    GONE,
    HEADER,
    INLINE,
    INPUT,
    KEPT,
    KEPT_INPUT,
    KNOWN_ROW,
    OUTPUT_ROW,
    PART,
    RESUME_HEAD,
    RUN_HEAD,
    RUN_ROW,
    SEGMENT,
    STORED,
    TEMPLATE_HEAD,
    Kind,
    ProtocolError,
    frame,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.commands import Resume
    from agentd.core.tasks.task import Task
    from agentd.model.graph import Known
    from agentd.model.task import Failure

JOIN_BYTES = 64 * 1024
"""Up to here a frame is one piece of memory; above, large values are not copied into it (measured: equal at 64 KiB)."""

WorkerStatus = Annotated[int, msgspec.Meta(ge=0, le=2)]


class Result(TaskResult, frozen=True, gc=False, array_like=True):
    """A result as a worker writes it: an array, whose status can only be one that a worker may give."""

    status: WorkerStatus


_results = msgspec.msgpack.Decoder(list[Result])
_Number = Annotated[int, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_ASKED: dict[int, msgspec.msgpack.Decoder[Any]] = {
    Kind.DECLARE: msgspec.msgpack.Decoder(tuple[tuple[_Count, Template], ...]),
    Kind.SPAWN: msgspec.msgpack.Decoder(tuple[_Number, list[Spawned]]),
    Kind.PUT: msgspec.msgpack.Decoder(tuple[_Number, list[Put]]),
    Kind.AWAIT: msgspec.msgpack.Decoder(tuple[_Number, _Number, list[_Number], bool]),
    Kind.BARRIER: msgspec.msgpack.Decoder(tuple[_Number, _Number, _Number]),
    Kind.RELEASE: msgspec.msgpack.Decoder(tuple[_Number, list[_Number]]),
    Kind.CANCEL: msgspec.msgpack.Decoder(tuple[_Number, _Number]),
    Kind.LIMIT: msgspec.msgpack.Decoder(tuple[_Number, Annotated[float, msgspec.Meta(ge=0)]]),
}
_failures = msgspec.json.Encoder()


def decode_results(body: memoryview) -> list[Result]:
    """Read a RESULTS frame.

    Raises:
        ProtocolError: it is no list of results.
    """
    try:
        return _results.decode(body)
    except UNREADABLE as error:
        raise ProtocolError(f"results cannot be read: {error}") from error


def decode_output(body: memoryview) -> list[tuple[int, int, int]]:
    """Read an OUTPUT frame: (task, bytes to stdout, bytes to stderr).

    Raises:
        ProtocolError: it is no list of rows.
    """
    if len(body) % OUTPUT_ROW.size:
        raise ProtocolError(f"a list of outputs has {len(body)} bytes")
    return list(OUTPUT_ROW.iter_unpack(body))


def decode_asked(kind: int, body: memoryview) -> Any:
    """Read a frame in which a running task asks for something; gives what `Kind` says of it, as a tuple.

    Raises:
        ProtocolError: it is not that.
    """
    try:
        return _ASKED[kind].decode(body)
    except UNREADABLE as error:
        raise ProtocolError(f"what a task asks for (frame {kind}) cannot be read: {error}") from error


def encode_template(number: int, template: Template) -> bytes:
    """Write a TEMPLATE frame."""
    name, hosts = template.function.encode(), ",".join(template.hosts).encode()
    head = TEMPLATE_HEAD.pack(number, template.form, template.wants_json, len(name), len(hosts))
    return frame(Kind.TEMPLATE, head + name + hosts + template.code)


def encode_run(
    tasks: Sequence[Task], *, gone: frozenset[int] = frozenset(), kind: int = Kind.RUN, hold_ms: int = 1
) -> list[bytes]:
    """Write a RUN frame, or a STACK, in pieces; parts in the segments or stored objects `gone` are marked so."""
    rows: list[bytes] = []
    blobs: list[bytes] = []
    pack = RUN_ROW.pack
    for task in tasks:
        payload = task.payload
        data = payload.data
        parts = payload.parts
        inputs = task.inputs
        rows.append(pack(task.id, task.shape.number, payload.codec, len(parts), len(data), len(inputs), task.makes))
        if data:
            blobs.append(data)
        if parts:
            for part in parts:
                blobs += _encode_part(part, gone)
        for value in inputs:
            if type(value) is Kept:
                blobs += (INPUT.pack(KEPT, 0, KEPT_INPUT.size), KEPT_INPUT.pack(value.task, value.place))
                continue
            blobs.append(INPUT.pack(value.codec, len(value.parts), len(value.data)))
            blobs += _encode_value(value, gone)
    total = sum(map(len, blobs))
    head = HEADER.pack(RUN_HEAD.size + len(rows) * RUN_ROW.size + total, kind) + RUN_HEAD.pack(len(rows), hold_ms)
    return _pieces(total, head, rows, blobs)


def encode_plain_run(tasks: Sequence[Task], kind: int = Kind.RUN, *, hold_ms: int = 1) -> list[bytes]:
    """Write what `encode_run` writes for tasks without parts and inputs: the common case, at half the price."""
    pack = RUN_ROW.pack
    blobs = [task.payload.data for task in tasks]
    rows = [
        pack(task.id, task.shape.number, task.payload.codec, 0, len(data), 0, task.makes)
        for task, data in zip(tasks, blobs, strict=True)
    ]
    total = sum(map(len, blobs))
    head = HEADER.pack(RUN_HEAD.size + len(rows) * RUN_ROW.size + total, kind) + RUN_HEAD.pack(len(rows), hold_ms)
    return _pieces(total, head, rows, blobs)


def _pieces(total: int, head: bytes, rows: list[bytes], blobs: list[bytes]) -> list[bytes]:
    """Put a frame together: small ones are one piece."""
    if total <= JOIN_BYTES:
        return [b"".join((head, *rows, *blobs))]
    return [b"".join((head, *rows)), *blobs]


def encode_resume(command: Resume, *, gone: frozenset[int] = frozenset()) -> list[bytes]:
    """Write a RESUME frame in pieces."""
    rows: list[bytes] = []
    blobs: list[bytes] = []
    for known in command.known:
        value = _told(known)
        rows.append(KNOWN_ROW.pack(known.version, known.standing, value.codec, len(value.parts), len(value.data)))
        blobs += _encode_value(value, gone)
    total = sum(map(len, blobs))
    size = RESUME_HEAD.size + len(rows) * KNOWN_ROW.size + total
    head = HEADER.pack(size, Kind.RESUME) + RESUME_HEAD.pack(command.token, len(rows))
    return _pieces(total, head, rows, blobs)


def _told(known: Known) -> Payload:
    """Give what a worker is told of a version: its value, or why it has none."""
    failure = known.failure
    if known.standing == Standing.THERE and failure is None:
        return known.value
    if failure is None:
        return Payload()
    return Payload(Codec.JSON, _failure_json(failure), _exception_part(failure))


def _failure_json(failure: Failure) -> bytes:
    fields = {name: getattr(failure, name) for name in ("reason", "type", "message", "traceback", "agent", "attempt")}
    return _failures.encode(fields)


def _exception_part(failure: Failure) -> tuple[Part, ...]:
    return (Part(len(failure.exception), failure.exception),) if failure.exception else ()


def _encode_value(value: Payload, gone: frozenset[int]) -> list[bytes]:
    blobs = [value.data] if value.data else []
    for part in value.parts:
        blobs += _encode_part(part, gone)
    return blobs


def _encode_part(part: Part, gone: frozenset[int]) -> tuple[bytes, ...]:
    if part.data is not None:
        return PART.pack(INLINE, 0, 0, len(part.data)), part.data
    number = part.segment or -part.stored
    if number in gone:
        return (PART.pack(GONE, 0, 0, part.size),)
    if part.segment:
        return (PART.pack(SEGMENT, part.segment, part.offset, part.size),)
    return (PART.pack(STORED, part.stored, part.offset, part.size),)
