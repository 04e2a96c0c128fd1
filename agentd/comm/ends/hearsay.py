"""What a neighbour says of how tasks ended, as far as it can be believed.

Law: what it says costs its reader no more than what an honest worker says, and names no object that it cannot name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.model.exchange import End, Refusal
from agentd.model.task import Failure, Outcome, Reason, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentd.model.values import Payload, Remote

NAME_MOST = 256
"""Characters of a name (specified: as everywhere in the protocol)."""
REASON_MOST = 4_096
"""Of a reason (specified: as everywhere in the protocol)."""
TYPE_MOST, MESSAGE_MOST, TRACEBACK_MOST, EXCEPTION_MOST = 512, 32 << 10, 128 << 10, 64 << 10
"""Characters of a failure's type and texts, bytes of its exception: at least what workers keep of them."""
ENDINGS = frozenset(Status)
REASONS = frozenset(Reason)


def believed(ends: list[End], objection: Callable[[Remote], str | None]) -> list[End]:
    """Give ends as they are taken: the same list where nothing about them is odd, which is the common case.

    `objection` says why an object cannot be the one that is named; None: it can.
    """
    if all(_is_plain(end.outcome) for end in ends):
        return ends
    return [end if _is_plain(end.outcome) else replace(end, outcome=_taken(end.outcome, objection)) for end in ends]


def shortened(refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
    """Give refusals with reasons of a length that people read."""
    if all(len(refusal.reason) <= REASON_MOST for refusal in refusals):
        return refusals
    return tuple(replace(refusal, reason=refusal.reason[:REASON_MOST]) for refusal in refusals)


def _is_plain(outcome: Outcome) -> bool:
    return not outcome.status and outcome.failure is None and not outcome.has_parts and len(outcome.agent) <= NAME_MOST


def _taken(outcome: Outcome, objection: Callable[[Remote], str | None]) -> Outcome:
    if len(outcome.agent) > NAME_MOST:
        outcome = replace(outcome, agent=outcome.agent[:NAME_MOST])
    words = _lie(outcome, objection)
    if words is not None:
        failure = Failure(Reason.NOT_DECODABLE, "NotDecodable", words, agent=outcome.agent)
        return Outcome(Status.FAILED, failure=failure, agent=outcome.agent, seconds=outcome.seconds)
    return outcome if outcome.failure is None else replace(outcome, failure=_told(outcome.failure))


def _lie(outcome: Outcome, objection: Callable[[Remote], str | None]) -> str | None:
    """Say what of an outcome cannot be; None where all of it can."""
    if outcome.status not in ENDINGS:
        return f"it ended in a way that does not exist: {outcome.status}"
    sizes: dict[object, int] = {}
    for remote in named(outcome.values):
        if sizes.setdefault(remote.key, remote.size) != remote.size:
            return "its value names an object with two sizes"
        words = objection(remote)
        if words is not None:
            return f"its value cannot be had: {words}"
    return None


def named(values: Sequence[Payload]) -> list[Remote]:
    """List the objects that values name."""
    return [part.remote for value in values for part in value.parts if part.remote is not None]


def _told(failure: Failure) -> Failure:
    """Give what is told of a failure, shortened to what an honest worker tells at most."""
    return Failure(
        failure.reason if failure.reason in REASONS else Reason.EXCEPTION,
        failure.type[:TYPE_MOST],
        failure.message[:MESSAGE_MOST],
        failure.traceback[:TRACEBACK_MOST],
        failure.agent[:NAME_MOST],
        failure.attempt,
        failure.exception if len(failure.exception) <= EXCEPTION_MOST else b"",
    )
