"""Lines to a neighbour with real daemons: a loop of calls that run there sees nothing of them but that it is quick."""

from __future__ import annotations

import os
import re
import signal
import threading
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

from agentd.api import AgentExecutor, TaskFailed, connect
from tests.integration.line_rig import (
    LONG_S,
    called_on_a_line,
    called_until,
    direct_of,
    directly,
    far_agent,
    figure,
    held_on_a_line,
    is_idle,
    near_agent,
    on_a_line,
    until,
)


@pytest.fixture
def far(start_agent):
    return far_agent(start_agent)


@pytest.fixture
def near(start_agent, far):
    return near_agent(start_agent, "--neighbour", far.comm)


@pytest.fixture
def executor(near):
    with AgentExecutor(near.state) as executor:
        yield executor


@pytest.mark.parametrize("cpu", [1, 2])
@pytest.mark.parametrize("dialler", ["near", "far"])
def test_a_loop_goes_directly_and_gives_what_it_would_give(start_agent, functions, cpu, dialler):
    """Each call goes one way or the other, with one core there as well, and whichever of the two dialled."""
    if dialler == "near":
        far = far_agent(start_agent, cpu=cpu)
        near = near_agent(start_agent, "--neighbour", far.comm)
    else:
        near = near_agent(start_agent)
        far = far_agent(start_agent, "--neighbour", near.comm, cpu=cpu)
        with connect(near.state) as client:
            host, _, port = far.comm.rpartition(":")
            client.add("far", {}, properties={"Host": host, "Port": port})
    given = []
    with AgentExecutor(near.state) as executor:
        on_a_line(executor, functions)
        before, asked = directly(far), figure(near, "accepted_total")
        calls = called_until(far, 1000, lambda n: given.append(executor.submit(functions.double, n).result(LONG_S)))
        assert given == [2 * n for n in range(calls)]
        assert directly(far) - before + figure(near, "accepted_total") - asked >= calls
    assert directly(near) == 0
    until(lambda: is_idle(far))


def test_functions_by_value_and_their_memory(far, executor, functions):
    """A closure goes too; what a module remembers in a worker is there for either kind of call."""
    base = 5
    add = lambda x: x + base  # noqa: E731
    on_a_line(executor, functions)
    given = []
    calls = called_until(far, 300, lambda n: given.append(executor.submit(add, n).result(LONG_S)))
    assert given == [n + 5 for n in range(calls)]
    seen = [executor.submit(functions.count_up).result(LONG_S) for _ in range(500)]
    assert max(seen) >= 250  # two workers at most, each counting on


def test_exceptions_are_those_of_any_call(executor, functions):
    """The type, the words, the remote traceback and where it was; an exit of the interpreter is told as such."""
    for way in (executor.submit, lambda *a: called_on_a_line(executor, functions, *a)):
        with pytest.raises(ValueError, match="not 3") as caught:
            way(functions.refuse, 3).result(LONG_S)
        assert "in refuse" in str(caught.value.__cause__)
        assert "direct.py" not in str(caught.value.__cause__)
        assert re.match(r"Raised on agent far, attempt 1\.", caught.value.__notes__[0])
        with pytest.raises(TaskFailed, match="exit code 3"):
            way(functions.leave, 3).result(LONG_S)


def test_what_is_large_goes_by_the_daemons(executor, functions):
    """A large result, or much that is raised, is the end of a line, and arrives."""
    forget = direct_of(executor)._fits.clear
    for size in (10, 40_000, 60_000, 70_000, 1_000_000):
        assert len(called_on_a_line(executor, functions, functions.large, size).result(LONG_S)) == size
        forget()
    for size, kind in ((10, ValueError), (10_000, ValueError), (100_000, TaskFailed)):
        future = called_on_a_line(executor, functions, functions.lament, size)
        assert type(future.exception(LONG_S)) is kind
        assert "xxx" in str(future.exception())
        forget()


def test_tasks_in_a_far_call(executor, functions):
    """A call that asks for tasks has them, waits for them, returns what they make, and fails as they do."""
    forget = direct_of(executor)._fits.clear
    for _ in range(2):
        assert called_on_a_line(executor, functions, functions.squares, 10).result(LONG_S) == 285
        forget()
        assert called_on_a_line(executor, functions, functions.promise, 7).result(LONG_S) == 49
        forget()
        with pytest.raises(Exception, match="3 is odd"):
            called_on_a_line(executor, functions, functions.halves, 3).result(LONG_S)
        forget()


