"""`agentd start-service`: agents on this machine, linked, used, and gone at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import READY_S, agent_environment
from tests.integration.daemon_rig import until

APP = """
import os, time

def main(*words):
    print("main was given", *words)

def bad():
    raise ValueError("as asked for")

def long():
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the service has its logs; users' code lies beside it."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "jobs_of_a_service.py").write_text(APP)
    return tmp_path / "logs"


@contextmanager
def service(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a service under its old name; it is ended with the block, and has left nothing running."""
    code = "import sys; sys.argv[0] = 'compss_agent_start_service'; from agentd.__main__ import main; sys.exit(main())"
    options = ("--base-port", "auto", f"--log_dir={folder}", f"--pythonpath={folder.parent / 'app'}")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *options, *words],
        env=agent_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=READY_S)
    for ready in folder.glob("*/ready.json"):
        with pytest.raises(ProcessLookupError):
            os.kill(json.loads(ready.read_text())["pid"], 0)


def said(process: subprocess.Popen[str]) -> str:
    """Wait for the end; gives all that was printed."""
    out, _ = process.communicate(timeout=READY_S)
    return out


@pytest.mark.parametrize("topology", ["plain", "chain", "tree"])
def test_one_operation_runs_and_all_agents_stop(folder: Path, topology: str) -> None:
    """In each topology; the prints are in the first agent's job, and the exit code is 0."""
    words = ("--num_agents=3", f"--topology={topology}", "--lang=PYTHON", "--method_name=main")
    with service(folder, *words, "jobs_of_a_service", "a", "b") as process:
        out = said(process)
        assert process.returncode == 0, out
    assert "Execution ended succesfully" in out
    assert "main was given a b" in (folder / "127.0.0.01" / "jobs" / "job1_NEW.out").read_text()
    assert "Job completed after " in (folder / "127.0.0.01.outputlog").read_text()
    assert "may use 2 cores of 127.0.0.02" in out or topology != "chain"


def test_a_failure_is_told_by_the_exit_code(folder: Path) -> None:
    """1, and where to look; the agents are gone all the same."""
    with service(folder, "--num_agents=2", "--silent", "jobs_of_a_service:bad") as process:
        assert said(process) == ""
        assert process.returncode == 1
    assert "as asked for" in (folder / "127.0.0.01" / "jobs" / "job1_NEW.err").read_text()
    assert "the operation failed" in (folder / "outputlog").read_text()


def test_time_that_is_over_ends_it(folder: Path) -> None:
    """124 when an operation was to be run."""
    with service(folder, "--exec_time=1s", "jobs_of_a_service:long") as process:
        out = said(process)
        assert process.returncode == 124, out


def test_without_an_operation_it_stays_until_it_is_stopped(folder: Path) -> None:
    """The root shows the cores of all; a signal ends everything."""
    with service(folder, "--num_agents=3", "--topology=tree", "--agent_name_prefix=n") as process:
        assert process.stdout is not None
        while "stop with Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "the service ended"
        rest = json.loads((folder / "n01" / "ready.json").read_text())["rest"]
        found = httpx.get(f"{rest}/COMPSs/resources", trust_env=False).json()["resources"]
        assert sum(host["description"]["processors"][0]["units"] for host in found) == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(READY_S) == 143


def test_an_agent_that_dies_ends_the_service(folder: Path) -> None:
    """With its name, and nothing is left."""
    with service(folder, "--num_agents=2") as process:
        assert process.stdout is not None
        while "stop with Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "the service ended"
        os.kill(json.loads((folder / "127.0.0.02" / "ready.json").read_text())["pid"], signal.SIGKILL)
        assert "the agent 127.0.0.02" in said(process)
        assert process.returncode == 3


def test_what_cannot_start_is_said(folder: Path) -> None:
    """A wrong setting of the agents, a wrong option of the service: no agent is left, and the words are the agent's."""
    with service(folder, "--num_agents=2", "--scheduler=nothing") as process:
        assert "--scheduler" in said(process)
        assert process.returncode == 3
    for words, why in (
        ("--topology=ring", "plain, chain, tree"),
        ("--num_agents=0", "1 to 99"),
        ("--lang=JAVA", "PYTHON"),
    ):
        with service(folder, words) as process:
            assert why in said(process)
            assert process.returncode == 2


def test_a_service_that_is_killed_leaves_no_agent(folder: Path) -> None:
    """Its agents stop when it is gone."""
    with service(folder, "--num_agents=2") as process:
        assert process.stdout is not None
        while "stop with Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "the service ended"
        pids = [json.loads(ready.read_text())["pid"] for ready in folder.glob("*/ready.json")]
        process.kill()
        process.wait(READY_S)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the agents' end")
