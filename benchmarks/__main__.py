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


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--only", default="", help="workloads, such as W1,W2,W9 (default all)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="where the figures go")
    options = parser.parse_args()
    only = frozenset(filter(None, options.only.split(",")))
    recorder = Recorder()
    run_rounds(recorder, options.rounds, only)
    figures = {name: sorted(values) for name, values in recorder.figures.items()}
    about = {"command": " ".join(sys.argv), "commit": _commit(), "machine": _machine(), "rounds": options.rounds}
    options.json.write_text(json.dumps({"about": about, "figures": figures}, indent=1))
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