@pytest.mark.parametrize("way", ["exit", "kill"])
def test_a_worker_that_dies_is_an_attempt(executor, functions, tmp_path, way):
    """The call runs again, by the daemons, and the loop goes on."""
    runs = lambda number: str(tmp_path / f"runs{number}")  # noqa: E731
    assert called_on_a_line(executor, functions, functions.die_once, runs, way).result(LONG_S) == 2
    assert [executor.submit(functions.double, n).result(LONG_S) for n in range(100)] == [2 * n for n in range(100)]


def test_no_more_attempts_are_made_than_were_granted(near, functions, tmp_path):
    """A call that always kills its worker runs as often as by the daemons alone."""
    for options, most in (({}, 3), ({"max_attempts": 1}, 1), ({"idempotent": False}, 1)):
        runs = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        with AgentExecutor(near.state, **options) as executor, pytest.raises(TaskFailed, match="exit code 7"):
            called_on_a_line(executor, functions, functions.die, str(runs)).result(LONG_S)
        assert runs.read_text() == "x" * most


@pytest.mark.parametrize("function", ["sleep", "stubborn"])
def test_cancelling_stops_a_far_call(far, executor, functions, tmp_path, function):
    """The future is cancelled at once, the code is interrupted, and its core is there for others."""
    begun = tmp_path / "begun"
    future = called_on_a_line(executor, functions, getattr(functions, function), str(begun), 1000.0)
    until(begun.exists)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    until(lambda: is_idle(far))
    assert executor.submit(functions.double, 4).result(LONG_S) == 8


def test_a_line_ends_with_the_call_at_hand_when_others_wait_there(start_agent, functions, tmp_path):
    """A call at the neighbour itself waits for one call of the line, not for the line."""
    far = far_agent(start_agent, cpu=1)
    near = near_agent(start_agent, "--neighbour", far.comm)
    gate = tmp_path / "gate"
    with AgentExecutor(near.state) as looping, AgentExecutor(far.state) as other:
        held, line = held_on_a_line(looping, functions, gate)
        waiting = other.submit(functions.double, 21)
        other._way.flush()
        until(lambda: figure(far, "waiting_tasks") == 1)
        gate.touch()
        assert held.result(LONG_S) == str(gate)
        assert looping.submit(functions.double, 1).result(LONG_S) == 2
        assert direct_of(looping).line is not line
        assert waiting.result(LONG_S) == 42


