"""Everything that programs for PyCOMPSs are written with, on a real agent: what comes of it, and where it ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.api import Agent, connect
from tests.conftest import RunningAgent, StartAgent
from tests.integration.daemon_rig import WITH_APPS

ALLOWED = ("--allow-binary", "cat", "--allow-binary", "sh", "--cpu", "2")


@pytest.fixture
def client(start_agent: StartAgent) -> Iterator[Agent]:
    """Talk to an agent of two cores that may run two commands."""
    agent: RunningAgent = start_agent(*WITH_APPS, *ALLOWED)
    with connect(agent.state) as found:
        yield found


def _row(client: Agent, name: str, *args: Any) -> Any:
    return client.call(f"compss_rows:{name}", *args)


def test_tasks_run_in_workers(client: Agent) -> None:
    """Not in the process that calls them; and that knows that it is one of an agent's."""
    assert _row(client, "in_workers") == [True, False, 1]


def test_every_direction_of_objects(client: Agent, tmp_path: Path) -> None:
    """Writers run in the order of the program, readers see the version of their call, concurrent ones all take part."""
    numbers = [str(n) for n in range(4)]
    expected = [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4], ["old", "new"], [1, "taken"], numbers, [0, 1, 2, 3]]
    found = _row(client, "directions", str(tmp_path / "notes"))
    found[2] = ["old", "new"] if found[2][-1:] == ["new"] else found[2]
    assert found == expected


def test_files_and_directories(client: Agent, tmp_path: Path) -> None:
    """Files are where the program has them when it waited, each reader saw its own version."""
    found = _row(client, "files", str(tmp_path))
    assert found == ["one ", [True, False], True, "one two", "ONE TWO", ["a=A", "b=B"], True, True, ["a", "b"]]


def test_standard_streams_of_commands(client: Agent, tmp_path: Path) -> None:
    """What a command is given and says goes through the files that its task names."""
    assert _row(client, "streams", str(tmp_path)) == ["given", "hello\n", "warned\n", 3]


def test_commands_before_and_after(client: Agent, tmp_path: Path) -> None:
    """In their order, on the file as the task has it."""
    assert _row(client, "hooks", str(tmp_path)) == ["before", "task", "after"]


def test_what_the_device_lacks_is_named_with_the_agent(client: Agent) -> None:
    """Nothing runs; the warning beside the None names the program and the agent."""
    values, said = _row(client, "missing")
    assert values == [None, None, None]
    name = client.agent().name
    for program in ("not_on_the_list_of_anybody", "mpirun_of_nobody", "singularity"):
        assert any(f"{program} is not on agent {name}" in one for one in said), said


def test_collections_and_dictionaries(client: Agent) -> None:
    """Elements are data of their own, to the depth that is said."""
    before, blocks, out, sums, values, deleted = _row(client, "collections")
    assert before == 20
    assert blocks == [[[1, 10, 1, 10], [2, 2]], [[3, 3], [4, 4]]]
    assert out == [[0], [1], [2, 7]]
    assert (sums, values, deleted) == (5, {"a": [2], "b": [3]}, True)


def test_returns_arguments_and_methods(client: Agent) -> None:
    """Numbers of values worked out at the call, `*args` and `**kwargs`, objects with tasks as methods."""
    some, first, second, lists, named, collected, counted, other, names = _row(client, "arguments")
    assert (some, first, second, lists) == ([0, 1, 2], 1, "a", [["x"], ["x"]])
    assert named == [1, [3, 4], 2, {"z": 5}]
    assert (collected, counted, other, names) == ([2, 2, 2], 5, 9, ["Counter", 8])


def test_constraints_and_other_decorators(client: Agent) -> None:
    """A task has the cores that its call worked out; a local function has values; what does not fit is never chosen."""
    light, narrow, wide, chosen = _row(client, "decorators")
    assert (light, narrow, wide) == (10, 1, 2)
    assert set(chosen) <= {"source", "other"}


def test_reductions_are_trees(client: Agent) -> None:
    """Sixteen values by four are five calls; merging functions give what folding gives."""
    (total, calls), pairs, triples, pieces = _row(client, "reductions")
    assert (total, calls, pairs, triples, pieces) == (120, 5, 21, 21, [2, 2])


def test_failures_by_policy(client: Agent, tmp_path: Path) -> None:
    """Four attempts; a value in the place of one that failed; the last good version of what was cancelled; a reason."""
    found = _row(client, "failures", str(tmp_path))
    assert found == [None, True, 4, 7, ["default"], [0, 1], None, True]


def test_groups_end_and_are_cancelled(client: Agent, tmp_path: Path) -> None:
    """The barrier of a group raises what ended it; a cancelled group leaves its file as the last done task left it."""
    assert _row(client, "groups", str(tmp_path)) == ["found", "122"]


def test_time_limits(client: Agent, tmp_path: Path) -> None:
    """A task that takes too long is ended and tried again; a program's limit cancels what is left of it."""
    assert _row(client, "time_outs", str(tmp_path)) == [None, True]
    assert len((tmp_path / "late").read_text()) >= 1
    value, said = _row(client, "wall_clock")
    assert value is None
    assert said


def test_data_of_a_group_that_ended_can_be_used(client: Agent, tmp_path: Path) -> None:
    """Whoever writes a file after the exception goes on with what the last task left that was done."""
    assert _row(client, "after_a_group", str(tmp_path)) == "1321"


def test_collections_of_files(client: Agent, tmp_path: Path) -> None:
    """Written, changed, and read, with dependencies file by file."""
    texts = ["a0bc", "a1bc", "a2b"]
    assert _row(client, "file_collections", str(tmp_path)) == [texts, texts, True]
