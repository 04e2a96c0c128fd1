"""A real agent for the benchmarks, started as users start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
APPS = ROOT / "benchmarks" / "apps"


class Agent:
    """A running daemon with two cores; a context."""

    def __init__(self, *options: str) -> None:
        self._options = options

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self.state = Path(self._folder.name) / "state"
        ready = Path(self._folder.name) / "ready.json"
        self.started_at = time.perf_counter()
        command = [sys.executable, "-m", "agentd", "start", "--state", self.state, "--rest-port", "auto"]
        command += ["--comm-port", "auto", "--ready-file", ready, "--pythonpath", APPS, "--cpu", "2", *self._options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while not ready.exists():
            if self.process.poll() is not None:
                sys.exit(f"the agent ended with {self.process.returncode}")
            time.sleep(0.001)
        said = json.loads(ready.read_text())
        self.rest, self.comm = said["rest"], said["comm"]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self._folder.cleanup()

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return family(self.process.pid)


def family(pid: int) -> list[int]:
    """List a process and all below it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += family(int(child))
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Sum the CPU time that processes have used, children that they waited for included."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_mib(pids: list[int]) -> float:
    """Sum the memory of processes, shared pages in shares."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024
