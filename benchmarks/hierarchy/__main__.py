"""Compare schedulers on a hierarchy in virtual time: `python -m benchmarks.hierarchy [--agents N] [--schedulers A,B]`.

Each figure is a ratio to the same arrivals served by one central queue, which knows every idle core at once, whose
links cost nothing, and which knows no durations either. Medians over the seeds.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from statistics import median

from benchmarks.hierarchy.study import arrivals, central, hierarchy, tree

_LINE = "{:12} {:16} {:>6} {:>6} {:>9} {:>6} {:>9} {:>6} {:>6}"


def main() -> int:
    """Run, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hierarchy", description=__doc__)
    parser.add_argument("--agents", type=int, default=100, help="agents in the tree (default 100)")
    parser.add_argument("--load", type=float, default=0.8, help="share of all cores that is asked for (default 0.8)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long users ask, in virtual time (default 20)")
    parser.add_argument("--seeds", type=int, default=3, help="histories for each row (default 3)")
    parser.add_argument("--sizes", default="exponential,bimodal,pareto", help="distributions of run times")
    parser.add_argument("--schedulers", default="fifo,lifo,ready,fifo-data,data,load-balancing", help="whom to compare")
    options = parser.parse_args()
    print(f"{options.agents} agents, load {options.load}, {options.seconds:g} s of bursts, {options.seeds} seeds\n")
    print(_LINE.format("sizes", "scheduler", "mean", "p99", "makespan", "hops", "messages", "tasks", "CPU s"))
    for sizes in options.sizes.split(","):
        for scheduler in options.schedulers.split(","):
            _row(options, sizes, scheduler)
    return 0


def _row(options: argparse.Namespace, sizes: str, scheduler: str) -> None:
    rows, count, spent = [], 0, time.process_time()
    for seed in range(options.seeds):
        chance = random.Random(seed)
        specs = tree(options.agents, chance)
        tasks = arrivals(specs, options.load, options.seconds, sizes, chance)
        reference, found = central(specs, tasks), hierarchy(specs, tasks, scheduler)
        count += len(tasks)
        rows.append(
            (
                found.mean_s / reference.mean_s,
                found.p99_s / reference.p99_s,
                found.makespan_s / reference.makespan_s,
                found.hops,
                found.messages_per_task,
            )
        )
    mean_s, p99_s, makespan, hops, messages = (median(column) for column in zip(*rows, strict=True))
    spent = time.process_time() - spent
    figures = (f"{figure:.2f}" for figure in (mean_s, p99_s, makespan, hops, messages))
    print(_LINE.format(sizes, scheduler, *figures, count // options.seeds, f"{spent:.1f}"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
