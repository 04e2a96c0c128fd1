"""The journal's own ways: order, reading back, versions, references, closing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.journal.entries import Accepted, Ended, Forgotten
from agentd.model.errors import ConfigError, DiskError, StateInUse
from agentd.model.task import Outcome, Status
from agentd.model.values import Part, Payload
from agentd.store.disk import LocalDisk
from agentd.store.objects import SegmentLost
from agentd.store.records import lay_out, pack, write
from agentd.store.table import MIGRATIONS, Table
from tests.unit.store.journal_kit import TEMPLATE, Kept, accepted, ended, ended_alike, entries, histories
from tests.unit.store.memory_disk import REASON, MemoryDisk

disk_in_memory = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@disk_in_memory
@settings(max_examples=60, deadline=None)
@given(histories, st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_entries_come_back_as_they_were_appended(history, lengths):
    """All of them, in order, in whatever batches they were committed, as long as nothing was forgotten or replaced."""
    history = [entry for entry in history if isinstance(entry, (Accepted, Ended))]
    disk = MemoryDisk()
    kept = Kept(disk, disk.root / "journal.db")
    rest, turn = list(history), 0
    while rest:
        length = lengths[turn % len(lengths)]
        kept.append(*rest[:length])
        rest, turn = rest[length:], turn + 1
    kept.close()
    numbers = [number for number, _ in kept.acknowledged]
    assert numbers == sorted(numbers)
    assert (numbers or [0])[-1] == len(history)
    again = Kept(disk, disk.root / "journal.db")
    assert again.loaded == history
    again.close()


def test_an_outcome_is_read_from_the_disk(path):
    """As it was recorded, before and after a restart; None for what has not ended, is unknown, or was forgotten."""
    kept = Kept(LocalDisk(), path)
    kept.commit(accepted(1), accepted(2), accepted(3))
    kept.commit(ended(1, 300_000), ended(3))
    for _ in range(2):
        assert kept.outcome(1) == ended(1, 300_000).outcome
        assert kept.outcome(2) is None
        assert kept.outcome(99) is None
        assert kept.outcome(3) == ended(3).outcome
        kept.close()
        kept = Kept(LocalDisk(), path)
    kept.commit(Forgotten((3,)))
    assert kept.outcome(3) is None
    kept.close()


def test_each_of_ends_that_were_told_together_is_read_by_itself(path):
    """With its own result and duration, before and after a restart, and once the others are forgotten."""
    kept = Kept(LocalDisk(), path)
    kept.commit(accepted(1), ended_alike(1, 2, 3), ended(4), ended_alike(*range(5, 25)))
    expected = {
        end.operation: end.outcome for end in (*ended_alike(1, 2, 3).each(), *ended_alike(*range(5, 25)).each())
    }
    expected[4] = ended(4).outcome
    assert {operation: kept.outcome(operation) for operation in expected} == expected
    assert len(set(map(str, expected.values()))) == 24
    kept.close()
    for _ in range(2):
        kept = Kept(LocalDisk(), path)
        assert {operation: kept.outcome(operation) for operation in expected} == expected
        kept.commit(Forgotten(tuple(range(2, 24))))
        expected = {operation: expected[operation] for operation in (1, 24)}
        kept.close()


def test_a_journal_of_before_ends_were_told_together_is_taken_up(path):
    """Its entries are read as they were written, and from then on an older agent is told that it is too old."""
    Table(LocalDisk(), path, MIGRATIONS[:1]).close()
    kept = Kept(LocalDisk(), path)
    kept.commit(ended(4), ended_alike(5, 6))
    kept.close()
    with pytest.raises(ConfigError, match="newer agentd"):
        Table(LocalDisk(), path, MIGRATIONS[:1])
    again = Kept(LocalDisk(), path)
    assert again.outcome(6) == [*ended_alike(5, 6).each()][1].outcome
    again.close()


def test_an_end_is_found_right_after_its_commit(path):
    """A reader that asks as soon as the commit is known gets the first end, also when a second one follows."""
    kept = Kept(LocalDisk(), path)
    first = Ended(1, Outcome(Status.DONE, Payload(1, b"first")), 1.0, 1.0)
    kept.commit(accepted(1), first)
    kept.commit(Ended(1, Outcome(Status.FAILED), 2.0, 2.0))
    assert kept.outcome(1) == first.outcome
    kept.close()


def test_many_readers_are_answered_each_with_its_own(path):
    """Reads that are asked for at once do not mix."""
    kept = Kept(LocalDisk(), path)
    kept.commit(*(ended(operation) for operation in range(1, 101)))

    async def read_all():
        return await asyncio.gather(*(kept.journal.read_outcome(operation) for operation in range(1, 101)))

    assert asyncio.run(read_all()) == [ended(operation).outcome for operation in range(1, 101)]
    kept.close()


def test_a_reader_that_is_cancelled_leaves_nothing_behind(path):
    """Nor does one whose loop has ended before the answer."""
    kept = Kept(LocalDisk(), path)
    kept.commit(ended(1))

    async def give_up():
        task = asyncio.ensure_future(kept.journal.read_outcome(1))
        await asyncio.sleep(0)
        task.cancel()

    for _ in range(20):
        asyncio.run(give_up())
    assert kept.outcome(1) == ended(1).outcome
    kept.close()


def test_reading_from_a_closed_journal_is_refused(path):
    """With an error, not by waiting for ever."""
    kept = Kept(LocalDisk(), path)
    kept.close()
    with pytest.raises(DiskError, match="not open"):
        kept.outcome(1)


def test_a_batch_of_any_size_is_one_acknowledgement(path):
    """Entries that fill many rows, and one that is larger than a row, are committed together."""
    kept = Kept(LocalDisk(), path)
    entries = [accepted(operation, 2_000) for operation in range(1, 600)] + [accepted(600, 3_000_000)]
    kept.commit(*entries)
    assert [number for number, _ in kept.acknowledged] == [600]
    kept.close()
    again = Kept(LocalDisk(), path)
    assert again.loaded == entries
    again.close()


def test_what_is_short_is_committed_before_flush_returns_when_nothing_else_is_to_be_done(path, monkeypatch):
    """An idle agent's commit needs no other thread; what comes together with much, or in parts, is left to that."""
    monkeypatch.setattr(Kept, "at_once", True)
    kept = Kept(LocalDisk(), path)
    kept.commit(accepted(1))  # the first one tells how long a commit takes
    for operation in range(2, 1000):  # the writer thread may still be busy with that
        last = kept.append(accepted(operation))
        was_at_once = kept.acknowledged[-1][0] == last
        kept.wait()
        if was_at_once:
            break
    assert was_at_once
    before = kept.acknowledged[-1][0]
    assert kept.append(*(accepted(number) for number in range(1001, 1100))) > before
    kept.append(accepted(2000), ended(2000))
    kept.wait()
    kept.close()
    numbers = [number for number, _ in kept.acknowledged]
    assert numbers == sorted(numbers)
    again = Kept(LocalDisk(), path)
    assert [entry.operation for entry in again.loaded] == [*range(1, operation + 1), *range(1001, 1100), 2000, 2000]
    again.close()


