"""What the journal's writer knows of the rows that are on the disk: how much of each is needed, and which objects are.

Law: rows are accounted for in the order in which they were written, and before anybody asks what is needed.

To write a row and to account for it are two steps: whoever waits for the row is told between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.journal.entries import Accepted, Ended, EndedAlike
from agentd.store.references import References
from agentd.store.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.journal.entries import Entry
    from agentd.store.records import Laid


class Account:
    """The account of one journal; of who holds the turn to write.

    Attributes:
        upkeep: what is needed of each row, of those that were accounted for.
        references: the objects that operations refer to.
    """

    def __init__(self) -> None:
        self.upkeep = Upkeep()
        self.references = References()
        self._open: list[Laid] = []

    def read(self, row: int, entry: Entry, size: int) -> None:
        """Account for an entry of `size` bytes that was read from a row."""
        self.upkeep.add(row, entry, size)
        self.references.add(entry)

    def wrote(self, laid: Sequence[Laid]) -> None:
        """Take note of rows that are on the disk now; they are accounted for by the next `settle`."""
        self._open += laid

    @property
    def is_settled(self) -> bool:
        """Tell whether all rows are accounted for."""
        return not self._open

    def settle(self) -> list[int]:
        """Account for the rows that are not; give the objects to which nothing refers any more since."""
        laid, self._open = self._open, []
        refer, unreferenced = self.references.add, []
        for one in laid:
            self.upkeep.add_all(one.row[0], one.entries, one.sizes)
            if not one.are_bare:
                for entry in one.entries:
                    if not _is_small(entry):
                        unreferenced += refer(entry)
        return unreferenced


def _is_small(entry: Entry) -> bool:
    """Tell whether it is the acceptance or the end of operations, as most are, and has no parts to refer to."""
    if type(entry) is Ended:
        return not entry.outcome.value.parts
    return type(entry) is EndedAlike or (type(entry) is Accepted and not entry.payload.parts)
