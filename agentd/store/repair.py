"""What is done about damage: a record that does not fit its sum is set aside, a broken file is built anew.

Law: an operation of which a record was damaged still reaches one terminal state, and never a second, different one.
What cannot be known of it any more is `QUARANTINED`; everything else is served as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from agentd.core.journal.entries import Accepted, Ended, EndedAlike, Entry, Forgotten
from agentd.model.errors import DiskError
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.unreadable import UNREADABLE
from agentd.store import salvage
from agentd.store.disk import Disk
from agentd.store.records import KINDS, NAMES, Damage, Record, Row, decode, is_sound, pack, read_head, unpack, write
from agentd.store.table import Table, translated, wal_of
from agentd.store.upkeep import ROWS_MOST

_ACCEPTED, _ENDS = KINDS[Accepted], frozenset({KINDS[Ended], KINDS[EndedAlike]})
_REBUILD_ROWS = 64
"""Rows that are copied at a time when a file is built anew (chosen: 16 MiB at the most)."""


class Alarm(Struct, frozen=True):
    """Damage that was found and set aside."""

    message: str
    row: int = 0
    operation: int = 0

    def __str__(self) -> str:
        return self.message


class Mended(Struct, frozen=True):
    """A row without its damaged records, and what was wrong with it."""

    row: Row
    damages: tuple[Damage, ...]
    alarms: tuple[Alarm, ...]


def lost_outcome(what: str) -> Outcome:
    """Make the outcome of an operation whose record was damaged on the disk."""
    message = f"the record of its {what} was damaged on this agent's disk, and was set aside"
    return Outcome(
        status=Status.QUARANTINED, failure=Failure(reason=Reason.NONE, type="RecordDamaged", message=message)
    )


def mend_row(row: int, head: object, body: object, *, at_s: float, wall_s: float) -> Mended | None:
    """Take the damage out of a row; None when there is none.

    An end that cannot be read becomes an end as quarantined, since it may have been read already. It gets the times
    given: agent time, and seconds since 1970.
    """
    records, is_whole = unpack(row, head, body)
    if is_whole:
        return None
    kept: list[Record] = []
    damages = [record for record in records if isinstance(record, Damage)]
    for record in records:
        if isinstance(record, Record):
            kept.append(record)
        elif record.kind in _ENDS:
            lost = lost_outcome("end")
            kept += [write(Ended(operation, lost, at_s, wall_s)) for operation in record.operations]
    alarms = [_alarm(row, damage) for damage in damages] or [
        Alarm(f"journal row {row}: its table of contents was damaged and was made again, nothing is lost", row)
    ]
    head, packed = pack(row, kept)
    return Mended((row, head, packed), tuple(damages), tuple(alarms))


def _alarm(row: int, damage: Damage) -> Alarm:
    what = f"a record ({NAMES.get(damage.kind, 'of unknown kind')})"
    first, *others = damage.operations or (0,)
    whose = f" of operation {first}" if first else ""
    more = f" and {len(others)} more" if others else ""
    return Alarm(f"journal row {row}: {what}{whose}{more} was damaged and was set aside", row, first)


def mend(table: Table) -> list[Alarm] | None:
    """Check each row of a journal and set aside what is damaged; all within one commit.

    Returns:
        What was found; None when the file's own structure is broken, see `rebuild`.
    """
    hurt: list[tuple[int, object, object]] = []
    former = 0
    if not table.is_whole():
        return None
    for row, head, body in table.scan():
        if not is_sound(row, head, body):
            hurt.append((row, head, body))
            if _own_number(row, head) != row:
                return None
        if row <= former:
            return None
        former = row
    return _mend(table, hurt) if hurt else []


def _own_number(row: int, head: object) -> int:
    """Give the number that a row says it has, where that can be read; a row under another one is out of order."""
    told = read_head(head)
    return row if told is None else told.row


def _mend(table: Table, hurt: Sequence[tuple[int, object, object]]) -> list[Alarm]:
    at_s, wall_s = _latest(table)
    mended = [found for row in hurt if (found := mend_row(*row, at_s=at_s, wall_s=wall_s))]
    orphans = {damage.operations[0] for found in mended for damage in found.damages if damage.kind == _ACCEPTED}
    with table.transaction():
        set_aside(table, mended)
        strays = _without_end(table, orphans)
        if strays:
            _, last = table.bounds()
            ends = [write(Ended(stray, lost_outcome("acceptance"), at_s, wall_s)) for stray in strays]
            table.add([(last + 1, *pack(last + 1, ends))])
    return [alarm for found in mended for alarm in found.alarms]


def set_aside(table: Table, mended: Sequence[Mended]) -> None:
    """Move damage from the rows into the quarantine; within a transaction."""
    table.update([found.row for found in mended])
    for found in mended:
        for damage, alarm in zip(found.damages, found.alarms, strict=False):
            table.quarantine(found.row[0], alarm.message, damage.raw)


def _entries(table: Table) -> Iterator[Entry]:
    for row, head, body in table.scan():
        for record in unpack(row, head, body)[0]:
            if isinstance(record, Record):
                with suppress(*UNREADABLE):
                    yield decode(record.payload)


def _latest(table: Table) -> tuple[float, float]:
    """Find the last agent time and the last wall time that the journal tells."""
    at_s = wall_s = 0.0
    for entry in _entries(table):
        at_s = max(at_s, getattr(entry, "at_s", 0.0), getattr(entry, "agent_time_s", 0.0))
        wall_s = max(wall_s, getattr(entry, "wall_s", 0.0))
    return at_s, wall_s


def _without_end(table: Table, operations: set[int]) -> list[int]:
    """Tell which of these have neither ended nor been forgotten."""
    open_ones = set(operations)
    for entry in _entries(table) if operations else ():
        if isinstance(entry, Ended):
            open_ones.discard(entry.operation)
        elif isinstance(entry, (EndedAlike, Forgotten)):
            open_ones.difference_update(entry.operations)
    return sorted(open_ones)


# --- a broken file ----------------------------------------------------------------------------------------------


def rebuild(disk: Disk, path: Path) -> Alarm:
    """Build the journal anew from all rows that its pages hold; the broken file stays beside it.

    Nobody may have it open, and its log must have been folded in. A crash at any point leaves the old or the new file.

    Raises:
        DiskError: the disk failed, or there is no row at all to be found.
    """
    draft, kept = path.with_name(path.name + ".new"), path_of_damaged(path)
    with translated(path):
        for leftover in (draft, wal_of(draft)):
            disk.unlink(leftover)
        fresh = Table(disk, draft)
        count = 0
        for rows in _found(disk, path):
            with fresh.transaction():
                fresh.add(rows)
            count += len(rows)
        fresh.checkpoint(truncate=True)
        fresh.close()
        if not count:
            disk.unlink(draft)
            raise DiskError(f"{path} is damaged beyond reading: move it away to start anew, or restore a copy")
        disk.unlink(kept)
        with suppress(OSError):  # a file system without hard links; the damaged file is then not kept
            disk.link(path, kept)
        disk.unlink(wal_of(path))  # it is empty; a log that is left behind would be played into the new file
        disk.rename(draft, path)
        disk.sync_folder(path.parent)
    return Alarm(f"the journal's file was broken: {count} rows were written anew, the broken file is {kept.name}")


def _found(disk: Disk, path: Path) -> Iterator[list[Row]]:
    """Give all rows that the pages hold, some at a time."""
    fd = disk.open(path)
    try:
        seen: set[int] = set()
        batch: list[Row] = []
        pages = -(-disk.size(path) // salvage.PAGE_BYTES)
        former = 0
        for found, head, body in salvage.rows(lambda page: _page(disk, fd, page), pages):
            row = _own_number(found, head)
            if not 0 < row < ROWS_MOST or (row in seen and read_head(head) is None):
                row = former + 1  # its number is damaged; most rows follow the one before
            former = row
            if row not in seen:
                seen.add(row)
                batch.append((row, head, body))
            if len(batch) == _REBUILD_ROWS:
                yield batch
                batch = []
        yield batch
    finally:
        disk.close(fd)


def _page(disk: Disk, fd: int, page: int) -> bytes:
    return disk.read(fd, salvage.PAGE_BYTES, (page - 1) * salvage.PAGE_BYTES)


def path_of_damaged(path: Path) -> Path:
    """Name the file that `rebuild` leaves beside a journal."""
    return path.with_name(path.name + ".damaged")
