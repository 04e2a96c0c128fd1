"""The line to an agent elsewhere: calls go over HTTP in batches, and a few threads wait for their ends.

Law: each submission bears a key, so one whose answer was lost is sent again without being accepted twice.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from concurrent.futures import CancelledError
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from agentd.api.calls.catalogue import Catalogue
from agentd.api.calls.future import CallFuture
from agentd.api.calls.values import NO_ARGUMENTS, caught
from agentd.api.routes import requests, submissions
from agentd.api.routes.client import Agent, with_rest
from agentd.api.tasks.failures import RemoteTraceback
from agentd.model.errors import AgentdError, RequestError, TaskFailed, Unreachable
from agentd.model.exchange import Submission
from agentd.model.task import Form, Outcome, Template
from agentd.model.values import Codec, Payload

if TYPE_CHECKING:
    from agentd.api.places import Place

WAITERS = 8
"""Operations that are waited for at a time, oldest first; the others that end meanwhile are found at once. Chosen."""
BATCH_BYTES = 512 * 1024
"""Half of the largest JSON body that an agent takes."""
WAIT_S = 30.0
"""How long one request waits for an end (chosen: half of the longest wait that an agent grants)."""
FIRST_DELAY_S = 0.05
"""Pause after the first failed request, doubled after each further one (chosen)."""
LARGEST_DELAY_S = 2.0
"""Their cap (chosen)."""

_Waiting = tuple[CallFuture[Any], str]
"""A call, and the operation that it became."""


class RemoteLine:
    """One executor's way to an agent elsewhere. Safe to use from several threads.

    Everything that goes this way is in the agent's journal. When the agent cannot be reached, each request is repeated
    for `reconnect_s`; then its calls fail with `Unreachable`.
    """

    has_chunks = False
    place = None
    """Shared memory does not reach that far."""

    def __init__(self, place: Place, options: Template, reconnect_s: float) -> None:
        self._place = with_rest(place)
        self._reconnect_s = reconnect_s
        self._start_over(options)
        python = tuple(map(int, self._agent.agent().python.split(".")[:2]))
        self.catalogue = Catalogue(options, agent_python=(python[0], python[1]) if len(python) == 2 else (0, 0))

    def _start_over(self, options: Template) -> None:
        """Take up everything that belongs to this very process."""
        self._options = options
        self._agent = Agent(self._place)
        self._refs = count(1)
        self._pending: dict[int, CallFuture[Any]] = {}
        self._outbox: deque[CallFuture[Any]] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._operations: dict[int, str] = {}
        """Of pending calls that were accepted."""
        self._given_up: deque[str] = deque()
        self._news = threading.Condition()
        self._is_closing = False
        self._threads: list[threading.Thread] = []

    # --- callers ------------------------------------------------------------------------------------------------

    def call(self, template: int, payload: Payload) -> CallFuture[Any]:
        """Ask for one call; it leaves with the next batch.

        Raises:
            RuntimeError: the line is closed.
        """
        with self._news:
            if self._is_closing:
                raise RuntimeError("cannot submit after shutdown: make a new executor")
            submission = Submission(next(self._refs), template, payload)
            future: CallFuture[Any] = CallFuture(self, submission)
            self._pending[submission.ref] = future
            self._outbox.append(future)
            self._employ()
            self._news.notify_all()
        return future

    def wait_for(self, future: CallFuture[Any], timeout: float | None) -> None:
        """Return when the future is settled.

        Raises:
            TimeoutError: it is not, after `timeout` seconds.
        """
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        if not ended.wait(timeout):
            raise TimeoutError

    def attend(self) -> None:
        """Nothing to do: the threads attend anyway."""

    def release(self, future: CallFuture[Any]) -> None:
        """Nothing to do: whoever waits has a callback."""

    def give_up(self, future: CallFuture[Any]) -> None:
        """Cancel the operation of a call."""
        submission = future.submission
        if submission is None:
            return
        with self._news:
            self._pending.pop(submission.ref, None)
            operation = self._operations.pop(submission.ref, None)
            if operation is not None:
                self._given_up.append(operation)
            self._news.notify_all()

    def unsettled(self) -> list[CallFuture[Any]]:
        """List the calls that have not ended."""
        return list(self._pending.values())

    def close(self, *, wait: bool) -> None:
        """Take no more calls, and end once those that were taken have ended; with `wait`, not before."""
        with self._news:
            self._is_closing = True
            self._news.notify_all()
        if wait:
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()
            self._agent.close()

    def after_fork(self) -> None:
        """Begin anew in a child process; the operations stay the parent's."""
        for future in self.unsettled():
            future.disown()
        was_closing = self._is_closing
        self._start_over(self._options)
        self._is_closing = was_closing

    # --- threads ------------------------------------------------------------------------------------------------

    def _employ(self) -> None:
        """Start the sender, and waiters as far as there are calls for them. Call with `_news`."""
        wanted = min(1 + WAITERS, 1 + len(self._pending))
        while len(self._threads) < wanted:
            work = self._wait if self._threads else self._send
            thread = threading.Thread(target=work, name="agentd-remote", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _send(self) -> None:
        while True:
            with self._news:
                while not self._outbox and not self._given_up:
                    if self._is_closing and not self._pending:
                        return
                    self._news.wait()
                futures = self._next_batch()
                given_up = [self._given_up.popleft() for _ in range(len(self._given_up))]
            for operation in given_up:
                self._cancel(operation)
            if futures:
                self._submit(futures)

    def _next_batch(self) -> list[CallFuture[Any]]:
        futures: list[CallFuture[Any]] = []
        total = 0
        while self._outbox and len(futures) < requests.MOST_IN_BATCH:
            submission = self._outbox[0].submission
            if submission is None or submission.ref not in self._pending:
                self._outbox.popleft()
                continue
            total += self._weight(submission)
            if futures and total > BATCH_BYTES:
                break
            futures.append(self._outbox.popleft())
        return futures

    def _weight(self, submission: Submission) -> int:
        template = self.catalogue.template(submission.template)
        return (submission.payload.size_bytes + len(template.code)) * 4 // 3 + 512

    def _submit(self, futures: list[CallFuture[Any]]) -> None:
        asked = [(future, future.submission) for future in futures]
        bodies = [self._body(submission) for _, submission in asked if submission is not None]
        try:
            answers = self._insist(requests.batch(bodies))
        except AgentdError as error:
            for future, submission in asked:
                self._fail(future, submission, error)
            return
        put_off_s = 0.0
        for (future, submission), answer in zip(asked, answers, strict=True):
            if not isinstance(answer, AgentdError):
                self._accepted(future, submission, answer.id)
            elif isinstance(answer, RequestError) and answer.status == 429:
                put_off_s = max(put_off_s, float(answer.retry_after_s or 1))
                self._again(future)
            else:
                self._refused(future, submission, answer)
        if put_off_s:
            threading.Event().wait(put_off_s)

    def _accepted(self, future: CallFuture[Any], submission: Submission | None, operation: str) -> None:
        with self._news:
            if submission is not None and submission.ref in self._pending:
                self._operations[submission.ref] = operation
                self._waiting.append((future, operation))
            else:
                self._given_up.append(operation)
            self._news.notify_all()

    def _again(self, future: CallFuture[Any]) -> None:
        with self._news:
            self._outbox.append(future)

    def _refused(self, future: CallFuture[Any], submission: Submission | None, error: AgentdError) -> None:
        """Send a function by value whose name is of no use there; anything else is the call's end."""
        number: int | Exception | None = None
        if submission is not None and isinstance(error, RequestError) and error.status == 422:
            number = caught(partial(self.catalogue.by_value_instead, submission.template))
        if isinstance(number, Exception):
            future.fail(number)
            self._forget(submission)
            return
        if submission is None or number is None:
            self._fail(future, submission, error)
            return
        future.submission = Submission(submission.ref, number, submission.payload)
        self._again(future)

    def _body(self, submission: Submission) -> dict[str, Any]:
        template = self.catalogue.template(submission.template)
        options = {
            name: getattr(template, name)
            for name in ("timeout_s", "max_attempts", "idempotent", "priority", "name", "constraints", "on_failure")
        }
        body = submissions.submission(template.function, **options, key=uuid.uuid4().hex)
        body["pickle"] = submissions.as_base64(submission.payload.data or NO_ARGUMENTS)
        if template.form == Form.VALUE:
            body["code"] = submissions.as_base64(template.code)
        return body

    def _wait(self) -> None:
        while True:
            with self._news:
                while not self._waiting:
                    if self._is_closing and not self._pending:
                        self._news.notify_all()
                        return
                    self._news.wait()
                future, operation = self._waiting.popleft()
            if not future.is_settled:
                self._fetch(future, operation)

    def _fetch(self, future: CallFuture[Any], operation: str) -> None:
        """Wait for one operation and settle its call, or put it back if it goes on."""
        submission = future.submission
        try:
            data = self._insist(requests.pickled_result(operation, WAIT_S))
        except RequestError as error:
            if error.status == 409:
                with self._news:
                    self._waiting.append((future, operation))
                    self._news.notify_all()
            else:
                self._fail(future, submission, error)
        except AgentdError as error:
            self._fail(future, submission, error)
        else:
            outcome = Outcome(value=Payload(Codec.PICKLE, data))
            with CallFuture.lock:
                is_due = future.settle(outcome)
            if is_due:
                future.announce()
            self._forget(submission)

    def _fail(self, future: CallFuture[Any], submission: Submission | None, error: AgentdError) -> None:
        if isinstance(error, TaskFailed) and error.kind == "cancelled":
            future.fail(CancelledError())
        elif isinstance(error, TaskFailed):
            told = TaskFailed(str(error), kind=error.kind, traceback=error.traceback)
            told.__cause__ = RemoteTraceback(error.traceback) if error.traceback else None
            future.fail(told)
        else:
            future.fail(error)
        self._forget(submission)

    def _forget(self, submission: Submission | None) -> None:
        with self._news:
            if submission is not None:
                self._pending.pop(submission.ref, None)
                self._operations.pop(submission.ref, None)
            self._news.notify_all()

    def _cancel(self, operation: str) -> None:
        try:
            self._agent.send(requests.cancel(operation))
        except AgentdError:  # it may have ended, or expired; nobody waits for it
            return

    def _insist(self, request: requests.Request[Any]) -> Any:
        """Send a request, again after a loss of the connection or a full queue.

        Raises:
            Unreachable: nobody answered within `reconnect_s`.
            AgentdError: the agent refused for good.
        """
        end_s, delay_s = time.monotonic() + self._reconnect_s, FIRST_DELAY_S
        while True:
            try:
                return self._agent.send(request)
            except Unreachable:
                if time.monotonic() + delay_s > end_s:
                    raise
                wait_s = delay_s
            except RequestError as error:
                if error.status not in {429, 503}:
                    raise
                wait_s = max(delay_s, float(error.retry_after_s or 0))
                if error.status == 503 and time.monotonic() + wait_s > end_s:
                    raise
            delay_s = min(2 * delay_s, LARGEST_DELAY_S)
            threading.Event().wait(wait_s)
