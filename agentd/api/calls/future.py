"""The future of one call: decoded by whoever reads it, settled by whichever thread happens to read the connection.

It is a `concurrent.futures.Future` in every respect that `wait`, `as_completed`, `asyncio.wrap_future` and callbacks
look at, without its price: one lock for all futures instead of a condition each, lists only where they are used.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agentd.api.calls.values import PLAIN, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.model.exchange import Submission
    from agentd.model.task import Outcome

PENDING = "PENDING"
FINISHED = "FINISHED"
CANCELLED = "CANCELLED_AND_NOTIFIED"
"""States by the names that `concurrent.futures` compares with."""

T = TypeVar("T")


class Line(Protocol):
    """What a future asks of the connection that its call went over."""

    def wait_for(self, future: CallFuture[Any], timeout: float | None) -> None:
        """Return when the future is settled.

        Raises:
            TimeoutError: it is not, after `timeout` seconds.
        """
        ...

    def attend(self) -> None:
        """Somebody waits for futures of this line without reading it: read it for them."""
        ...

    def give_up(self, future: CallFuture[Any]) -> None:
        """The future was cancelled: its outcome is of no interest."""
        ...

    def release(self, future: CallFuture[Any]) -> None:
        """Let the threads go that wait in `wait_for` for a future, which is settled."""
        ...


class CallFuture(Future[T]):
    """A call's future. It cannot be told from outside whether the call runs already, so `running()` says no.

    Cancelling succeeds until the call is settled; one that runs is stopped at the agent.
    """

    __slots__ = ("_exception", "_line", "_outcome", "_result", "_state", "submission")
    """What each of them has: 130 bytes in place of 330 of a dict, and half of the time to make and to settle it. The
    rest is for few, and the class has it for the others."""

    lock = threading.RLock()
    """One for all, reentrant: `wait` takes it once for each of its futures. Held for a few instructions only."""
    _condition = threading.Condition(lock)
    _done_callbacks: Any = ()
    _waiting: list[Any] | None = None
    buffers: list[memoryview] = []  # noqa: RUF012 - shared and empty: replaced, never appended to
    """Shared memory of the outcome's parts."""
    is_awaited = False
    """A thread in `result` sleeps while another one reads the connection."""
    was_reencoded = False
    """Its arguments were sent once more, with the code of their classes."""
    lost_attempts = 0
    """How often a worker has died that it ran in directly."""
    has_parts = False
    """Its arguments lie in shared memory, in part."""

    def __init__(self, line: Line, submission: Submission) -> None:  # the base's would make what we share
        self._line = line
        self.submission: Submission | None = submission
        """What was asked, until it has ended."""
        self._state = PENDING
        self._outcome: Outcome | None = None
        """How the call ended, until it is read for the first time."""
        self._result: Any = None
        self._exception: BaseException | None = None
        if submission.payload.parts:
            self.has_parts = True

    @classmethod
    def renew_lock(cls) -> None:
        """Replace the lock in a child process: a thread that was not copied may have held it."""
        cls.lock = threading.RLock()
        cls._condition = threading.Condition(cls.lock)

    @property
    def _waiters(self) -> Any:  # type: ignore[override]
        """What `wait` and `as_completed` append to, so asking for it announces a thread that reads nothing itself."""
        if self._waiting is None:
            self._waiting = []
        if self._state is PENDING:
            self._line.attend()
        return self._waiting

    @property
    def is_settled(self) -> bool:
        """Tell whether it has ended, one way or another; as `done`, without the lock."""
        return self._state is not PENDING

    def result(self, timeout: float | None = None) -> T:
        """Give the value that the call returned, after at most `timeout` seconds.

        Raises:
            TimeoutError: it has not ended by then.
            CancelledError: it was cancelled.
            Unreachable: the agent went away and did not come back.
            Exception: what the function raised, with the remote traceback as its cause.
        """
        if self._outcome is not None:
            self._read()
        elif self._state is not FINISHED:
            self._wait(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # noqa: PLW0642 - breaks the cycle with the traceback
        value: T = self._result
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Give what the function raised, or None, after at most `timeout` seconds.

        Raises:
            TimeoutError: it has not ended by then.
            CancelledError: it was cancelled.
        """
        self._wait(timeout)
        return self._exception

    def _wait(self, timeout: float | None) -> None:
        if self._state is PENDING:
            self._line.wait_for(self, timeout)
        if self._outcome is not None:
            self._read()
        if self._state is CANCELLED:
            raise CancelledError

    def cancel(self) -> bool:
        """Cancel the call unless it has ended; tell whether it is cancelled now."""
        with self._condition:
            if self._state is not PENDING:
                return self._state is CANCELLED
            self._close(CANCELLED)
        self._line.give_up(self)
        self.announce()
        return True

    def disown(self) -> None:
        """End it in a child process: its outcome goes to the parent, which asked for it."""
        self._exception = RuntimeError("this call was submitted before a fork: only the parent process gets its result")
        self._state = FINISHED

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn` called with this future when it has ended, by whichever thread reads that; at once if it has."""
        with self._condition:
            if self._state is PENDING and not self._done_callbacks:
                self._done_callbacks = []
        super().add_done_callback(fn)
        if self._state is PENDING:
            self._line.attend()

    def settle(self, outcome: Outcome) -> bool:
        """Note how the call ended; call with the condition held. True if `announce` is due once it is released."""
        if self._state is not PENDING:
            return False
        self._outcome = outcome
        self._state = FINISHED
        self.submission = None
        if self.is_awaited:
            self._line.release(self)
        if self._waiting:
            self._tell_waiters()
        return bool(self._done_callbacks)

    def fail(self, error: BaseException) -> None:
        """End it with an exception of our own, or as cancelled if that is a `CancelledError`."""
        with self._condition:
            if self._state is not PENDING:
                return
            if not isinstance(error, CancelledError):
                self._exception = error
            self._close(CANCELLED if isinstance(error, CancelledError) else FINISHED)
        self.announce()

    def announce(self) -> None:
        """Call the callbacks. Each is called once: nobody but who has ended the future calls this."""
        if self._done_callbacks:
            self._invoke_callbacks()  # type: ignore[attr-defined]

    def _close(self, state: str) -> None:
        self._state = state
        if self.is_awaited:
            self._line.release(self)
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        for waiter in self._waiting or ():
            if self._state is CANCELLED:
                waiter.add_cancelled(self)
            elif self._exception is not None or (self._outcome is not None and self._outcome.status):
                waiter.add_exception(self)
            else:
                waiter.add_result(self)

    def _read(self) -> None:
        """Decode the outcome. Two threads may both do it; the first one's values stay, where that can be told."""
        outcome = self._outcome
        if outcome is None:
            return
        value, error = read(outcome, self.buffers)
        if type(value) in PLAIN and error is None:
            self._result = value
            self._outcome = None
            return
        with self.lock:
            if self._outcome is not None:
                self._result, self._exception = value, error
                self.buffers = []
                self._outcome = None

    def set_result(self, result: T) -> None:  # noqa: ARG002 - the base's signature
        """Refuse: only the agent ends a call."""
        raise RuntimeError("the future of a call on an agent is ended by the agent; cancel() gives it up")

    def set_exception(self, exception: BaseException | None) -> None:  # noqa: ARG002 - the base's signature
        """Refuse: only the agent ends a call."""
        raise RuntimeError("the future of a call on an agent is ended by the agent; cancel() gives it up")

    def __repr__(self) -> str:
        if self._state is PENDING:
            state = "pending"
        elif self._state is CANCELLED:
            state = "cancelled"
        elif self._exception is not None or (self._outcome is not None and self._outcome.status):
            state = "failed"
        else:
            state = "done"
        return f"<CallFuture {state}>"
