"""The journal against power loss and a disk that fails at any step, on a disk in memory."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from random import Random

import pytest

from agentd.core.journal.entries import Booted, Forgotten, HostAdded, Started, WasRead
from agentd.model.errors import AgentdError, DiskError
from tests.unit.store.journal_kit import Kept, accepted, ended, folded
from tests.unit.store.memory_disk import REASON, MemoryDisk

pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

STATES = int(os.environ.get("AGENTD_FAULT_STATES", "1000"))
"""How many states after a loss of power are looked at, half of them by each way of writing."""

FAULTS = int(os.environ.get("AGENTD_FAULT_STEPS", "200"))
"""At how many steps, evenly spread, the disk fails."""


@pytest.fixture(autouse=True, params=[False, True], ids=["by the writer thread", "at once"])
def _small_log(monkeypatch, request):
    """Let the log be folded in and rows be split often, so that a short history has all of it."""
    monkeypatch.setattr(Kept, "at_once", request.param)
    monkeypatch.setattr("agentd.store.pace.FEW_ENTRIES", 20)
    monkeypatch.setattr("agentd.store.table.CHECKPOINT_BYTES", 256 * 1024)
    monkeypatch.setattr("agentd.store.records.ROW_BYTES", 8 * 1024)


def _batches(seed: int = 1) -> list[list[object]]:
    """Give a history with everything in it: growth, ends, retention, pool; large enough for several checkpoints."""
    chance = Random(seed)
    batches: list[list[object]] = [[Booted("b", 1, 0.0, "1"), HostAdded("a", b"{}")]]
    oldest, number = 1, 1
    for turn in range(40):
        fresh = list(range(number, number + chance.randrange(1, 30)))
        number = fresh[-1] + 1
        size = chance.choice([10, 100, 1000, 3000])
        batches.append([accepted(operation, size) for operation in fresh])
        batches.append([Started(tuple(fresh)), *(ended(operation, size) for operation in fresh)])
        if turn % 4 == 3:
            gone = tuple(range(oldest, number - 10))
            oldest = max(oldest, number - 10)
            batches.append([WasRead(gone, 1.0), Forgotten(gone)])
        if turn % 10 == 9:
            batches.append([HostAdded("a", bytes([turn]))])
    return batches


def _written(disk: MemoryDisk) -> tuple[list[list[object]], list[tuple[int, int]]]:
    """Write the history; give its batches, and (batches acknowledged, steps of the log by then)."""
    kept = Kept(disk, disk.root / "journal.db", mark=lambda: len(disk.log))
    batches = _batches()
    numbers = {}
    for at, batch in enumerate(batches, start=1):
        kept.commit(*batch)
        numbers[kept.number] = at
    kept.close()
    return batches, [(numbers[number], steps) for number, steps in kept.acknowledged]


def _states(batches: list[list[object]]) -> list[object]:
    flat: list[object] = []
    states = [folded([])]
    for batch in batches:
        flat += batch
        states.append(folded(flat))
    return states


def test_no_loss_of_power_loses_what_was_acknowledged():
    """After any prefix of the steps, with unsynced writes dropped or torn, each acknowledged entry is there.

    What is found is exactly the state after some whole batch, no earlier than the last one that was acknowledged.
    """
    disk = MemoryDisk()
    batches, acknowledged = _written(disk)
    states = _states(batches)
    chance = Random(7)
    made = next(at for at, step in enumerate(disk.log) if step.what == "sync names")
    for _ in range(STATES // 2):
        steps = chance.randrange(made, len(disk.log) + 1)
        least = max((count for count, by in acknowledged if by <= steps), default=0)
        after = Kept(disk.after_power_loss(steps, chance), disk.root / "journal.db")
        assert after.alarms == []
        found = folded(after.loaded)
        assert found in states[least : least + 3], f"steps {steps}, {least} batches acknowledged"
        after.commit(accepted(10**9))
        after.close()


def test_the_replay_notices_a_sync_that_is_missing():
    """The test above can fail: on a disk whose syncs do nothing, acknowledged entries are lost."""
    disk = MemoryDisk()
    batches, acknowledged = _written(disk)
    states = _states(batches)
    disk.log = [step for step in disk.log if step.what != "sync"]
    chance = Random(7)
    lost = 0
    for _ in range(60):
        steps = chance.randrange(len(disk.log) // 2, len(disk.log) + 1)
        after = None
        try:
            after = Kept(disk.after_power_loss(steps, chance), disk.root / "journal.db")
            least = max((count for count, by in acknowledged if by <= steps), default=0)
            lost += folded(after.loaded) not in states[least : least + 3]
        except AgentdError:
            lost += 1
        finally:
            if after is not None:
                after.close()
    assert lost > 0


def _steps_of_a_run() -> int:
    disk = MemoryDisk()
    kept = Kept(disk, disk.root / "journal.db")
    for batch in _batches()[:40]:
        kept.commit(*batch)
    kept.close()
    return disk.calls


def _spread(total: int, most: int) -> list[int]:
    return sorted({1 + at * total // most for at in range(min(most, total))})


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC", "short"])
def test_a_fault_at_any_step_loses_nothing_that_was_acknowledged(fault):
    """EIO ends the journal for good; no space and a short write are waited out; nothing acknowledged is ever lost."""
    batches = _batches()[:40]
    states = _states(batches)
    for number in _spread(_steps_of_a_run(), FAULTS // 3):
        disk = MemoryDisk()
        disk.fail = _failing(fault, number)
        done = 0
        broke: BaseException | None = None
        kept = None
        try:
            kept = Kept(disk, disk.root / "journal.db")
            for batch in batches:
                kept.commit(*batch)
                done += 1
            kept.close()
        except AgentdError as error:
            broke = error
            if kept is not None and kept.journal._thread is not None:
                with pytest.raises(DiskError):
                    kept.close()
        if kept is not None and fault != "EIO":
            assert broke is None, f"{fault} at step {number}: {broke!r}"
        after = Kept(disk.copy(), disk.root / "journal.db")
        assert folded(after.loaded) in states[done : done + 2], f"{fault} at step {number}"
        after.close()


def _failing(fault, number):
    def fail(what, call):
        if call != number:
            return None
        if fault == "short":
            return 100 if what == "write" else None
        if fault == "ENOSPC" and what not in {"write", "create", "allocate", "truncate"}:
            return None
        code = getattr(errno, fault)
        raise OSError(code, os.strerror(code))

    return fail


def test_an_error_of_fsync_is_never_tried_again():
    """After a sync that failed nothing more is written or synced: what is on the disk is not known any more."""
    disk = MemoryDisk()
    kept = Kept(disk, disk.root / "journal.db")
    kept.commit(accepted(1))

    def fail(what, call):
        if what.startswith("fsync"):
            raise OSError(errno.EIO, "I/O error")

    disk.fail = fail
    kept.append(accepted(2))
    kind, error = kept.next_event()
    while kind == "committed":
        kind, error = kept.next_event()
    assert kind == "broken"
    assert isinstance(error, DiskError)
    disk.fail = lambda what, call: None
    steps = len([step for step in disk.log if step.what in {"write", "sync"}])
    kept.append(accepted(3))
    with pytest.raises(DiskError):
        kept.close()
    assert kept.acknowledged[-1][0] == 1
    assert len([step for step in disk.log if step.what in {"write", "sync"}]) == steps


def test_a_full_disk_is_told_once_and_recovers_without_a_restart():
    """`filled` comes once; the ballast lets what runs be recorded; after there is space all is committed, in order."""
    disk = MemoryDisk(capacity=2_000_000)
    kept = Kept(disk, disk.root / "journal.db", ballast_bytes=300_000)
    number = 0
    events = []
    while not events:
        number += 1
        kept.append(accepted(number, 20_000))
        kind, _ = kept.next_event()
        events += [kind] if kind != "committed" else []
    assert events == ["filled"]
    kept.wait()  # by the space of the ballast
    stuck = [accepted(10_000 + at, 20_000) for at in range(100)]
    for entry in stuck:
        kept.append(entry)
    disk.capacity = 10_000_000
    kept.append(accepted(20_000))
    while True:
        kind, _ = kept.next_event()
        assert kind != "filled"
        if kind == "freed":
            break
    kept.close()  # what came after there was space, or shortly before, is committed after it was told
    assert kept.acknowledged[-1][0] == kept.number
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(kept.acknowledged))
    after = Kept(disk.copy(), disk.root / "journal.db")
    expected = [*range(1, number + 1), *(10_000 + at for at in range(100)), 20_000]
    assert [entry.operation for entry in after.loaded] == expected
    after.close()


def test_closing_on_a_full_disk_says_what_is_not_kept():
    """Entries that do not fit are neither acknowledged nor waited for without end: the close fails, and says so."""
    disk = MemoryDisk(capacity=1_000_000)
    kept = Kept(disk, disk.root / "journal.db", ballast_bytes=50_000)
    kept.append(*(accepted(operation, 20_000) for operation in range(1, 200)))
    with pytest.raises(DiskError, match="full"):
        kept.close()
    assert kept.acknowledged == []


def test_a_start_on_a_nearly_full_disk_says_so():
    """When not even the ballast fits, that is told at once and the journal still opens."""
    disk = MemoryDisk(capacity=400_000)
    kept = Kept(disk, disk.root / "journal.db", ballast_bytes=300_000)
    assert kept.next_event()[0] == "filled"
    kept.commit(accepted(1))
    kept.close()


def test_the_file_stays_small_when_operations_come_and_go():
    """Ten times the operations, each forgotten soon, take no more of the disk than a tenth of them did."""
    sizes = []
    for rounds in (30, 300):
        disk = MemoryDisk()
        kept = Kept(disk, disk.root / "journal.db")
        for turn in range(rounds):
            operations = range(turn * 20 + 1, turn * 20 + 21)
            kept.commit(*(accepted(operation, 5_000) for operation in operations))
            kept.commit(*(ended(operation, 5_000) for operation in operations))
            kept.commit(Forgotten(tuple(operations)))
        kept.close()
        sizes.append(disk.size(disk.root / "journal.db"))
    assert sizes[1] < sizes[0] * 2 + (1 << 20)
