"""A flipped bit is found, costs what it is in, and nothing else."""

from __future__ import annotations

from random import Random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.journal.entries import Accepted, Ended, EndedAlike, Forgotten
from agentd.core.journal.recovery import fold
from agentd.model.errors import AgentdError
from agentd.model.task import Status
from agentd.store.records import Damage, is_sound, pack, unpack, write
from agentd.store.table import Table
from tests.unit.store.journal_kit import Kept, accepted, ended, ended_alike, entries
from tests.unit.store.memory_disk import REASON, MemoryDisk

FLIPS = 300

needs_disk = pytest.mark.skipif(bool(REASON), reason=REASON)


@given(
    st.lists(entries, min_size=1, max_size=12),
    st.integers(1, 2**40),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["head", "body"]),
)
def test_a_flipped_bit_in_a_row_costs_at_most_its_record(batch, row, where, part):
    """Whichever bit of a row flips, all other records are read as they were, and the damage is noticed."""
    records = [write(entry) for entry in batch]
    head, body = pack(row, records)
    assert unpack(row, head, body) == (records, True)
    assert is_sound(row, head, body)
    flipped = {"head": bytearray(head), "body": bytearray(body)}
    bit = int(where * len(flipped[part]) * 8)
    flipped[part][bit // 8] ^= 1 << bit % 8
    found, is_whole = unpack(row, bytes(flipped["head"]), bytes(flipped["body"]))
    assert not is_whole
    assert not is_sound(row, bytes(flipped["head"]), bytes(flipped["body"]))
    assert len(found) == len(records)
    damaged = [at for at, record in enumerate(found) if isinstance(record, Damage)]
    assert len(damaged) == (1 if part == "body" else 0)
    assert all(found[at] == records[at] for at in range(len(records)) if at not in damaged)
    assert all(found[at].operations == records[at].operations for at in damaged)


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(1, 2**40))
def test_rubbish_in_a_row_is_damage_and_no_error(head, body, row):
    """Whatever stands where a row should be, reading it ends, and calls it damage."""
    found, is_whole = unpack(row, head, body)
    assert not is_whole
    assert not is_sound(row, head, body)
    assert all(isinstance(record, Damage) for record in found)


def test_a_head_that_names_too_few_is_no_head():
    """A sound sum is not enough: what is in the body counts then."""
    batch = [write(ended_alike(1, 2, 3)), write(ended(4))]
    head, body = pack(7, batch)
    told = head[:-12]
    found, is_whole = unpack(7, told + crc32(told).to_bytes(4, "little"), body)
    assert (found, is_whole) == (batch, False)


def test_a_row_that_is_not_of_blobs_is_damage():
    """A flipped bit may change the type of a column: that is damage like any other."""
    assert unpack(1, None, 5)[1] is False
    head, body = pack(1, [write(accepted(1))])
    found, is_whole = unpack(1, head, "text")
    assert not is_whole
    assert not is_sound(1, head, "text")
    assert found == [Damage(2, (1,), b"")]
    assert unpack(2, head, body)[1] is False


def _filled_disk() -> MemoryDisk:
    disk = MemoryDisk()
    kept = Kept(disk, disk.root / "journal.db")
    for first in range(1, 241, 8):
        batch = range(first, first + 8)
        kept.commit(*(accepted(operation, 300) for operation in batch))
        ends = [ended(operation, 300) for operation in batch]
        kept.commit(*(ends if first % 3 else (ended_alike(*batch, size=300),)))
    kept.commit(Forgotten(tuple(range(1, 241, 11))))
    kept.close()
    return disk


