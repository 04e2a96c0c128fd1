"""Pools that change while work runs: `python -m benchmarks.reshaped [--tasks N]`.

Four real agents of two cores, in a chain and in a tree; tasks of mixed lengths, all asked of the first. On the way one
agent grows by two cores, one shrinks by one, and one is killed. Every task must end once, no agent may ever run more
than its cores, and while tasks wait the cores that there are must be in use. Tasks sleep, so that the machine's own
cores do not matter.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.agent import Agent

SHAPES = {"chain": (("a", "b"), ("b", "c"), ("c", "d")), "tree": (("a", "b"), ("a", "c"), ("b", "d"))}
"""Who may hand work to whom, from the first agent on."""
CORES = 2
LEAST_S, MOST_S = 0.01, 0.1
PATIENCE_S = 300.0
LOOK_S = 0.02
LOST = "d"
"""The agent that is killed."""
DEAD_S = 1.0
"""How long workers may outlive their agent: promised."""
STARTED = 0.05
"""Share of the tasks after which all agents are taken to be at work."""


class Run(NamedTuple):
    """One execution, as the task itself wrote it down: times of this machine's monotonic clock."""

    host: str
    task: int
    begin: float
    end: float


class Result(NamedTuple):
    """What came of it."""

    shape: str
    tasks: int
    done: int
    executions: int
    excess: tuple[str, ...]
    """Agents that ran more at once than they had cores, with how many and how many they had."""
    again: tuple[str, ...]
    """Tasks that ran twice although no agent was lost that had them."""
    in_use: float
    """Core-seconds booked for each that was offered while tasks waited."""
    seconds: float


class Net:
    """Agents, linked."""

    def __init__(self, shape: str, stack: ExitStack) -> None:
        self.parents = {below: above for above, below in SHAPES[shape]}
        self.agents: dict[str, Agent] = {}
        for name in "dcba":
            links = [
                word
                for below, above in self.parents.items()
                if above == name
                for word in ("--neighbour", f"{below}={self.agents[below].comm}")
            ]
            own = ("--hostname", name, "--local-access", "admin", "--cpu", str(CORES))
            self.agents[name] = stack.enter_context(Agent(*own, *links))
        self.clients = {
            name: stack.enter_context(httpx.Client(base_url=agent.rest, trust_env=False, timeout=PATIENCE_S))
            for name, agent in self.agents.items()
        }
        self.cores = {name: [(0.0, CORES)] for name in self.agents}
        """By agent: from when on it has how many cores."""
        for below, above in self.parents.items():
            _until(lambda above=above, below=below: self._is_connected(above, below))  # type: ignore[misc]

    def _is_connected(self, above: str, below: str) -> bool:
        rows = self.clients[above].get("/v1/neighbours").json()["neighbours"]
        return any(row["name"] == below and row["state"] == "connected" for row in rows)

    def _post(self, name: str, path: str, body: object) -> None:
        answer = self.clients[name].post(path, json=body)
        answer.raise_for_status()

    def submit(self, path: Path, lengths: list[float]) -> list[str]:
        """Ask the first agent for all tasks; gives their ids."""
        ids: list[str] = []
        rows = [
            {"function": "bench_tasks:recorded_nap", "args": [str(path), number, seconds]}
            for number, seconds in enumerate(lengths)
        ]
        for begin in range(0, len(rows), 500):
            answer = self.clients["a"].post("/v1/operations:batch", json={"operations": rows[begin : begin + 500]})
            answer.raise_for_status()
            ids += [one["operation"]["id"] for one in answer.json()["operations"]]
        return ids

    def grow(self, name: str, units: int) -> None:
        """Give an agent more cores of its own."""
        now = time.monotonic()
        self._post(name, "/v1/resources", {"name": name, "capacity": {"processors": [{"units": units}]}})
        self.cores[name].append((now, self.cores[name][-1][1] + units))

    def shrink(self, name: str, units: int) -> None:
        """Take cores away; what runs on them may end."""
        body = {"capacity": {"processors": [{"units": units}]}}
        self._post(name, f"/v1/resources/{name}/reduce", body)
        self.cores[name].append((time.monotonic(), self.cores[name][-1][1] - units))

    def lose(self, name: str) -> None:
        """Kill an agent without a word, and say so to the one above it."""
        agent = self.agents[name]
        os.kill(agent.process.pid, signal.SIGKILL)
        agent.process.wait()
        now = time.monotonic()
        self.clients[self.parents[name]].delete(f"/v1/resources/{name}", params={"lost": True}).raise_for_status()
        for below, above in self.parents.items():
            if above == name:
                self.cores[below].append((now, 0))
        self.cores[name].append((now, 0))

    def limits(self, runs: list[Run]) -> dict[str, list[tuple[float, int]]]:
        """Give the cores as they bind: one that is at work when it is taken away is free with the next end.

        Until then a worker may begin what it was given before, however late that is.
        """
        found = {}
        for name, steps in self.cores.items():
            found[name] = steps[:1]
            for (_, before), (since, units) in itertools.pairwise(steps):
                if name == LOST:
                    binds = since + DEAD_S
                elif units < before:
                    binds = min((run.end for run in runs if run.host == name and run.end > since), default=since)
                else:
                    binds = since
                found[name].append((binds, units))
        return found

    def states(self, ids: list[str]) -> list[str]:
        """Wait for all ends."""
        return [self.clients["a"].get(f"/v1/operations/{one}", params={"wait_s": 60}).json()["state"] for one in ids]


