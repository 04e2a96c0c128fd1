"""W12: dislib on an agent of two cores, against its own sequential run; both in this round, one after the other."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from agentd.api import connect
from benchmarks.agent import APPS, ROOT, Agent

if TYPE_CHECKING:
    from benchmarks.workloads import Recorder

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
"""A task has one core: numpy's own threads would take both, in the sequential run too."""


def is_here() -> bool:
    """Tell whether dislib is installed; `make compat` does that."""
    return importlib.util.find_spec("dislib") is not None


def measure(recorder: Recorder) -> None:
    """Note the seconds of each workload, alone and on the agent; the agent's workers have loaded dislib before.

    Half the time of two runs at once is what two cores of this machine can give at best: they share its memory.
    """
    names = ("kmeans", "matmul")
    for name, seconds in zip(names, _seconds(_start()), strict=True):
        recorder.note(f"W12 s, {name}, sequential", seconds)
    both = [_start(), _start()]
    for name, *seconds in zip(names, *map(_seconds, both), strict=True):
        recorder.note(f"W12 s, {name}, half of two at once", max(seconds) / 2)
    with Agent() as agent, connect(agent.state) as client:
        for name in names:
            client.call(f"dislib_figures:{name}")
            recorder.note(f"W12 s, {name}, agentd", client.call(f"dislib_figures:{name}"))


def _start() -> subprocess.Popen[str]:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "agentd" / "pycompss", APPS)))
    return subprocess.Popen(
        [sys.executable, APPS / "dislib_figures.py"],
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _seconds(process: subprocess.Popen[str]) -> list[float]:
    said, _ = process.communicate()
    return [float(word) for word in said.split()[-2:]]
