"""What a worker keeps of its last tasks, for those behind them in its line."""

from __future__ import annotations

from typing import Any

from agentd.core.tasks.task import HERE, Shape, Task
from agentd.model.task import Template
from agentd.model.values import Kept as Standing
from agentd.model.values import Payload
from agentd.workers.frames import encode_run
from agentd.workers.inside.kept import ALL_BYTES, ALL_MOST, EACH_BYTES, Kept
from agentd.workers.inside.values import read_inputs
from agentd.workers.protocol import INLINE, RUN_HEAD, RUN_ROW, FrameReader
from schedulers.capacity import Capacity


def read(*inputs: Payload) -> list[Any]:
    """Send a task that reads these through a RUN frame; gives its inputs as its worker sees them."""
    shape = Shape(7, Template(function="m:f"), Capacity())
    stream = b"".join(encode_run([Task(9, shape, Payload(1, b"call"), HERE, 0, inputs=inputs)]))
    ((_, body),) = FrameReader(1 << 30).feed(stream)
    found, end = read_inputs(body, RUN_HEAD.size + RUN_ROW.size + len(b"call"), len(inputs))
    assert end == len(body)
    return found


def test_what_a_task_made_takes_the_place_of_what_stands_for_it() -> None:
    """Bytes and small buffers of the right version of the right task come, beside values that came from the agent."""
    kept = Kept()
    kept.keep(5, [(1, b"first", None), (1, b"second", [(3, b"abc", 0, 0)])])
    inputs = read(Standing(task=5, place=1), Payload(3, b"sent"), Standing(task=5, place=0))
    assert kept.fill(inputs)
    assert [(codec, bytes(data)) for codec, data, _ in inputs] == [(1, b"second"), (3, b"sent"), (1, b"first")]
    ((kind, _, _, size, data),) = inputs[0][2]
    assert (kind, size, bytes(data)) == (INLINE, 3, b"abc")


def test_what_is_not_kept_is_said_and_nothing_changes() -> None:
    """A task that failed, a version that it did not make, and what is large: such a task is not to start."""
    kept = Kept()
    kept.keep(5, [(1, b"there", None)])
    kept.keep(6, [(1, b"", [(EACH_BYTES, b"", 3, 0)])])
    kept.keep(7, [(1, bytes(EACH_BYTES), None)])
    for missing in (Standing(task=4), Standing(task=5, place=1), Standing(task=6), Standing(task=7)):
        inputs = read(Standing(task=5), missing)
        before = [(codec, bytes(data)) for codec, data, _ in inputs]
        assert not kept.fill(inputs)
        assert [(codec, bytes(data)) for codec, data, _ in inputs] == before


def test_what_is_kept_is_bounded() -> None:
    """Neither many tasks nor large values make a worker grow; the last ones are there."""
    kept = Kept()
    for task in range(3 * ALL_MOST):
        kept.keep(task, [(1, b"small", None)])
    assert len(kept._made) == ALL_MOST
    size = EACH_BYTES - 1
    for task in range(10_000, 10_000 + 3 * ALL_BYTES // size):
        kept.keep(task, [(1, bytes(size), None)])
        assert sum(weight for weight, _ in kept._made.values()) <= ALL_BYTES
        assert kept.fill(read(Standing(task=task)))
