"""Large files that tasks only read are not copied for each; and nothing of what tasks had in files is left behind."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

from tests.conftest import RunningAgent, StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, until

SIZE = 20 << 20


def large_file(folder: Path) -> tuple[Path, str]:
    """Write a large file; gives its path and digest."""
    path = folder / "large"
    data = os.urandom(1 << 20) * (SIZE >> 20)
    path.write_bytes(data)
    return path, hashlib.sha1(data, usedforsecurity=False).hexdigest()


def ask(agent: RunningAgent, function: str, *args: object) -> object:
    """Run a function and give what it returned."""
    found = Door(agent.rest, agent.state).submit(f"large_files:{function}", *args, wait_s=PATIENCE_S)
    assert found["state"] == "done", found
    return found["result"]


def test_readers_share_one_file_that_none_of_them_can_harm(start_agent: StartAgent, tmp_path: Path) -> None:
    """Where this user could not write it, all have one file, and who tries is told what to do; else each has a copy.

    In either case the next reader has it as it was, and so has the caller.
    """
    agent = start_agent("--cpu", "2", *WITH_APPS)
    path, digest = large_file(tmp_path)
    (tmp_path / "met").mkdir()
    found = ask(agent, "readers", str(path), str(tmp_path / "met"))
    assert found["digests"] == [digest, digest]
    assert found["same"]
    (one, _), (other, _) = found["rows"]
    assert found["inode"] not in {one, other}, "it is not the caller's own file"
    if os.geteuid() != 0 and one == other:
        assert "PermissionError" in found["error"]
        assert "FILE_INOUT" in found["error"]
    else:
        assert one != other
        assert found["error"] == "1"
    if os.geteuid() != 0:
        assert one == other or shares_bytes(tmp_path), "a plain user's tasks need no copies"


def shares_bytes(folder: Path) -> bool:
    """Tell whether the file system makes files that share their bytes."""
    with (folder / "one").open("wb") as one, (folder / "other").open("wb") as other:
        try:
            fcntl.ioctl(one, 0x40049409, other.fileno())
        except OSError:
            return False
        return True


def test_what_a_task_makes_of_such_a_file_is_its_own(start_agent: StartAgent, tmp_path: Path) -> None:
    """Its content can be written to another file, which can be changed."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    path, _ = large_file(tmp_path)
    assert ask(agent, "copied", str(path)) == "mine"


def test_nothing_is_left_of_tasks_and_their_files(start_agent: StartAgent, tmp_path: Path) -> None:
    """Of a task whose worker died no file stays; of an agent that was killed none after the next start."""
    place = tmp_path / "place"
    place.mkdir()
    path, _ = large_file(tmp_path)
    options = ("--cpu", "1", *WITH_APPS)
    agent = start_agent(*options, env={"TMPDIR": str(place)})
    assert ask(agent, "left_by_the_dead", str(path)) != 1
    ask(agent, "copied", str(path))
    (folder,) = [one for one in place.iterdir() if one.name.startswith("agentd-tasks-")]
    until(lambda: not [one for one in folder.rglob("*") if one.is_file()])
    agent.kill()
    again = start_agent(*options, state=agent.state, env={"TMPDIR": str(place)})
    assert not folder.exists()
    assert len([one for one in place.iterdir() if one.name.startswith("agentd-tasks-")]) == 1
    again.stop()
    assert not [one for one in place.iterdir() if one.name.startswith("agentd-tasks-")]
