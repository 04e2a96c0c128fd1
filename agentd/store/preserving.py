"""Values on their way into the journal: what would not outlive this process is put to where it does."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.journal.entries import Accepted, Ended, EndedAlike
from agentd.model.task import Failure, Reason, Status
from agentd.model.values import NO_VALUE
from agentd.store.objects import SegmentLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentd.core.journal.entries import Entry
    from agentd.model.values import Payload


def are_bare_ends(entries: Sequence[Entry]) -> bool:
    """Tell whether these are ends without parts alone, as most are: nothing of them lies elsewhere."""
    for entry in entries:
        if type(entry) is Ended:
            if entry.outcome.value.parts:
                return False
        elif type(entry) is not EndedAlike:
            return False
    return True


def preserve(entries: list[Entry], keep: Callable[[Payload], Payload]) -> None:
    """Put what outlives us in the place of values that would not, once; a second call finds nothing left to do."""
    for at, entry in enumerate(entries):
        if type(entry) is Ended:
            if entry.outcome.value.parts:
                entries[at] = _preserved_end(entry, keep)
        elif isinstance(entry, Accepted) and entry.payload.parts:
            with suppress(SegmentLost):  # then the part still names a segment, which tells that it is lost
                entries[at] = replace(entry, payload=keep(entry.payload))


def _preserved_end(entry: Ended, keep: Callable[[Payload], Payload]) -> Ended:
    try:
        outcome = replace(entry.outcome, value=keep(entry.outcome.value))
    except SegmentLost as error:
        failure = Failure(reason=Reason.NOT_ENCODABLE, type="SegmentLost", message=str(error))
        outcome = replace(entry.outcome, status=Status.FAILED, value=NO_VALUE, failure=failure)
    return replace(entry, outcome=outcome)
