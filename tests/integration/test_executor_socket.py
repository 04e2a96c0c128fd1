"""The executor against an agent on a Unix socket: what arrives there, in how many frames, and what comes back."""

from __future__ import annotations

import concurrent.futures as cf
import functools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from agentd.api import AgentExecutor, RequestError, TaskFailed, Unreachable
from tests.fakes.unix_agent import UnixAgent
from tests.integration.daemon_rig import until

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 60.0
"""No test waits so long unless something is broken."""


def double(x):
    return 2 * x


def combine(a, b=0, *, c=0):
    return a, b, c


def fail(message):
    raise ValueError(message)


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not this one")


def fail_oddly():
    raise Unpicklable("odd")


class Pair:
    def __init__(self, left, right):
        self.left, self.right = left, right


class Fussy:
    """Cannot be read anywhere."""

    def __init__(self):
        self.content = 1

    def __setstate__(self, state):
        raise ModuleNotFoundError("no such module")


@pytest.fixture
def agent(tmp_path):
    with UnixAgent(tmp_path / "state") as agent:
        yield agent


@pytest.fixture
def executor(agent):
    executor = AgentExecutor(agent.folder)
    yield executor
    agent.let_go()
    executor.shutdown()


READING = {"7", "47", "73", "212"}
"""poll and recvmsg on x86-64, ppoll and recvmsg on aarch64."""


def is_reading(task):
    """Tell whether a thread of ours is in the system call that waits for its socket (proc(5))."""
    return Path(f"/proc/self/task/{task}/syscall").read_text().split()[0] in READING


# --- calls --------------------------------------------------------------------------------------------------------


def test_calls_and_their_values(executor):
    """Positional and named arguments arrive, values come back, and futures are the library's."""
    future = executor.submit(combine, 1, b=2, c=[3])
    assert isinstance(future, cf.Future)
    assert future.result(LONG_S) == (1, 2, [3])
    assert executor.submit(lambda: None).result(LONG_S) is None


def test_map_keeps_the_order(executor):
    """One result for each tuple of items, as far as the shortest iterable goes."""
    assert list(executor.map(double, range(100))) == [2 * x for x in range(100)]
    assert list(executor.map(combine, range(5), range(3))) == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]
    assert list(executor.map(double, [])) == []


@pytest.mark.parametrize("chunksize", [1, 7, 100, 1000])
def test_chunks_travel_as_one_call(agent, executor, chunksize):
    """However large the chunks, the results are the same; the agent sees one call for each chunk."""
    assert list(executor.map(combine, range(100), range(100), chunksize=chunksize)) == [(x, x, 0) for x in range(100)]
    assert sum(agent.frames) <= 2 * -(-100 // chunksize)  # by name first, then by value


def test_a_chunk_of_callables_with_a_state(executor):
    """A bound method or a partial can be mapped in chunks too."""
    assert list(executor.map(functools.partial(combine, 1), range(5), chunksize=2)) == [(1, x, 0) for x in range(5)]


def test_many_calls_travel_in_few_frames(agent, executor):
    """A caller that submits without waiting sends batches; nothing is lost or mixed up."""
    agent.hold.set()
    futures = [executor.submit(double, x) for x in range(5000)]
    agent.let_go()
    assert [future.result(LONG_S) for future in futures] == [2 * x for x in range(5000)]
    assert len(agent.frames) < 5000 / 20


def test_one_call_at_a_time_is_read_by_its_caller(executor, monkeypatch):
    """In a loop of submit and result no other thread touches the connection, unless the caller is paused."""
    executor.submit(double, 1).result(LONG_S)
    line = executor._way
    readers = []
    read = line._step
    monkeypatch.setattr(line, "_step", lambda *a, **k: (readers.append(threading.get_ident()), read(*a, **k))[1])
    for x in range(200):
        executor.submit(double, x).result()
    assert readers.count(threading.get_ident()) > 100


def test_a_call_leaves_without_anybody_waiting(agent, executor):
    """Fire and forget works: no result is asked for."""
    executor.submit(double, 1)
    until(lambda: agent.ran)


def test_wait_and_as_completed_make_progress_by_themselves(executor):
    """Nobody calls `result`, so nobody but the executor's own thread reads."""
    done, not_done = cf.wait([executor.submit(double, x) for x in range(20)], timeout=LONG_S)
    assert len(done) == 20
    assert not not_done
    futures = [executor.submit(double, x) for x in range(20)]
    assert {future.result() for future in cf.as_completed(futures, timeout=LONG_S)} == {2 * x for x in range(20)}


def test_callbacks_come_by_themselves_and_may_wait_for_other_calls(executor):
    """A callback that asks for another result does not stop the reading it depends on."""
    got = []
    came = threading.Event()

    def callback(_):
        got.append(executor.submit(double, 21).result(LONG_S))
        came.set()

    executor.submit(double, 1).add_done_callback(callback)
    assert came.wait(LONG_S)
    assert got == [42]


def test_threads_share_an_executor(executor):
    """Eight threads, each with its own loop, get their own results."""

    def loop(base):
        return [executor.submit(double, base + x).result(LONG_S) for x in range(100)]

    with cf.ThreadPoolExecutor(8) as threads:
        for base, values in enumerate(threads.map(loop, range(8))):
            assert values == [2 * (base + x) for x in range(100)]


def test_threads_may_wait_for_the_same_call(agent, executor):
    """All of them wake up."""
    agent.hold.set()
    future = executor.submit(double, 4)
    with cf.ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(future.result, LONG_S) for _ in range(4)]
        until(lambda: executor._way._reading.reader)
        agent.let_go()
        assert [each.result(LONG_S) for each in waiting] == [8] * 4


