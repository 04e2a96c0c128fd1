"""Operations that ended together and are alike in all but number, result and duration: kept, and written, as one.

Law: those of one run differ in nothing else that is told of them, now or after a restart.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from agentd.core.journal.entries import Ended, EndedAlike
from agentd.model.task import Outcome
from agentd.model.values import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentd.core.journal.entries import Asked
    from agentd.core.journal.ledger import Operation

ALIKE_LEAST = 8
"""Fewer are kept one by one (chosen: what is said of several weighs as much as three of them)."""
ALIKE_MOST = 500
"""More are no longer one run, as all of it goes at once (chosen: half of what goes in one batch)."""
ALIKE_BYTES = 64 * 1024
"""Of results that are written as one record, which is read as a whole to find one of them (chosen: a quarter row)."""

Ends = tuple["Operation", Outcome]


def runs_of(ended: Sequence[Ends], asked: Sequence[Asked | None] | None = None) -> Iterator[tuple[int, int]]:
    """Yield where those begin and end that stand together and are alike; what is of its own kind stands alone.

    Args:
        ended: operations with their outcomes.
        asked: what their ends are to say of how each was asked for; None: nothing.
    """
    begin, is_apart = 0, True
    (first, how), how_asked = ended[0], asked[0] if asked else None
    for at, ((operation, outcome), its_own) in enumerate(zip(ended, asked or repeat(None), strict=False)):
        value = outcome.value
        was_apart, is_apart = (
            is_apart,
            bool(
                operation.key
                or operation.callback
                or operation.is_cancelling
                or outcome.failure is not None
                or value.parts
                or outcome.made
                or outcome.output_bytes
            ),
        )
        if (
            is_apart
            or was_apart
            or at - begin >= ALIKE_MOST
            or operation.template is not first.template
            or operation.submitted_at != first.submitted_at
            or operation.started_wall != first.started_wall
            or operation.host != first.host
            or its_own is not how_asked
            or value.codec != how.value.codec
            or outcome.agent != how.agent
            or outcome.hops != how.hops
            or outcome.attempts != how.attempts
            or outcome.status != how.status
        ):
            if at:
                yield begin, at
            begin, first, how, how_asked = at, operation, outcome, its_own
    yield begin, len(ended)


def entries_of(
    ended: Sequence[Ends], asked: Sequence[Asked | None], runs: Sequence[tuple[int, int]], at_s: float, wall_s: float
) -> list[Ended | EndedAlike]:
    """Give the entries of ends, those of a run as one where that is worth it."""
    entries: list[Ended | EndedAlike] = []
    for begin, end in runs:
        some = ended[begin:end]
        values = [outcome.value.data for _, outcome in some]
        if end - begin >= ALIKE_LEAST and sum(map(len, values)) <= ALIKE_BYTES:
            (first, how), its_own = some[0], asked[begin]
            shared = Outcome(how.status, Payload(how.value.codec), None, 0.0, how.agent, how.hops, how.attempts)
            numbers = [operation.id for operation, _ in some]
            seconds = [outcome.seconds for _, outcome in some]
            entries.append(EndedAlike(numbers, values, seconds, shared, at_s, wall_s, first.started_wall, its_own))
            continue
        for (operation, outcome), its_own in zip(some, asked[begin:end], strict=True):
            entries.append(Ended(operation.id, outcome, at_s, wall_s, operation.started_wall, its_own))
    return entries
