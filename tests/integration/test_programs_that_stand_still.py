"""A program that stands still while its results come: it costs little, and finds all of them when it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import RunningAgent, StartAgent, agent_environment
from tests.integration.daemon_rig import PATIENCE_S, Door, until

MIB = 1 << 20
COUNT, SIZE = 150, 5_000_000
PROGRAM = """
import sys
from agentd.api import AgentExecutor

def array(number, size):
    return bytearray((number,)) * size

if __name__ == "__main__":
    state, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with AgentExecutor(state) as agents:
        futures = [agents.submit(array, number, size) for number in range(count)]
        print(sum(future.result() == array(number, size) for number, future in enumerate(futures)), flush=True)
        sys.stdin.readline()
"""
Begin = Callable[[int, int], subprocess.Popen[str]]


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
def agent(start_agent: StartAgent) -> RunningAgent:
    return start_agent("--cpu", "1")


@pytest.fixture
def begin(agent: RunningAgent, tmp_path: Path) -> Iterator[Begin]:
    """Start a program that asks the agent for so many results of such a size, and says how many were right."""
    (tmp_path / "program.py").write_text(PROGRAM)
    line, pipe = [sys.executable, str(tmp_path / "program.py"), str(agent.state)], subprocess.PIPE
    with ExitStack() as stack:

        def begun(count: int, size: int) -> subprocess.Popen[str]:
            words = [*line, str(count), str(size)]
            started = subprocess.Popen(words, env=agent_environment(), stdin=pipe, stdout=pipe, text=True)
            stack.enter_context(started)
            stack.callback(started.kill)
            return started

        yield begun


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen[str]) -> int:
    """Let a program go."""
    process.communicate("\n", timeout=PATIENCE_S)
    return process.returncode


def test_what_a_program_does_not_read_leaves_shared_memory(agent: RunningAgent, begin: Begin) -> None:
    """Beyond its share large results wait in files; it gets each of them as it was made, and the files go."""
    process, door = begin(COUNT, SIZE), Door(agent.rest, agent.state)
    until(lambda: door.figure("live_tasks") + door.figure("ended_total") >= COUNT)
    os.kill(process.pid, signal.SIGSTOP)
    read = door.figure("ended_total")
    until(lambda: door.figure("ended_total") >= COUNT)
    memory, files = kept(agent)
    assert memory - read * SIZE < 350 * MIB
    assert files > (COUNT - read) * SIZE - 350 * MIB
    os.kill(process.pid, signal.SIGCONT)
    assert said(process) == f"{COUNT}\n"
    assert ended(process) == 0
    until(lambda: not kept(agent)[1])
    assert "Traceback" not in agent.stderr


def test_a_result_above_the_share_is_lent_to_who_reads(agent: RunningAgent, begin: Begin) -> None:
    """It does not go to the disk first, however large it is: nothing that came before waits to be read."""
    process, door = begin(1, 300 * MIB), Door(agent.rest, agent.state)
    until(lambda: door.figure("live_tasks") + door.figure("ended_total") >= 1)
    os.kill(process.pid, signal.SIGSTOP)
    has_read = door.figure("ended_total") > 0
    until(lambda: door.figure("ended_total") >= 1)
    memory, files = kept(agent)
    assert files == 0
    assert has_read or memory >= 300 * MIB
    os.kill(process.pid, signal.SIGCONT)
    assert said(process) == "1\n"
    assert ended(process) == 0


def test_what_takes_long_to_go_to_the_disk_goes_beside_the_work(agent: RunningAgent, begin: Begin) -> None:
    """Results of which two exceed the share: all but the first wait in files, and come as they were made."""
    process, door = begin(4, 150 * MIB), Door(agent.rest, agent.state)
    until(lambda: door.figure("live_tasks") + door.figure("ended_total") >= 4)
    os.kill(process.pid, signal.SIGSTOP)
    read = door.figure("ended_total")
    until(lambda: door.figure("ended_total") >= 4 and kept(agent)[1] >= (3 - read) * 150 * MIB)
    os.kill(process.pid, signal.SIGCONT)
    assert said(process) == "4\n"
    assert ended(process) == 0
    until(lambda: not kept(agent)[1])
    assert "Traceback" not in agent.stderr
