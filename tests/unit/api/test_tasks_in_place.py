"""Without an agent, a program with tasks is a plain program."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from agentd import api
from agentd.api.tasks.definition import ATTRIBUTE, TaskDefinition, definition_of
from agentd.api.tasks.errors import GroupException
from agentd.api.tasks.runtime import IN_PLACE, current, use


def add(left: int, right: int = 1) -> int:
    return left + right


ADD = TaskDefinition(function=add, body=add, module=__name__, qualname="add", names=("left", "right"), returns=1)


def test_a_process_of_its_own_runs_tasks_in_place() -> None:
    """Where no worker and no session is, a task gives its value at once."""
    assert current() is IN_PLACE
    assert current().call(ADD, (2,), {"right": 3}) == 5


def test_waiting_gives_the_arguments_back() -> None:
    """One argument comes back as it is, several as a list; the same objects."""
    value: list[int] = []
    assert api.wait_on(value) is value
    assert api.wait_on(1, value) == [1, value]
    assert api.wait_on_file("a") == "a"
    assert api.wait_on_directory("a", "b") == ["a", "b"]


def test_an_unknown_mode_is_refused() -> None:
    """A slip of the pen in `mode` is told, also without an agent."""
    with pytest.raises(ValueError, match='mode is "r" or "rw"'):
        api.wait_on(1, mode="w")


def test_files_are_plain_files(tmp_path: Path) -> None:
    """Files are opened, found and removed where they are; what is not there is no error."""
    path = tmp_path / "file"
    with api.open_file(path, "w") as file:
        file.write("text")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert api.file_exists(path) is True
    assert api.file_exists(path, tmp_path / "none") == [True, False]
    assert api.delete_file(path, folder, tmp_path / "none") == [True, True, True]
    assert not path.exists()
    assert not folder.exists()


def test_groups_and_barriers_do_nothing() -> None:
    """A group is an empty context that lets exceptions through."""

    def program() -> None:
        with api.TaskGroup("group"):
            api.barrier()
            api.barrier_group("group")
            api.cancel_group("group")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    with pytest.raises(TypeError, match="needs a name"):
        api.TaskGroup("")


def test_a_runtime_can_be_put_in_and_taken_out() -> None:
    """`use` decides where calls go, until it is told otherwise."""

    class Other(type(IN_PLACE)):  # type: ignore[misc]
        def number_of_resources(self) -> int:
            return 7

    use(Other())
    try:
        assert api.number_of_resources() == 7
    finally:
        use(None)
    assert api.number_of_resources() == 1


def test_a_definition_is_found_through_methods() -> None:
    """What decorators make carries its definition, also as a bound method."""

    class Holder:
        def method(self) -> None:
            """Stand for a decorated method."""

    setattr(Holder.method, ATTRIBUTE, ADD)
    assert definition_of(Holder.method) is ADD
    assert definition_of(Holder().method) is ADD
    assert definition_of(add) is None


def test_a_group_exception_travels() -> None:
    """Its message and direction survive pickling, also of a class derived from it."""
    again = pickle.loads(pickle.dumps(GroupException("enough", 2)))
    assert (str(again), again.message, again.target_direction) == ("enough", "enough", 2)
