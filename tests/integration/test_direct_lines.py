"""Direct lines with real daemons: who calls one at a time sees nothing of them but that it is quick."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from agentd.api import AgentExecutor, TaskFailed, connect
from tests.integration.line_rig import (
    APPS,
    LONG_S,
    called_on_a_line,
    called_until,
    directly,
    figure,
    held_on_a_line,
    is_idle,
    on_a_line,
    unhurried,
    until,
)
from tests.integration.memory_rig import little_memory


@pytest.fixture(autouse=True)
def _by_name(monkeypatch):
    """Import the functions as an agent does that has their folder on its path."""
    monkeypatch.syspath_prepend(str(APPS))


@pytest.fixture
def quick_folder():
    """Give a folder in memory, where that can be: a line does not last while a slow disk commits."""
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def agent(quick_folder, start_agent):
    return start_agent("--cpu", "2", "--pythonpath", str(APPS), state=quick_folder / "state")


@pytest.fixture
def executor(agent, request):
    with AgentExecutor(agent.state, **getattr(request, "param", {})) as executor:
        yield executor


of_both_kinds = pytest.mark.parametrize("executor", [{}, {"durable": True}], ids=["plain", "durable"], indirect=True)
"""Of calls that are to survive nothing is to be seen but that they do."""


def test_a_loop_of_calls_goes_directly_and_gives_what_it_would_give(agent, executor, functions):
    """Calls of a loop pass the daemon by, each goes one way or the other, and values and order are as ever."""
    given = []
    calls = called_until(agent, 2000, lambda n: given.append(executor.submit(functions.double, n).result(LONG_S)))
    assert given == [2 * n for n in range(calls)]
    assert figure(agent, "accepted_total") + directly(agent) >= calls


def test_functions_by_value_and_their_memory(agent, executor, functions):
    """A closure goes too; what a module remembers in a worker is there for either kind of call."""
    base = 5
    assert [executor.submit(lambda x: x + base, n).result(LONG_S) for n in range(3)] == [5, 6, 7]
    add = lambda x: x + base  # noqa: E731
    given = []
    calls = called_until(agent, 300, lambda n: given.append(executor.submit(add, n).result(LONG_S)))
    assert given == [n + 5 for n in range(calls)]
    with AgentExecutor(agent.state) as other:
        seen = [other.submit(functions.count_up).result(LONG_S) for _ in range(500)]
    assert max(seen) >= 250  # two workers at most, each counting on
    assert len(set(seen)) >= 250


@of_both_kinds
def test_exceptions_are_those_of_any_call(executor, functions):
    """The type, the words, the remote traceback and where it was; an exit of the interpreter is told as such."""
    for way in (executor.submit, lambda *a: called_on_a_line(executor, functions, *a)):
        with pytest.raises(ValueError, match="not 3") as caught:
            way(functions.refuse, 3).result(LONG_S)
        assert "in refuse" in str(caught.value.__cause__)
        assert "direct.py" not in str(caught.value.__cause__)
        assert re.match(r"Raised on agent .+, attempt 1\.", caught.value.__notes__[0])
        with pytest.raises(TaskFailed, match="exit code 3"):
            way(functions.leave, 3).result(LONG_S)


@of_both_kinds
def test_what_is_large_goes_by_the_daemon(agent, executor, functions):
    """Large arguments never go over a line; a large result, or much that is raised, is the end of one, and arrives."""
    forget = executor._way.mailbox.direct._fits.clear
    for size in (10, 40_000, 70_000, 1_000_000, 5_000_000):
        assert len(called_on_a_line(executor, functions, functions.large, size).result(LONG_S)) == size
        forget()
    for size, kind in ((10, ValueError), (10_000, ValueError), (100_000, TaskFailed)):
        future = called_on_a_line(executor, functions, functions.lament, size)
        assert type(future.exception(LONG_S)) is kind
        assert "xxx" in str(future.exception())
        forget()
    array = np.arange(2_000_000)
    for _ in range(20):
        assert executor.submit(np.sum, array).result(LONG_S) == array.sum()
    small = np.arange(100)
    for _ in range(200):
        assert (executor.submit(np.negative, small).result(LONG_S) == -small).all()


@of_both_kinds
def test_tasks_in_a_direct_call(agent, executor, functions):
    """A call that asks for tasks has them, waits for them, returns what they make, and fails as they do."""
    forget = executor._way.mailbox.direct._fits.clear
    for _ in range(3):
        assert called_on_a_line(executor, functions, functions.squares, 10).result(LONG_S) == 285
        forget()
        assert called_on_a_line(executor, functions, functions.promise, 7).result(LONG_S) == 49
        forget()
        assert called_on_a_line(executor, functions, functions.halves, 8).result(LONG_S) == 4
        forget()
        with pytest.raises(Exception, match="3 is odd"):
            called_on_a_line(executor, functions, functions.halves, 3).result(LONG_S)
        forget()
    assert [executor.submit(functions.squares, 4).result(LONG_S) for _ in range(100)] == [14] * 100


def test_durable_calls_go_directly_and_survive(agent, start_agent, functions):
    """Each is an operation, and after a crash of the agent each has the end that it had."""
    with AgentExecutor(agent.state, durable=True) as executor:
        given = []
        calls = called_until(agent, 300, lambda n: given.append(executor.submit(functions.double, n).result(LONG_S)))
        assert given == [2 * n for n in range(calls)]
        assert figure(agent, "accepted_total") >= calls
        assert executor.submit(functions.double, calls).result(LONG_S) == 2 * calls
    with connect(agent.state) as client:
        ended = client.operations(limit=300)
    assert len(ended) == 300
    assert {row.state for row in ended} == {"done"}
    agent.process.kill()
    agent.process.wait()
    again = start_agent("--cpu", "2", "--pythonpath", str(APPS), state=agent.state)
    with connect(again.state) as client:
        assert {row.id for row in client.operations(limit=300)} == {row.id for row in ended}
        assert all(isinstance(client.result(row), int) for row in ended[:20])


PROGRAM = """
import sys
import direct_calls
from agentd.api import AgentExecutor

