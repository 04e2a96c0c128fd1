"""Makes the journal smaller: removes rows of which nothing is needed, rewrites those of which little is."""

from __future__ import annotations

from itertools import compress, islice
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.journal.entries import EndedAlike
from agentd.store.records import Record, Row, decode, pack, unpack, write
from agentd.store.repair import Alarm, Mended, mend_row, set_aside
from agentd.store.table import Table
from agentd.store.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentd.core.journal.entries import Entry

CLEAN_ROWS = 32
"""Chosen: what one turn cleans, so that whoever waits for a commit meanwhile waits for some milliseconds.

An eighth of what is due, if that is more, so that it cannot grow faster than it is cleaned.
"""


def clean(table: Table, upkeep: Upkeep) -> list[Alarm]:
    """Do some of what is due, in one commit; give the damage that was found on the way.

    Raises:
        sqlite3.Error: nothing was done.
    """
    rows = upkeep.due(max(CLEAN_ROWS, upkeep.backlog // 8))
    if not rows:
        return []
    spent = [row for row in rows if upkeep.is_spent(row)]
    smaller: list[Row] = []
    mended: list[Mended] = []
    for row in rows:
        if not upkeep.is_spent(row):
            _shorten(table, upkeep, row, smaller, mended)
    emptied = [row for row, _, body in smaller if not body]
    remaining = [row for row in smaller if row[2]]
    with table.transaction():
        set_aside(table, mended)
        table.update(remaining)
        table.delete([*spent, *emptied])
    for row, _, body in remaining:
        upkeep.rewritten(row, len(body))
    upkeep.removed([*spent, *emptied])
    return [alarm for found in mended for alarm in found.alarms]


def _shorten(table: Table, upkeep: Upkeep, row: int, smaller: list[Row], mended: list[Mended]) -> None:
    """Read one row and keep what is needed of it."""
    head, body = table.read(row) or (b"", b"")
    found = mend_row(row, head, body, at_s=0.0, wall_s=0.0)
    if found is not None:
        mended.append(found)
        _, head, body = found.row
    records = [record for record in unpack(row, head, body)[0] if isinstance(record, Record)]
    entries = [decode(record.payload) for record in records]
    left = needed(upkeep, row, entries)
    kept = [
        record if one is entry else write(one)
        for record, entry, one in zip(records, entries, left, strict=True)
        if one is not None
    ]
    smaller.append((row, *pack(row, kept)))


def needed(upkeep: Upkeep, row: int, entries: Sequence[Entry]) -> list[Entry | None]:
    """Give of each entry of a row what must be kept of it: all, nothing, or of ends told together some."""
    apart = [one for entry in entries for one in (entry.each() if isinstance(entry, EndedAlike) else (entry,))]
    kept = iter(upkeep.kept(row, apart))
    return [_needed(entry, kept) for entry in entries]


def _needed(entry: Entry, kept: Iterator[bool]) -> Entry | None:
    if not isinstance(entry, EndedAlike):
        return entry if next(kept) else None
    keep = [*islice(kept, len(entry.operations))]
    if all(keep) or not any(keep):
        return entry if keep[0] else None
    operations, values, seconds = [
        [*compress(column, keep)] for column in (entry.operations, entry.values, entry.seconds)
    ]
    return replace(entry, operations=operations, values=values, seconds=seconds)
