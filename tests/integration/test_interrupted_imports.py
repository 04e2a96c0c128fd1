"""Tasks that are stopped in the middle of an import: the packages that were half loaded harm no other task."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentd.core.commands import InterruptTask
from agentd.model.task import Reason, Status
from tests.conftest import StartAgent
from tests.integration.daemon_rig import PATIENCE_S, Door, until
from tests.integration.workers_room import Room, arguments

USES = (
    "def use(folder):\n    import builtins\n    builtins.folder = folder\n    import halves\n    return halves.WHOLE\n"
)
PACKAGE = {
    "__init__": "from .first import *\nfrom .second import *\nWHOLE = first.PART + second.PART\n",
    "first": "PART = 1\n",
    "second": (
        "import os, time\nopen(os.path.join(folder, 'ready'), 'w').close()\n"
        "while not os.path.exists(os.path.join(folder, 'gate')): time.sleep(0.001)\nPART = 2\n"
    ),
}
"""Loaded again after it was loaded half, it misses `first`; as asyncio and others do."""


def write_package(folder: Path) -> None:
    """Write a package whose second half is loaded when there is a gate."""
    (folder / "halves").mkdir()
    for name, source in PACKAGE.items():
        (folder / "halves" / f"{name}.py").write_text(source)


@pytest.mark.parametrize("timed_out", [False, True])
def test_a_worker_whose_import_was_interrupted_leaves(tmp_path: Path, timed_out: bool) -> None:
    """It says how its task ended, begins no other, and nobody is blamed; another worker imports the same."""

    async def main() -> None:
        async with Room(tmp_path, USES + "def inc(n): return n + 1\n") as room:
            write_package(room.code)
            await room.start_worker(1)
            first, second = room.give([room.task("use", arguments(str(tmp_path))), room.task("inc", arguments(1))])
            await room.soon((tmp_path / "ready").exists)
            room.supervisor.interrupt(InterruptTask(1, first.id, 1, timed_out))
            assert (await room.result(first)).status == (Status.FAILED if timed_out else Status.CANCELLED)
            lost = await room.lost(1)
            assert (lost.running, lost.failure.reason) == (0, Reason.NONE)
            assert second.id not in room.results()
            (tmp_path / "gate").touch()
            await room.start_worker(2)
            assert await room.call("use", str(tmp_path), worker=2) == 3

    asyncio.run(main())


def test_the_next_task_finds_its_imports_whole(tmp_path: Path, start_agent: StartAgent) -> None:
    """Cancelled while it imports: the next one on the same core imports the same, and no worker counts as lost."""
    (tmp_path / "uses.py").write_text(USES)
    write_package(tmp_path)
    agent = start_agent("--pythonpath", str(tmp_path), "--cpu", "1")
    door = Door(agent.rest, agent.state)
    importing = door.submit("uses:use", str(tmp_path))["id"]
    until((tmp_path / "ready").exists)
    door.client.delete(f"/v1/operations/{importing}")
    assert door.wait(importing)["state"] == "cancelled"
    (tmp_path / "gate").touch()
    ended = door.submit("uses:use", str(tmp_path), wait_s=PATIENCE_S)
    assert (ended["state"], ended["result"]) == ("done", 3), ended
    assert door.figure("worker_losses_total") == 0
