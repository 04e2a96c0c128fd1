"""The workloads, each measured for every system in turn, round by round."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks import dislib_alone, engine_alone, peers, systems
from benchmarks.agent import ROOT, Agent, cpu_seconds, pss_mib
from benchmarks.nested import Nested
from benchmarks.values import VALUES, Values

CALLS = 1000
MANY = 10_000
BURSTS = 5
"""Of W2 in one round, of systems that take less than a second for one."""
CHUNKED = 200_000
BUSY = 2000
HTTP_CLIENTS = 32
HTTP_S = 4.0
IDLE_S = 5.0


class Recorder:
    """Figures by name, one value a round."""

    def __init__(self) -> None:
        self.figures: dict[str, list[float]] = defaultdict(list)

    def note(self, name: str, value: float) -> None:
        """Add one value and show it at once."""
        self.figures[name].append(value)
        print(f"  {name}: {value:,.2f}", flush=True)


class Target(NamedTuple):
    """A ratio that is promised, with what it is measured against in the same round."""

    words: str
    above: str
    below: str
    must: str
    aim: str

    def ratios(self, figures: dict[str, list[float]]) -> list[float]:
        """Give the ratio of each round."""
        pairs = zip(figures.get(self.above, []), figures.get(self.below, []), strict=False)
        return [one / other for one, other in pairs if other]

    def holds(self, ratio: float) -> bool:
        """Tell whether the ratio is what it must be."""
        sign, limit = self.must[:1], float(self.must[1:].replace(",", ""))
        return ratio <= limit if sign == "≤" else ratio >= limit


TARGETS = (
    Target("W1 p50 / raw relay", "W1 p50 us, agentd", "W1 p50 us, raw relay", "≤1.5", "≤1.25"),
    Target("W1 p99 / raw relay's p99", "W1 p99 us, agentd", "W1 p99 us, raw relay", "≤2", ""),
    Target("W1d p50 / (1.5 relay + 2 commits)", "W1 p50 us, agentd durable", "W1d allowance us", "≤1", ""),
    Target("W2 / raw relay", "W2 per s, agentd", "W2 per s, raw relay", "≥0.5", "≥1"),
    Target("W2 / ProcessPool", "W2 per s, agentd", "W2 per s, ProcessPool", "≥5", ""),
    Target("W2 / Dask", "W2 per s, agentd", "W2 per s, Dask", "≥1", ""),
    Target("W2 CPU us per task / 20", "W2 CPU us per task, agentd", "twenty", "≤1", "≤0.5"),
    Target("W2d / W2", "W2 per s, agentd durable", "W2 per s, agentd", "≥0.6", ""),
    Target("W2 in chunks / ProcessPool's chunks", "W2 chunks per s, agentd", "W2 chunks per s, ProcessPool", "≥1", ""),
    Target("W3 ideal / agentd (paired efficiency)", "W3 s, two bare processes", "W3 s, agentd", "≥0.93", "≥0.97"),
    Target("W3 ideal / ProcessPool", "W3 s, two bare processes", "W3 s, ProcessPool", "≥0", ""),
    Target("W4 argument / raw socket", "W4 argument GB/s, agentd", "W4 argument GB/s, raw socket", "≥2.5", ""),
    Target("W4 return / raw socket", "W4 return GB/s, agentd", "W4 return GB/s, raw socket", "≥2.5", ""),
    Target("W4 100 KB / raw socket", "W4 100 KB per s, agentd", "W4 100 KB per s, raw socket", "≥0.8", ""),
    Target("W10 latency / local", "W10 p50 us, one hop", "W10 p50 us, local", "≤2", "≤1.6"),
    Target("W10 TLS latency / local", "W10 TLS p50 us, one hop", "W10 TLS p50 us, local", "≤2", "≤1.6"),
    Target("W10 throughput / local", "W10 per s, one hop", "W10 per s, local", "≥0.6", "≥0.8"),
    Target("W10 argument / raw socket", "W10 argument GB/s, one hop", "W10 argument GB/s, raw socket", "≥0.75", "≥0.9"),
    Target("W10 return / raw socket", "W10 return GB/s, one hop", "W10 return GB/s, raw socket", "≥0.75", "≥0.9"),
    Target(
        "W10 TLS argument / raw TLS", "W10 TLS argument GB/s, one hop", "W10 TLS argument GB/s, raw socket", "≥0.75", ""
    ),
    Target("W10 TLS return / raw TLS", "W10 TLS return GB/s, one hop", "W10 TLS return GB/s, raw socket", "≥0.75", ""),
    Target("W5 chain / raw socket", "W5 chain per s, agentd", "W5 chain per s, raw socket", "≥0.15", "≥0.5"),
    Target("W5 tree / ProcessPool", "W5 tree per s, agentd", "W5 tree per s, ProcessPool", "≥2", ""),
    *(
        Target(f"{row} / {name}", f"{row}, agentd", f"{row}, {name}", "≥1", "")
        for row in ("W4 argument GB/s", "W4 return GB/s", "W4 100 KB per s", "W5 chain per s", "W8 per s", "W11 per s")
        for name in peers.SYSTEMS
    ),
    Target("W8 / loky", "W8 per s, agentd", "W8 per s, loky", "≥1.5", ""),
    Target("W11 / 5,000 per s", "W11 per s, agentd", "W11 limit", "≥1", "≥2"),
    Target("W11 offloaded / local", "W11 per s, offloaded", "W11 per s, agentd", "≥0.7", ""),
    Target("W6 first result s / 0.8", "W6 first result s", "W6 first result limit", "≤1", "≤0.75"),
    Target("W6 Comm door s / 0.4", "W6 Comm door open s", "W6 Comm door limit", "≤1", ""),
    Target("W6 idle MiB / 80", "W6 idle PSS MiB", "W6 idle limit", "≤1", "≤0.94"),
    Target("W6 idle CPU % / 0.5", "W6 idle CPU %", "W6 CPU limit", "≤1", "≤0.6"),
    Target("W7 extra s / 0.1", "W7 extra s", "W7 limit", "≤1", "≤0.2"),
    Target("W9 / FastAPI constant", "W9 per s, agentd", "W9 per s, FastAPI constant", "≥0.6", "≥1"),
    *(
        Target(
            f"decision of {name}, 100,000 / 100 waiting",
            f"decision us, {name}, 100,000 waiting",
            f"decision us, {name}, 100 waiting",
            "≤2",
            "≤1.2",
        )
        for name in engine_alone.SCHEDULERS
    ),
    Target("W12 k-means / sequential", "W12 s, kmeans, agentd", "W12 s, kmeans, sequential", "≤1", "≤0.6"),
    Target("W12 k-means / two at once", "W12 s, kmeans, agentd", "W12 s, kmeans, half of two at once", "≥0", ""),
    Target("W12 matmul / two at once", "W12 s, matmul, agentd", "W12 s, matmul, half of two at once", "≥0", ""),
    Target("W12 matmul / sequential", "W12 s, matmul, agentd", "W12 s, matmul, sequential", "≤1", "≤0.6"),
    Target("W9 p99 / its p99", "W9 p99 ms, agentd", "W9 p99 ms, FastAPI constant", "≤4", "≤2"),
)


def run_rounds(recorder: Recorder, rounds: int, only: frozenset[str]) -> None:
    """Measure everything that is wanted, `rounds` times in turn."""
    wanted = lambda name: not only or name in only  # noqa: E731
    with ExitStack() as stack:
        executors = _executors(stack) if any(map(wanted, ("W1", "W2", "W3"))) else {}
        nested = stack.enter_context(Nested()) if any(map(wanted, ("W5", "W8", "W11"))) else None
        web = stack.enter_context(Web()) if wanted("W9") else None
        values = [stack.enter_context(Values(name)) for name in VALUES if wanted(name.split()[0])]
        loops = _loops_per_ms()
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", flush=True)
            if wanted("W1"):
                _one_at_a_time(recorder, executors)
            if wanted("W2"):
                _at_once(recorder, executors)
            if wanted("W3"):
                _busy(recorder, executors, loops)
            if nested is not None:
                nested.measure(recorder, wanted)
            if web is not None:
                web.measure(recorder)
            for one in values:
                one.measure(recorder)
            peers.measure(recorder, wanted)
            if wanted("W6"):
                _start_and_idle(recorder)
            if wanted("W7"):
                _killed_worker(recorder)
            if wanted("decisions"):
                _decisions(recorder)
            if wanted("W12") and dislib_alone.is_here():
                dislib_alone.measure(recorder)


def _decisions(recorder: Recorder) -> None:
    """CPU microseconds from the end of a task at one of ten neighbours to the next one's way there."""
    for scheduler in engine_alone.SCHEDULERS:
        for waiting in (100, 10_000, 100_000):
            spent = engine_alone.per_decision(scheduler, waiting, neighbours=10, decisions=500)
            recorder.note(f"decision us, {scheduler}, {waiting:,} waiting", spent)


