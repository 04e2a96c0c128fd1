"""Recorded outcomes: the latest in memory, all of them in the journal."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from agentd.model.values import Part, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentd.core.journal.recovery import Recovered
    from agentd.model.task import Outcome
    from agentd.store.journal import Journal
    from agentd.store.objects import Objects

MOST_BYTES = 16 << 20
"""Of outcomes kept in memory (chosen: those that somebody is about to fetch)."""
OVERHEAD_BYTES = 400
"""What an outcome weighs besides its value (measured, roughly)."""


class Results:
    """Gives outcomes by operation, from memory where it can."""

    def __init__(self, journal: Journal, objects: Objects, most_bytes: int = MOST_BYTES) -> None:
        self._journal = journal
        self._objects = objects
        self._most_bytes = most_bytes
        self._recent: OrderedDict[int, Outcome] = OrderedDict()
        self._bytes = 0

    def remember(self, operation: int, outcome: Outcome) -> None:
        """Keep an outcome at hand while there is room."""
        size = outcome.value.size_bytes + OVERHEAD_BYTES
        if size > self._most_bytes or outcome.value.parts:
            return
        self._recent[operation] = outcome
        self._bytes += size
        while self._bytes > self._most_bytes:
            _, gone = self._recent.popitem(last=False)
            self._bytes -= gone.value.size_bytes + OVERHEAD_BYTES

    def forget_all(self, operations: Iterable[int]) -> None:
        """Drop outcomes that nobody may ask for any more."""
        for operation in self._recent.keys() & operations:
            self._bytes -= self._recent.pop(operation).value.size_bytes + OVERHEAD_BYTES

    def at_hand(self, operation: int) -> Outcome | None:
        """Give an outcome if it is in memory."""
        return self._recent.get(operation)

    async def whole(self, outcome: Outcome) -> Outcome:
        """Bring a value that is in its parts into one piece, from the message or the disk."""
        value = outcome.value
        if value.data or not value.parts:
            return outcome
        data = await asyncio.to_thread(self._joined, value.parts)
        return msgspec.structs.replace(outcome, value=Payload(value.codec, data))

    def _joined(self, parts: tuple[Part, ...]) -> bytes:
        read = self._objects.read
        return b"".join(part.data or read(part.stored, part.offset, part.size) for part in parts)

    async def read(self, operation: int) -> Outcome | None:
        """Give an outcome, from the disk if need be; None when the journal has none."""
        found = self._recent.get(operation)
        return found if found is not None else await self._journal.read_outcome(operation)


async def undelivered(recovered: Recovered, journal: Journal) -> dict[int, Outcome]:
    """Read the outcomes that neighbours still wait for."""
    outcomes = {}
    for finished in recovered.finished.values():
        if finished.path.sender is not None and not finished.is_delivered:
            outcome = await journal.read_outcome(finished.operation)
            if outcome is not None:
                outcomes[finished.operation] = outcome
    return outcomes
