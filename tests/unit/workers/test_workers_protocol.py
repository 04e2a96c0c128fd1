"""The wire to workers: frames under any cut, tasks and results across both halves, lengths refused in time."""

from __future__ import annotations

import json
import pickle
import socket
from collections import deque
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.commands import Resume
from agentd.core.tasks.task import HERE, Shape, Task
from agentd.model.graph import Known, Standing
from agentd.model.task import Failure as ModelFailure
from agentd.model.task import Template
from agentd.model.values import Codec, Part, Payload
from agentd.workers.frames import (
    decode_asked,
    decode_output,
    decode_results,
    encode_resume,
    encode_run,
    encode_template,
)
from agentd.workers.inside.callees import read_template
from agentd.workers.inside.failures import Failure
from agentd.workers.inside.link import Link
from agentd.workers.inside.results import Outbox
from agentd.workers.inside.values import read_inputs, read_parts
from agentd.workers.protocol import (
    GONE,
    HEADER,
    INLINE,
    KNOWN_ROW,
    RESUME_HEAD,
    RUN_HEAD,
    RUN_ROW,
    SEGMENT,
    STORED,
    FrameReader,
    Kind,
    ProtocolError,
    frame,
    numbers,
)
from schedulers.capacity import Capacity

bodies = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=20)


