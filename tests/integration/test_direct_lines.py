"""Direct lines with real daemons: who calls one at a time sees nothing of them but that it is quick."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from agentd.api import AgentExecutor, TaskFailed, connect

APPS = Path(__file__).parent / "apps"
LONG_S = 30.0
"""No test waits so long unless something is broken."""


@pytest.fixture(autouse=True)
def _by_name(monkeypatch):
    """Import the functions as an agent does that has their folder on its path."""
    monkeypatch.syspath_prepend(str(APPS))


@pytest.fixture
def functions(_by_name):
    import direct_calls

    return direct_calls


@pytest.fixture
def agent(start_agent):
    return start_agent("--cpu", "2", "--pythonpath", str(APPS))


@pytest.fixture
def executor(agent):
    with AgentExecutor(agent.state) as executor:
        yield executor


def figure(agent, name):
    """Read one of an agent's metrics."""
    with connect(agent.state) as client:
        return int(float(re.search(rf"^agentd_{name} (\S+)$", client.metrics(), re.MULTILINE)[1]))


def directly(agent):
    """Tell how many calls were made directly at an agent."""
    return figure(agent, "direct_calls_total")


def is_idle(agent):
    """Tell whether none of an agent's cores is taken."""
    return figure(agent, "busy_workers") == 0


def on_a_line(executor, functions):
    """Call in a loop until a call goes over a line, which then is open: so the next one does too."""
    deadline = time.monotonic() + LONG_S
    direct = executor._way.mailbox.direct
    number = 0
    while direct.line is None or direct.line.current is not None or direct.line.sent < 3:
        assert time.monotonic() < deadline, "no line was given"
        assert executor.submit(functions.double, number).result(LONG_S) == 2 * number
        number += 1
    return direct


