"""The benchmarks: `python -m benchmarks [--rounds N] [--only W1,W2…] [--json FILE]`.

Every figure comes with its reference, measured in the same run, round by round in turn: on a busy machine only the
ratios mean something. Figures are medians over the rounds, with least and most.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.agent import ROOT
from benchmarks.workloads import TARGETS, Recorder, run_rounds

WORKLOADS = {
    "W1": "calls one at a time; W1d: the same durable",
    "W2": "10,000 calls at once; W2d: the same durable, and in chunks",
    "W3": "tasks that compute: how much of the cores they have",
    "W4": "large arguments and results, between processes of one device",
    "W5": "chains and trees of tasks that call tasks",
    "W6": "starting, the first result, memory and idle",
    "W7": "a worker that is killed: until its task runs again",
    "W8": "a task that asks for 500 tasks and waits for them, with one core",
    "W9": "submissions over HTTP, by many clients",
    "W10": "calls and large values at a neighbour, plain and over TLS",
    "W11": "5,000 tasks of one program that do nothing, here and at a neighbour",
    "W12": "k-means and products of matrices with dislib, where it is installed",
    "decisions": "what one decision of each scheduler costs",
}
"""What can be measured, by the word that asks for it."""


def workloads(text: str) -> frozenset[str]:
    """Read names with commas between; none: all.

    Raises:
        ArgumentTypeError: one is none of them.
    """
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    unknown = sorted(names.difference(WORKLOADS))
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return names


def rounds(text: str) -> int:
    """Read how many rounds; raises ValueError for what is no such number."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return count


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="workloads:\n" + "\n".join(f"  {name:9}  {words}" for name, words in WORKLOADS.items()),
    )
    parser.add_argument("--rounds", type=rounds, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--only", type=workloads, default=frozenset(), help="workloads, such as W1,W2,W9 (default all)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="where the figures go")
    options = parser.parse_args()
    recorder = Recorder()
    run_rounds(recorder, options.rounds, options.only)
    about = {"command": " ".join(sys.argv), "commit": _commit(), "machine": _machine(), "rounds": options.rounds}
    options.json.write_text(json.dumps({"about": about, "figures": recorder.figures}, indent=1))
    _print(about, recorder.figures)
    return 0


def _commit() -> str:
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def _machine() -> str:
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"


def _print(about: dict[str, object], figures: dict[str, list[float]]) -> None:
    print(f"\n{about['command']} at {about['commit']}: {about['machine']}\n")
    print(f"{'figure':44} {'median':>12} {'least':>12} {'most':>12}")
    for name, values in figures.items():
        print(f"{name:44} {statistics.median(values):12,.2f} {min(values):12,.2f} {max(values):12,.2f}")
    print(f"\n{'ratio within one round':58} {'median':>8} {'must':>10} {'aim':>10}")
    for target in TARGETS:
        ratios = target.ratios(figures)
        if ratios:
            middle = statistics.median(ratios)
            held = "" if target.holds(middle) else "  missed"
            print(f"{target.words:58} {middle:8.2f} {target.must:>10} {target.aim:>10}{held}")


if __name__ == "__main__":
    sys.exit(main())
