"""How calls end that went over a direct line: by its answers, by the end of the line's task, or not yet at all.

Law: a call that went over a line stays expected until it is settled, or stands in the outbox once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentd.model.exchange import Settled, Submission
from agentd.model.task import Outcome, Reason, Status
from agentd.wire.messages import SettledCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.calls.catalogue import Catalogue
    from agentd.api.calls.direct import Answer, Direct
    from agentd.api.calls.future import CallFuture

_LOST = frozenset({Status.LOST_UNKNOWN, Status.QUARANTINED, Status.DONE})
"""How the task of a line ends whose worker has died; or without the end of the last call, which is no better."""


class DirectEnds:
    """Settles the calls of one mailbox that went directly.

    `pending` are the calls that are expected and `outbox` those to be sent, both the mailbox's; `settle` is how it
    settles calls, where the futures are noted whose callbacks are due.
    """

    def __init__(
        self,
        direct: Direct,
        catalogue: Catalogue,
        pending: dict[int, CallFuture[Any]],
        outbox: list[Submission],
        settle: Callable[[SettledCalls, list[CallFuture[Any]]], None],
    ) -> None:
        self._direct = direct
        self._catalogue = catalogue
        self._pending = pending
        self._outbox = outbox
        self._settle = settle

    def hear(self) -> list[CallFuture[Any]]:
        """Act on what has come over the line; give the futures whose callbacks are due."""
        due: list[CallFuture[Any]] = []
        answers, unbegun = self._direct.hear()
        self._take(answers, unbegun, due)
        return due

    def _take(self, answers: list[Answer], unbegun: list[Submission], due: list[CallFuture[Any]]) -> None:
        for call, outcome in answers:
            self._settle(SettledCalls([Settled(call.ref, outcome)]), due)
        self._outbox.extend(call for call in unbegun if call.ref in self._pending)

    def over(self, item: Settled, due: list[CallFuture[Any]]) -> bool:
        """The task of a line has ended, where it is one's: tell whether its outcome was of use for the last call."""
        answers, unbegun, line = self._direct.over(item.ref, item.outcome)
        self._take(answers, unbegun, due)
        call = line.current if line is not None else None
        if line is None or call is None or call.ref not in self._pending:
            return False
        again = self._again(call, item.outcome) if not line.is_last_of_task else None
        if again is not None:
            self._outbox.append(again)
            return True
        if line.is_last_of_task and item.outcome.status != Status.CANCELLED:
            self._direct.keep_off(call.template)
        self._settle(SettledCalls([Settled(call.ref, item.outcome)]), due)
        return True

    def _again(self, call: Submission, outcome: Outcome) -> Submission | None:
        """Give what is to be sent by the daemon for a call that the line did not answer; None: nothing."""
        failure = outcome.failure
        if failure is not None and failure.reason == Reason.NOT_DECODABLE:  # the line was never served
            return call
        if outcome.status not in _LOST:  # as where there was no memory: the next time would be no better
            return None
        number = self._catalogue.with_one_attempt_less(call.template)
        future = self._pending.get(call.ref)
        if number is None or future is None:
            return None
        future.submission = again = Submission(call.ref, number, call.payload)
        future.lost_attempts += 1
        return again


def counted(outcome: Outcome, more: int) -> Outcome:
    """Give an outcome with so many more attempts, which the agent does not know of."""
    failure = outcome.failure
    if failure is not None:
        failure = replace(failure, attempt=(failure.attempt or outcome.attempts) + more)
    return replace(outcome, failure=failure, attempts=outcome.attempts + more)
