"""The journal on a real file system that is really full."""

from __future__ import annotations

import os
import subprocess
from queue import SimpleQueue

import pytest

from agentd.core.journal.entries import Accepted
from agentd.core.journal.recovery import fold
from agentd.model.task import Template
from agentd.model.values import Payload
from agentd.store.disk import LocalDisk
from agentd.store.journal import Journal

WAIT_S = 60


@pytest.fixture
def small_disk(tmp_path):
    """Give a folder on a file system of 4 MiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can be mounted by root only, and not in every container")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_fills_and_frees_without_a_restart(small_disk):
    """Told full, then, when there is space, free; every entry is committed in the end, in order."""
    events: SimpleQueue[tuple[str, object]] = SimpleQueue()
    journal = Journal(
        LocalDisk(),
        small_disk / "journal.db",
        lambda number: events.put(("committed", number)),
        lambda message: events.put(("filled", message)),
        lambda: events.put(("freed", None)),
        lambda error: events.put(("broken", error)),
        ballast_bytes=256 * 1024,
    )
    assert list(journal.load()[0]) == []
    journal.start()
    (small_disk / "hog").write_bytes(bytes(2 << 20))
    number = 0
    kinds: list[str] = []
    while "filled" not in kinds:
        number += 1
        journal.append(number, Accepted(number, Template("f"), Payload(1, bytes(20_000)), 1.0, 1.0))
        journal.flush()
        kinds.append(events.get(timeout=WAIT_S)[0])
        assert kinds[-1] != "broken"
    (small_disk / "hog").unlink()
    number += 1
    journal.append(number, Accepted(number, Template("f"), Payload(), 1.0, 1.0))
    journal.flush()
    committed = 0
    while "freed" not in kinds or committed < number:
        kind, value = events.get(timeout=WAIT_S)
        kinds.append(kind)
        assert kind != "broken", value
        committed = value if kind == "committed" else committed
    assert kinds.count("filled") == kinds.count("freed") == 1
    journal.close()
    again = Journal(LocalDisk(), small_disk / "journal.db", print, print, print, print)
    assert list(fold(again.load()[0]).live) == list(range(1, number + 1))
    again.close()
