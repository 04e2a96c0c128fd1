"""The examples of programs with tasks: alone, on one agent with one core, on one with two, and on three agents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentd.api import connect
from tests.conftest import ROOT, RunningAgent, StartAgent, agent_environment
from tests.integration.daemon_rig import star

EXAMPLES = ROOT / "examples"
PATIENCE_S = 100
PROGRAMS = {
    "matmul": ("3", "16"),
    "kmeans": (),
    "wordcount": (str(ROOT / "README.md"), str(ROOT / "CHANGELOG.md"), str(ROOT / "docs" / "glossary.md")),
    "quicksort": ("600",),
    "files_pipeline": (),
    "reduction_tree": ("100",),
}
"""Each says the same wherever it runs."""
FAILURES = """tried again: 3 attempts
ignored: [3, -1]
cancelled: [1, 2] []
the group ended: found at 2
"""


def _in_place(name: str) -> str:
    path = f"{ROOT}:{ROOT / 'agentd' / 'pycompss'}"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *PROGRAMS[name]],
        env=agent_environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _on(agent: RunningAgent, name: str, *args: str) -> str:
    """Run a program on an agent as users do; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "agentd", "call", str(EXAMPLES / f"{name}.py"), *args],
        env=agent_environment(AGENTD_STATE=str(agent.state)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with connect(agent.state) as client:
        operation = client.operations(limit=1)[0]
        return "".join(line.text for line in client.logs(operation.id) if line.stream == "stdout")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_says_the_same_alone_and_on_an_agent(start_agent: StartAgent, name: str, tmp_path: Path) -> None:
    """One core is enough for each of them, however deep its tasks call tasks."""
    args = PROGRAMS[name] or ((str(tmp_path),) if name == "files_pipeline" else ())
    alone = _in_place(name)
    assert alone
    assert "False" not in alone
    assert _on(start_agent("--cpu", "1"), name, *args) == alone


def test_failures_are_handled_as_the_program_says(start_agent: StartAgent) -> None:
    """Tried again, ignored, cancelled, ended as a group."""
    assert _on(start_agent("--cpu", "2"), "failures") == FAILURES


@pytest.mark.parametrize("name", ["files_pipeline", "matmul", "quicksort"])
def test_a_program_runs_over_three_agents(start_agent: StartAgent, name: str, tmp_path: Path) -> None:
    """One core here and one at each of two neighbours: files and objects go where the tasks are, and come back."""
    home = star(start_agent, home=1, left=1, right=1)["home"]
    args = PROGRAMS[name] or (str(tmp_path),)
    assert _on(home, name, *args) == _in_place(name)
