"""Calls that raise and are wanted again: they run on the agent until they do not, at the most four times."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.api import AgentExecutor, TaskFailed
from tests.conftest import ROOT, RunningAgent, agent_environment

RUNS = 4


def counted(file: str, until: int) -> int:
    """Count its runs in a file, and raise before it has had enough of them."""
    with open(file, "a+") as runs:
        runs.write("x")
        runs.seek(0)
        count = len(runs.read())
    if count < until:
        raise ValueError(f"{count} is too early")
    return count


@pytest.fixture(params=["socket", "http"])
def made(request: pytest.FixtureRequest, agent: RunningAgent) -> Callable[..., AgentExecutor]:
    """Make an executor that reaches the agent by its socket, or by HTTP."""
    address = str(agent.state) if request.param == "socket" else agent.rest
    return lambda **options: AgentExecutor(address, **options)


def test_a_call_that_raises_runs_again_where_that_is_wanted(made: Callable[..., AgentExecutor], tmp_path: Path) -> None:
    """To its good end, or to the last of its runs; and once where it is not wanted, or not allowed."""
    with made(on_failure="RETRY") as agents:
        assert agents.submit(counted, str(tmp_path / "a"), RUNS).result(60) == RUNS
        with pytest.raises((ValueError, TaskFailed), match="4 is too early"):
            agents.submit(counted, str(tmp_path / "b"), RUNS + 1).result(60)
    for number, options in enumerate(({}, {"on_failure": "RETRY", "idempotent": False})):
        with made(**options) as agents, pytest.raises((ValueError, TaskFailed), match="1 is too early"):
            agents.submit(counted, str(tmp_path / f"c{number}"), RUNS).result(60)


def test_what_operations_cannot_do_when_they_fail_is_refused() -> None:
    """Before an agent is looked for."""
    with pytest.raises(ValueError, match="one of FAIL, RETRY"):
        AgentExecutor("/nowhere", on_failure="IGNORE")


def test_the_page_shows_a_program_that_runs(agent: RunningAgent, tmp_path: Path) -> None:
    """As it stands there; what is no terminal sees no line of progress."""
    page = (ROOT / "docs" / "programming-model.md").read_text("utf-8")
    (program,) = re.findall(r"```python count\.py\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "count.py"
    file.write_text(program)
    environment = agent_environment(AGENTD_STATE=str(agent.state))
    done = subprocess.run(
        [sys.executable, file], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    assert (done.stdout, done.stderr) == ("2475.0\n", "")
