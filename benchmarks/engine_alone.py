"""What the engine costs without the world: CPU microseconds per task, and per decision.

    python -m benchmarks.engine_alone [--quick] [--json FILE]

A task is submitted, planned, placed, ended and settled; workers and links are lists. CPU time of this process inside
the engine alone, so a busy machine changes little; medians of several rounds, which go through all cases in turn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections import deque
from pathlib import Path
from time import process_time

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.engine import Engine
from agentd.core.state import Identity, Rules
from agentd.model.exchange import End, Report, Submission
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload
from schedulers.capacity import cores
from schedulers.loading import load
from schedulers.view import Tier

SCHEDULERS = ("load-balancing", "data", "fifo", "fifo-data", "lifo", "ready")
TASK_S = 5e-6
"""Run time that each task is said to have had: short enough that lines are filled."""


class Bench:
    """An engine, its clock, and stand-ins for workers and links that answer at once."""

    def __init__(self, scheduler: str, units: int, neighbours: int = 0) -> None:
        self.now = 0.0
        self.spent = 0.0
        identity = Identity("bench", "id-bench", "boot", 1)
        rules = Rules(most_waiting=10**9, most_waiting_bytes=10**12)
        self.engine = Engine(identity, cores(units), load(scheduler), itertools.count(1), rules)
        self.lines: dict[int, deque[int]] = {}
        self.offered: deque[tuple[str, int, int]] = deque()
        self._inbox: list[e.Event] = []
        for number in range(neighbours):
            self._add_neighbour(f"n{number}", number + 1000)
        self.turn([e.TemplatesDeclared(1, ((1, Template("bench:task")),))])

    def _add_neighbour(self, name: str, link: int) -> None:
        tiers = (Tier(1.0, 2.0, 2.0, 2.0, 0.0),)
        self.turn(
            [
                e.ResourceAdded(0, name, cores(2), "comm"),
                e.LinkOpened(name, f"id-{name}", "boot", link),
                e.LoadReported(name, Report(1, 1, 0, tiers, cores(2))),
            ]
        )

    def turn(self, events: list[e.Event]) -> None:
        """One drain of the lane; only what the engine does is timed."""
        engine = self.engine
        while events:
            self.now += 1e-4
            begun = process_time()
            for event in events:
                engine.handle(event, self.now)
            commands = engine.drain(self.now)
            self.spent += process_time() - begun
            self._inbox = []
            for command in commands:
                kind = type(command)
                if kind is c.RunTasks:
                    self.lines.setdefault(command.worker, deque()).extend(task.id for task in command.tasks)
                elif kind is c.RevokeTasks:
                    self._inbox += [e.TasksRevoked(command.worker, 0), e.RevokeSettled(command.worker)]
                elif kind is c.SendOffers:
                    self.offered.extend((command.neighbour, offer.task, offer.attempt) for offer in command.offers)
            events = self._inbox

    def fill(self, waiting: int) -> None:
        """Let so many tasks wait."""
        for _ in range(0, waiting, 1000):
            self.turn([e.CallsSubmitted(1, calls(min(waiting, 1000)))])

    def ended(self, frame: int) -> e.TasksEnded:
        """Let the fullest line end up to so many tasks."""
        worker, line = max(self.lines.items(), key=lambda item: len(item[1]))
        results = [e.TaskResult(line.popleft(), 0, seconds=TASK_S) for _ in range(min(frame, len(line)))]
        return e.TasksEnded(worker, results)


def calls(count: int) -> list[Submission]:
    """Make calls of nothing."""
    return [Submission(ref, 1, Payload()) for ref in range(count)]


def per_task(scheduler: str, in_flight: int, frame: int, tasks: int) -> float:
    """CPU microseconds per task, with so many in flight, in frames of so many."""
    bench = Bench(scheduler, 2)
    bench.fill(in_flight)
    submitted, done = e.CallsSubmitted(1, calls(frame)), 0
    bench.spent = 0.0
    while done < tasks:
        ended = bench.ended(frame)
        done += len(ended.results)
        more = submitted if len(ended.results) == frame else e.CallsSubmitted(1, calls(len(ended.results)))
        bench.turn([ended, more])
    return bench.spent / done * 1e6


def per_decision(scheduler: str, waiting: int, neighbours: int, decisions: int) -> float:
    """CPU microseconds from the end of a task at a neighbour to the next one's way there."""
    bench = Bench(scheduler, 1, neighbours)
    bench.fill(waiting)
    bench.spent = 0.0
    for _ in range(decisions):
        neighbour, task, attempt = bench.offered.popleft()
        outcome = Outcome(0, Payload(), None, 0.1, neighbour, 0, attempt)
        bench.turn([e.CallsSubmitted(1, calls(1)), e.EndsReceived(neighbour, [End(task, attempt, 1, outcome)])])
    return bench.spent / decisions * 1e6


def main() -> None:
    """Measure all cases, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tasks, three rounds")
    parser.add_argument("--json", type=Path, help="write medians, least and most as JSON")
    options = parser.parse_args()
    rounds, tasks, decisions = (3, 20_000, 300) if options.quick else (5, 100_000, 2_000)
    cases = {
        f"task {scheduler} in-flight={in_flight} frame={frame}": (per_task, scheduler, in_flight, frame, tasks)
        for scheduler in ("load-balancing", "fifo")
        for in_flight, frame in ((1000, 1), (1000, 8), (1000, 64), (1000, 256), (10_000, 256), (100_000, 256))
    }
    cases |= {
        f"decision {scheduler} waiting={waiting} neighbours={neighbours}": (
            per_decision,
            scheduler,
            waiting,
            neighbours,
            decisions,
        )
        for scheduler in SCHEDULERS
        for waiting, neighbours in ((100, 10), (10_000, 10), (100_000, 10), (1000, 1), (1000, 100), (1000, 1000))
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (measure, *arguments) in cases.items():
            found[name].append(measure(*arguments))
    table = {name: (statistics.median(them), min(them), max(them)) for name, them in found.items()}
    print(f"{'CPU µs':58} median    min    max")
    for name, (median, least, most) in table.items():
        print(f"{name:58} {median:6.2f} {least:6.2f} {most:6.2f}")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    sys.exit(main())
