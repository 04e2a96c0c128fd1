"""The workers alone: supervisor and two workers without an engine, beside bare memory copies of the same minute.

Run: python benchmarks/workers_alone.py [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import resource
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from agentd.api.memory.segments import SegmentPool
from agentd.core.commands import ReleaseSegments, RunTasks
from agentd.core.events import Event, TaskResult, TasksEnded, WorkerLost, WorkerStarted
from agentd.core.tasks.task import HERE, Shape, Task
from agentd.model.task import Status, Template
from agentd.model.values import Codec, Part, Payload
from agentd.workers.settings import WorkerSettings
from agentd.workers.supervisor import Supervisor
from schedulers.capacity import Capacity

FRAME = 256
CODE = """
def noop(): return None
def inc(x): return x + 1
def size(data): return len(data)
def make(size): return bytes(size)
BLOCK = bytearray(100_000_000)
def keep(): return pickle_buffer
class Out:
    def __reduce_ex__(self, protocol):
        import pickle
        return memoryview_size, (pickle.PickleBuffer(BLOCK),)
def memoryview_size(data): return len(data)
def block(): return Out()
def touch(data): return sum(data[::4096])
"""


class Bench:
    """A supervisor, two workers, and a count of what came back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        (folder / "bench_functions.py").write_text(CODE)
        settings = WorkerSettings(log_folder=folder / "log", roots=(str(folder),), environ=os.environ)
        self.supervisor = Supervisor(loop, settings, self.post)
        self.started = 0
        self.results: list[TaskResult] = []
        self.wanted = 0
        self.more: dict[int, list[list[Task]]] = {}
        self.woken = asyncio.Event()
        self.shapes: dict[str, Shape] = {}
        self.number = 0

    def post(self, event: Event) -> None:
        if isinstance(event, TasksEnded):
            self.results += event.results
            left = self.more.get(event.worker)
            if left and event.results[-1].task % FRAME == 0:
                self.give(event.worker, left.pop())
        elif isinstance(event, WorkerStarted):
            self.started += 1
            self.woken.set()
        elif isinstance(event, WorkerLost):
            raise SystemExit(f"a worker was lost: {event.failure}")
        if len(self.results) >= self.wanted:
            self.woken.set()

    def give(self, worker: int, tasks: list[Task]) -> None:
        self.supervisor.run(RunTasks(worker, tasks))
        self.supervisor.flush()

    def task(self, function: str, payload: Payload) -> Task:
        self.number += 1
        shape = self.shapes.get(function)
        if shape is None:
            shape = Shape(len(self.shapes) + 1, Template(function=f"bench_functions:{function}"), Capacity())
            self.shapes[function] = shape
        return Task(self.number, shape, payload, HERE, 0)

    async def up(self, count: int) -> None:
        """Wait for so many workers."""
        while self.started < count:
            self.woken.clear()
            await asyncio.wait_for(self.woken.wait(), 60)

    async def until(self, count: int) -> list[TaskResult]:
        self.wanted = count
        while len(self.results) < count:
            self.woken.clear()
            await asyncio.wait_for(self.woken.wait(), 60)
        results, self.results = self.results, []
        failed = [result for result in results if result.status != Status.DONE]
        if failed:
            raise SystemExit(f"{failed[0].failure}")
        return results

    async def many(self, frames: int) -> float:
        """Run frames of no-ops on both workers, three frames in flight on each; gives tasks per second."""
        payload = Payload(Codec.PICKLE, pickle.dumps(((1,), {}), 5))
        self.number = 0
        batches = [[self.task("inc", payload) for _ in range(FRAME)] for _ in range(frames)]
        self.more = {1: batches[::2], 2: batches[1::2]}
        begin = time.perf_counter()
        for _ in range(3):
            for worker in (1, 2):
                self.give(worker, self.more[worker].pop())
        await self.until(frames * FRAME)
        return frames * FRAME / (time.perf_counter() - begin)

    async def one(self, function: str, payload: Payload) -> TaskResult:
        self.give(1, [self.task(function, payload)])
        return (await self.until(1))[0]