def test_what_was_told_before_it_was_accounted_for_is_found_at_once(path, monkeypatch):
    """Who commits tells first and accounts later: a result is read, and an object let go, no less soon for that."""
    monkeypatch.setattr(Kept, "at_once", True)
    gone = []
    kept = Kept(LocalDisk(), path, unreferenced=gone.extend)
    for operation in range(1, 200):
        stored = Payload(1, b"", (Part(5, stored=operation),))
        kept.commit(Accepted(operation, TEMPLATE, stored, 1.0, 1.0))
        kept.commit(ended(operation))
        assert kept.outcome(operation) == ended(operation).outcome
        kept.commit(Forgotten((operation,)))
        kept.journal.flush(at_once=True)  # as the lane does once more behind whatever a commit brought up
    kept.close()
    assert gone == [*range(1, 200)]


@given(entries, st.integers(1, 1 << 40))
def test_a_row_of_one_entry_is_laid_out_as_any_other(entry, number):
    """The short way for what comes alone gives the same bytes as the way for many."""
    (laid,) = lay_out([entry], number)
    assert laid.row == (number, *pack(number, [write(entry)]))
    assert list(laid.entries) == [entry]
    assert list(laid.sizes) == [len(write(entry).payload)]


def test_a_slow_disk_is_left_to_the_writer_thread(path, monkeypatch):
    """Where a commit takes longer than may be waited for, no caller waits for one."""
    times = count()
    monkeypatch.setattr(Kept, "at_once", True)
    kept = Kept(LocalDisk(), path, clock=lambda: float(next(times)))
    for operation in range(1, 30):
        last = kept.append(accepted(operation))
        kept.wait()
        assert kept.acknowledged[-1][0] == last
    assert not kept.journal._pace.is_quick
    kept.close()


