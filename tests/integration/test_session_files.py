"""Programs in a session: files go to the agent and back without their memory, and their tasks' prints are theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, RunningAgent, StartAgent, agent_environment
from tests.integration.daemon_rig import APPS, PATIENCE_S, WITH_APPS, star
from tests.integration.files_rig import MIB, digest, peak_bytes, processes

BLOCKS = 300
MOST_BYTES = 150 * MIB


def run(agent: RunningAgent, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, which must be a good one."""
    ended = subprocess.run(
        [sys.executable, str(APPS / "session_program.py"), words[0], str(agent.state), *words[1:]],
        env=agent_environment(PYTHONPATH=f"{ROOT}:{APPS}"),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def test_a_large_file_of_a_program_is_in_nobodys_memory(start_agent: StartAgent) -> None:
    """The program's, the agent's and the workers' peaks are far below its size; folders come and go as well."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    summed, size, below, peak = run(agent, "files", str(BLOCKS)).stdout.splitlines()
    assert summed == digest(b"signed by a task", BLOCKS)
    assert size == f"signed by a task {BLOCKS * MIB}"
    assert below == f"[('added', {2 * MIB}), ('mine', {2 * MIB})]"
    peaks = {pid: peak_bytes(pid) for pid in processes(agent)}
    assert max(*peaks.values(), int(peak) * MIB) < MOST_BYTES, (peak, peaks)


def test_small_files_of_a_program_go_the_same_way(start_agent: StartAgent) -> None:
    """Whether a file is large makes no difference to what is seen of it."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    summed, size, below, _ = run(agent, "files", "1").stdout.splitlines()
    assert (summed, size) == (digest(b"signed by a task", 1), f"signed by a task {MIB}")
    assert "added" in below


def test_a_program_shows_what_its_tasks_print(start_agent: StartAgent) -> None:
    """What was printed before a wait was over stands before what comes next; each line once; none if not wanted."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    ended = run(agent, "prints")
    lines = ended.stdout.splitlines()
    assert lines == ["said first", "between", "said second", "end"]
    assert "shouted second" in ended.stderr.splitlines()


def test_prints_of_tasks_at_neighbours_are_shown_too(start_agent: StartAgent, tmp_path: Path) -> None:
    """Also of the last one, which ends when the session does; three of them meet, for whom no agent has cores alone."""
    home = star(start_agent, home=1, far=2)["home"]
    code = (
        "import sys, session_program as program\n"
        "from agentd.api import attach\n"
        "with attach(sys.argv[1]):\n"
        "    for name in 'abc':\n"
        "        program.meet(sys.argv[2], name, 3)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(home.state), str(tmp_path)],
        env=agent_environment(PYTHONPATH=f"{ROOT}:{APPS}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    said = sorted(line.split() for line in ended.stdout.splitlines())
    assert [name for name, _ in said] == ["a", "b", "c"], ended.stderr
    assert sorted(where for _, where in said) == ["far", "far", "home"]