@needs_disk
def test_flipped_bits_in_the_file_are_caught_and_the_rest_is_served():
    """Of 300 single flipped bits none changes anything unnoticed; each costs its row's operations at most.

    A bit that no record and no structure uses changes nothing. One in the first hundred bytes, which say that this is
    a database of ours, may stop the start with an error that says so.
    """
    disk = _filled_disk()
    path = disk.root / "journal.db"
    file = disk.names_[str(path)]
    before = Kept(disk.copy(), path)
    expected = fold(before.loaded)
    before.close()
    chance = Random(11)
    caught = harmless = refused = 0
    for _ in range(FLIPS):
        hurt = disk.copy()
        data = hurt.files[file]
        bit = chance.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        try:
            after = Kept(hurt, path)
        except AgentdError:
            assert bit // 8 < 4096, f"bit {bit}"
            refused += 1
            continue
        found = fold(after.loaded)
        if not after.alarms:
            assert found == expected, f"bit {bit} changed something unnoticed"
            harmless += 1
        else:
            caught += 1
            _check_served(found, expected, bit)
        after.commit(accepted(10**9))
        after.close()
        again = Kept(hurt.copy(), path)
        assert again.alarms == [], f"bit {bit} was not mended for good"
        assert again.loaded[: len(after.loaded)] == after.loaded
        again.close()
    assert caught > FLIPS * 0.7
    assert refused <= FLIPS * 0.05


def _check_served(found, expected, bit):
    """See that what differs is quarantined, or is one page's worth of operations."""
    differing = [
        operation
        for operation in expected.finished
        if found.finished.get(operation) != expected.finished[operation]
        and (operation not in found.finished or found.finished[operation].status != Status.QUARANTINED)
    ]
    assert len(differing) <= 8, f"bit {bit}: {len(differing)} operations"


@needs_disk
@pytest.mark.parametrize("kind", [Accepted, Ended])
def test_a_damaged_record_leads_to_one_terminal_state(kind):
    """An operation whose acceptance or end was damaged is quarantined, for good, and says so."""
    disk = MemoryDisk()
    path = disk.root / "journal.db"
    kept = Kept(disk, path)
    kept.commit(accepted(1), accepted(2))
    if kind is Ended:
        kept.commit(ended(1), ended(2))
    kept.close()
    _hurt(disk, path, kind, 1)
    for _ in range(2):
        after = Kept(disk, path)
        state = fold(after.loaded)
        assert state.finished[1].status == Status.QUARANTINED
        assert 1 not in state.live
        assert (2 in state.live) == (kind is Accepted)
        assert "damaged" in after.outcome(1).failure.message
        after.close()


@needs_disk
@pytest.mark.parametrize("entry", [ended(1), ended_alike(1, 2)])
def test_a_damaged_acceptance_does_not_cost_the_result(entry):
    """When only the acceptance is lost, the end that was recorded still is the end."""
    disk = MemoryDisk()
    path = disk.root / "journal.db"
    kept = Kept(disk, path)
    kept.commit(accepted(1))
    kept.commit(entry)
    kept.close()
    _hurt(disk, path, Accepted, 1)
    after = Kept(disk, path)
    assert [alarm.operation for alarm in after.alarms] == [1]
    assert after.loaded == [entry]
    assert fold(after.loaded).finished[1].status == Status.DONE
    assert after.outcome(1).value.data == bytes([1]) * 20
    after.close()


@needs_disk
def test_ends_that_were_told_together_are_quarantined_together():
    """Of each it is known that it had ended; others in the row are what they were, and nothing is run again."""
    disk = MemoryDisk()
    path = disk.root / "journal.db"
    kept = Kept(disk, path)
    kept.commit(accepted(1), accepted(9))
    kept.commit(ended_alike(1, 2, 3), ended(9), ended_alike(4, 5))
    kept.close()
    _hurt(disk, path, EndedAlike, 1)
    for loads in range(2):
        after = Kept(disk, path)
        finished = fold(after.loaded).finished
        assert {one for one in finished if finished[one].status == Status.QUARANTINED} == {1, 2, 3}
        assert {one for one in finished if finished[one].status == Status.DONE} == {4, 5, 9}
        assert fold(after.loaded).live == {}
        assert ["operation 1 and 2 more" in str(alarm) for alarm in after.alarms] == [True] * (1 - loads)
        assert [after.outcome(one).status for one in (2, 5)] == [Status.QUARANTINED, Status.DONE]
        after.close()


