"""What others do with the workloads of tasks and values: `python -m benchmarks.peers NAME CORES [WORKLOAD…]`.

Each runs in a process of its own, which starts the system, measures one round and prints its figures as JSON; so none
has threads or processes left while the next one is measured.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from benchmarks.agent import APPS, ROOT, family
from benchmarks.systems import dask
from benchmarks.values import GB, LARGE, MANY, MEDIUM, look, make, median_s, ready

sys.path.insert(0, str(APPS))
import bench_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Recorder

ONE_BY_ONE, AT_ONCE = 200, 2000
CHAIN, LEAVES, FAMILY, NESTED = 1000, 1024, 500, 5000
MOST_S = 180


class ProcessPool:
    """The standard library's pool; a task of it cannot wait for another."""

    rows = frozenset({"W4", "W5"})

    def __init__(self, cores: int, stack: ExitStack) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self._pool = stack.enter_context(ProcessPoolExecutor(cores))
        self.submit = self._pool.submit

    @staticmethod
    def wait(future: Any) -> Any:
        """Give a result."""
        return future.result()

    def after(self, function: Callable[..., Any], *before: Any) -> Any:
        """Ask for what needs the results of others."""
        return self.submit(function, *[self.wait(one) for one in before])


class Dask:
    """Dask on a local cluster of processes."""

    rows = frozenset({"W4", "W5", "W8", "W11"})

    def __init__(self, cores: int, stack: ExitStack) -> None:
        self.submit = self.after = stack.enter_context(dask(cores)).submit

    @staticmethod
    def wait(future: Any) -> Any:
        """Give a result."""
        return future.result()

    @staticmethod
    def family(count: int) -> int:
        """Ask for so many calls from within a task, and wait for them."""
        from distributed import worker_client

        with worker_client() as client:
            futures = [client.submit(bench_tasks.noop, pure=False) for _ in range(count)]
            return len(client.gather(futures))


class Ray:
    """Ray on this machine."""

    rows = frozenset({"W1", "W2", "W4", "W5", "W8", "W11"})

    def __init__(self, cores: int, stack: ExitStack) -> None:
        import ray

        os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
        paths = os.pathsep.join((str(ROOT), str(APPS)))
        ray.init(
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
        )
        stack.callback(ray.shutdown)
        self.wait = ray.get
        self._remote: dict[Any, Any] = {}
        self._make = ray.remote

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Ask for one call."""
        if function not in self._remote:
            self._remote[function] = self._make(function)
        return self._remote[function].remote(*args)

    after = submit

    @staticmethod
    def family(count: int) -> int:
        """Ask for so many calls from within a task, and wait for them."""
        import ray

        noop = ray.remote(bench_tasks.noop)
        return len(ray.get([noop.remote() for _ in range(count)]))


SYSTEMS: dict[str, Any] = {"ProcessPool": ProcessPool, "Dask": Dask, "Ray": Ray}
ROWS = {"W1": 2, "W2": 2, "W4": 2, "W5": 2, "W8": 1, "W11": 2}
"""Cores of each workload. A system's `rows` are those that it is measured with here, and not beside the executors."""


def _add(one: int, other: int) -> int:
    return one + other


def _calls(system: Any) -> dict[str, float]:
    times = []
    for _ in range(ONE_BY_ONE):
        begin = time.perf_counter()
        system.wait(system.submit(bench_tasks.noop))
        times.append(time.perf_counter() - begin)
    times.sort()
    return {
        "W1 p50 us": times[ONE_BY_ONE // 2] * 1e6,
        "W1 p99 us": times[int(ONE_BY_ONE * 0.99)] * 1e6,
    }


def _at_once(system: Any) -> dict[str, float]:
    begin = time.perf_counter()
    for future in [system.submit(bench_tasks.noop) for _ in range(AT_ONCE)]:
        system.wait(future)
    return {"W2 per s": AT_ONCE / (time.perf_counter() - begin)}


def _values(system: Any) -> dict[str, float]:
    array, arrays = make(LARGE), [make(MEDIUM) for _ in range(MANY)]
    wait, submit = system.wait, system.submit
    return {
        "W4 argument GB/s": LARGE / GB / median_s(lambda: wait(submit(look, array))),
        "W4 return GB/s": LARGE / GB / median_s(lambda: wait(submit(ready, LARGE))),
        "W4 100 KB per s": MANY / median_s(lambda: [wait(one) for one in [submit(look, one) for one in arrays]]),
    }


def _graphs(system: Any) -> dict[str, float]:
    begin = time.perf_counter()
    last = system.submit(bench_tasks.increment, 0)
    for _ in range(CHAIN - 1):
        last = system.after(bench_tasks.increment, last)
    assert system.wait(last) == CHAIN
    chain_s, begin = time.perf_counter() - begin, time.perf_counter()
    level = [system.submit(bench_tasks.increment, number) for number in range(LEAVES)]
    while len(level) > 1:
        level = [system.after(_add, *level[at : at + 2]) for at in range(0, len(level), 2)]
    assert system.wait(level[0]) == LEAVES * (LEAVES + 1) // 2
    return {
        "W5 chain per s": CHAIN / chain_s,
        "W5 tree per s": (2 * LEAVES - 1) / (time.perf_counter() - begin),
    }


def _family(system: Any, count: int) -> float:
    system.wait(system.submit(system.family, 50))
    begin = time.perf_counter()
    assert system.wait(system.submit(system.family, count)) == count
    return count / (time.perf_counter() - begin)


def one_round(name: str, cores: int, workloads: list[str]) -> dict[str, float]:
    """Start a system, measure some workloads, and end it."""
    found: dict[str, float] = {}
    with ExitStack() as stack:
        system: Any = SYSTEMS[name](cores, stack)
        for number in range(20):
            system.wait(system.submit(bench_tasks.increment, number))
        for workload, measured in (("W1", _calls), ("W2", _at_once), ("W4", _values), ("W5", _graphs)):
            if workload in workloads:
                found |= measured(system)
        for workload, count in (("W8", FAMILY), ("W11", NESTED)):
            if workload in workloads:
                found[f"{workload} per s"] = _family(system, count)
    return found


def measure(recorder: Recorder, wanted: Callable[[str], bool]) -> None:
    """Note what the others do, each in a process of its own; say which one is not there."""
    for name, system in SYSTEMS.items():
        workloads = list(filter(wanted, sorted(system.rows)))
        for cores in sorted({ROWS[workload] for workload in workloads}):
            asked = [workload for workload in workloads if ROWS[workload] == cores]
            command = [sys.executable, "-m", "benchmarks.peers", name, str(cores), *asked]
            try:
                figures = told(command)
            except Silent as why:
                print(f"  {name} with {cores} cores is left out: {why}", flush=True)
                continue
            for figure, value in figures.items():
                recorder.note(f"{figure}, {name}", value)


class Silent(Exception):
    """A process that gave no figures, and why."""


def told(command: list[str], most_s: float = MOST_S) -> dict[str, float]:
    """Give the figures that a process prints in its last line; nothing that it started outlives it.

    Raises:
        Silent: it failed, or took longer than `most_s`.
    """
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, said = process.communicate(timeout=most_s)
        except subprocess.TimeoutExpired:
            raise Silent(f"it took longer than {most_s:g} s") from None
        finally:
            if process.poll() is None:  # afterwards nobody knows whose its processes were
                for pid in family(process.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    if process.returncode:
        raise Silent((said.strip().splitlines() or ["no word"])[-1])
    figures: dict[str, float] = json.loads(out.splitlines()[-1])
    return figures


if __name__ == "__main__":
    print(json.dumps(one_round(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
