"""The journal and the state folder with real processes, real kills and a real disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from agentd.core.recovery import fold
from agentd.model.errors import StateInUse
from agentd.store.disk import LocalDisk, open_state
from agentd.store.journal import Journal

ROOT = Path(__file__).parents[2]
WRITER = Path(__file__).with_name("journal_writer.py")
KILLS = int(os.environ.get("AGENTD_FAULT_KILLS", "20"))


def _writer(folder: Path, first: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(folder), str(first)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _ignore(*_: object) -> None:
    pass


def _open(folder: Path) -> Journal:
    return Journal(LocalDisk(), folder / "journal.db", _ignore, _ignore, _ignore, _ignore)


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    """However often the writer is killed, and wherever, each operation that it was told of is there with its result."""
    chance = Random(3)
    folder = tmp_path / "state"
    first, told = 1, 0
    for _ in range(KILLS):
        process = _writer(folder, first)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 60)):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split(b"\n")
        told = max([told, *(int(line) for line in rest[:-1])])
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        state = open_state(folder)
        journal = _open(folder)
        entries, alarms = journal.load()
        found = fold(entries)
        assert alarms == []
        last = max(found.finished, default=0)
        assert last >= told
        missing = [
            operation for operation in range(max(first, told - 100), told + 1) if operation not in found.finished
        ]
        assert missing == []
        assert all(row.result_bytes == len(str(operation)) for operation, row in found.finished.items())
        journal.close()
        state.close()
        first = last + 1


def test_a_second_daemon_on_the_same_folder_is_refused(tmp_path):
    """While a process holds the state folder another is refused and told its number; once it was killed, no more."""
    folder = tmp_path / "state"
    process = _writer(folder, 1)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(StateInUse, match=rf"pid {process.pid}\b"):
        open_state(folder)
    with pytest.raises(StateInUse, match="another process has"):
        _open(folder)
    process.kill()
    process.wait()
    process.stdout.close()
    open_state(folder).close()
    journal = _open(folder)
    assert list(journal.load()[0])
    journal.close()