@needs_disk
def test_damage_under_way_is_told_and_quarantined():
    """An end that was damaged after it was loaded is answered as quarantined, with an alarm, and the journal lives."""
    disk = MemoryDisk()
    path = disk.root / "journal.db"
    kept = Kept(disk, path)
    kept.commit(accepted(1), ended(1, 9000))
    with kept.journal._turn:  # the writer may still be at what follows a commit
        kept.journal._table.checkpoint()
        kept.journal._table._connection.execute("PRAGMA shrink_memory")
    file = disk.names_[str(path)]
    at = bytes(disk.files[file]).index(bytes([1]) * 3000) + 50
    disk.files[file][at] ^= 4
    assert kept.outcome(1).status == Status.QUARANTINED
    assert len(kept.messages) == 1
    kept.commit(accepted(2))
    kept.close()


def _hurt(disk, path, kind, operation):
    """Flip a bit in the one record of this kind and operation."""
    table = Table(disk, path)
    for row, head, body in list(table.scan()):
        records, _ = unpack(row, head, body)
        for record in records:
            if operation in record.operations and isinstance(entry_of(record), kind):
                broken = bytearray(body)
                broken[body.index(record.payload) + 3] ^= 1
                with table.transaction():
                    table.update([(row, head, bytes(broken))])
    table.close()


def entry_of(record):
    from agentd.store.records import decode

    return decode(record.payload)


def _rows_of(disk):
    kept = Kept(disk, disk.root / "journal.db")
    loaded, alarms = kept.loaded, kept.alarms
    kept.close()
    return loaded, alarms


@needs_disk
@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_lost_page_of_the_structure_costs_no_row(page):
    """Without the first page, the map of pages or the root of the tree each row is found, and no deleted one."""
    disk = _filled_disk()
    path = disk.root / "journal.db"
    expected, _ = _rows_of(disk.copy())
    data = disk.files[disk.names_[str(path)]]
    root = _root(disk.copy())
    at = {1: 0, 2: 1, 3: root - 1}[page] * 4096
    data[at : at + 4096] = bytes(4096)
    found, alarms = _rows_of(disk)
    if page == 2:  # only looked at when a page is moved or a tree is broken
        assert found == expected
        return
    assert [entry for entry in found if entry not in expected] == []
    assert found == expected
    assert "was broken" in str(alarms[0])
    assert disk.size(path.with_name("journal.db.damaged")) == len(data)
    again, alarms = _rows_of(disk)
    assert (again, alarms) == (expected, [])


def _root(disk):
    table = Table(disk, disk.root / "journal.db")
    ((root,),) = table._query("SELECT rootpage FROM sqlite_schema WHERE name = 'rows'")
    table.close()
    return root


@needs_disk
def test_each_bit_of_the_trees_root_may_flip():
    """No single flipped bit of the page that all rows hang on costs a row, or goes unnoticed where it matters."""
    disk = _filled_disk()
    path = disk.root / "journal.db"
    expected, _ = _rows_of(disk.copy())
    start = (_root(disk.copy()) - 1) * 4096
    for bit in [*range(8 * 12), *range(8 * 12, 4096 * 8, 613)]:
        hurt = disk.copy()
        hurt.files[hurt.names_[str(path)]][start + bit // 8] ^= 1 << bit % 8
        assert _rows_of(hurt)[0] == expected, f"bit {bit}"


@needs_disk
def test_what_is_damaged_beyond_reading_stops_the_start():
    """A file without one row to be found is neither taken for an empty journal nor changed."""
    disk = _filled_disk()
    data = disk.files[disk.names_[str(disk.root / "journal.db")]]
    data[:] = Random(1).randbytes(len(data))
    before = bytes(data)
    with pytest.raises(AgentdError, match="beyond reading"):
        Kept(disk, disk.root / "journal.db")
    assert disk.names(disk.root).count("journal.db") == 1
    assert bytes(data) == before
