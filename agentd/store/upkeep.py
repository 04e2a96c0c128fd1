"""Which rows of the journal are still needed, and which may be removed or rewritten smaller.

Law: removing and rewriting what is due never changes what the journal folds into, whenever it happens or does not.

A record is needed for as long as something that it is about, its *subject*, is: an operation until it is forgotten, a
host's capacity until a newer one or its removal, a boot until the next. Each row knows how many bytes of it are
needed. A `Forgotten` record is a tombstone: it is itself needed until the last row with records of its operations has
been removed or rewritten, since else those would rise again when the journal is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby, islice, repeat
from operator import attrgetter
from struct import Struct as Layout
from struct import iter_unpack

from msgspec import Struct

from agentd.core.journal.entries import (
    Accepted,
    Booted,
    CalledBack,
    Cancelling,
    Delivered,
    Ended,
    EndedAlike,
    Entry,
    Forgotten,
    HostAdded,
    HostRemoved,
    Returned,
    Started,
    WasRead,
)

REWRITE_BELOW = 0.25
"""Chosen: each byte is then copied once for at least three that are freed."""
UNEQUAL = 2
"""Chosen: a record may weigh so many times the mean of those with which it is accounted for by equal shares."""

# A reference to a record is 8 bytes: 39 bits of row, 24 of the record's share of it, one for the first end. That one
# stands first among the references of its operation, so that it is found by one look.
_pack = Layout("<Q").pack
_SHARE_BITS = 24
_SHARE_MOST = (1 << _SHARE_BITS) - 1
_ENDED = 1
_OPERATION = attrgetter("operation")
_ROW_SHIFT = _SHARE_BITS + 1

ROWS_MOST = 1 << (64 - _ROW_SHIFT)
"""Row numbers stay below this: at a thousand commits a second for 17 years."""

_BOOT = ""
"""Subject of `Booted`; hosts have names that are not empty."""


class _Row(Struct, gc=False):
    """Bytes of a row: how many are needed, and how many there were when it was last written."""

    needed: int = 0
    total: int = 0


class _Tomb(Struct, eq=False):
    """A `Forgotten` record, and the rows that still hold records of its operations."""

    row: int
    share: int
    operations: tuple[int, ...]
    waiting: set[int]


class Upkeep:
    """The account of what is needed, by row and by operation; about 100 bytes an operation."""

    def __init__(self) -> None:
        self._rows: dict[int, _Row] = {}
        self._places: dict[int, bytes] = {}
        self._named: dict[str, tuple[int, int]] = {}
        self._buried: dict[int, _Tomb] = {}
        self._tombs: dict[int, list[_Tomb]] = {}
        self._due: dict[int, None] = {}
        self._first: dict[int, None] = {}

    # --- what is written

    def add_all(self, row: int, entries: Sequence[Entry], sizes: Sequence[int]) -> None:
        """Account for all records of a row that was written, as `add` does for each; most are ends."""
        begin = 0
        for kind, alike in groupby(map(type, entries)):
            end = begin + len([*alike])
            operations = [*map(_OPERATION, entries[begin:end])] if kind is Ended or kind is Accepted else ()
            if len(operations) < 2 or not self._add_alike(row, operations, sizes[begin:end], are_ends=kind is Ended):
                for entry, size in zip(entries[begin:end], sizes[begin:end], strict=True):
                    self.add(row, entry, size)
            begin = end

    def _add_alike(self, row: int, operations: Sequence[int], sizes: Sequence[int], *, are_ends: bool) -> bool:
        """Account for ends, or acceptances, by an equal share for each; false: one comes twice, or weighs much more."""
        count, total = len(sizes), sum(sizes)
        if len({*operations}) < count or max(sizes) * count > UNEQUAL * total:
            return False
        account = self._account(row)
        account.total += total
        self._refer_all(operations, row, account, max(1, total // count), are_ends=are_ends)
        return True

    def _account(self, row: int) -> _Row:
        account = self._rows.get(row)
        if account is None:
            account = self._rows[row] = _Row()
        return account

    def add(self, row: int, entry: Entry, size: int) -> None:
        """Account for a record of `size` bytes that was written to, or read from, a row; in the journal's order."""
        account = self._account(row)
        account.total += size
        if type(entry) is Ended or type(entry) is Accepted:
            self._refer(entry.operation, row, account, size, type(entry) is Ended)
            return
        if type(entry) is EndedAlike:
            share = max(1, size // len(entry.operations))
            self._refer_all(entry.operations, row, account, share, are_ends=True)
        elif isinstance(entry, Forgotten):
            self._bury(entry.operations, row, account, size)
        elif isinstance(entry, (Booted, HostAdded, HostRemoved)):
            self._supersede(_name(entry), row, account, 0 if isinstance(entry, HostRemoved) else size)
        else:
            self._refer_known(_operations(entry), row, account, size)
        self._look_at(row, account)

    def _refer(self, operation: int, row: int, account: _Row, size: int, is_end: bool = False) -> None:
        share = size if size < _SHARE_MOST else _SHARE_MOST  # noqa: FURB136 - once per entry, and twice as fast
        account.needed += share
        reference = row << _ROW_SHIFT | share << 1
        places = self._places
        former = places.get(operation, b"")
        if is_end and not (former and former[0] & _ENDED):  # later ends do not count
            places[operation] = _pack(reference | _ENDED) + former
        else:
            places[operation] = former + _pack(reference)

    def _refer_all(
        self, operations: Sequence[int], row: int, account: _Row, share: int, *, are_ends: bool = False
    ) -> None:
        """Refer to a record from each of these, none of them twice, as `_refer` does; most have the same references."""
        share = min(share, _SHARE_MOST)
        account.needed += share * len(operations)
        reference = row << _ROW_SHIFT | share << 1
        later, first_end = _pack(reference), _pack(reference | _ENDED)
        formers = [*map(self._places.get, operations, repeat(b""))]
        new = {
            former: first_end + former if are_ends and not (former and former[0] & _ENDED) else former + later
            for former in {*formers}
        }
        self._places.update(zip(operations, map(new.__getitem__, formers), strict=True))

    def _refer_known(self, operations: Sequence[int], row: int, account: _Row, size: int) -> None:
        """Account for a record that says something of operations, and means nothing for those that are not there."""
        known = [operation for operation in dict.fromkeys(operations) if operation in self._places]
        self._refer_all(known, row, account, max(1, size // max(1, len(operations))))

    def _supersede(self, name: str, row: int, account: _Row, size: int) -> None:
        former = self._named.pop(name, None)
        if former is not None:
            former_row, share = former
            self._release(former_row, share)
            self._first[former_row] = None
        if size:
            self._named[name] = (row, size)
            account.needed += size

    def _bury(self, operations: Sequence[int], row: int, account: _Row, size: int) -> None:
        waiting: set[int] = set()
        held = Counter(map(self._places.pop, operations, repeat(b"")))  # of ends that were written together all are one
        for references, count in held.items():
            for (reference,) in iter_unpack("<Q", references):
                holder = reference >> _ROW_SHIFT
                self._release(holder, (reference >> 1 & _SHARE_MOST) * count)
                waiting.add(holder)
        for operation in self._buried.keys() & operations:
            waiting |= self._buried[operation].waiting
        if not waiting:
            return
        tomb = _Tomb(row, size, tuple(operations), waiting)
        account.needed += size
        for holder in waiting:
            self._tombs.setdefault(holder, []).append(tomb)
        self._buried.update(dict.fromkeys(operations, tomb))

    def _release(self, row: int, share: int) -> None:
        account = self._rows.get(row)
        if account is None:
            return
        account.needed -= share
        self._look_at(row, account)

    def _look_at(self, row: int, account: _Row) -> None:
        if account.needed < account.total * REWRITE_BELOW:
            self._due[row] = None
        else:
            self._due.pop(row, None)

    # --- what is looked up

    def row_of_end(self, operation: int) -> int:
        """Give the row that holds an operation's first `Ended`; 0 when there is none."""
        places = self._places.get(operation, b"")
        return int.from_bytes(places[:8], "little") >> _ROW_SHIFT if places and places[0] & _ENDED else 0

    @property
    def operations(self) -> int:
        """How many operations the journal knows."""
        return len(self._places)

    # --- what is to be done

    def due(self, most: int) -> list[int]:
        """Give up to `most` rows that are to be rewritten or removed, the ones that cannot wait all and first.

        A row with a superseded boot or host must go before any other, so that what superseded it is never gone first.
        """
        if self._first:
            return list(self._first)
        for row in list(islice(self._due, most)):
            self._look_at(row, self._rows[row])  # it may have grown since
        return list(islice(self._due, most))

    @property
    def backlog(self) -> int:
        """How many rows are due."""
        return len(self._due) + len(self._first)

    def is_spent(self, row: int) -> bool:
        """Tell whether nothing of a row is needed, so that it can go unread."""
        return self._rows[row].needed <= 0

    def kept(self, row: int, entries: Sequence[Entry]) -> list[bool]:
        """Tell for each record of a row whether it must be kept when the row is rewritten."""
        buried_at: dict[int, int] = {}
        named_at: dict[str, int] = {}
        for at, entry in enumerate(entries):
            if isinstance(entry, Forgotten):
                buried_at.update(dict.fromkeys(entry.operations, at))
            elif isinstance(entry, (Booted, HostAdded, HostRemoved)):
                named_at[_name(entry)] = at
        return [self._is_kept(row, at, entry, buried_at, named_at) for at, entry in enumerate(entries)]

    def _is_kept(self, row: int, at: int, entry: Entry, buried_at: dict[int, int], named_at: dict[str, int]) -> bool:
        if isinstance(entry, Forgotten):
            return any(self._guards(row, operation) for operation in entry.operations)
        if isinstance(entry, (Booted, HostAdded, HostRemoved)):
            name = _name(entry)
            return named_at[name] == at and self._named.get(name, (0, 0))[0] == row
        return any(
            buried_at.get(operation, -1) < at and self._is_at(operation, row) for operation in _operations(entry)
        )

    def _guards(self, row: int, operation: int) -> bool:
        """Tell whether a tombstone in this row is needed for anything but the row itself."""
        tomb = self._buried.get(operation)
        return tomb is not None and tomb.row == row and bool(tomb.waiting - {row})

    def _is_at(self, operation: int, row: int) -> bool:
        places = self._places.get(operation, b"")
        return any(reference >> _ROW_SHIFT == row for (reference,) in iter_unpack("<Q", places))

    # --- what was done

    def removed(self, rows: Iterable[int]) -> None:
        """Take note that rows are gone from the disk."""
        for row in rows:
            del self._rows[row]
            self._settle(row)

    def rewritten(self, row: int, total: int) -> None:
        """Take note that a row was rewritten with what `kept` told, and is `total` bytes now."""
        self._rows[row].total = min(total, self._rows[row].needed)
        self._settle(row)

    def _settle(self, row: int) -> None:
        """Release the tombstones that waited for this row only."""
        self._due.pop(row, None)
        self._first.pop(row, None)
        for tomb in self._tombs.pop(row, ()):
            tomb.waiting.discard(row)
            if tomb.waiting:
                continue
            for operation in tomb.operations:
                if self._buried.get(operation) is tomb:
                    del self._buried[operation]
            self._release(tomb.row, tomb.share)


def _name(entry: Booted | HostAdded | HostRemoved) -> str:
    return _BOOT if isinstance(entry, Booted) else entry.name


def _operations(entry: Entry) -> tuple[int, ...]:
    """Give the operations that an entry says something of."""
    if isinstance(entry, (Started, Returned, WasRead, Delivered, CalledBack)):
        return entry.operations
    return (entry.operation,) if isinstance(entry, (Accepted, Ended, Cancelling)) else ()
