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
    """Note the seconds of each workload, alone and on the agent; the agent's workers have loaded dislib before."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "agentd" / "pycompss", APPS)))
    alone = subprocess.run(
        [sys.executable, APPS / "dislib_figures.py"],
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    names = ("kmeans", "matmul")
    for name, seconds in zip(names, alone.stdout.split()[-2:], strict=True):
        recorder.note(f"W12 s, {name}, sequential", float(seconds))
    with Agent() as agent, connect(agent.state) as client:
        for name in names:
            client.call(f"dislib_figures:{name}")
            recorder.note(f"W12 s, {name}, agentd", client.call(f"dislib_figures:{name}"))