state, begun, gate = sys.argv[1:]
executor = AgentExecutor(state, durable=True)
line = lambda: executor._way.mailbox.direct.line
while line() is None or line().sent < 3 or line().current is not None:
    executor.submit(direct_calls.double, 1).result()
future = executor.submit(direct_calls.await_file, begun, gate)
executor._way.flush()
print("asked", flush=True)
future.result()
"""


def test_a_durable_call_outlives_its_program(agent, functions, tmp_path):
    """The program is killed while its call runs: that goes on, once, and its end is recorded."""
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(APPS), *sys.path])}
    command = [sys.executable, "-c", PROGRAM, str(agent.state), str(begun), str(gate)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"asked\n"  # before, its agent may know nothing of the call
        until(begun.exists)
        program.kill()
    begun.unlink()
    with connect(agent.state) as client:
        until(lambda: client.operations(function="direct_calls:await_file"))
        (running,) = client.operations(function="direct_calls:await_file")
        assert running.state == "running"
        gate.touch()
        until(lambda: [row.state for row in client.operations(function="direct_calls:await_file")] == ["done"])
    assert not begun.exists()


@of_both_kinds
@pytest.mark.parametrize("way", ["exit", "segv", "kill"])
def test_a_worker_that_dies_is_an_attempt(executor, functions, tmp_path, way):
    """The call runs again, by the daemon, and the loop goes on."""
    runs = lambda number: str(tmp_path / f"runs{number}")  # noqa: E731
    assert called_on_a_line(executor, functions, functions.die_once, runs, way).result(LONG_S) == 2
    assert [executor.submit(functions.double, n).result(LONG_S) for n in range(100)] == [2 * n for n in range(100)]


def test_no_more_attempts_are_made_than_were_granted(agent, functions, tmp_path):
    """A call that always kills its worker runs as often as by the daemon alone, and once if it may run once only."""
    for options, most in (({}, 3), ({"max_attempts": 2}, 2), ({"max_attempts": 1}, 1), ({"idempotent": False}, 1)):
        runs = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        with AgentExecutor(agent.state, **options) as executor, pytest.raises(TaskFailed, match="exit code 7"):
            called_on_a_line(executor, functions, functions.die, str(runs)).result(LONG_S)
        assert runs.read_text() == "x" * most


def test_a_direct_call_that_takes_all_memory_fails_once_with_that_reason(start_agent, functions, tmp_path):
    """The kernel's kill is told as what it is, as by the daemon, and is not repeated; the loop goes on."""
    with little_memory() as prefix:
        agent, runs = start_agent("--cpu", "2", "--pythonpath", str(APPS), prefix=prefix), tmp_path / "runs"
        with AgentExecutor(agent.state) as executor:
            with pytest.raises(TaskFailed, match="no memory left"):
                called_on_a_line(executor, functions, functions.devour, str(runs)).result(LONG_S)
            assert runs.read_text() == "x"
            assert [executor.submit(functions.double, n).result(LONG_S) for n in range(100)] == [
                2 * n for n in range(100)
            ]


