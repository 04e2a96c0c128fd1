"""Which results count as read: they may be forgotten when others need the room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

from agentd.core.journal.entries import WasRead
from agentd.store.disk import LocalDisk
from agentd.store.journal import Journal


def test_a_result_counts_as_read_when_it_was_told_and_not_before(
    start_agent: Callable[..., Any], tmp_path: Path
) -> None:
    """With the answer to who submitted and waited, or asked later; not for who left it there, and no failure."""
    state = tmp_path / "state"
    agent = start_agent(*WITH_APPS, state=state)
    door = Door(agent.rest, state)
    told = door.submit("sums:increment", 2, wait_s=PATIENCE_S)
    asked, left = door.submit("sums:increment", 2), door.submit("sums:increment", 2)
    failed = door.submit("sums:fail", wait_s=PATIENCE_S)
    assert (told["result"], failed["state"]) == (3, "failed")
    assert door.wait(asked["id"])["result"] == 3
    agent.stop()
    read = _read(state)
    assert {int(told["id"]), int(asked["id"])} <= read
    assert not {int(left["id"]), int(failed["id"])} & read


def _read(state: Path) -> set[int]:
    journal = Journal(LocalDisk(), state / "journal.db", print, print, print, print)
    try:
        entries = list(journal.load()[0])
    finally:
        journal.close()
    return {operation for entry in entries if isinstance(entry, WasRead) for operation in entry.operations}
