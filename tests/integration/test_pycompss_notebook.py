"""`pycompss.interactive`: a notebook's tasks run on the agent of the device, or on one of the notebook's own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunningAgent, agent_environment
from tests.integration.daemon_rig import APPS

PATIENCE_S = 100
SAID = """True False
[0, 1, 2]
[('__main__:who', '4', '4'), ('__main__:add', '3', '3')] [('done', '7')]
7 7
0 1
False int True
"""


def _notebook(state: Path, folder: Path, name: str = "notebook") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, str(APPS / f"{name}.py")],
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


def test_cells_see_what_earlier_cells_left(agent: RunningAgent, tmp_path: Path) -> None:
    """Also what they changed since a task was called first; an error ends its cell alone; it may start again."""
    done = _notebook(agent.state, tmp_path, "notebook_cells")
    said = ["ZeroDivisionError", "[5, 6, 7]", "51", "1001", "2", "None", "[1000, 1001]", "1003 False", "1002 True"]
    assert done.stdout.splitlines() == said
    assert "<cell 8>:5: RuntimeWarning" in done.stderr


def test_magics_of_notebooks_work_with_tasks(tmp_path: Path) -> None:
    """What tasks print is in the cell that waits for them: `%%capture` has it, `%%time` and `%%timeit` show it.

    A module that `%%writefile` has written has tasks too; a future that is printed, or looked at, is not waited for.
    """
    pytest.importorskip("IPython", reason="IPython is not installed")
    lines = _notebook(tmp_path / "nowhere", tmp_path, "notebook_shell").stdout.splitlines()
    said = [line for line in lines if line.startswith(("in ", "a ", "kept ", "g ", "c ", "later ", "<F", "Out["))]
    assert said[:6] == ["in f 1", "a 6", "kept ['in', 'f', '2'] 7", "in g 4", "g 8", "in f 3"]
    assert said[6] == "in f 4"
    assert "<Future" in said[7]
    assert "pending" in said[8]
    assert said[9:] == ["in f 5", "c 10", "later 9"]


def test_the_notebooks_own_agent_ends_with_it(tmp_path: Path) -> None:
    """Also when the kernel is killed: nobody is left to stop it."""
    code = (
        "import os, signal, sys, pycompss.interactive as notebook\n"
        "notebook.start()\n"
        "print(notebook._notebook.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=agent_environment(
            PYTHONPATH=f"{ROOT}:{ROOT / 'agentd' / 'pycompss'}",
            AGENTD_STATE=str(tmp_path / "none"),
            TMPDIR=str(tmp_path),
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    number = int(done.stdout)
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(number)
        try:
            assert select.select([watched], [], [], PATIENCE_S)[0], "the agent goes on"
        finally:
            os.close(watched)