@given(frames=bodies, data=st.data())
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """However the stream is cut, the same frames come out, in order, none twice."""
    stream = b"".join(frame(kind, body) for kind, body in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = FrameReader(1000)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [(kind, bytes(body)) for kind, body in reader.feed(stream[start:end])]
    assert found == frames


def test_frames_come_byte_by_byte() -> None:
    """Nothing is given before it is complete."""
    reader = FrameReader(1000)
    stream = frame(1, b"abc") + frame(2)
    found = [[kind for kind, _ in reader.feed(stream[n : n + 1])] for n in range(len(stream))]
    assert [n for n, kinds in enumerate(found) if kinds] == [7, 12]


def test_a_length_above_the_limit_is_refused_before_its_body_comes() -> None:
    """Five bytes are enough to be refused, also when they come one by one and behind a good frame."""
    reader = FrameReader(1000)
    assert reader.feed(frame(1, b"x" * 1000))
    stream = HEADER.pack(1001, 1)
    for n in range(4):
        reader.feed(stream[n : n + 1])
    with pytest.raises(ProtocolError, match="1001 bytes"):
        reader.feed(stream[4:])


@given(st.binary(max_size=100))
def test_rubbish_is_never_anything_but_a_protocol_error(data: bytes) -> None:
    """Whatever a worker sends in place of a body is understood or refused, and nothing else."""
    asked = [partial(decode_asked, kind) for kind in range(Kind.DECLARE, Kind.LIMIT + 1)]
    for read in (decode_results, decode_output, numbers, *asked):
        try:
            read(memoryview(data))
        except ProtocolError:
            continue


payloads = st.builds(
    Payload,
    codec=st.sampled_from(list(Codec)),
    data=st.binary(max_size=200),
    parts=st.lists(
        st.one_of(
            st.binary(max_size=50).map(lambda data: Part(len(data), data)),
            st.builds(Part, st.integers(0, 1 << 40), st.none(), st.integers(1, 1 << 40), st.integers(0, 1 << 40)),
            st.builds(Part, st.integers(0, 1 << 40), st.none(), st.just(0), st.just(0), st.integers(1, 1 << 40)),
        ),
        max_size=4,
    ).map(tuple),
)


def check_parts(payload: Payload, read: list[tuple[int, int, int, int, memoryview]]) -> None:
    """What was read of the parts is what was written."""
    for part, (where, name, offset, size, data) in zip(payload.parts, read, strict=True):
        if part.data is not None:
            assert (where, size, bytes(data)) == (INLINE, len(part.data), part.data)
        else:
            expected = SEGMENT if part.segment else STORED
            assert (where, name, size) == (expected, part.segment or part.stored, part.size)
            assert offset == part.offset


inputs = st.lists(payloads, max_size=3).map(tuple)


@given(st.lists(st.tuples(st.integers(1, (1 << 64) - 1), payloads, inputs, st.integers(0, 65_535)), max_size=20))
def test_tasks_arrive_as_they_were_sent(tasks: list[tuple[int, Payload, tuple[Payload, ...], int]]) -> None:
    """Ids, templates, bytes, parts and inputs of any kind come out of a RUN frame as they went in."""
    shape = Shape(7, Template(function="m:f"), Capacity())
    given = [Task(one[0], shape, one[1], HERE, 0, inputs=one[2], makes=one[3]) for one in tasks]
    stream = b"".join(encode_run(given, hold_ms=3))
    ((kind, body),) = FrameReader(1 << 30).feed(stream)
    assert kind == Kind.RUN
    assert RUN_HEAD.unpack_from(body) == (len(tasks), 3)
    position = RUN_HEAD.size + len(tasks) * RUN_ROW.size
    rows = list(RUN_ROW.iter_unpack(body[RUN_HEAD.size : position]))
    for (number, payload, values, makes), row in zip(tasks, rows, strict=True):
        task, template, codec, parts, length, count, made = row
        assert (task, template, codec, parts) == (number, 7, payload.codec, len(payload.parts))
        assert (count, made) == (len(values), makes)
        assert bytes(body[position : position + length]) == payload.data
        read, position = read_parts(body, position + length, parts)
        check_parts(payload, read)
        found, position = read_inputs(body, position, count)
        for value, (code, data, its) in zip(values, found, strict=True):
            assert (code, bytes(data)) == (value.codec, value.data)
            check_parts(value, its)
    assert position == len(body)


@given(st.lists(st.tuples(st.integers(0, (1 << 64) - 1), payloads), max_size=5), st.integers(0, (1 << 64) - 1))
def test_what_was_waited_for_arrives_as_it_was_sent(known: list[tuple[int, Payload]], token: int) -> None:
    """Token, versions, values and parts come out of a RESUME frame as they went in."""
    rows = [Known(version, Standing.THERE, value) for version, value in known]
    ((kind, body),) = FrameReader(1 << 30).feed(b"".join(encode_resume(Resume(1, token, rows, 2))))
    assert (kind, RESUME_HEAD.unpack_from(body)) == (Kind.RESUME, (token, len(known)))
    position = RESUME_HEAD.size + len(known) * KNOWN_ROW.size
    for (number, value), row in zip(known, KNOWN_ROW.iter_unpack(body[RESUME_HEAD.size : position]), strict=True):
        version, standing, codec, parts, length = row
        assert (version, standing, codec, parts) == (number, Standing.THERE, value.codec, len(value.parts))
        assert bytes(body[position : position + length]) == value.data
        read, position = read_parts(body, position + length, parts)
        check_parts(value, read)
    assert position == len(body)


def test_why_a_version_failed_arrives_with_its_exception() -> None:
    """A row of a failed version is JSON of the failure; the pickled exception is its part."""
    failure = ModelFailure(1, "ValueError", "no", "Traceback…", "agent", 3, b"pickle")
    rows = [Known(5, Standing.FAILED, failure=failure), Known(6, Standing.CANCELLED)]
    ((_, body),) = FrameReader(1 << 30).feed(b"".join(encode_resume(Resume(1, 9, rows, 2))))
    position = RESUME_HEAD.size + 2 * KNOWN_ROW.size
    first, second = KNOWN_ROW.iter_unpack(body[RESUME_HEAD.size : position])
    assert first[:4] == (5, Standing.FAILED, Codec.JSON, 1)
    assert second == (6, Standing.CANCELLED, Codec.NONE, 0, 0)
    told = json.loads(bytes(body[position : position + first[4]]))
    assert told == {
        "reason": 1,
        "type": "ValueError",
        "message": "no",
        "traceback": "Traceback…",
        "agent": "agent",
        "attempt": 3,
    }
    ((where, _, _, _, exception),), end = read_parts(body, position + first[4], 1)
    assert (where, bytes(exception), end) == (INLINE, b"pickle", len(body))


def test_large_values_are_not_copied_into_the_frame_and_gone_ones_are_marked() -> None:
    """A large value is a piece of its own, the very object; a part that is gone says so."""
    shape = Shape(7, Template(function="m:f"), Capacity())
    large = bytes(200_000)
    payload = Payload(Codec.PICKLE, b"x", (Part(len(large), large), Part(5, None, 3, 0)))
    pieces = encode_run([Task(1, shape, payload, HERE, 0)], gone=frozenset({3}))
    assert any(piece is large for piece in pieces)
    ((_, body),) = FrameReader(1 << 30).feed(b"".join(pieces))
    parts, _ = read_parts(body, RUN_HEAD.size + RUN_ROW.size + 1, 2)
    assert [part[0] for part in parts] == [INLINE, GONE]


@given(st.text(max_size=50), st.binary(max_size=50), st.booleans(), st.lists(st.sampled_from(("a", "b.c")), max_size=3))
def test_templates_arrive_as_they_were_sent(function: str, code: bytes, wants_json: bool, hosts: list[str]) -> None:
    """Name, code, wishes and hosts come out of a TEMPLATE frame as they went in."""
    template = Template(function=function, code=code, wants_json=wants_json, hosts=tuple(hosts))
    ((kind, body),) = FrameReader(1 << 30).feed(encode_template(9, template))
    assert kind == Kind.TEMPLATE
    assert read_template(body) == (9, (function, template.form, wants_json, code, ",".join(hosts)))


encoded = st.tuples(
    st.integers(0, 4),
    st.binary(max_size=100),
    st.none()
    | st.lists(
        st.one_of(
            st.binary(max_size=50).map(lambda data: (len(data), data, 0, 0)),
            st.tuples(st.integers(0, 1 << 40), st.just(b""), st.integers(1, 1 << 40), st.integers(0, 1 << 40)),
        ),
        max_size=3,
    ),
)
failures = st.none() | st.builds(
    Failure, st.integers(1, 8), st.text(max_size=20), st.text(max_size=50), st.text(max_size=50), st.binary(max_size=9)
)
finite = st.floats(0, 1e9)
NOTHING = 0, b"", None
written = st.none() | st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
rows = st.tuples(st.integers(1, 1 << 63), st.integers(0, 2), encoded, failures, finite, finite, written)


@given(st.lists(rows, min_size=1, max_size=20))
def test_results_arrive_as_they_were_written(results: list[tuple[Any, ...]]) -> None:
    """The writer by hand and the daemon's decoder agree on every result, failure, part and output."""
    here, there = socket.socketpair()
    with here, there:
        outbox = Outbox(Link(here, 1 << 30), deque())
        for row in results:
            outbox.add(*row[:6], 0.001, row[6])
        outbox.flush()
        reader = FrameReader(1 << 30)
        decoded = []
        outputs: dict[int, tuple[int, int]] = {}
        while len(decoded) < len(results):
            for kind, body in reader.feed(there.recv(1 << 20)):
                if kind == Kind.OUTPUT:
                    outputs |= {task: (out, err) for task, out, err in decode_output(body)}
                else:
                    decoded += decode_results(body)
    for (task, status, (codec, data, parts), failure, started, seconds, output), found in zip(
        results, decoded, strict=True
    ):
        assert (found.task, found.status, found.started_s, found.seconds) == (task, status, started, seconds)
        is_bare = parts is None and failure is None and not codec
        assert (found.value.codec, found.value.data) == (codec, b"" if is_bare else data)
        assert [(p.size, p.data or b"", p.segment, p.offset) for p in found.value.parts] == (parts or [])
        assert found.output_bytes == sum(output or (0, 0))
        if failure is None:
            assert found.failure is None
        else:
            for name in Failure.__slots__:
                assert getattr(found.failure, name) == getattr(failure, name)
    assert pickle.dumps(outputs)


def test_results_are_held_as_long_as_the_least_patient_of_them_allows() -> None:
    """One that may wait for 5 ms leaves earlier together with one that may wait for 1 ms only."""
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        outbox = Outbox(Link(here, 1 << 30), deque())
        for number in range(4):
            outbox.add(number + 1, 0, NOTHING, None, 7.0 + number / 1000, 0.001, 0.005)
        with pytest.raises(BlockingIOError):
            there.recv(1)
        outbox.add(5, 0, NOTHING, None, 7.004, 0.0001, 0.001)
        ((_, body),) = FrameReader(1 << 30).feed(there.recv(1 << 20))
        assert [result.task for result in decode_results(body)] == [1, 2, 3, 4, 5]
        outbox.add(6, 0, NOTHING, None, 8.0, 0.001, 0.005)
        outbox.add(7, 0, NOTHING, None, 8.001, 0.003, 0.005)
        with pytest.raises(BlockingIOError):
            there.recv(1)
        outbox.add(8, 0, NOTHING, None, 8.004, 0.003, 0.005)
        ((_, body),) = FrameReader(1 << 30).feed(there.recv(1 << 20))
        assert [result.task for result in decode_results(body)] == [6, 7, 8]


def test_what_may_be_held_for_long_is_sent_soon_where_runs_are_short() -> None:
    """Leave to wait for 50 ms is for a run that takes so long: between short ones results go after 10 ms."""
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        outbox = Outbox(Link(here, 1 << 30), deque())
        for number in range(11):
            outbox.add(number + 1, 0, NOTHING, None, 7.0 + number / 1000, 0.001, 0.05)
        with pytest.raises(BlockingIOError):
            there.recv(1)
        outbox.add(12, 0, NOTHING, None, 7.0111, 0.001, 0.05)
        ((_, body),) = FrameReader(1 << 30).feed(there.recv(1 << 20))
        assert [result.task for result in decode_results(body)] == list(range(1, 13))