def test_closing_commits_what_was_appended(path):
    """Entries that were appended and never flushed are there after an orderly end, and the log is folded in."""
    kept = Kept(LocalDisk(), path)
    kept.journal.append(1, accepted(1))
    kept.journal.close()
    assert kept.acknowledged == [(1, None)]
    assert not path.with_name("journal.db-wal").exists()
    again = Kept(LocalDisk(), path)
    assert again.loaded == [accepted(1)]
    again.close()


def test_a_journal_that_was_never_started_closes(path):
    """A daemon that gives up between opening and starting leaves no lock behind."""
    for _ in range(2):
        kept = Kept(LocalDisk(), path)
        kept.close()
    table = Table(LocalDisk(), path)
    table.close()


def test_only_one_connection_at_a_time(path):
    """A second one is refused while the first is open."""
    kept = Kept(LocalDisk(), path)
    with pytest.raises(StateInUse, match="another process has"):
        Table(LocalDisk(), path)
    kept.close()


def test_a_commit_is_synced_to_the_disk(path):
    """synchronous=FULL, WAL, exclusive, and no checkpoints but ours; so it was set."""
    table = Table(LocalDisk(), path)
    told = {name: table._pragma(name) for name in ("synchronous", "journal_mode", "locking_mode", "wal_autocheckpoint")}
    assert told == {"synchronous": 2, "journal_mode": "wal", "locking_mode": "exclusive", "wal_autocheckpoint": 0}
    table.close()
    assert sorted(found.name for found in path.parent.iterdir()) == ["journal.db"]


def test_a_newer_journal_is_refused(path):
    """With what to do, and untouched."""
    Table(LocalDisk(), path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="made by a newer agentd"):
        Table(LocalDisk(), path)
    assert path.read_bytes() == before


def test_an_older_journal_is_migrated_in_one_transaction(path):
    """The new schema is there with what was in it; when a step fails the old one is, and can be opened again."""
    Table(LocalDisk(), path).close()
    good = (*MIGRATIONS, ("CREATE TABLE more (id INTEGER PRIMARY KEY)",))
    bad = (*good, ("CREATE TABLE last (id INTEGER)", "CREATE TABLE rows (id INTEGER)"))
    with pytest.raises(DiskError):
        Table(LocalDisk(), path, bad)
    table = Table(LocalDisk(), path)
    table.insert([(1, b"h", b"b")])
    table.close()
    table = Table(LocalDisk(), path, good)
    assert table.read(1) == (b"h", b"b")
    assert table._query("SELECT * FROM more") == []
    assert table._pragma("user_version") == len(good)
    table.close()