def _executors(stack: ExitStack) -> dict[str, Any]:
    found: dict[str, Any] = {"raw relay": systems.RawRelay(), "ProcessPool": systems.process_pool()}
    agent = stack.enter_context(Agent())
    found |= {"loky": systems.loky_pool(), "Dask": systems.dask_pool()}
    found |= {"agentd": systems.Agentd(agent), "agentd durable": systems.Agentd(agent, durable=True)}
    return {name: stack.enter_context(system) for name, system in found.items() if system is not None}


# --- W1, W2, W3 -------------------------------------------------------------------------------------------------


def _one_at_a_time(recorder: Recorder, executors: dict[str, Any]) -> None:
    for name, system in executors.items():
        times = []
        for _ in range(max(CALLS // system.small, 50)):
            begin = time.perf_counter()
            system.call()
            times.append(time.perf_counter() - begin)
        times.sort()
        recorder.note(f"W1 p50 us, {name}", statistics.median(times) * 1e6)
        recorder.note(f"W1 p99 us, {name}", times[int(len(times) * 0.99)] * 1e6)
    commit = _commit_us()
    recorder.note("one FULL commit us", commit)
    recorder.note("W1d allowance us", 1.5 * recorder.figures["W1 p50 us, raw relay"][-1] + 2 * commit)


def _commit_us() -> float:
    """Measure one FULL commit of SQLite on this disk."""
    with tempfile.TemporaryDirectory() as folder:
        base = sqlite3.connect(f"{folder}/base.db", isolation_level=None)
        base.executescript(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(a, b)"
        )
        times = []
        for number in range(300):
            begin = time.perf_counter()
            base.execute("INSERT INTO t VALUES (?, ?)", (number, b"x" * 100))
            times.append(time.perf_counter() - begin)
        base.close()
    return statistics.median(times) * 1e6


def _at_once(recorder: Recorder, executors: dict[str, Any]) -> None:
    """Take the median of several bursts of whoever is done within a second: one alone is over in a tenth of that."""
    recorder.note("twenty", 20.0)
    for name, system in executors.items():
        count = MANY // system.small
        before, own = system.cpu(), time.process_time()
        took = [_timed(lambda one=system, size=count: one.many(size))]
        if took[0] < 1.0:
            took += [_timed(lambda one=system, size=count: one.many(size)) for _ in range(BURSTS - 1)]
        recorder.note(f"W2 per s, {name}", count / statistics.median(took))
        if before is not None:
            used = (system.cpu() - before) + (time.process_time() - own)
            recorder.note(f"W2 CPU us per task, {name}", used / (count * len(took)) * 1e6)
    for name in ("ProcessPool", "loky", "agentd"):
        if name in executors:
            begin = time.perf_counter()
            executors[name].chunks(CHUNKED)
            recorder.note(f"W2 chunks per s, {name}", CHUNKED / (time.perf_counter() - begin))


def _loops_per_ms() -> int:
    loops = 100_000
    best = min(_timed(lambda: systems.bench_tasks.busy(loops)) for _ in range(20))
    return max(int(loops * 0.001 / best), 1)


def _timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def _spin(count: int, loops: int, pipe: Any) -> None:
    for _ in range(count):
        systems.bench_tasks.busy(loops)
    pipe.send(None)


def _busy(recorder: Recorder, executors: dict[str, Any], loops: int) -> None:
    """Run the same work on two bare processes before and after each system, and pair with their mean."""
    for name, system in executors.items():
        if name == "raw relay":
            continue
        count = BUSY // min(system.small, 4)
        before = _bare(count, loops)
        begin = time.perf_counter()
        system.busy(count, loops)
        took = time.perf_counter() - begin
        ideal = (before + _bare(count, loops)) / 2
        recorder.note(f"W3 s, {name}", took * BUSY / count)
        recorder.note(f"W3 efficiency, {name}", ideal / took)
        if name == "agentd":
            recorder.note("W3 s, two bare processes", ideal)


def _bare(count: int, loops: int) -> float:
    context = get_context("fork")
    pipes = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=_spin, args=(count // 2, loops, child)) for _, child in pipes]
    begin = time.perf_counter()
    for process in processes:
        process.start()
    for parent, _ in pipes:
        parent.recv()
    took = time.perf_counter() - begin
    for process in processes:
        process.join()
    return took


# --- W6, W7 -----------------------------------------------------------------------------------------------------


def _ask(agent: Agent, function: str, *args: object) -> dict[str, Any]:
    body = json.dumps({"function": function, "args": list(args)}).encode()
    request = urllib.request.Request(
        f"{agent.rest}/v1/operations?wait_s=60", body, {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=70) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _start_and_idle(recorder: Recorder) -> None:
    with Agent() as agent:
        assert _ask(agent, "bench_tasks:increment", 1)["result"] == 2
        recorder.note("W6 first result s", time.perf_counter() - agent.started_at)
        recorder.note("W6 first result limit", 0.8)
        both = [_ask(agent, "bench_tasks:noop") for _ in range(4)]
        assert all(one["state"] == "done" for one in both)
        with systems.Agentd(agent) as pool:
            pool.many(1000)
        time.sleep(1)
        before = cpu_seconds(agent.pids)
        time.sleep(IDLE_S)
        recorder.note("W6 idle CPU %", (cpu_seconds(agent.pids) - before) / IDLE_S * 100)
        recorder.note("W6 CPU limit", 0.5)
        recorder.note("W6 idle PSS MiB", pss_mib(agent.pids))
        recorder.note("W6 idle limit", 80.0)
    recorder.note("W6 Comm door open s", _comm_door())
    recorder.note("W6 Comm door limit", 0.4)


def _comm_door() -> float:
    """Time from the command to the moment at which a program of this device may connect."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        begin = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "agentd",
            "start",
            "--state",
            state,
            "--rest-port",
            "auto",
            "--comm-port",
            "auto",
        ]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
        while not (state / "agent.sock").exists():
            time.sleep(0.001)
        took = time.perf_counter() - begin
        while not (state / "agent.json").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return took


def _killed_worker(recorder: Recorder) -> None:
    """Kill -9 of the worker that runs a 2 s task, half a second in: what the result is late beyond its second run."""
    with Agent() as agent, systems.Agentd(agent) as pool:
        future = pool.executor.submit(systems.bench_tasks.nap, 2.0)
        time.sleep(0.5)
        workers = [pid for pid in agent.pids if _state(pid) == "S" and _is_napping(pid)]
        killed = time.perf_counter()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        future.result()
        recorder.note("W7 extra s", time.perf_counter() - killed - 2.0)
        recorder.note("W7 limit", 0.1)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _is_napping(pid: int) -> bool:
    return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()


# --- W9 ---------------------------------------------------------------------------------------------------------


class Web:
    """An agent and a constant server under the same load of HTTP clients."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._agent = self._stack.enter_context(Agent())
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        port_file = Path(folder) / "port"
        self._constant = subprocess.Popen([sys.executable, "-m", "benchmarks.constant", port_file], cwd=ROOT)
        while not port_file.exists() or not port_file.read_text():
            time.sleep(0.01)
        self._url = f"http://127.0.0.1:{port_file.read_text()}"
        _ask(self._agent, "bench_tasks:noop")
        return self

    def __exit__(self, *_: object) -> None:
        self._constant.terminate()
        self._constant.wait(30)
        self._stack.close()

    def measure(self, recorder: Recorder) -> None:
        """Load both in turn."""
        body = json.dumps({"function": "bench_tasks:increment", "args": [1]})
        for name, url in (
            ("FastAPI constant", f"{self._url}/v1/operations"),
            ("agentd", f"{self._agent.rest}/v1/operations?wait_s=30"),
        ):
            command = [sys.executable, "-m", "benchmarks.http_load", url, body, str(HTTP_CLIENTS), str(HTTP_S)]
            said = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
            assert not said["wrong"], said["wrong"]
            recorder.note(f"W9 per s, {name}", said["per_s"])
            recorder.note(f"W9 p50 ms, {name}", said["p50_ms"])
            recorder.note(f"W9 p99 ms, {name}", said["p99_ms"])
