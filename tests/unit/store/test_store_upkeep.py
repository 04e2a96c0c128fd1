"""What the journal throws away is never missed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.journal.entries import Delivered, Forgotten, HostAdded, HostRemoved, Started, WasRead
from agentd.store.cleaning import needed
from agentd.store.upkeep import Upkeep
from tests.unit.store.journal_kit import accepted, ended, ended_alike, entries, folded


class Rows:
    """The journal's rows as plain lists, kept small by an `Upkeep`."""

    def __init__(self):
        self.upkeep = Upkeep()
        self.rows = {}

    def add(self, batch):
        row = max(self.rows, default=0) + 1
        self.rows[row] = list(batch)
        self.upkeep.add_all(row, batch, [*map(_size, batch)])

    def clean(self, most):
        """Clean some rows; tells whether there was anything to clean."""
        rows = self.upkeep.due(most)
        for row in rows:
            kept = [] if self.upkeep.is_spent(row) else self.kept(row)
            if kept:
                self.rows[row] = kept
                self.upkeep.rewritten(row, sum(map(_size, kept)))
            else:
                del self.rows[row]
                self.upkeep.removed([row])
        return bool(rows)

    def clean_all(self):
        for _ in range(1000):
            self.clean(5)
        assert not self.upkeep.backlog

    def kept(self, row):
        return [entry for entry in needed(self.upkeep, row, self.rows[row]) if entry is not None]

    def reloaded(self):
        other = Rows()
        other.rows = {row: list(batch) for row, batch in self.rows.items()}
        for row, batch in other.rows.items():
            for entry in batch:
                other.upkeep.add(row, entry, _size(entry))
        return other

    @property
    def entries(self):
        return [entry for row in sorted(self.rows) for entry in self.rows[row]]


def _size(entry):
    payload = getattr(entry, "payload", None)
    return 20 + (len(payload.data) if payload else 0)


@settings(max_examples=400, deadline=None)
@given(
    history=st.lists(st.lists(entries, min_size=1, max_size=8), max_size=25),
    cleanings=st.lists(st.integers(0, 5), min_size=25, max_size=25),
    reload_at=st.integers(0, 25),
)
def test_cleaning_never_changes_what_the_journal_folds_into(history, cleanings, reload_at):
    """However batches and cleanings follow each other, over a restart too, the state is that of all entries."""
    rows, all_entries = Rows(), []
    for at, (batch, most) in enumerate(zip(history, cleanings, strict=False)):
        if at == reload_at:
            rows = rows.reloaded()
        rows.add(batch)
        all_entries += batch
        rows.clean(most)
        assert folded(rows.entries) == folded(all_entries)
    state = folded(all_entries)
    for _ in range(100):
        if rows.clean(3):
            assert folded(rows.entries) == state
    assert not rows.upkeep.backlog
    assert folded(rows.reloaded().entries) == state


def test_when_all_is_forgotten_nothing_is_left():
    """A journal of forgotten operations cleans itself away, tombstones included."""
    rows = Rows()
    for first in range(1, 500, 10):
        batch = range(first, first + 10)
        rows.add([accepted(operation) for operation in batch])
        rows.add([ended(operation) for operation in batch])
        rows.add([Forgotten(tuple(batch))])
    rows.clean_all()
    assert rows.entries == []


def test_a_tombstone_stays_as_long_as_what_it_covers():
    """An operation that shares its row with a live one does not rise again when the tombstone's row is cleaned."""
    rows = Rows()
    rows.add([accepted(1), accepted(2)])
    rows.add([Forgotten((1,)), HostAdded("a", b"x" * 500)])
    rows.add([HostRemoved("a")])
    rows.clean_all()
    assert 1 not in folded(rows.entries).live
    assert 2 in folded(rows.entries).live


def test_one_live_operation_does_not_hold_many_dead_ones():
    """A row of which under a quarter is needed is rewritten with that quarter alone."""
    rows = Rows()
    rows.add([accepted(operation) for operation in range(1, 101)])
    rows.add([Forgotten(tuple(range(2, 101)))])
    rows.clean_all()
    assert rows.entries == [accepted(1)]


def test_the_first_end_is_the_one_that_is_found():
    """A second end of an operation does not take the place of the first."""
    upkeep = Upkeep()
    upkeep.add(1, accepted(7), 10)
    upkeep.add(2, ended(7), 10)
    upkeep.add(3, ended(7), 10)
    assert upkeep.row_of_end(7) == 2
    assert upkeep.row_of_end(8) == 0


def test_ends_that_are_written_together_are_found_and_let_go_one_by_one():
    """A row of ends stays until the last of them is forgotten, and shrinks when few are left of it."""
    rows = Rows()
    rows.add([ended(operation) for operation in range(1, 101)])
    rows.add([ended(operation) for operation in range(101, 201)])
    assert {rows.upkeep.row_of_end(operation) for operation in range(1, 101)} == {1}
    assert {rows.upkeep.row_of_end(operation) for operation in range(101, 201)} == {2}
    rows.add([Forgotten(tuple(range(2, 151)))])
    rows.clean_all()
    assert rows.entries[:1] == [ended(1)]
    assert rows.entries[1:101] == [ended(operation) for operation in range(101, 201)]
    rows.add([Forgotten((1, *range(151, 201)))])
    rows.clean_all()
    assert rows.entries == []
    assert not rows.upkeep.operations


def test_of_ends_that_are_told_together_those_that_are_needed_stay():
    """Each is found as long as it is not forgotten; with few of them left their row is written anew without others."""
    rows = Rows()
    rows.add([ended_alike(*range(1, 9))])
    rows.add([Forgotten(tuple(range(1, 6)))])
    assert [rows.upkeep.row_of_end(operation) for operation in range(1, 9)] == [0] * 5 + [1, 1, 1]
    rows.clean_all()
    assert len(rows.rows[1][0].operations) == 8
    rows.add([Forgotten((6, 7))])
    rows.clean_all()
    assert rows.entries == [ended_alike(8)]
    assert [*folded(rows.entries).finished] == [8]
    assert rows.reloaded().upkeep.row_of_end(8) == 1
    rows.add([Forgotten((8,))])
    rows.clean_all()
    assert rows.entries == []


def test_of_ends_that_are_written_together_the_first_one_of_an_operation_counts():
    """An end of an operation that has ended before, or ends twice in one row, is not taken for its first."""
    rows = Rows()
    rows.add([ended(1), ended(2)])
    rows.add([ended(2), ended(3)])
    rows.add([ended(4), ended(4)])
    assert [rows.upkeep.row_of_end(operation) for operation in (1, 2, 3, 4)] == [1, 1, 2, 3]
    rows.add([Forgotten((1, 2, 3, 4))])
    rows.clean_all()
    assert rows.entries == []


def test_an_operation_that_is_accepted_again_is_the_new_one():
    """Accepted, forgotten and accepted again within one batch: the rewritten row tells of the second one only."""
    rows = Rows()
    rows.add([accepted(1, 400), accepted(9, 2000), Forgotten((1, 9)), accepted(1, 30)])
    rows.clean_all()
    assert rows.entries == [accepted(1, 30)]


def test_what_is_said_of_the_forgotten_is_not_kept():
    """Late news of an operation that is gone does not hold its row for ever."""
    rows = Rows()
    rows.add([accepted(1), ended(1)])
    rows.add([Forgotten((1,))])
    rows.add([WasRead((1,), 5.0), Delivered((1,)), Started((1,))])
    rows.clean_all()
    assert rows.entries == []
