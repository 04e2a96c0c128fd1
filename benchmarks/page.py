"""The page of figures: `python -m benchmarks.page RUN.json…` keeps what runs measured, and writes page and picture.

Law: all that stands on the page between its marks, and in its picture, is made of `figures.json` beside this module;
nobody copies a figure by hand.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable
from html import escape
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.agent import ROOT
from benchmarks.workloads import TARGETS

KEPT = Path(__file__).with_name("figures.json")
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "performance.svg"
MARKS = "<!-- figures: python -m benchmarks.page -->\n", "<!-- end of the figures -->\n"

Figures = dict[str, list[float]]


class Row(NamedTuple):
    """A line of a table: in whose words, which figure of each system, and the least that any system could need."""

    words: str
    figure: str
    floor: str = ""
    ours: str = "agentd"


OTHERS = ("ProcessPool", "loky", "Dask", "Ray")
ONE = "W1 p50 us"
MANY = "W2 per s"
NESTED = "W11 per s"
LOCAL = (
    Row("one call and its answer, µs", ONE, "raw relay"),
    Row("the same, on the disk before it begins, µs", ONE, ours="agentd durable"),
    Row("10,000 calls at once, per s", MANY, "raw relay"),
    Row("the same, each on the disk before it begins, per s", MANY, ours="agentd durable"),
    Row("200,000 calls by `map` in chunks, per s", "W2 chunks per s"),
    Row("CPU of one of 10,000 calls, all processes, µs", "W2 CPU us per task", "raw relay"),
    Row("2,000 calls of 1 ms: share of two cores that is work", "W3 efficiency"),
    Row("100 MB as an argument, GB/s", "W4 argument GB/s", "raw socket"),
    Row("100 MB as a result, GB/s", "W4 return GB/s", "raw socket"),
    Row("1,000 arguments of 100 KB, per s", "W4 100 KB per s", "raw socket"),
    Row("a chain of 1,000 tasks, each of the result before it, per s", "W5 chain per s", "raw socket"),
    Row("a tree that adds up 1,024 leaves, per s", "W5 tree per s", "raw socket"),
    Row("a task that calls 500 others and waits, on one core, per s", "W8 per s"),
    Row("5,000 tasks of one operation, per s", NESTED),
)
BETWEEN = (
    ("one call and its answer, µs", "W10 p50 us, local", "W10 p50 us, one hop", "W10 TLS p50 us, one hop"),
    ("10,000 calls at once, per s", "W10 per s, local", "W10 per s, one hop", ""),
    (
        "100 MB as an argument, GB/s",
        "W10 argument GB/s, raw socket",
        "W10 argument GB/s, one hop",
        "W10 TLS argument GB/s, one hop",
    ),
    (
        "100 MB as a result, GB/s",
        "W10 return GB/s, raw socket",
        "W10 return GB/s, one hop",
        "W10 TLS return GB/s, one hop",
    ),
    ("5,000 tasks of one operation, per s", "W11 per s, agentd", "W11 per s, offloaded", ""),
)
ALONE = (
    ("from the command to the first result over REST, s", "W6 first result s"),
    ("from the command until programs may connect, s", "W6 Comm door open s"),
    ("memory of an idle agent with two workers, all processes, MiB", "W6 idle PSS MiB"),
    ("CPU of an idle agent, %", "W6 idle CPU %"),
    ("how much later a result comes whose worker was killed, beyond its second run, s", "W7 extra s"),
    ("operations over HTTP by 32 clients, each on the disk before it begins, per s", "W9 per s, agentd"),
    ("FastAPI that answers the same clients with a constant, per s", "W9 per s, FastAPI constant"),
)


def main(runs: Iterable[str]) -> int:
    """Take up the figures of runs, in which a later one replaces the same of an earlier one; write page and picture."""
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {"runs": [], "figures": {}}
    for file in runs:
        run = json.loads(Path(file).read_text("utf-8"))
        kept["figures"] |= run["figures"]
        about = run["about"] | {"command": _command(run["about"]["command"])}
        kept["runs"] = [one for one in kept["runs"] if one["command"] != about["command"]] + [about]
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    before, _, rest = PAGE.read_text("utf-8").partition(MARKS[0])
    PAGE.write_text(before + MARKS[0] + tables(kept) + MARKS[1] + rest.partition(MARKS[1])[2], "utf-8")
    PICTURE.write_text(picture(kept["figures"]), "utf-8")
    return 0


def _command(words: str) -> str:
    """Leave out where a run had its program and its file."""
    asked, given = words.split()[1:], iter(words.split()[1:])
    named = [word for word in given if word not in {"--json", "-j"} or next(given, None) is None]
    return " ".join(["python -m benchmarks", *(named if asked else [])])


# --- tables -----------------------------------------------------------------------------------------------------


def tables(kept: dict[str, Any]) -> str:
    """Give what stands on the page between its marks, in Markdown."""
    figures: Figures = kept["figures"]
    parts = [
        _table(("on one device", "agentd", *OTHERS, "floor"), _local(figures)),
        _table(("between two agents", "on one device, or raw", "one hop", "one hop, TLS"), _between(figures)),
        _table(("an agent by itself", ""), _alone(figures)),
        _table(("ratio within one round", "goal", "median", "least and most", ""), _goals(figures)),
        "".join(f"- `{run['command']}` at {run['commit']}: {run['machine']}\n" for run in kept["runs"]),
    ]
    return "\n" + "\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    line = lambda cells: f"| {' | '.join(cells)} |\n"  # noqa: E731
    return line(head) + line(["---", *["---:"] * (len(head) - 1)]) + "".join(map(line, rows))


def _local(figures: Figures) -> Iterable[tuple[str, ...]]:
    for row in LOCAL:
        others = (f"{row.figure}, {name}" for name in (*OTHERS, row.floor))
        own = f"{row.figure}, {row.ours}"
        if own in figures:
            shown = ("" if row.ours != "agentd" else _shown(figures, name) for name in others)
            yield f"{row.words} ({row.figure.split()[0]})", f"**{_shown(figures, own)}**", *shown


def _between(figures: Figures) -> Iterable[tuple[str, ...]]:
    for words, *names in BETWEEN:
        if names[1] in figures:
            yield f"{words} ({names[1].split()[0]})", *(_shown(figures, name) for name in names)


def _alone(figures: Figures) -> Iterable[tuple[str, ...]]:
    for words, name in ALONE:
        if name in figures:
            yield f"{words} ({name.split()[0]})", _shown(figures, name)


def _goals(figures: Figures) -> Iterable[tuple[str, ...]]:
    for target in TARGETS:
        ratios = target.ratios(figures)
        if ratios and target.must != "≥0":
            middle = statistics.median(ratios)
            yield (
                target.words,
                target.must,
                f"{middle:.2f}",
                f"{min(ratios):.2f} … {max(ratios):.2f}",
                "" if target.holds(middle) else "missed",
            )


def _shown(figures: Figures, name: str) -> str:
    """Give the median of a figure to three digits; nothing where there is none."""
    values = figures.get(name)
    return digits(statistics.median(values)) if values else ""


def digits(value: float) -> str:
    """Write a figure with three digits that count, thousands apart."""
    places = 2 if abs(value) < 0.1 else max(0, 2 - int(log10(abs(value))))
    whole = round(value, -int(log10(abs(value))) + 2) if abs(value) >= 1000 else value
    return f"{whole:,.{places}f}"


# --- picture ----------------------------------------------------------------------------------------------------

_PANELS: tuple[tuple[str, str, Callable[[float], float]], ...] = (
    ("One call after the other, per s", ONE, lambda micros: 1e6 / micros),
    ("10,000 calls at once, per s", MANY, float),
    ("5,000 tasks of one operation, per s", NESTED, float),
)
_WIDTH, _LEFT, _STEP, _BAR, _GAP, _HEAD = 900, 120, 140, 18, 7, 34
_STYLE = """
    .text { fill: #1f2328; } .soft { fill: #59636e; } .panel { fill: #ffffff; }
    .ours { fill: #0072b2; } .other { fill: #b4bcc6; }
    .line { stroke: #8c959f; stroke-opacity: 0.35; } .small { font-size: 11px; }
    @media (prefers-color-scheme: dark) {
      .text { fill: #f0f6fc; } .soft { fill: #9198a1; } .panel { fill: #0d1117; }
      .ours { fill: #58b0f5; } .other { fill: #4a525c; }
    }
"""


def picture(figures: Figures) -> str:
    """Draw how many calls a second each system does, on a scale on which each step is ten times the one before."""
    bars, top = [], 12
    for title, figure, rate in _PANELS:
        found = {
            name: rate(statistics.median(figures[f"{figure}, {name}"]))
            for name in ("agentd", *OTHERS)
            if figures.get(f"{figure}, {name}")
        }
        if not found:
            continue
        bars.append(f'<text class="text" x="{_LEFT}" y="{top + 18}" font-weight="600">{escape(title)}</text>')
        top += _HEAD
        bars += _scale(top, len(found) * (_BAR + _GAP))
        for name, per_s in sorted(found.items(), key=lambda item: -item[1]):
            bars += _bar(name, per_s, top)
            top += _BAR + _GAP
        top += 30
    said = "Calls per second of agentd, ProcessPool, loky, Dask and Ray; each step of the scale is ten times the last."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" aria-label="{said}" '
        "font-family=\"-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\" font-size=\"14\">\n"
        f"  <style>{_STYLE}  </style>\n"
        f'  <rect class="panel" width="{_WIDTH}" height="{top}" rx="8"/>\n  ' + "\n  ".join(bars) + "\n</svg>\n"
    )


def _scale(top: int, height: int) -> list[str]:
    """Draw a line at 10, 100, 1,000 and so on, named below."""
    lines = []
    for power in range(1, 6):
        x = _LEFT + _STEP * (power - 1)
        lines += [
            f'<path class="line" d="M{x} {top - 4}v{height}"/>',
            f'<text class="soft small" x="{x}" y="{top + height + 11}" text-anchor="middle">{10**power:,}</text>',
        ]
    return lines


def _bar(name: str, per_s: float, top: int) -> list[str]:
    """Draw one bar: from 10 a second on, a step for ten times as many."""
    width = max(4.0, _STEP * (log10(per_s) - 1))
    kind, middle = "ours" if name == "agentd" else "other", top + _BAR * 0.75
    return [
        f'<text class="text" x="{_LEFT - 10}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{width:.0f}" height="{_BAR}" rx="2"/>',
        f'<text class="soft" x="{_LEFT + width + 8:.0f}" y="{middle:.0f}">{digits(per_s)}</text>',
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
