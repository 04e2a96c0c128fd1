"""Which objects on the disk the journal's operations refer to.

Law: an object is let go when the last operation that refers to it is forgotten, and not before.
"""

from __future__ import annotations

from collections import Counter

from agentd.core.journal.entries import Accepted, Ended, Entry, Forgotten
from agentd.model.values import Payload


class References:
    """Objects by operation; empty for the many operations that are small."""

    def __init__(self) -> None:
        self._of: dict[int, list[int]] = {}
        self._count: Counter[int] = Counter()

    def add(self, entry: Entry) -> list[int]:
        """Account for an entry of the journal, in its order; give the objects that nothing refers to any more."""
        if type(entry) is Accepted:
            if entry.payload.parts:
                self._refer(entry.operation, entry.payload)
        elif type(entry) is Ended:
            if entry.outcome.value.parts:
                self._refer(entry.operation, entry.outcome.value)
        elif type(entry) is Forgotten and self._of:
            return [stored for operation in entry.operations for stored in self._drop(operation)]
        return []

    def _refer(self, operation: int, payload: Payload) -> None:
        for part in payload.parts:
            if part.stored:
                self._of.setdefault(operation, []).append(part.stored)
                self._count[part.stored] += 1

    def _drop(self, operation: int) -> list[int]:
        unreferenced = []
        for stored in self._of.pop(operation, ()):
            self._count[stored] -= 1
            if not self._count[stored]:
                del self._count[stored]
                unreferenced.append(stored)
        return unreferenced

    @property
    def objects(self) -> frozenset[int]:
        """All objects that are referred to."""
        return frozenset(self._count)
