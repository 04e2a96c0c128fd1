"""A program that stands still while its results come: it costs little, and finds all of them when it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import PATIENCE_S, Door, until

from tests.conftest import RunningAgent, StartAgent, agent_environment

MIB = 1 << 20
COUNT, SIZE = 150, 5_000_000
PROGRAM = f"""
import sys
from agentd.api import AgentExecutor

def array(number):
    return bytearray((number,)) * {SIZE}

if __name__ == "__main__":
    with AgentExecutor(sys.argv[1]) as agents:
        futures = [agents.submit(array, number) for number in range({COUNT})]
        print(sum(future.result() == array(number) for number, future in enumerate(futures)), flush=True)
"""


def kept(agent: RunningAgent) -> tuple[int, int]:
    """Measure what a daemon holds: bytes of shared memory, and of files without names in its state folder."""
    memory = files = 0
    for link in Path(f"/proc/{agent.pid}/fd").iterdir():
        try:
            name, size = os.readlink(link), 512 * link.stat().st_blocks
        except OSError:
            continue  # closed meanwhile
        memory += size if name.startswith("/memfd:") else 0
        files += size if name.startswith(str(agent.state)) and name.endswith("(deleted)") else 0
    return memory, files


@pytest.fixture
def program(start_agent: StartAgent, tmp_path: Path) -> Iterator[tuple[RunningAgent, subprocess.Popen[str]]]:
    """An agent, and a program that asks it for three quarters of a gigabyte."""
    agent = start_agent("--cpu", "1")
    (tmp_path / "program.py").write_text(PROGRAM)
    line = [sys.executable, str(tmp_path / "program.py"), str(agent.state)]
    with subprocess.Popen(line, env=agent_environment(), stdout=subprocess.PIPE, text=True) as started:
        yield agent, started
        started.kill()


def test_what_a_program_does_not_read_leaves_shared_memory(
    program: tuple[RunningAgent, subprocess.Popen[str]],
) -> None:
    """Beyond its share large results wait in files; it gets each of them as it was made, and the files go."""
    agent, process = program
    door = Door(agent.rest, agent.state)
    assert process.stdout is not None
    until(lambda: door.figure("live_tasks") + door.figure("ended_total") >= COUNT)
    os.kill(process.pid, signal.SIGSTOP)
    read = door.figure("ended_total")
    until(lambda: door.figure("ended_total") >= COUNT)
    memory, files = kept(agent)
    assert memory - read * SIZE < 350 * MIB
    assert files > (COUNT - read) * SIZE - 350 * MIB
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout.readline() == f"{COUNT}\n"
    assert process.wait(PATIENCE_S) == 0
    until(lambda: not kept(agent)[1])
    assert "Traceback" not in agent.stderr