def test_time_out_leaves_the_call_running(agent, executor):
    """A result that is late can still be had."""
    agent.hold.set()
    future = executor.submit(double, 4)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        list(executor.map(double, [1], timeout=0.01))
    agent.let_go()
    assert future.result(LONG_S) == 8


def test_no_more_calls_are_sent_than_the_agent_grants(tmp_path):
    """With a window of ten, a thousand calls all come through."""
    with UnixAgent(tmp_path / "state", window=10) as agent, AgentExecutor(agent.folder) as executor:
        assert list(executor.map(double, range(1000))) == [2 * x for x in range(1000)]
        assert max(agent.frames) <= 10


# --- functions ----------------------------------------------------------------------------------------------------


def test_a_function_goes_by_name_where_the_agent_has_it(tmp_path):
    """No code travels then."""
    with UnixAgent(tmp_path / "state", callable_modules=(__name__,)) as agent, AgentExecutor(agent.folder) as executor:
        assert executor.submit(double, 2).result(LONG_S) == 4
        assert agent.ran == [f"{__name__}:double by name"]


def test_a_function_whose_name_is_refused_goes_by_value_once(agent, executor):
    """Calls that were under way are repeated by value, later ones go by value at once; the caller notices nothing."""
    assert list(executor.map(double, range(50))) == [2 * x for x in range(50)]
    assert executor.submit(double, 3).result(LONG_S) == 6
    assert set(agent.ran) == {f"{__name__}:double by value"}
    assert len(agent.declared) == 2


def test_arguments_that_nobody_can_read_are_the_calls_error(executor):
    """They are tried once more with the code of their classes at the most, and the executor goes on."""
    with pytest.raises(TaskFailed, match="no such module"):
        executor.submit(lambda fussy: None, Fussy()).result(LONG_S)
    assert executor.submit(double, 1).result(LONG_S) == 2


def test_classes_of_the_program_come_back_as_themselves(executor):
    """A value of the caller's own class is of that very class when it returns."""
    pair = executor.submit(lambda pair: pair, Pair(1, 2)).result(LONG_S)
    assert isinstance(pair, Pair)
    assert (pair.left, pair.right) == (1, 2)


def test_an_unknown_constraint_is_the_callers_mistake(agent):
    """It is found before anything is sent."""
    with pytest.raises(TypeError, match="computing_units"):
        AgentExecutor(agent.folder, constraints={"cores": 2})


