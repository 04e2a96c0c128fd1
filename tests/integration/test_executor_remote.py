"""The executor over HTTP: batches, waiting, values and failures, and what happens when the agent is not there."""

from __future__ import annotations

import concurrent.futures as cf

import pytest

from agentd.api import AgentExecutor, RequestError, TaskFailed, Unreachable, connect
from tests.fakes.doors import open_door
from tests.integration.daemon_rig import free_port

LONG_S = 60.0


class Pair:
    def __init__(self, left):
        self.left = left


def double(x):
    return 2 * x


def seven():
    return 7


@pytest.fixture(scope="module")
def far_door():
    with open_door() as door:
        yield door


@pytest.fixture
def executor(far_door):
    with AgentExecutor(far_door.url, token="code-token") as executor:
        yield executor


def test_calls_maps_and_chunks(executor):
    """As on the same device; functions of this program go by value, with arguments and without."""
    assert executor.submit(double, 4).result(LONG_S) == 8
    assert executor.submit(seven).result(LONG_S) == 7
    assert list(executor.map(double, range(50))) == [2 * x for x in range(50)]
    assert list(executor.map(double, range(50), chunksize=7)) == [2 * x for x in range(50)]


def test_calls_travel_in_batches(far_door, executor):
    """Five hundred calls need far fewer submissions, and each is accepted once."""
    before = len(far_door.agent.asked)
    futures = [executor.submit(double, x) for x in range(500)]
    assert [future.result(LONG_S) for future in futures] == [2 * x for x in range(500)]
    assert len(far_door.agent.asked) == before + 500


def test_wait_and_as_completed(executor):
    """The library's functions work."""
    futures = [executor.submit(double, x) for x in range(10)]
    assert {future.result() for future in cf.as_completed(futures, timeout=LONG_S)} == {2 * x for x in range(10)}
    done, _ = cf.wait([executor.submit(double, 1)], timeout=LONG_S)
    assert len(done) == 1


def test_values_keep_their_types(executor):
    """Results come as pickles: tuples, sets, and classes of this program."""
    assert executor.submit(lambda: (1, {2})).result(LONG_S) == (1, {2})
    assert executor.submit(lambda pair: pair, Pair(3)).result(LONG_S).left == 3


def test_a_failure_carries_the_remote_traceback(executor):
    """As a task failure, since exceptions do not travel this way."""
    with pytest.raises(TaskFailed, match="division by zero") as caught:
        executor.submit(lambda: 1 / 0).result(LONG_S)
    assert caught.value.kind == "ZeroDivisionError"
    assert "ZeroDivisionError" in str(caught.value.__cause__)


def test_cancelling_reaches_the_agent(far_door, executor):
    """An operation that was accepted is stopped there."""
    future = executor.submit(hold)
    while not executor._way._operations:
        pass
    (held,) = executor._way._operations.values()
    assert future.cancel()
    with pytest.raises(cf.CancelledError):
        future.result(LONG_S)
    assert executor.submit(double, 2).result(LONG_S) == 4
    with connect(far_door.url, token="code-token") as agent:
        assert agent.wait(held, timeout=LONG_S).state == "cancelled"


async def hold():
    import asyncio

    await asyncio.get_running_loop().create_future()


def test_time_out(executor):
    """The wait ends, the operation does not."""
    future = executor.submit(hold)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.05)
    future.cancel()


def test_too_little_scope_is_the_calls_error():
    """Pickles need the scope `code`."""
    with open_door(same_user=False) as door, AgentExecutor(door.url, token="submit-token") as executor:
        future = executor.submit(double, 1)
        with pytest.raises(RequestError, match="code"):
            future.result(LONG_S)


def test_a_full_queue_is_waited_for():
    """429 is no failure: the submission is repeated when the agent said so."""
    with open_door(queue_cap=1) as door, AgentExecutor(door.url, token="code-token") as executor:
        first = executor.submit(hold)
        while not executor._way._operations:
            pass
        second = executor.submit(double, 4)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.05)
        first.cancel()
        assert second.result(LONG_S) == 8


def test_nobody_there_is_said_at_once():
    """Making the executor asks the agent who it is."""
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        AgentExecutor(f"127.0.0.1:{free_port()}")


def test_an_agent_that_goes_away_fails_what_waits():
    """After the patience, with the address."""
    with open_door() as door:
        executor = AgentExecutor(door.url, token="code-token", reconnect_s=0.3)
        future = executor.submit(hold)
        while not executor._way._operations:
            pass
    with pytest.raises(Unreachable, match=str(door.port)):
        future.result(LONG_S)
    executor.shutdown()


def test_after_shutdown_nothing_is_taken(far_door):
    """And its threads have left."""
    executor = AgentExecutor(far_door.url, token="code-token")
    future = executor.submit(double, 1)
    executor.shutdown()
    assert future.result() == 2
    assert not any(thread.is_alive() for thread in executor._way._threads)
    with pytest.raises(RuntimeError, match="new executor"):
        executor.submit(double, 1)
