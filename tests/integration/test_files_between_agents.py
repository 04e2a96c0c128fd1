"""Large files as parameters of tasks at neighbours: they go from disk to disk, and nobody has them in memory."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of, star

from tests.conftest import RunningAgent, StartAgent

MIB = 1 << 20
BLOCKS = 512
MOST_BYTES = 200 * MIB
BLOCK = bytes(range(256)) * 4096


def test_a_large_file_is_in_nobodys_memory(start_agent: StartAgent) -> None:
    """Written, changed and read at a neighbour and brought home: no process ever has more than a part of it."""
    agents = star(start_agent, "--reuse-resources-on-block", "false", near=1, far=1)
    door = door_of(agents["near"])
    found = door.submit("large_files:through", BLOCKS, wait_s=PATIENCE_S)
    content = digest(b"signed by a task")
    assert found["result"] == {"there": ["far", BLOCKS * MIB, content], "here": content}, found
    peaks = {pid: peak_bytes(pid) for agent in agents.values() for pid in processes(agent)}
    assert len(peaks) >= 4, "both daemons and a worker of each are among them"
    assert max(peaks.values()) < MOST_BYTES, peaks


def test_a_file_is_read_as_it_was_when_the_task_was_called(start_agent: StartAgent) -> None:
    """What tasks change is another version: who was called before reads the one from before."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    found = Door(agent.rest, agent.state).submit("large_files:given", 3, wait_s=PATIENCE_S)
    assert found["result"] == [digest(b"", 3), digest(b"signed by a task", 3), "signed by a task"], found


def digest(start: bytes, blocks: int = BLOCKS) -> str:
    """Work out the digest of a file of so many blocks that begins so."""
    sum_ = hashlib.sha1(start + BLOCK[len(start) :], usedforsecurity=False)
    for _ in range(blocks - 1):
        sum_.update(BLOCK)
    return sum_.hexdigest()


def processes(agent: RunningAgent) -> list[int]:
    """Name an agent's process and all below it."""
    found, left = [], [agent.pid]
    while left:
        pid = left.pop()
        found.append(pid)
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
        left += [int(child) for child in children.split()]
    return found


def peak_bytes(pid: int) -> int:
    """Read the most memory that a process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