def test_options_reach_the_agent(agent):
    """Constraints, limits and durability are part of what is declared."""
    with AgentExecutor(
        agent.folder, durable=True, constraints={"computing_units": 2}, timeout_s=9, idempotent=False, name="mine"
    ) as executor:
        executor.submit(double, 1).result(LONG_S)
    template = agent.declared[0]
    assert (template.durable, template.constraints.computing_units, template.timeout_s) == (True, 2, 9)
    assert (template.idempotent, template.name) == (False, "mine")


# --- failures -----------------------------------------------------------------------------------------------------


def test_the_remote_exception_is_raised_with_its_traceback(executor):
    """It can be caught by its type; the cause shows where it was raised, the note by whom."""
    with pytest.raises(ValueError, match="on purpose") as caught:
        executor.submit(fail, "on purpose").result(LONG_S)
    assert "in fail" in str(caught.value.__cause__)
    assert "fake" in caught.value.__notes__[0]


def test_an_exception_that_cannot_travel_is_a_task_failure(executor):
    """Its type and words arrive all the same."""
    with pytest.raises(TaskFailed, match="odd") as caught:
        executor.submit(fail_oddly).result(LONG_S)
    assert caught.value.kind == "Unpicklable"


def test_arguments_that_cannot_be_pickled_fail_where_they_are_given(executor):
    """The caller's mistake is raised by `submit`, and the executor goes on."""
    with pytest.raises(TypeError, match="pickle"):
        executor.submit(double, threading.Lock())
    assert executor.submit(double, 1).result(LONG_S) == 2


