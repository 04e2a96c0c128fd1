"""The journal and the state folder with real processes, real kills and a real disk."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from random import Random

import pytest

from agentd.core.journal.recovery import fold
from agentd.model.errors import StateInUse
from agentd.store.disk import LocalDisk, open_state
from agentd.store.journal import Journal
from tests.integration import journal_writer

KILLS = int(os.environ.get("AGENTD_FAULT_KILLS", "50"))


class Writer:
    """A process that writes to a journal; forked, since loading Python anew would take longer than all it does."""

    def __init__(self, folder: Path, first: int) -> None:
        out, into = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: it needs none of them
            self.pid = os.fork()
        if self.pid == 0:
            os.dup2(into, 1)
            try:
                journal_writer.main(str(folder), first)
            finally:
                os._exit(1)
        os.close(into)
        self.stdout = os.fdopen(out, "rb")

    def kill(self) -> int:
        """End it as a crash would; gives the last number that it told before, 0 for none."""
        os.kill(self.pid, signal.SIGKILL)
        rest = self.stdout.read().split(b"\n")
        self.stdout.close()
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == -signal.SIGKILL
        return max((int(line) for line in rest[:-1]), default=0)


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
        writer = Writer(folder, first)
        for _ in range(chance.randrange(1, 60)):
            told = int(writer.stdout.readline())
        told = max(told, writer.kill())
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
    writer = Writer(folder, 1)
    writer.stdout.readline()
    with pytest.raises(StateInUse, match=rf"pid {writer.pid}\b"):
        open_state(folder)
    with pytest.raises(StateInUse, match="another process has"):
        _open(folder)
    writer.kill()
    open_state(folder).close()
    journal = _open(folder)
    assert list(journal.load()[0])
    journal.close()
