"""Files that tasks write side by side, over a fake engine: groups that are cancelled, and what is released."""

from __future__ import annotations

import threading
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


def test_a_call_that_is_refused_writes_nothing(port: FakePort, tmp_path: Path) -> None:
    """It was to be the first of several; whoever uses the file next has it as it was, without a task for it."""
    path = tmp_path / "file"
    path.write_text("mine")
    with program(port, note, sign, gathered):
        with pytest.raises(TypeError, match="cannot be pickled"):
            note(str(path), threading.Lock())  # type: ignore[arg-type]
        sign(str(path))
        api.wait_on_file(str(path))
        assert path.read_text() == "mine."
    assert not any("complete" in name for name in port.ran)


def test_what_writers_left_is_released_while_the_program_goes_on(port: FakePort, tmp_path: Path) -> None:
    """Round after round no more versions are kept than in the rounds before."""
    path, kept = tmp_path / "file", []
    path.write_text("")
    with program(port, note, sign, gathered):
        for _ in range(12):
            for text in "abc":
                note(str(path), text)
            api.wait_on_file(str(path))
            kept.append(len(set(port.versions) - set(port.released)))
    assert len(path.read_text()) == 36
    assert kept[-1] == kept[3], kept