def test_a_failure_in_a_map_cancels_the_rest(agent, executor):
    """The calls after the failed one are given up."""
    results = executor.map(lambda x: 1 // x, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


# --- cancelling and ending ----------------------------------------------------------------------------------------


def test_cancelling_reaches_the_agent(agent, executor):
    """A call that was sent is given up there; its future says cancelled at once."""
    agent.hold.set()
    future = executor.submit(double, 1)
    until(lambda: agent.frames)
    assert future.cancel()
    until(lambda: agent.cancelled)
    with pytest.raises(cf.CancelledError):
        future.result(LONG_S)
    agent.let_go()
    assert executor.submit(double, 2).result(LONG_S) == 4


def test_what_was_not_sent_never_is(tmp_path):
    """Beyond the agent's window a cancelled call is simply dropped."""
    with UnixAgent(tmp_path / "state", window=1) as agent, AgentExecutor(agent.folder) as executor:
        agent.hold.set()
        futures = [executor.submit(double, x) for x in range(5)]
        until(lambda: agent.frames)
        for future in futures[1:]:
            assert future.cancel()
        agent.let_go()
        assert futures[0].result(LONG_S) == 0
        assert executor.submit(double, 9).result(LONG_S) == 18
        assert sum(agent.frames) <= 4  # the first, once more by value, and the last
        assert agent.cancelled == []


def test_shutdown_waits_for_what_was_submitted(agent):
    """Leaving the `with` block gives every result; a later submission is refused."""
    with AgentExecutor(agent.folder) as executor:
        futures = [executor.submit(double, x) for x in range(100)]
    assert all(future.done() for future in futures)
    assert futures[-1].result() == 198
    with pytest.raises(RuntimeError, match="new executor"):
        executor.submit(double, 1)
    executor.shutdown()


def test_shutdown_without_waiting_goes_on_in_the_background(agent):
    """The futures still end; the thread leaves by itself."""
    executor = AgentExecutor(agent.folder)
    future = executor.submit(double, 4)
    executor.shutdown(wait=False)
    assert future.result(LONG_S) == 8
    until(lambda: not executor._way._thread.is_alive())


def test_an_executor_that_is_dropped_finishes_and_leaves(agent):
    """Its calls come to their end, its thread goes, and nothing has to be said."""
    executor = AgentExecutor(agent.folder)
    thread = executor._way._thread
    agent.hold.set()
    future = executor.submit(double, 4)
    del executor
    until(lambda: agent.frames)
    assert thread.is_alive()
    agent.let_go()
    assert future.result(LONG_S) == 8
    until(lambda: not thread.is_alive())


def test_shutdown_can_cancel_what_has_not_ended(agent):
    """Nothing is waited for then."""
    executor = AgentExecutor(agent.folder)
    agent.hold.set()
    futures = [executor.submit(double, x) for x in range(3)]
    executor.shutdown(cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    agent.let_go()


def test_descriptors_are_given_back(agent):
    """Fifty executors leave no open file behind."""
    with AgentExecutor(agent.folder) as executor:
        executor.submit(double, 1).result(LONG_S)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        with AgentExecutor(agent.folder) as executor:
            assert executor.submit(double, 1).result(LONG_S) == 2
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 1)


def test_the_executor_cannot_be_pickled(executor):
    """The error says what to do instead."""
    with pytest.raises(TypeError, match="make one where it is used"):
        pickle.dumps(executor)


def test_it_says_where_it_leads(agent, executor):
    """A person sees which agent it is."""
    assert repr(executor) == f"<AgentExecutor fake at {agent.folder / 'agent.sock'}>"


def test_interrupting_a_wait_loses_nothing(agent, executor, request):
    """Ctrl-C leaves `result`; the call goes on and its result can be had later, on the same connection."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what is in the background ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    agent.hold.set()
    future = executor.submit(double, 4)
    line, me, task = executor._way, threading.get_ident(), threading.get_native_id()

    def interrupt():
        until(lambda: agent.frames and line._reading.reader == me and is_reading(task))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        future.result(LONG_S)
    thread.join()
    agent.let_go()
    assert future.result(LONG_S) == 8
    assert agent.greetings == 1


def test_a_child_process_has_a_line_of_its_own(agent, executor):
    """After a fork the child's calls go over its own connection; those from before belong to the parent."""
    agent.hold.set()
    before = executor.submit(double, 4)
    until(lambda: agent.frames)
    child = os.fork()
    if not child:
        code = 1
        try:
            with pytest.raises(RuntimeError, match="parent"):
                before.result(LONG_S)
            code = 0 if executor.submit(double, 5).result(LONG_S) == 10 else 2
        finally:
            os._exit(code)
    until(lambda: agent.greetings == 2)
    agent.let_go()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert before.result(LONG_S) == 8


def test_a_program_that_just_ends_has_its_calls_done(agent):
    """Without shutdown the interpreter waits for what was submitted, and ends without a word."""
    program = (
        "from agentd.api import AgentExecutor\n"
        f"executor = AgentExecutor({str(agent.folder)!r})\n"
        "def shout(word): return word.upper()\n"
        "for word in 'abc': executor.submit(shout, word)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=LONG_S, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(agent.ran) == 3


# --- large values -------------------------------------------------------------------------------------------------


def test_large_arrays_go_and_come_in_shared_memory(agent, executor):
    """Values are right at both ends, and each side gets its memory back when it is no longer read."""
    array = np.arange(1_000_000.0)
    result = executor.submit(lambda x: x * 2, array).result(LONG_S)
    assert (result == array * 2).all()
    assert not result.flags.writeable
    pool, theirs = executor._way.mailbox.shared._pool, agent.user.pool
    until(lambda: pool.used == 0)
    assert theirs.used == 1
    del result
    until(lambda: theirs.used == 0)


def test_a_result_that_nobody_reads_gives_its_memory_back(agent, executor):
    """Dropping a future, or cancelling the call, lets go of the result."""
    future = executor.submit(lambda: np.zeros(100_000))
    cf.wait([future])
    theirs = agent.user.pool
    assert theirs.used == 1
    del future
    until(lambda: theirs.used == 0)
    agent.hold.set()
    cancelled = executor.submit(lambda: np.zeros(100_000))
    until(lambda: len(agent.frames) >= 2)
    cancelled.cancel()
    agent.let_go()
    executor.submit(double, 1).result(LONG_S)
    until(lambda: theirs.used == 0)


def test_segments_are_reused(executor):
    """A hundred large arguments need a few segments, not a hundred."""
    array = np.zeros(100_000)
    for _ in range(100):
        executor.submit(lambda x: None, array).result(LONG_S)
    assert executor._way.mailbox.shared._pool._next < 20


# --- the agent goes away ------------------------------------------------------------------------------------------


def test_unfinished_calls_are_sent_again_to_an_agent_that_comes_back(agent, executor):
    """Also those with arguments in shared memory; the caller notices nothing but the delay."""
    array = np.arange(100_000.0)
    agent.hold.set()
    small = [executor.submit(double, x) for x in range(10)]
    large = executor.submit(lambda x: float(x.sum()), array)
    until(lambda: sum(agent.frames) >= 11)
    agent.stop()
    agent.hold.clear()
    agent.start()
    assert [future.result(LONG_S) for future in small] == [2 * x for x in range(10)]
    assert large.result(LONG_S) == array.sum()
    assert agent.greetings == 2


def test_what_must_not_run_twice_is_not_sent_twice(agent):
    """A call that may have run ends as unreachable; one that was never sent goes to the new agent."""
    with AgentExecutor(agent.folder, idempotent=False) as executor:
        executor.submit(double, 1).result(LONG_S)
        agent.hold.set()
        future = executor.submit(double, 4)
        until(lambda: len(agent.frames) >= 3)
        agent.stop()
        agent.hold.clear()
        agent.start()
        with pytest.raises(Unreachable, match="may have run"):
            future.result(LONG_S)
        assert executor.submit(double, 5).result(LONG_S) == 10


def test_an_agent_that_stays_away_fails_what_waits(agent):
    """After the patience that was asked for, with the address; and the executor works again once it is back."""
    executor = AgentExecutor(agent.folder, reconnect_s=0.2)
    executor.submit(double, 1).result(LONG_S)
    agent.hold.set()
    future = executor.submit(double, 4)
    until(lambda: len(agent.frames) >= 3)
    agent.stop()
    with pytest.raises(Unreachable, match=r"agent\.sock"):
        future.result(LONG_S)
    agent.hold.clear()
    agent.start()
    assert executor.submit(double, 5).result(LONG_S) == 10
    executor.shutdown()


def test_an_idle_executor_survives_a_restart_of_its_agent(agent, executor):
    """Nothing is outstanding, nothing fails, and the next call dials again."""
    executor.submit(double, 1).result(LONG_S)
    agent.stop()
    agent.start()
    assert executor.submit(double, 2).result(LONG_S) == 4


def test_nobody_there_is_said_at_once(tmp_path):
    """Making an executor fails with the address, before any call."""
    with pytest.raises(Unreachable, match=str(tmp_path)):
        AgentExecutor(tmp_path)
    (tmp_path / "agent.json").write_text('{"name": "gone", "rest": null}')
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "agent.sock"))
    listener.close()
    with pytest.raises(Unreachable, match=r"agent\.sock"):
        AgentExecutor(tmp_path)