@pytest.mark.parametrize("content", ["database", "text"])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(path, content):
    """Another program's database, or no database at all, is neither changed nor taken for an empty journal."""
    if content == "database":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE mine (id INTEGER)")
    else:
        path.write_bytes(b"dear diary, " * 1000)
    before = path.read_bytes()
    with pytest.raises((ConfigError, DiskError), match="move it away"):
        Table(LocalDisk(), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal"])
def test_a_planted_link_is_refused(path, name):
    """What the link points at is not written to."""
    if name != "journal.db":
        Table(LocalDisk(), path).close()
    target = path.parent / "precious"
    target.write_bytes(b"")
    (path.parent / name).symlink_to(target)
    with pytest.raises(ConfigError, match="is a link"):
        Table(LocalDisk(), path)
    assert target.read_bytes() == b""


def test_values_that_would_not_survive_are_stored_first(path):
    """What `keep` makes of a payload is what is written; a payload without parts does not go through it."""
    seen = []

    def keep(payload):
        seen.append(payload)
        return Payload(
            payload.codec, payload.data, tuple(Part(part.size, stored=part.segment + 1) for part in payload.parts)
        )

    kept = Kept(LocalDisk(), path, keep=keep)
    held = Payload(1, b"x", (Part(5, segment=40),))
    kept.commit(accepted(1), Accepted(2, TEMPLATE, held, 1.0, 1.0), Ended(2, Outcome(value=held), 1.0, 1.0))
    assert seen == [held, held]
    stored = Payload(1, b"x", (Part(5, stored=41),))
    assert kept.outcome(2).value == stored
    kept.close()
    again = Kept(LocalDisk(), path)
    assert again.loaded[1].payload == stored
    assert again.journal.references == {41}
    again.close()


def test_objects_are_let_go_when_the_last_operation_is_forgotten(path):
    """Not before, once, after the commit, and also when they were recorded before a restart."""
    gone = []
    value = Payload(1, b"", (Part(5, stored=7), Part(5, stored=8)))
    kept = Kept(LocalDisk(), path)
    kept.commit(Accepted(1, TEMPLATE, value, 1.0, 1.0), Ended(1, Outcome(value=value), 1.0, 1.0))
    kept.close()
    kept = Kept(LocalDisk(), path, unreferenced=lambda numbers: gone.append((kept.acknowledged[-1][0], list(numbers))))
    kept.commit(Accepted(2, TEMPLATE, Payload(1, b"", (Part(5, stored=8),)), 1.0, 1.0))
    kept.commit(Forgotten((1,)))
    kept.commit(Forgotten((2,)))
    kept.close()
    assert gone == [(2, [7]), (3, [8])]


def test_a_segment_that_was_shortened_costs_its_own_operation_only(path):
    """A result that is gone before it could be recorded is a failure that says so; the journal goes on."""

    def keep(payload):
        raise SegmentLost("shared memory ended early")

    kept = Kept(LocalDisk(), path, keep=keep)
    lost = Payload(1, b"", (Part(5, segment=40),))
    kept.commit(Accepted(1, TEMPLATE, lost, 1.0, 1.0), Ended(1, Outcome(value=lost, agent="a"), 1.0, 1.0), accepted(2))
    outcome = kept.outcome(1)
    assert outcome.status == Status.FAILED
    assert outcome.failure.message == "shared memory ended early"
    assert outcome.value == Payload()
    assert outcome.agent == "a"
    kept.close()


def test_a_callback_that_fails_breaks_the_journal(path):
    """A bug is told to `broken`, whatever it is, and the thread ends; nothing is swallowed."""

    def keep(payload):
        raise ZeroDivisionError

    kept = Kept(LocalDisk(), path, keep=keep)
    kept.append(Accepted(1, TEMPLATE, Payload(1, b"", (Part(5, segment=40),)), 1.0, 1.0))
    kind, error = kept.next_event()
    assert kind == "broken"
    assert isinstance(error, ZeroDivisionError)
    with pytest.raises(DiskError, match="not closed in order"):
        kept.close()


def test_the_size_is_told(path):
    """As large as what is on the disk, at the least after a restart."""
    kept = Kept(LocalDisk(), path)
    kept.commit(accepted(1, 1_000_000))
    kept.close()
    kept = Kept(LocalDisk(), path)
    assert 1_000_000 < kept.journal.size_bytes < 3_000_000
    kept.close()
