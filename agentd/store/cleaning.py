"""Makes the journal smaller: removes rows of which nothing is needed, rewrites those of which little is."""

from __future__ import annotations

from agentd.store.records import Record, Row, decode, pack, unpack
from agentd.store.repair import Alarm, Mended, mend_row, set_aside
from agentd.store.table import Table
from agentd.store.upkeep import Upkeep

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
    kept = upkeep.kept(row, [decode(record.payload) for record in records])
    smaller.append((row, *pack(row, [record for record, keep in zip(records, kept, strict=True) if keep])))
