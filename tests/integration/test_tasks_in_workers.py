"""Programs with tasks on real agents: tasks run in workers, in the right order, and leave nothing behind."""

from __future__ import annotations

import copy
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.api import AgentExecutor, TaskCancelled
from tests.conftest import ROOT, RunningAgent, StartAgent
from tests.fakes.task_programs import LISTS, Run

APPS = ROOT / "tests" / "integration" / "apps"
sys.path.insert(0, str(APPS))
import nested_tasks as apps  # noqa: E402 - the same module that the agent's workers import

LONG_S = 60.0
"""No operation takes so long unless something is broken."""
ROOTS = os.pathsep.join((str(APPS), str(ROOT)))


@pytest.fixture(params=["1", "2"])
def one_or_two_cores(start_agent: StartAgent, request: pytest.FixtureRequest) -> RunningAgent:
    """An agent on which tasks stand in each other's way, and one on which they run at a time."""
    return start_agent("--cpu", request.param, "--pythonpath", ROOTS)


@pytest.fixture
def home(start_agent: StartAgent) -> RunningAgent:
    """One agent with two cores that knows the programs."""
    return start_agent("--cpu", "2", "--pythonpath", ROOTS)


@pytest.fixture
def agents(home: RunningAgent) -> Iterator[AgentExecutor]:
    """A way to it."""
    with AgentExecutor(home.state) as executor:
        yield executor


def call(agents: AgentExecutor, function: Any, *args: Any) -> Any:
    """Run one operation and give its value."""
    return agents.submit(function, *args).result(LONG_S)


def random_program(source: random.Random) -> list[Any]:
    """Draw a program of `task_programs`."""

    def which() -> int:
        return source.randrange(LISTS)

    def number() -> int:
        return source.randrange(-9, 10)

    steps: dict[str, Any] = {
        "joined": (which, which, which),
        "extend": (which, which),
        "extend_by": (which, lambda: [number() for _ in range(source.randrange(4))]),
        "overwrite": (which, number),
        "add_to": (which, number),
        "rotate": (lambda: source.sample(range(LISTS), source.randrange(4)),),
        "flat": (which, lambda: [which() for _ in range(3)]),
        "parted": (which, which, which),
        "nested": (which, which, lambda: source.randrange(3), number),
        "patient": (which, which, number),
        "wait": (which,),
        "change": (which, number),
        "note": (which, number),
        "total": (which, which),
        "write_on": (which, number),
        "write_anew": (which, number),
        "read": (which, which),
        "change_file": (which, number),
        "delete": (which,),
        "barrier": (),
    }
    names = source.choices(list(steps), k=source.randrange(1, 26))
    return [(name, *[draw() for draw in steps[name]]) for name in names]


def test_programs_give_what_they_give_in_place(one_or_two_cores: RunningAgent) -> None:
    """Random programs of reads, writes, collections, files and nested tasks: the same values as one after another."""
    source = random.Random(20)
    with AgentExecutor(one_or_two_cores.state) as agents:
        for _ in range(25):
            program = random_program(source)
            with tempfile.TemporaryDirectory() as folder:
                expected = Run(Path(folder)).result(copy.deepcopy(program))
            assert call(agents, apps.run_program, program) == expected, program


def test_tasks_run_in_workers_of_their_own(agents: AgentExecutor) -> None:
    """While the operation waits, its tasks run on all cores, each told who it is."""
    own, rows = call(agents, apps.where_tasks_run)
    processes = {process for process, _ in rows}
    assert len(processes) == 2
    assert len({task for _, task in rows}) == len(rows)
    assert own != os.getpid()


def test_any_depth_needs_one_core(start_agent: StartAgent) -> None:
    """Recursion far deeper than the workers that there may be comes to its end on one core."""
    home = start_agent("--cpu", "1", "--pythonpath", ROOTS)
    with AgentExecutor(home.state) as agents:
        assert call(agents, apps.fibonacci, 9) == 34


def test_writers_come_in_the_order_of_the_program(agents: AgentExecutor) -> None:
    """A chain of 200 writes, returned without a wait, is complete and in order."""
    assert call(agents, apps.in_order, 200) == list(range(200))


def test_a_large_array_is_shared_and_safe(agents: AgentExecutor) -> None:
    """Readers before a write see the old content, those behind it the new; writing what is only read harms nobody."""
    before, after, total = call(agents, apps.share_an_array)
    assert before == [0] * 4
    assert after == [1, 99, 1]
    assert total == 2_000_000 + 6


def test_failures_reach_who_waits(agents: AgentExecutor) -> None:
    """The task's own exception with the remote traceback, agent and attempt; what needed it is cancelled for that."""
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        call(agents, apps.wait_for_a_failure)
    failed, behind = call(agents, apps.see_failures)
    assert failed[:2] == ["ZeroDivisionError", "on purpose"]
    assert failed[2][0].startswith("Raised on agent ")
    assert failed[3] is True
    assert behind[0] == TaskCancelled.__name__
    assert "on purpose" in behind[1]


def test_a_failure_that_nobody_saw_is_not_lost(agents: AgentExecutor) -> None:
    """An operation whose code ends well fails all the same if one of its tasks failed and it never asked."""
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        call(agents, apps.nobody_asks)


def test_what_is_ignored_gives_its_default(agents: AgentExecutor) -> None:
    """IGNORE, for exceptions and for tasks whose time is over: the operation goes on with what the definition says."""
    assert call(agents, apps.ignore_what_is_late) == "instead"
    assert [*call(agents, apps.ignore_what_was_killed)] == ["instead"] * 3
    assert call(agents, apps.ignore_failures) == ["instead", "instead"]


def test_groups_end_and_are_cancelled(agents: AgentExecutor) -> None:
    """An exception of the group stops its running tasks and meets who waits; a cancelled group's values never come."""
    assert call(agents, apps.end_a_group) == ("enough", "TaskCancelled")


@pytest.mark.parametrize("size", [0, 10, 5_000_000])
def test_files_come_and_go(agents: AgentExecutor, tmp_path: Path, size: int) -> None:
    """A file of any size is read under its name, and is at its place when waited for, or at the end."""
    found, is_there, written = call(agents, apps.files, str(tmp_path), size)
    assert found == f"first.txt:{'x' * min(3, size)}{size}"
    assert is_there
    assert written == size
    assert (tmp_path / "last.txt").stat().st_size == size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.txt", "last.txt"]


def test_threads_call_and_wait_at_a_time(agents: AgentExecutor) -> None:
    """Each thread of a task gets the answers to its own questions."""
    for _ in range(5):
        assert call(agents, apps.from_threads) is True


def test_a_fork_runs_tasks_in_place(agents: AgentExecutor) -> None:
    """A process that users' code forks has no agent; the worker goes on as before."""
    assert call(agents, apps.in_a_fork) == ("7", 8)


def test_nothing_is_left_behind(home: RunningAgent, agents: AgentExecutor) -> None:
    """10,000 values of 1 KiB and 200 arrays of 10 MB: the agent holds no more shared memory than its workers pool."""
    call(agents, apps.many_large, 40)
    call(agents, apps.many_small, 1000)
    before = _open_files(home.pid)
    assert call(agents, apps.many_large, 200) == sum(range(200))
    assert call(agents, apps.many_small, 10_000) == 10_000 * 1024
    assert _open_files(home.pid) <= before + 50  # the pools of the workers, which are there for the next values


def _open_files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))
