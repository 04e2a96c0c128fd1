"""However a program and its agent part, the program ends: it never waits for what will not come."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, StartAgent, agent_environment
from tests.integration.daemon_rig import PATIENCE_S, door_of, until

PROGRAM = """
import os, signal, sys
from pathlib import Path
from agentd.api import attach, task, wait_on, FILE_OUT

@task(returns=int)
def one():
    return 1

@task(path=FILE_OUT)
def written(path):
    Path(path).write_text("written")

if __name__ == "__main__":
    state, how, agent = sys.argv[1:]
    session = attach(state)
    assert wait_on(one()) == 1
    future = one()
    if how == "fails":
        raise ValueError("of its own")
    if how == "is left":
        written("here")
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "loses its agent":
        os.kill(int(agent), signal.SIGKILL)
        print(wait_on(future))
"""
TOLD = 'line.send({"talk": TALK, "agentd": __version__} | told)'
OTHER = {
    "older": (TOLD, 'told.pop("folder"); line.send(told)'),
    "newer": (TOLD, 'line.send(told | {"talk": TALK + 1, "agentd": "99.1"})'),
}
"""What another version of agentd tells a program first."""


def run(state: Path, folder: Path, how: str = "", agent: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the program; it must end by itself."""
    (folder / "program.py").write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, "program.py", str(state), how, str(agent)],
        cwd=folder,
        env=agent_environment(TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_session_that_is_left_open_ends_with_its_program(start_agent: StartAgent, tmp_path: Path) -> None:
    """As if it had been closed: what its tasks write is there, and the agent has nothing left of it."""
    agent = start_agent("--cpu", "1")
    ended = run(agent.state, tmp_path, "is left")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "here").read_text() == "written"
    until(lambda: not door_of(agent).figure("live_tasks"))


def test_a_program_that_fails_ends_with_its_error(start_agent: StartAgent, tmp_path: Path) -> None:
    """It waits for none of its tasks, and the agent cancels them."""
    agent = start_agent("--cpu", "1")
    ended = run(agent.state, tmp_path, "fails")
    assert ended.returncode == 1
    assert ended.stderr.endswith("ValueError: of its own\n")
    until(lambda: not door_of(agent).figure("live_tasks"))


def test_a_program_that_is_killed_leaves_nothing(start_agent: StartAgent, tmp_path: Path) -> None:
    """Neither where temporary files are, nor at the agent."""
    agent = start_agent("--cpu", "1")
    assert run(agent.state, tmp_path, "is killed").returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]
    until(lambda: not door_of(agent).figure("live_tasks"))


def test_a_program_that_loses_its_agent_is_told(start_agent: StartAgent, tmp_path: Path) -> None:
    """Whatever it waits for then is an error that says so."""
    agent = start_agent("--cpu", "1")
    ended = run(agent.state, tmp_path, "loses its agent", agent.pid)
    assert ended.returncode == 1
    assert "the session with the agent has ended" in ended.stderr
    agent.process.wait(PATIENCE_S)


@pytest.mark.parametrize("which", OTHER)
def test_an_agent_of_another_version_is_refused(start_agent: StartAgent, tmp_path: Path, which: str) -> None:
    """With both versions, and what to do; no worker of the agent stays with a program that is gone."""
    theirs = tmp_path / "theirs"
    for package in ("agentd", "cli", "schedulers", "resources_xml"):
        shutil.copytree(ROOT / package, theirs / package, ignore=shutil.ignore_patterns("__pycache__"))
    relay = theirs / "agentd" / "api" / "tasks" / "relay.py"
    assert TOLD in relay.read_text()
    relay.write_text(relay.read_text().replace(*OTHER[which]))
    code = ("--pythonpath", str(theirs))  # workers find what is installed beside their Python before the agent's own
    agent = start_agent("--cpu", "1", *code, env={"PYTHONPATH": str(theirs)})
    ended = run(agent.state, tmp_path)
    assert ended.returncode == 1
    assert "the agent runs another agentd (" + {"older": "an older one", "newer": "99.1"}[which] in ended.stderr
    assert "start the agent again" in ended.stderr
    until(lambda: not door_of(agent).figure("live_tasks"))
