"""How calls end: as the agent says, when a large result is here, or not yet, being sent once more with their code.

Law: a call leaves `pending` when it is settled, and not before.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from agentd.api.calls.direct_ends import DirectEnds, counted
from agentd.api.calls.downloads import Downloads
from agentd.api.calls.future import CallFuture
from agentd.api.calls.values import reencode
from agentd.model.errors import PeerError
from agentd.model.exchange import Submission
from agentd.model.task import Outcome, Reason, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.calls.catalogue import Catalogue
    from agentd.api.calls.direct import Direct
    from agentd.api.calls.downloads import Result
    from agentd.api.memory.shared import SharedMemory
    from agentd.model.exchange import Settled
    from agentd.model.values import Payload
    from agentd.wire.messages import DataChunk, HelloAck, SettledCalls


class Settling:
    """Settles the calls of one mailbox; called by one thread at a time.

    `pending` are the calls that are expected and `outbox` those to be sent, both the mailbox's; `let_go` is told of
    arguments that are needed no more. Where a method is given `due`, it adds the futures whose callbacks are due.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        direct: Direct,
        shared: SharedMemory,
        pending: dict[int, CallFuture[Any]],
        outbox: list[Submission],
        let_go: Callable[[Payload], None],
    ) -> None:
        self._catalogue = catalogue
        self._direct = direct
        self._shared = shared
        self._pending = pending
        self._outbox = outbox
        self._let_go = let_go
        self._direct_ends = DirectEnds(direct, catalogue, pending, outbox, self._settle_each)
        self._downloads: Downloads | None = None
        """Results that come in chunks; None before the first of them."""

    def hear(self) -> list[CallFuture[Any]]:
        """Act on what has come over the direct line; give the futures whose callbacks are due."""
        return self._direct_ends.hear()

    def settle(self, message: SettledCalls, due: list[CallFuture[Any]]) -> None:
        """Settle what the daemon has answered."""
        self._settle_each(message, due)
        if self._direct.is_possible and len(message.settled) == 1:
            self._direct.settled(message.settled[0].ref, message.settled[0].outcome)

    def _settle_each(self, message: SettledCalls, due: list[CallFuture[Any]]) -> None:
        pending = self._pending
        odd = []
        with CallFuture.lock:
            for item in message.settled:
                outcome = item.outcome
                future = pending.get(item.ref)
                if future is None or outcome.status or outcome.value.parts or future.has_parts:
                    odd.append((item, future))
                    continue
                if future.settle(outcome):
                    due.append(future)
                pending.pop(item.ref, None)
        for item, future in odd:
            if item.outcome.value.parts and Downloads.is_elsewhere(item):
                self._fetch(item, is_wanted=future is not None)
            elif future is None:
                if not self._direct_ends.over(item, due):
                    self._views(item.outcome.value)  # dropped at once, which tells the agent that nobody reads them
            elif not self._is_repeated(future, item.outcome):
                outcome = counted(item.outcome, future.lost_attempts) if future.lost_attempts else item.outcome
                self._end(item.ref, future, outcome, self._views(outcome.value), due)

    def _fetch(self, item: Settled, *, is_wanted: bool) -> None:
        """Bring a result here that is only named."""
        if self._downloads is None:
            self._downloads = Downloads(self._shared.tell)
        if is_wanted:
            self._downloads.begin(item)
        else:
            self._downloads.refuse(item)

    def reconnect(self, ack: HelloAck) -> set[int]:
        """Go on with results that were on their way, over a new connection; gives the calls that need nothing more."""
        return self._downloads.reconnect(ack) if self._downloads is not None else set()

    def chunk(self, message: DataChunk, due: list[CallFuture[Any]]) -> None:
        """Take a part of a large result, if one is awaited, and settle its call with the last of them."""
        if self._downloads is not None:
            self._fetched(self._downloads.take(message), due)

    def _fetched(self, result: Result | None, due: list[CallFuture[Any]]) -> None:
        """All of a result is here, or will not come."""
        future = self._pending.get(result.settled.ref) if result is not None else None
        if result is None or future is None:
            return
        call = future.submission
        if result.failure is None:
            self._end(result.settled.ref, future, result.settled.outcome, result.buffers, due)
        elif result.was_cut and call is not None and self._catalogue.template(call.template).idempotent:
            self._outbox.append(call)  # the agent did not keep it for so long: the call runs again
        else:
            if call is not None:
                self._let_go(call.payload)
            future.fail(result.failure)
            self._pending.pop(result.settled.ref, None)

    def _end(
        self,
        ref: int,
        future: CallFuture[Any],
        outcome: Outcome,
        buffers: list[memoryview],
        due: list[CallFuture[Any]],
    ) -> None:
        """Settle a call that needs more than its outcome noted."""
        call = future.submission
        if call is not None:
            self._let_go(call.payload)
        if outcome.status == Status.CANCELLED:
            future.fail(CancelledError())
        else:
            with CallFuture.lock:
                future.buffers = buffers
                if future.settle(outcome):
                    due.append(future)
        self._pending.pop(ref, None)

    def _views(self, payload: Payload) -> list[memoryview]:
        """Give the buffers of a result.

        Raises:
            PeerError: it names shared memory that was never shared.
        """
        if not payload.parts:
            return []
        try:
            return self._shared.views(payload)
        except (LookupError, ValueError) as error:
            raise PeerError(f"a result in shared memory that is not there: {error}") from error

    def _is_repeated(self, future: CallFuture[Any], outcome: Outcome) -> bool:
        """Send a call once more where the agent, or its worker, lacks the caller's modules; tell whether that is so."""
        call, failure = future.submission, outcome.failure
        if call is None or failure is None or outcome.status != Status.FAILED or future.is_settled:
            return False
        try:
            again = self._by_value(call, failure.reason, future)
        except Exception as error:  # noqa: BLE001 - users' code runs while pickling, and its error is the call's
            future.fail(error)
            return False
        if again is None:
            return False
        future.submission = again
        self._outbox.append(again)
        return True

    def _by_value(self, call: Submission, reason: int, future: CallFuture[Any]) -> Submission | None:
        if reason == Reason.NOT_CALLABLE:
            number = self._catalogue.by_value_instead(call.template)
            return None if number is None else Submission(call.ref, number, call.payload)
        if reason == Reason.NOT_DECODABLE and not future.was_reencoded:
            future.was_reencoded = True
            self._catalogue.send_arguments_by_value(call.template)
            payload = reencode(call.payload)
            return None if payload is None else Submission(call.ref, call.template, payload)
        return None