def cpu_seconds(pids: list[int]) -> float:
    """CPU that processes have used, in seconds, from /proc/PID/stat."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def pss_mib(pid: int) -> float:
    """Proportional share of memory, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def measure(bench: Bench, rounds: int) -> dict[str, float]:
    supervisor = bench.supervisor
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    begin = time.perf_counter()
    await supervisor.start()
    note("spawner ready s", time.perf_counter() - begin)
    for worker in (1, 2):
        begin = time.perf_counter()
        supervisor.start_worker(worker)
        await bench.up(worker)
        note("worker start s", time.perf_counter() - begin)
    for number, pid in supervisor.pids().items():
        note(f"PSS MiB {'spawner' if not number else 'worker'}", pss_mib(pid))

    block = memoryview(bytearray(os.urandom(1000) * 100_000))
    target = memoryview(bytearray(len(block)))
    pool = SegmentPool(lambda *segment: announced.append(segment), lambda _: None)
    announced: list[tuple[int, int, int]] = []
    known: dict[int, int] = {}
    noop = Payload(Codec.NONE)
    for _ in range(rounds):
        workers = list(supervisor.pids().values())
        mine, theirs = resource.getrusage(resource.RUSAGE_SELF), cpu_seconds(workers)
        note("tasks/s", await bench.many(200))
        after = resource.getrusage(resource.RUSAGE_SELF)
        own = after.ru_utime + after.ru_stime - mine.ru_utime - mine.ru_stime
        note("daemon CPU us/task", own / 200 / FRAME * 1e6)
        note("workers CPU us/task", (cpu_seconds(workers) - theirs) / 200 / FRAME * 1e6)

        bench.more = {}
        laps = []
        for _ in range(200):
            begin = time.perf_counter()
            await bench.one("noop", noop)
            laps.append(time.perf_counter() - begin)
        note("one at a time p50 us", statistics.median(laps) * 1e6)

        begin = time.perf_counter()
        target[:] = block
        note("bare copy GB/s", len(block) / (time.perf_counter() - begin) / 1e9)

        begin = time.perf_counter()
        placed = pool.put([block])
        assert placed is not None
        for number, fd, size in announced:
            known[number] = supervisor.segments.adopt(fd, size, lambda _, n=number: pool.free(n))  # type: ignore[misc]
        announced.clear()
        segment = known[placed[0]]
        supervisor.segments.retain(segment)
        encoded = pickle.dumps(((pickle.PickleBuffer(block),), {}), 5, buffer_callback=lambda _: False)
        await bench.one("touch", Payload(Codec.PICKLE, encoded, (Part(len(block), None, segment, 0),)))
        note("100 MB argument GB/s", len(block) / (time.perf_counter() - begin) / 1e9)
        supervisor.segments.release(segment)

        begin = time.perf_counter()
        result = await bench.one("block", noop)
        note("100 MB result GB/s", len(block) / (time.perf_counter() - begin) / 1e9)
        for number in ReleaseSegments(tuple({part.segment for part in result.value.parts})).segments:
            supervisor.segments.release(number)
    for values in figures.values():
        if len(values) == rounds and rounds > 2:
            values.pop(0)  # the first round makes pages
    return {name: statistics.median(values) for name, values in figures.items()}


async def run(rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asyncio.get_running_loop(), Path(folder))
        try:
            return await measure(bench, rounds)
        finally:
            bench.post = lambda _: None  # type: ignore[method-assign]
            bench.supervisor._post = bench.post  # noqa: SLF001 - losing the workers is what is wanted now
            await bench.supervisor.close(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = uvloop.run(run(options.rounds))
    for name, value in figures.items():
        print(f"{name:28} {value:12.4g}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