@of_both_kinds
@pytest.mark.parametrize("function", ["sleep", "stubborn"])
def test_cancelling_stops_a_direct_call(agent, executor, functions, tmp_path, function):
    """The future is cancelled at once, the code is interrupted, and its core is there for others."""
    begun = tmp_path / "begun"
    future = called_on_a_line(executor, functions, getattr(functions, function), str(begun), 1000.0)
    until(begun.exists)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(0)
    until(lambda: is_idle(agent))
    assert executor.submit(functions.double, 4).result(LONG_S) == 8


@of_both_kinds
def test_waiting_can_time_out_and_be_interrupted(executor, functions, tmp_path):
    """A wait that ends early loses nothing: the value comes to the next one, or to a callback."""
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    future = called_on_a_line(executor, functions, functions.await_file, str(begun), str(gate))
    with pytest.raises(TimeoutError):
        future.result(0.01)
    until(begun.exists)
    previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    alarm = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGALRM))
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the alarm may come before the wait
            alarm.start()
            future.result(LONG_S)
    finally:
        alarm.join()
        signal.signal(signal.SIGALRM, previous)
    told = threading.Event()
    future.add_done_callback(lambda _: told.set())
    gate.touch()
    assert told.wait(LONG_S)
    assert future.result(0) == str(gate)


@of_both_kinds
def test_a_second_call_does_not_wait_for_the_first(executor, functions, tmp_path):
    """While a direct call takes long, others go by the daemon and end before it."""
    begun = tmp_path / "begun"
    slow = called_on_a_line(executor, functions, functions.sleep, str(begun), 1000.0)
    until(begun.exists)
    assert [executor.submit(functions.double, n).result(LONG_S) for n in range(50)] == [2 * n for n in range(50)]
    assert not slow.done()
    slow.cancel()


def test_one_core_is_shared_with_whoever_waits(start_agent, functions):
    """Two programs, one core, one of them in a loop without end: the other has each of its calls in time."""
    agent = start_agent("--cpu", "1", "--pythonpath", str(APPS))
    with AgentExecutor(agent.state) as looping, AgentExecutor(agent.state) as other:
        over = threading.Event()
        count = 0

        def loop():
            nonlocal count
            while not over.is_set():
                looping.submit(functions.double, count).result(LONG_S)
                count += 1

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            with unhurried():
                until(lambda: directly(agent) > 100)
            for number in range(50):
                assert other.submit(functions.double, number).result(LONG_S) == 2 * number
                before = count
                until(lambda before=before: count > before)
            assert list(other.map(functions.double, range(2000))) == [2 * n for n in range(2000)]
        finally:
            over.set()
            thread.join(LONG_S)
    assert not thread.is_alive()


def test_a_line_ends_with_the_call_at_hand_when_others_wait(start_agent, functions, tmp_path):
    """Somebody else's call waits for one call of the line, not for the line."""
    agent = start_agent("--cpu", "1", "--pythonpath", str(APPS))
    gate = tmp_path / "gate"
    with AgentExecutor(agent.state) as looping, AgentExecutor(agent.state) as other:
        held, line = held_on_a_line(looping, functions, gate)
        waiting = other.submit(functions.double, 21)
        other._way.flush()
        until(lambda: figure(agent, "waiting_tasks") == 1)
        gate.touch()
        assert held.result(LONG_S) == str(gate)
        assert looping.submit(functions.double, 1).result(LONG_S) == 2
        assert looping._way.mailbox.direct.line is not line
        assert waiting.result(LONG_S) == 42


def test_a_line_is_a_slice_of_time(agent, executor, functions):
    """However long the loop, it is given one line after the other, each to be placed anew."""
    on_a_line(executor, functions)
    before = figure(agent, "accepted_total")
    end_s = time.monotonic() + LONG_S
    while figure(agent, "accepted_total") < before + 5:
        assert time.monotonic() < end_s, "a line never ended"
        for _ in range(100):
            assert executor.submit(functions.double, 3).result(LONG_S) == 6


def test_one_core_serves_a_loop_directly(start_agent, functions):
    """The line is asked for with a call on it, which needs no other core than that."""
    agent = start_agent("--cpu", "1", "--pythonpath", str(APPS))
    with AgentExecutor(agent.state) as executor:
        given = []
        calls = called_until(agent, 500, lambda n: given.append(executor.submit(functions.double, n).result(LONG_S)))
        assert given == [2 * n for n in range(calls)]
        assert list(executor.map(functions.double, range(1000))) == [2 * n for n in range(1000)]


