"""The daemon's side of the wire to a worker: tasks into frames, frames into results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from agentd.core.events import TaskResult
from agentd.workers.protocol import (
    COUNT,
    GONE,
    HEADER,
    INLINE,
    OUTPUT_ROW,
    PART,
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

    from agentd.core.tasks import Task
    from agentd.model.task import Template
    from agentd.model.values import Part

JOIN_BYTES = 64 * 1024
"""Up to here a frame is one piece of memory; above, large values are not copied into it (measured: equal at 64 KiB)."""

WorkerStatus = Annotated[int, msgspec.Meta(ge=0, le=2)]


class Result(TaskResult, frozen=True, gc=False, array_like=True):
    """A result as a worker writes it: an array, whose status can only be one that a worker may give."""

    status: WorkerStatus


_results = msgspec.msgpack.Decoder(list[Result])


def decode_results(body: memoryview) -> list[Result]:
    """Read a RESULTS frame.

    Raises:
        ProtocolError: it is no list of results.
    """
    try:
        return _results.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError(f"results cannot be read: {error}") from error


def decode_output(body: memoryview) -> list[tuple[int, int, int]]:
    """Read an OUTPUT frame: (task, bytes to stdout, bytes to stderr).

    Raises:
        ProtocolError: it is no list of rows.
    """
    if len(body) % OUTPUT_ROW.size:
        raise ProtocolError(f"a list of outputs has {len(body)} bytes")
    return list(OUTPUT_ROW.iter_unpack(body))


def encode_template(number: int, template: Template) -> bytes:
    """Write a TEMPLATE frame."""
    name = template.function.encode()
    head = TEMPLATE_HEAD.pack(number, template.form, template.wants_json, len(name))
    return frame(Kind.TEMPLATE, head + name + template.code)


def encode_run(tasks: Sequence[Task], *, gone: frozenset[int] = frozenset()) -> list[bytes]:
    """Write a RUN frame in pieces; parts in the segments or stored objects `gone` are marked so."""
    rows: list[bytes] = []
    blobs: list[bytes] = []
    pack = RUN_ROW.pack
    for task in tasks:
        payload = task.payload
        data = payload.data
        parts = payload.parts
        rows.append(pack(task.id, task.shape.number, payload.codec, len(parts), len(data)))
        if data:
            blobs.append(data)
        if parts:
            for part in parts:
                blobs += _encode_part(part, gone)
    total = sum(map(len, blobs))
    head = HEADER.pack(COUNT.size + len(rows) * RUN_ROW.size + total, Kind.RUN) + COUNT.pack(len(rows))
    if total <= JOIN_BYTES:
        return [b"".join((head, *rows, *blobs))]
    return [b"".join((head, *rows)), *blobs]


def _encode_part(part: Part, gone: frozenset[int]) -> tuple[bytes, ...]:
    if part.data is not None:
        return PART.pack(INLINE, 0, 0, len(part.data)), part.data
    number = part.segment or -part.stored
    if number in gone:
        return (PART.pack(GONE, 0, 0, part.size),)
    if part.segment:
        return (PART.pack(SEGMENT, part.segment, part.offset, part.size),)
    return (PART.pack(STORED, part.stored, part.offset, part.size),)
