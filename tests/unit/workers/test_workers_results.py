"""How a worker's results wait for each other."""

from __future__ import annotations

import pickle
from collections import deque

import msgspec
import pytest

from agentd.workers.frames import decode_results
from agentd.workers.inside.callees import VALUE, Callee, Declared
from agentd.workers.inside.functions import Finder
from agentd.workers.inside.results import LEAST_TOGETHER, Outbox
from agentd.workers.protocol import HEADER, Kind

NOTHING = (0, b"", None)


class Socket:
    """Takes frames of results, each as the numbers of its tasks."""

    def __init__(self) -> None:
        self.frames: list[list[int]] = []

    def send(self, data: bytes) -> None:
        """Take one."""
        _, kind = HEADER.unpack_from(data)
        assert kind == Kind.RESULTS
        self.frames.append([result.task for result in decode_results(memoryview(data)[HEADER.size :])])


def outbox(expected: int) -> tuple[Outbox, Socket]:
    """Make the outbox of a worker that has so many tasks in its line."""
    socket = Socket()
    made = Outbox(socket, deque())  # type: ignore[arg-type]
    made.expect(expected)
    return made, socket


def end(made: Outbox, task: int) -> None:
    """Let a task end that took no time, and whose result may wait for a second."""
    made.add(task, 0, NOTHING, None, 10.0, 0.0, 1.0)


def test_results_of_a_long_line_leave_by_halves():
    """When half of a line is done the agent is told, so that it gives more before the other half is done as well."""
    made, socket = outbox(200)
    for task in range(199):
        end(made, task)
    assert socket.frames == [list(range(100))]
    end(made, 199)
    assert socket.frames == [list(range(100)), list(range(100, 200))]


def test_few_results_wait_for_each_other():
    """A short line is not cut: what its results cost together is little, and they wait no longer than they may."""
    made, socket = outbox(LEAST_TOGETHER)
    for task in range(LEAST_TOGETHER - 1):
        end(made, task)
    assert socket.frames == []
    end(made, LEAST_TOGETHER - 1)
    assert socket.frames == [list(range(LEAST_TOGETHER))]


def test_what_may_not_wait_leaves_at_once():
    """A result that may be held for less than has passed since the oldest takes that one along."""
    made, socket = outbox(200)
    end(made, 1)
    made.add(2, 0, NOTHING, None, 10.0, 0.002, 0.001)
    assert socket.frames == [[1, 2]]


@pytest.mark.parametrize(("codec", "data"), [(0, b""), (1, b"value")])
@pytest.mark.parametrize("written", [None, (3, 4)])
def test_the_agent_reads_what_the_worker_wrote(codec, data, written):
    """A result comes as it was, with a value and without, from a task that wrote something and one that did not."""
    sent: list[bytes] = []

    class Link:
        def send(self, data: bytes) -> None:
            sent.append(data)

    made = Outbox(Link(), deque())  # type: ignore[arg-type]
    made.add(7, 0, (codec, data, None), None, 1.5, 0.25, 1.0, written)
    made.flush()
    (result,) = decode_results(memoryview(sent[-1])[HEADER.size :])
    assert (result.task, result.status, result.started_s, result.seconds) == (7, 0, 1.5, 0.25)
    assert (result.value.codec, result.value.data) == (codec, data)
    assert result.output_bytes == sum(written or ())
    assert msgspec.msgpack.decode(sent[-1][HEADER.size :])[0][3] is None


def test_results_wait_behind_a_run_that_may_be_long_only_once():
    """One long run among many is the machine's; with a second one soon after, results before the next do not wait."""
    callee = Callee(Declared("", VALUE, False, pickle.dumps(len)), Finder([], [], ""))
    for seconds in (1e-6, 0.5, *[1e-6] * 20):
        callee.learn(seconds)
        assert callee.slow_s <= 1e-6
    callee.learn(0.3)
    assert callee.slow_s == 0.3
    for _ in range(400):
        callee.learn(1e-6)
    assert callee.slow_s < 1e-3
