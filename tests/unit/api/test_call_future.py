"""The slim future is a `concurrent.futures.Future` in all that its users look at."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import threading

import pytest

from agentd.api.calls.future import CallFuture
from agentd.model.exchange import Submission
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import Codec, Payload

SUBMISSION = Submission(1, 1, Payload())


class Wire:
    """A line whose calls end when the test says so."""

    def __init__(self) -> None:
        self.attended = 0
        self.given_up: list[CallFuture] = []
        self.released: list[CallFuture] = []
        self.before_waiting = None

    def future(self) -> CallFuture:
        return CallFuture(self, SUBMISSION)

    def wait_for(self, future, timeout):
        if self.before_waiting is not None:
            self.before_waiting(future)
        if not future.is_settled:
            raise TimeoutError

    def attend(self):
        self.attended += 1

    def give_up(self, future):
        self.given_up.append(future)

    def release(self, future):
        self.released.append(future)


def done(value: str = "7") -> Outcome:
    return Outcome(value=Payload(Codec.JSON, value.encode()))


def failed() -> Outcome:
    return Outcome(Status.FAILED, failure=Failure(Reason.EXCEPTION, "ValueError", "on purpose"))


def end(future: CallFuture, outcome: Outcome) -> None:
    with CallFuture.lock:
        is_due = future.settle(outcome)
    if is_due:
        future.announce()


@pytest.fixture
def wire():
    return Wire()


def test_the_value_is_given_once_it_is_there(wire):
    """`result`, `exception`, `done` and `running` say what happened."""
    future = wire.future()
    assert not future.done()
    assert not future.running()
    end(future, done())
    assert future.done()
    assert future.result() == 7
    assert future.result(0) == 7
    assert future.exception() is None


def test_waiting_is_the_lines_affair(wire):
    """A caller that needs the result makes the line read; nothing else does."""
    future = wire.future()
    wire.before_waiting = lambda future: end(future, done("8"))
    assert future.result() == 8


def test_time_out_leaves_the_call_alone(wire):
    """A later result is still given."""
    future = wire.future()
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    end(future, done())
    assert future.result() == 7


def test_a_failure_is_raised_each_time_and_can_be_asked_for(wire):
    """`result` raises what `exception` gives."""
    future = wire.future()
    end(future, failed())
    with pytest.raises(Exception, match="on purpose"):
        future.result()
    assert str(future.exception()) == "on purpose"
    with pytest.raises(Exception, match="on purpose"):
        future.result()


def test_a_failure_leaves_no_cycle(wire):
    """Raising drops the frame's reference to the future, so that the traceback does not keep it alive."""
    import gc
    import weakref

    future = wire.future()
    end(future, failed())
    with pytest.raises(Exception, match="on purpose"):
        future.result()
    gone = weakref.ref(future)
    gc.disable()
    try:
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_cancelling_tells_the_line_and_everybody_who_waits(wire):
    """It succeeds until the call has ended, once; later outcomes are of no interest."""
    future = wire.future()
    told = []
    future.add_done_callback(told.append)
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    assert wire.given_up == [future]
    assert told == [future]
    with pytest.raises(cf.CancelledError):
        future.result()
    with pytest.raises(cf.CancelledError):
        future.exception()
    end(future, done())
    assert future.cancelled()


def test_what_has_ended_cannot_be_cancelled(wire):
    """The outcome stays."""
    future = wire.future()
    end(future, done())
    assert not future.cancel()
    assert future.result() == 7
    assert wire.given_up == []


def test_wait_and_as_completed_see_every_end(wire):
    """Values, failures and cancellations wake who waits with the library's own functions, and the line is told."""
    futures = [wire.future() for _ in range(3)]
    with_all = threading.Thread(target=lambda: ended.append(cf.wait(futures)))
    ended: list[object] = []
    with_all.start()
    while wire.attended < 3:
        pass
    end(futures[0], done())
    end(futures[1], failed())
    futures[2].cancel()
    with_all.join()
    assert ended[0].done == set(futures)
    assert set(cf.as_completed(futures)) == set(futures)


def test_wait_returns_at_the_first_exception(wire):
    """The kind of an end is told to the waiters, not only that it came."""
    futures = [wire.future() for _ in range(3)]
    ended: list[object] = []
    thread = threading.Thread(target=lambda: ended.append(cf.wait(futures, return_when=cf.FIRST_EXCEPTION)))
    thread.start()
    while wire.attended < 3:
        pass
    end(futures[1], done())
    end(futures[2], failed())
    thread.join()
    assert ended[0].done == {futures[1], futures[2]}


def test_callbacks_are_called_once_in_order_also_after_the_end(wire):
    """One that raises does not keep the others from being called."""
    future = wire.future()
    told: list[str] = []

    def wrong(_):
        raise RuntimeError("a callback's own fault")

    future.add_done_callback(lambda _: told.append("first"))
    future.add_done_callback(wrong)
    future.add_done_callback(lambda _: told.append("second"))
    assert wire.attended >= 1
    end(future, done())
    future.add_done_callback(lambda _: told.append("late"))
    assert told == ["first", "second", "late"]


def test_asyncio_can_await_it(wire):
    """`asyncio.wrap_future` gives the value and the failure."""

    async def main():
        good, bad = wire.future(), wire.future()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, end, good, done())
        loop.run_in_executor(None, end, bad, failed())
        return await asyncio.gather(asyncio.wrap_future(good), asyncio.wrap_future(bad), return_exceptions=True)

    value, error = asyncio.run(main())
    assert value == 7
    assert str(error) == "on purpose"


def test_two_threads_get_the_same_object(wire):
    """However often it is decoded, one value is kept."""
    future = wire.future()
    end(future, done("[1,2]"))
    assert future.result() is future.result()


def test_only_the_agent_ends_a_call(wire):
    """Setting a result from outside is refused, saying what to do."""
    future = wire.future()
    for attempt in (lambda: future.set_result(1), lambda: future.set_exception(ValueError())):
        with pytest.raises(RuntimeError, match="cancel"):
            attempt()


def test_it_shows_its_state(wire):
    """A person sees what became of the call."""
    states = []
    for outcome in (None, done(), failed()):
        future = wire.future()
        if outcome is not None:
            end(future, outcome)
        states.append(repr(future))
    future = wire.future()
    future.cancel()
    states.append(repr(future))
    assert states == [f"<CallFuture {state}>" for state in ("pending", "done", "failed", "cancelled")]


def test_only_the_first_end_counts(wire):
    """A second outcome, or a failure of ours after an outcome, changes nothing."""
    future = wire.future()
    end(future, done("1"))
    end(future, done("2"))
    future.fail(RuntimeError("late"))
    assert future.result() == 1