def test_a_refusal_says_why(tmp_path):
    """What the agent says reaches the user."""
    full = UnixAgent(tmp_path / "a", refusal=("full", "too many programs"))
    with full, pytest.raises(RequestError, match="too many programs"):
        AgentExecutor(full.folder)
    strict = UnixAgent(tmp_path / "b", scope="submit")
    with strict, pytest.raises(RequestError, match="--local-access code"):
        AgentExecutor(strict.folder)


def test_an_agent_that_talks_nonsense_is_dropped(agent):
    """Bytes that are no frames end the connection, and the call is tried again over another one."""
    with AgentExecutor(agent.folder) as executor:
        executor.submit(double, 1).result(LONG_S)
        agent.hold.set()
        future = executor.submit(double, 4)
        until(lambda: len(agent.frames) >= 3)
        agent.user.sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        until(lambda: agent.greetings == 2)
        agent.let_go()
        assert future.result(LONG_S) == 8


def test_an_idle_executor_has_no_timers(executor):
    """Once nothing is outstanding its thread sleeps until something happens."""
    executor.submit(double, 1).result(LONG_S)
    line = executor._way
    rests = []
    rest = line._rest
    line._rest = lambda seconds, *more: (rests.append(seconds), rest(seconds, *more))[1]
    executor.submit(double, 2).result(LONG_S)
    until(lambda: rests and rests[-1] is None and line._reading.reader == line._thread.ident)
    count = len(rests)
    for _ in range(20_000):
        os.sched_yield()
    assert len(rests) == count