def measure(shape: str, tasks: int, seed: int = 1) -> Result:
    """Run the tasks through a net that changes on the way."""
    chance = random.Random(seed)
    lengths = [chance.uniform(LEAST_S, MOST_S) for _ in range(tasks)]
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "runs"
        path.touch()
        net = Net(shape, stack)
        begun = time.monotonic()
        ids = net.submit(path, lengths)
        for share, change in (
            (0.25, lambda: net.grow("b", 2)),
            (0.50, lambda: net.shrink("a", 1)),
            (0.75, lambda: net.lose(LOST)),
        ):
            _until(lambda share=share: path.read_bytes().count(b"\n") >= share * tasks)  # type: ignore[misc]
            change()
        states = net.states(ids)
        seconds = time.monotonic() - begun
        runs = _runs(path)
    done = len({run.task for run in runs}) if states == ["done"] * tasks else states.count("done")
    above, twice, share = excess(runs, net.limits(runs)), again(runs, {LOST}), in_use(runs, net.cores)
    return Result(shape, tasks, done, len(runs), above, twice, share, seconds)


def _runs(path: Path) -> list[Run]:
    rows = (line.split() for line in path.read_text().splitlines())
    return [Run(host, int(task), float(begin), float(end)) for host, task, begin, end in rows]


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit("it took too long: the net stands still")
        time.sleep(LOOK_S)


def excess(runs: list[Run], cores: dict[str, list[tuple[float, int]]]) -> tuple[str, ...]:
    """Name the agents that ever ran more at once than they had cores."""
    found = []
    for host, steps in cores.items():
        changes = sorted(
            [(run.begin, 1) for run in runs if run.host == host] + [(run.end, -1) for run in runs if run.host == host]
        )
        running = 0
        for at, sign in changes:
            running += sign
            if sign > 0 and running > (limit := _at(steps, at)):
                found.append(f"{host} ran {running} with {limit} cores")
    return tuple(found)


def again(runs: list[Run], lost: set[str]) -> tuple[str, ...]:
    """Name the tasks that ran twice, but for once on an agent that was lost, which can have told nobody of it."""
    times = Counter((run.task, run.host in lost) for run in runs)
    return tuple(
        f"task {task} ran {count} times on {'the lost' if is_lost else 'other'} agents"
        for (task, is_lost), count in times.items()
        if count > 1
    )


def _at(steps: list[tuple[float, int]], when: float) -> int:
    return next(units for since, units in reversed(steps) if since <= when)


def in_use(runs: list[Run], cores: dict[str, list[tuple[float, int]]]) -> float:
    """Divide what was booked by what was offered, from when all were at work until the last task began."""
    begins = sorted(run.begin for run in runs)
    first, last = begins[int(STARTED * len(begins))], begins[-1]
    booked = sum(max(min(run.end, last) - max(run.begin, first), 0.0) for run in runs)
    offered = 0.0
    for steps in cores.values():
        ends = [since for since, _ in steps[1:]] + [last]
        for (since, units), until in zip(steps, ends, strict=True):
            offered += units * max(min(until, last) - max(since, first), 0.0)
    return booked / offered


def main() -> int:
    """Measure both shapes, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reshaped", description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000, help="tasks in each run (default 2,000)")
    options = parser.parse_args()
    line = "{:8} {:>6} {:>6} {:>11} {:>13} {:>8}  {}"
    print(line.format("shape", "tasks", "done", "executions", "cores in use", "seconds", "above its cores"))
    for shape in SHAPES:
        found = measure(shape, options.tasks)
        above = ", ".join(found.excess) or "nobody"
        figures = (found.tasks, found.done, found.executions, f"{found.in_use:.2f}", f"{found.seconds:.1f}")
        print(line.format(found.shape, *figures, above), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