def until(condition):
    """Wait for something elsewhere to have happened."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def called_on_a_line(executor, functions, function, *args):
    """Submit one call that really goes over a line."""
    for _ in range(1000):
        direct = on_a_line(executor, functions)
        line, sent = direct.line, direct.line.sent
        future = executor.submit(function, *args)
        executor._way.flush()
        if line.sent == sent + 1 and direct.line is line:
            return future
        future.result(LONG_S)
    raise AssertionError("the line was always given back just before")


def held_on_a_line(executor, functions, gate):
    """Have a call run over a line, until a file is there; gives its future and the line."""
    while True:
        begun = gate.with_name("begun")
        future = called_on_a_line(executor, functions, functions.await_file, str(begun), str(gate))
        until(begun.exists)
        line = executor._way.mailbox.direct.line
        if line is not None and line.current is not None:
            return future, line
        gate.touch()  # the worker had just left: it runs by the daemon
        future.result(LONG_S)
        gate.unlink()
        begun.unlink()


def test_a_loop_of_calls_goes_directly_and_gives_what_it_would_give(agent, executor, functions):
    """Nearly all calls of a loop pass the daemon by; values, order and the state of the module are as ever."""
    assert [executor.submit(functions.double, n).result(LONG_S) for n in range(3000)] == [2 * n for n in range(3000)]
    assert directly(agent) > 2000
    accepted = figure(agent, "accepted_total")
    assert accepted + directly(agent) >= 3000
    assert accepted < 1000


def test_functions_by_value_and_their_memory(agent, executor, functions):
    """A closure goes too; what a module remembers in a worker is there for either kind of call."""
    base = 5
    assert [executor.submit(lambda x: x + base, n).result(LONG_S) for n in range(3)] == [5, 6, 7]
    add = lambda x: x + base  # noqa: E731
    assert [executor.submit(add, n).result(LONG_S) for n in range(500)] == [n + 5 for n in range(500)]
    assert directly(agent) > 300
    with AgentExecutor(agent.state) as other:
        seen = [other.submit(functions.count_up).result(LONG_S) for _ in range(500)]
    assert max(seen) >= 250  # two workers at most, each counting on
    assert len(set(seen)) >= 250


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


@pytest.mark.parametrize("way", ["exit", "segv", "kill"])
def test_a_worker_that_dies_is_an_attempt(executor, functions, tmp_path, way):
    """The call runs again, by the daemon, and the loop goes on."""
    assert called_on_a_line(executor, functions, functions.die_once, str(tmp_path / "runs"), way).result(LONG_S) == 2
    assert [executor.submit(functions.double, n).result(LONG_S) for n in range(100)] == [2 * n for n in range(100)]


def test_no_more_attempts_are_made_than_were_granted(agent, functions, tmp_path):
    """A call that always kills its worker runs as often as by the daemon alone, and once if it may run once only."""
    for options, most in (({}, 3), ({"max_attempts": 2}, 2), ({"max_attempts": 1}, 1), ({"idempotent": False}, 1)):
        runs = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        with AgentExecutor(agent.state, **options) as executor, pytest.raises(TaskFailed, match="exit code 7"):
            called_on_a_line(executor, functions, functions.die, str(runs)).result(LONG_S)
        assert runs.read_text() == "x" * most


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


def test_waiting_can_time_out_and_be_interrupted(executor, functions, tmp_path):
    """A wait that ends early loses nothing: the value comes to the next one, or to a callback."""
    begun = tmp_path / "begun"
    future = called_on_a_line(executor, functions, functions.sleep, str(begun), 0.5)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    until(begun.exists)
    previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            future.result(LONG_S)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    told = threading.Event()
    future.add_done_callback(lambda _: told.set())
    assert told.wait(LONG_S)
    assert future.result(0) == "slept"


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
        assert held.result(LONG_S) is None
        assert looping.submit(functions.double, 1).result(LONG_S) == 2
        assert looping._way.mailbox.direct.line is not line
        assert waiting.result(LONG_S) == 42


def test_a_line_is_a_slice_of_time(agent, executor, functions):
    """However long the loop, it is given one line after the other, each to be placed anew."""
    on_a_line(executor, functions)
    before = figure(agent, "accepted_total")
    end_s = time.monotonic() + 1.0
    while time.monotonic() < end_s:
        assert executor.submit(functions.double, 3).result(LONG_S) == 6
    assert figure(agent, "accepted_total") >= before + 5


def test_one_core_serves_a_loop_directly(start_agent, functions):
    """The line is asked for with a call on it, which needs no other core than that."""
    agent = start_agent("--cpu", "1", "--pythonpath", str(APPS))
    with AgentExecutor(agent.state) as executor:
        assert [executor.submit(functions.double, n).result(LONG_S) for n in range(1000)] == [
            2 * n for n in range(1000)
        ]
        assert directly(agent) > 500
        assert list(executor.map(functions.double, range(1000))) == [2 * n for n in range(1000)]


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
    futures = [
        called_on_a_line(each, functions, functions.sleep, str(tmp_path / f"begun{number}"), 0.5)
        for number, each in enumerate((again, once))
    ]
    until(lambda: (tmp_path / "begun0").exists() and (tmp_path / "begun1").exists())
    agent.kill()
    agent = start_agent("--cpu", "2", "--pythonpath", str(APPS), state=state)
    assert futures[0].result(LONG_S) == "slept"
    with pytest.raises(Exception, match="may have run"):
        futures[1].result(LONG_S)
    for each in (again, once):
        assert [each.submit(functions.double, n).result(LONG_S) for n in range(200)] == [2 * n for n in range(200)]
        each.shutdown()
    assert directly(agent) > 100


def test_an_idle_line_is_given_back(agent, executor, functions):
    """Some milliseconds after the last call nothing of it is left: no busy core, no descriptor."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        on_a_line(executor, functions)
        until(lambda: is_idle(agent))
    assert executor.submit(functions.double, 1).result(LONG_S) == 2
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 3)


def test_calls_that_need_more_than_a_core_never_go_directly(agent, functions):
    """Those with a time-out, with demands, or durable ones are the daemon's to see to."""
    for options in ({"timeout_s": 5.0}, {"constraints": {"memory_mib": 1}}, {"durable": True}):
        with AgentExecutor(agent.state, **options) as executor:
            assert [executor.submit(functions.double, n).result(LONG_S) for n in range(60)] == [
                2 * n for n in range(60)
            ]
    assert directly(agent) == 0
