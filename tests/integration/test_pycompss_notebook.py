"""`pycompss.interactive`: a notebook's tasks run on the agent of the device, or on one of the notebook's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT, RunningAgent, agent_environment
from daemon_rig import APPS

PATIENCE_S = 100
SAID = "True False\n[0, 1, 2]\nFalse int True\n"


def _notebook(state: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, str(APPS / "notebook.py")],
        env=agent_environment(PYTHONPATH=f"{ROOT}:{ROOT / 'agentd' / 'pycompss'}", AGENTD_STATE=str(state)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_without_an_agent_the_notebook_gets_one_of_its_own(tmp_path: Path) -> None:
    """It is started, runs the tasks in its workers, and is gone when the notebook stops it; then tasks run in place."""
    done = _notebook(tmp_path / "nowhere", tmp_path)
    assert done.stdout == SAID
    assert "an agent of this notebook" in done.stderr


def test_the_agent_of_the_device_is_used_and_left_alone(agent: RunningAgent, tmp_path: Path) -> None:
    """The notebook's tasks run on it, and it is still there afterwards."""
    done = _notebook(agent.state, tmp_path)
    assert done.stdout == SAID
    assert "the agent of this device" in done.stderr
    assert agent.process.poll() is None
