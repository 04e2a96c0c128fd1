"""Files that tasks write side by side, over a fake engine: groups that are cancelled, and what is released."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd import api
from agentd.api.tasks.definition import Content, Direction
from agentd.api.tasks.joint import gathered
from tests.fakes.marked import marked, of
from tests.fakes.task_engine import FakePort, program


@marked(path=of(Content.FILE, Direction.CONCURRENT))
def note(path: str, text: str) -> None:
    with Path(path).open("a") as file:
        file.write(text)


@marked(path=of(Content.FILE, Direction.INOUT))
def sign(path: str) -> None:
    with Path(path).open("a") as file:
        file.write(".")


@pytest.fixture
def port(tmp_path: Path) -> FakePort:
    """Give an engine in this process."""
    (tmp_path / "tasks").mkdir()
    return FakePort(str(tmp_path / "tasks"))


def test_each_group_of_writers_makes_one_version(port: FakePort, tmp_path: Path) -> None:
    """However many they are; the last one too, which nobody reads; nothing is left where they shared the file."""
    path = tmp_path / "file"
    path.write_text("")
    with program(port, note, sign, gathered):
        for text in "abc":
            note(str(path), text)
        sign(str(path))
        note(str(path), "d")
        api.wait_on_file(str(path))
        assert sorted(path.read_text()[:3]) == ["a", "b", "c"]
        assert path.read_text()[3:] == ".d"
        note(str(path), "e")
    assert path.read_text()[3:] == ".de"
    assert sum("complete" in name for name in port.ran) == 3
    assert not any(Path(port.shared).iterdir())


def test_a_cancelled_group_leaves_the_file_as_it_was(port: FakePort, tmp_path: Path) -> None:
    """What its writers should have written is what it was before, also for who writes it next."""
    path = tmp_path / "file"
    path.write_text("mine")
    with program(port, note, sign, gathered):
        with api.TaskGroup("group", implicit_barrier=False):
            note(str(path), "a")
            note(str(path), "b")
        api.cancel_group("group")
        api.wait_on_file(str(path))
        assert path.read_text() == "mine"
        sign(str(path))
        api.wait_on_file(str(path))
    assert path.read_text() == "mine."
