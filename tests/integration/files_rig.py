"""Large files of tests, and what processes have in memory meanwhile."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from tests.conftest import RunningAgent

MIB = 1 << 20
BLOCKS = 512
BLOCK = bytes(range(256)) * 4096


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
    return _status_bytes(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    """Read the memory that a process has now."""
    return _status_bytes(pid, "VmRSS")


def _status_bytes(pid: int, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