def test_two_loops_share_one_core_there(start_agent, functions):
    """Two sessions, one core: each has its calls in time, and both go directly in turn."""
    far = far_agent(start_agent, cpu=1)
    near = near_agent(start_agent, "--neighbour", far.comm)
    counts = [0, 0]
    over = threading.Event()

    def loop(index, executor):
        while not over.is_set():
            assert executor.submit(functions.double, counts[index]).result(LONG_S) == 2 * counts[index]
            counts[index] += 1

    with AgentExecutor(near.state) as one, AgentExecutor(near.state) as other:
        threads = [threading.Thread(target=loop, args=(i, each)) for i, each in enumerate((one, other))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                before = list(counts)
                until(lambda before=before: all(now > was for now, was in zip(counts, before, strict=True)))
        finally:
            over.set()
            for thread in threads:
                thread.join(LONG_S)
    assert not any(thread.is_alive() for thread in threads)


def test_a_line_is_shown_at_both_agents_with_what_its_calls_print(near, far, executor, functions, tmp_path):
    """Here it is one of the tasks that the neighbour holds, there an operation, with the output of its calls."""
    with connect(near.state) as here, connect(far.state) as there:
        while True:
            gate = tmp_path / "gate"
            future = called_on_a_line(executor, functions, functions.say_and_await, "from afar", str(gate))
            shown = [one for one in there.operations(state="running") if one.name.startswith("direct line: ")]
            if shown and direct_of(executor).line is not None:
                break
            gate.touch()  # the worker had just left: it runs by the daemons
            future.result(LONG_S)
            gate.unlink()
        (row,) = here.neighbours()
        assert row.running >= 1
        until(lambda: "from afar" in "".join(line.text for line in there.logs(shown[0])))
        gate.touch()
        assert future.result(LONG_S) is None


def test_a_neighbour_that_is_killed_loses_no_call_that_may_run_again(start_agent, functions, tmp_path):
    """The call at hand runs again when it is back, or elsewhere; one that may not says that it may have run."""
    far = far_agent(start_agent)
    near = near_agent(start_agent, "--neighbour", far.comm)
    again, once = AgentExecutor(near.state), AgentExecutor(near.state, idempotent=False)
    with again, once:
        gate = tmp_path / "gate"
        futures = [
            called_on_a_line(each, functions, functions.await_file, str(tmp_path / f"begun{number}"), str(gate))
            for number, each in enumerate((again, once))
        ]
        until(lambda: (tmp_path / "begun0").exists() and (tmp_path / "begun1").exists())
        (tmp_path / "begun0").unlink()
        far.kill()
        with pytest.raises(TaskFailed, match=r"127\.0\.0\.1: "):
            futures[1].result(LONG_S)
        gate.touch()
        port = far.comm.rpartition(":")[2]
        far_agent(start_agent, "--comm-port", port, state=far.state)
        assert futures[0].result(LONG_S) == str(gate)
        assert (tmp_path / "begun0").exists()
        on_a_line(again, functions)


def test_an_agent_that_is_killed_ends_its_lines(start_agent, far, functions, tmp_path):
    """The neighbour's core is free at once, and the session goes on when its agent is back."""
    near = near_agent(start_agent, "--neighbour", far.comm)
    with AgentExecutor(near.state, reconnect_s=LONG_S) as executor:
        begun, gate = tmp_path / "begun", tmp_path / "gate"
        future = called_on_a_line(executor, functions, functions.await_file, str(begun), str(gate))
        until(begun.exists)
        near.kill()
        until(lambda: is_idle(far))
        gate.touch()
        near_agent(start_agent, "--neighbour", far.comm, state=near.state)
        assert future.result(LONG_S) == str(gate)


def test_a_session_that_is_killed_leaves_nothing_there(near, far, functions, tmp_path):
    """Its call is stopped and the core is free; the neighbour keeps no descriptor of it."""
    descriptors = Path(f"/proc/{far.pid}/fd")
    with AgentExecutor(near.state) as executor:
        on_a_line(executor, functions)
    until(lambda: is_idle(far))
    before = len(list(descriptors.iterdir()))
    begun = tmp_path / "begun"
    child = os.fork()
    if child == 0:
        with AgentExecutor(near.state) as executor:
            called_on_a_line(executor, functions, functions.sleep, str(begun), 1000.0)
            until(lambda: False)
    until(begun.exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    until(lambda: is_idle(far))
    until(lambda: len(list(descriptors.iterdir())) <= before)


def test_lines_leave_no_descriptors(near, far, executor, functions):
    """After a hundred lines neither the daemons, nor the workers, nor the session have more of them than before."""

    def counts():
        pids = [os.getpid(), near.pid, far.pid, *_workers(far)]
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]

    direct = on_a_line(executor, functions)
    before, lines, last = counts(), 0, direct.line
    while lines < 100:
        until(lambda: direct.line is None)  # it was idle, and is over
        on_a_line(executor, functions)
        lines += direct.line is not last
        last = direct.line
    until(lambda: direct.line is None)
    assert executor.submit(functions.double, 1).result(LONG_S) == 2
    until(lambda: all(now <= was + 3 for now, was in zip(counts(), before, strict=True)))


def _workers(agent):
    """Give the pids of an agent's workers."""
    spawned = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    return [
        int(pid) for spawner in spawned for pid in Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
    ]


def test_a_neighbour_that_is_stopped_loses_no_call(start_agent, functions):
    """It ends its lines with the call at hand; what was not begun there waits until it is back."""
    far = far_agent(start_agent)
    near = near_agent(start_agent, "--neighbour", far.comm)
    with AgentExecutor(near.state, idempotent=False) as executor:
        on_a_line(executor, functions)
        stopping = threading.Thread(target=far.stop)
        stopping.start()
        number, future = 0, executor.submit(functions.double, 0)
        while not wait([future], 0.5 if stopping.is_alive() else 0.0).not_done:
            assert future.result() == 2 * number
            number += 1
            future = executor.submit(functions.double, number)
        stopping.join(LONG_S)
        far_agent(start_agent, "--comm-port", far.comm.rpartition(":")[2], state=far.state)
        assert future.result(LONG_S) == 2 * number