@of_both_kinds
def test_several_threads_with_one_executor(agent, executor, functions):
    """Each gets its own results, whichever way each call went."""
    wrong = []

    def work(start):
        numbers = range(start, start + 300)
        wrong.extend(n for n in numbers if executor.submit(functions.double, n).result(LONG_S) != 2 * n)

    for together in (1, 2, 4):
        threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(together)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_S)
            assert not thread.is_alive()
    assert not wrong


def test_callbacks_and_waiting_elsewhere(executor, functions):
    """A loop of calls whose ends are told to callbacks makes progress by itself."""
    done = threading.Event()
    seen = []

    def again(future):
        seen.append(future.result())
        if len(seen) < 300:
            executor.submit(functions.double, len(seen)).add_done_callback(again)
        else:
            done.set()

    on_a_line(executor, functions)
    executor.submit(functions.double, 0).add_done_callback(again)
    assert done.wait(LONG_S)
    assert seen == [2 * n for n in range(300)]


def test_a_fork_of_the_program_leaves_the_line_to_the_parent(executor, functions):
    """The child has a connection of its own; the parent's loop goes on."""
    on_a_line(executor, functions)
    child = os.fork()
    if child == 0:
        right = all(executor.submit(functions.double, n).result(LONG_S) == 2 * n for n in range(50))
        executor.shutdown()
        os._exit(0 if right else 1)
    assert [executor.submit(functions.double, n).result(LONG_S) for n in range(200)] == [2 * n for n in range(200)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fork_within_a_call_answers_once(executor, functions):
    """A child that users' code forks and that comes back says nothing."""
    for _ in range(5):
        assert called_on_a_line(executor, functions, functions.fork).result(LONG_S) == 1
    assert [executor.submit(functions.double, n).result(LONG_S) for n in range(50)] == [2 * n for n in range(50)]


def test_shutting_down_waits_for_a_direct_call(agent, functions, tmp_path):
    """With `wait` the value is there afterwards; without, it still comes."""
    for wait in (True, False):
        executor = AgentExecutor(agent.state)
        future = called_on_a_line(executor, functions, functions.sleep, str(tmp_path / f"begun{wait}"), 0.3)
        executor.shutdown(wait=wait)
        assert future.done() or not wait
        assert future.result(LONG_S) == "slept"
    until(lambda: is_idle(agent))


def test_an_agent_that_is_killed_and_comes_back(start_agent, functions, tmp_path):
    """A direct call that was under way runs again where it may, and fails with words where not."""
    agent = start_agent("--cpu", "2", "--pythonpath", str(APPS))
    state = agent.state
    again = AgentExecutor(state, reconnect_s=LONG_S)
    once = AgentExecutor(state, reconnect_s=LONG_S, idempotent=False)
    gate = tmp_path / "gate"
    futures = [
        called_on_a_line(each, functions, functions.await_file, str(tmp_path / f"begun{number}"), str(gate))
        for number, each in enumerate((again, once))
    ]
    until(lambda: (tmp_path / "begun0").exists() and (tmp_path / "begun1").exists())
    agent.kill()
    gate.touch()
    agent = start_agent("--cpu", "2", "--pythonpath", str(APPS), state=state)
    assert futures[0].result(LONG_S) == str(gate)
    with pytest.raises(Exception, match="may have run"):
        futures[1].result(LONG_S)
    given = []
    for each in (again, once):
        calls = called_until(
            agent, 50, lambda n, each=each: given.append(each.submit(functions.double, n).result(LONG_S))
        )
        assert given[-calls:] == [2 * n for n in range(calls)]
        each.shutdown()


def test_an_idle_line_is_given_back(agent, executor, functions):
    """Some milliseconds after the last call nothing of it is left: no busy core, no descriptor."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        on_a_line(executor, functions)
        until(lambda: is_idle(agent))
    assert executor.submit(functions.double, 1).result(LONG_S) == 2
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 3)


def test_calls_that_need_more_than_a_core_never_go_directly(agent, functions):
    """Those with a time-out, with demands, or that are to be recorded before they run are the daemon's to see to."""
    for options in ({"timeout_s": 5.0}, {"constraints": {"memory_mib": 1}}, {"durable": True, "idempotent": False}):
        with AgentExecutor(agent.state, **options) as executor:
            assert [executor.submit(functions.double, n).result(LONG_S) for n in range(60)] == [
                2 * n for n in range(60)
            ]
    assert directly(agent) == 0
