"""FILE_CONCURRENT and CONCURRENT on real agents: tasks write one file, or one object, at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of, star


@pytest.fixture
def door(start_agent: StartAgent) -> Door:
    """Give an agent of two cores."""
    agent = start_agent("--cpu", "2", *WITH_APPS)
    return Door(agent.rest, agent.state)


def ask(door: Door, function: str, *args: object) -> object:
    """Run a function and give what it returned."""
    found = door.submit(f"joint_files:{function}", *args, wait_s=PATIENCE_S)
    assert found["state"] == "done", found
    return found["result"]


def test_tasks_meet_in_the_file_that_both_write(door: Door, tmp_path: Path) -> None:
    """They run at once, in two processes, on one inode; readers and writers behind them have what both left."""
    assert ask(door, "meeting", str(tmp_path / "file")) == {
        "processes": 2,
        "inodes": 1,
        "seen": ["a", "b"],
        "lines": [["a", "b"], "signed", ["c", "d"]],
        "later": 2,
    }


def test_locks_of_the_file_hold_between_the_tasks(door: Door, tmp_path: Path) -> None:
    """Nothing is lost of what each does under a lock of the file itself."""
    assert ask(door, "counted", str(tmp_path / "file"), 8, 50) == "400"


def test_the_path_is_what_the_tasks_share(door: Door, tmp_path: Path) -> None:
    """One that replaces the file by another of the same name has done so for all."""
    assert ask(door, "replaced", str(tmp_path / "file")) == "0ab"


def test_a_failed_writer_fails_those_behind(door: Door, tmp_path: Path) -> None:
    """Who waits is told of its own failure; the caller's file is what it was."""
    first, second, text = ask(door, "failed", str(tmp_path / "file"))
    assert first == "ValueError: a writer failed"
    assert "a writer failed" in second
    assert text == "mine"


def test_a_writer_whose_worker_died_goes_on_with_the_file_as_it_is(door: Door, tmp_path: Path) -> None:
    """It runs again, on what it had written before."""
    assert ask(door, "died", str(tmp_path / "file")) == "xx"


def test_the_file_is_in_its_place_at_the_end(door: Door, tmp_path: Path) -> None:
    """Also when nobody has waited for it; nothing else is left in its folder."""
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    ask(door, "at_the_end", str(path))
    assert sorted(path.read_text().split()) == ["a", "b"]
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_objects_are_written_at_once_and_the_last_call_counts(door: Door, tmp_path: Path) -> None:
    """Each of the two that meet has the object as it was before them; the value is what the last of them left."""
    assert ask(door, "objects", str(tmp_path)) == [[["first"], ["first"]], ["first", "b"]]


def test_the_tasks_stay_where_the_file_is(start_agent: StartAgent, tmp_path: Path) -> None:
    """With a neighbour that has room they still run on the agent whose program calls them; readers may go."""
    door = door_of(star(start_agent, home=2, far=4)["home"])
    assert ask(door, "meeting", str(tmp_path / "file"))["inodes"] == 1
    assert ask(door, "counted", str(tmp_path / "number"), 8, 20) == "160"
