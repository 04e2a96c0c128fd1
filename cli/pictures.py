"""The graph of an operation's tasks as a picture: Graphviz text, or SVG that any browser shows.

Law: what is drawn depends on the tasks alone, and whatever they are called, their names stay text.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from typing import TYPE_CHECKING

from agentd.api.tables import printable
from agentd.model.figures import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentd.model.views import TaskView

MOST = 2000
"""Tasks that are drawn; chosen: above it nobody sees anything, and a browser gets slow."""
COLOURS = {
    "done": "#c8e6c9",
    "running": "#bbdefb",
    "blocked": "#d1c4e9",
    "forwarded": "#b2dfdb",
    "queued": "#fff9c4",
    "waiting": "#fff9c4",
    "failed": "#ffcdd2",
    "cancelled": "#e0e0e0",
    "quarantined": "#ef9a9a",
    "lost_unknown": "#ef9a9a",
}
"""What a task's box is filled with, by state."""
BORDERS = ("#1b5e20", "#0d47a1", "#b71c1c", "#4a148c", "#e65100", "#006064", "#880e4f", "#33691e", "#263238")
"""Its border, by agent, in the order in which agents come."""
_UNKNOWN = "#ffffff"
_WIDE, _HIGH, _GAP_X, _GAP_Y = 132, 34, 18, 42
"""Of a box, in SVG units, and between boxes; chosen: twenty characters are readable."""
_LONGEST = 20

Edge = tuple[int, int, bool]
"""Places of two tasks, and whether data goes along it (else the first only asked for the second)."""


def edges(tasks: Sequence[TaskView]) -> list[Edge]:
    """Find what leads to what: data that one makes and another needs; else who asked for it."""
    maker = {version: place for place, task in enumerate(tasks) for version in task.makes}
    places = {task.id: place for place, task in enumerate(tasks)}
    found: dict[tuple[int, int], bool] = {}
    for place, task in enumerate(tasks):
        before = [maker[version] for version in (*task.reads, *task.after) if maker.get(version, place) != place]
        for source in before:
            found[source, place] = True
        parent = places.get(task.parent)
        if not before and parent is not None and parent != place:
            found[parent, place] = False
    return [(source, target, carries) for (source, target), carries in found.items()]


def drawable(tasks: Sequence[TaskView]) -> list[TaskView]:
    """Leave out what is too much: the oldest stay."""
    return sorted(tasks, key=lambda task: (task.submitted_at, len(task.id), task.id))[:MOST]


def _agents(tasks: Sequence[TaskView]) -> dict[str, str]:
    names = dict.fromkeys(task.host for task in tasks if task.host)
    return {name: BORDERS[place % len(BORDERS)] for place, name in enumerate(names)}


def _title(task: TaskView) -> str:
    """Say in full what a box stands for."""
    took = duration(task.seconds) if task.seconds is not None else ""
    parts = (f"{task.function} ({task.id})", task.state, task.host, took, f"attempt {task.attempt}", task.reason)
    return printable(", ".join(part for part in parts if part))


def _short(task: TaskView) -> str:
    name = printable(task.function.rpartition(":")[2] or task.function)
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


# --- Graphviz ---------------------------------------------------------------------------------------------------


def dot(tasks: Sequence[TaskView]) -> str:
    """Write the graph in Graphviz' language."""
    shown = drawable(tasks)
    borders = _agents(shown)
    lines = ["digraph tasks {", '  node [shape=box, style="filled,rounded", fontname="sans-serif", penwidth=2];']
    for place, task in enumerate(shown):
        fill, border = COLOURS.get(task.state, _UNKNOWN), borders.get(task.host, "#9e9e9e")
        words = {"label": _short(task), "tooltip": _title(task), "fillcolor": fill, "color": border}
        lines.append(f"  t{place} [{', '.join(f'{name}={_quoted(text)}' for name, text in words.items())}];")
    lines += [
        f"  t{source} -> t{target}{'' if carries else ' [style=dashed, color=gray]'};"
        for source, target, carries in edges(shown)
    ]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- SVG --------------------------------------------------------------------------------------------------------


def svg(tasks: Sequence[TaskView]) -> str:
    """Draw the graph: a row for each step that must follow another, who needs what below it."""
    shown = drawable(tasks)
    found = edges(shown)
    where = _laid_out(shown, found)
    borders = _agents(shown)
    width = max((x for x, _ in where), default=0) + _WIDE + _GAP_X
    top = _GAP_Y + 18 * (1 + len(borders))
    height = max((y for _, y in where), default=0) + _HIGH + _GAP_Y + top
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(width, 420)} {height}" '
        'font-family="sans-serif" font-size="12">'
    )
    lines = [head, *_legend(shown, len(tasks), borders), f'<g transform="translate(0 {top})">']
    lines += [_line(where[source], where[target], carries=carries) for source, target, carries in found]
    lines += [_box(task, where[place], borders.get(task.host, "#9e9e9e")) for place, task in enumerate(shown)]
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _laid_out(tasks: Sequence[TaskView], found: Sequence[Edge]) -> list[tuple[int, int]]:
    """Give each task its place: its row by the longest way to it, its column near those that it needs."""
    before: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in found:
        before[target].append(source)
    level = _levels(len(tasks), before)
    rows: dict[int, list[int]] = defaultdict(list)
    for place in range(len(tasks)):
        rows[level[place]].append(place)
    column: dict[int, float] = {}
    for number in sorted(rows):
        wishes = {place: _mean([column[one] for one in before[place] if one in column]) for place in rows[number]}
        order = sorted(rows[number], key=lambda one: (wishes[one], one))
        column.update((place, position) for position, place in enumerate(order))
    return [
        (_GAP_X + int(column[place]) * (_WIDE + _GAP_X), level[place] * (_HIGH + _GAP_Y)) for place in range(len(tasks))
    ]


def _mean(columns: list[float]) -> float:
    return sum(columns) / len(columns) if columns else 0.0


def _levels(count: int, before: dict[int, list[int]]) -> list[int]:
    """Count the longest way to each task; in a circle, which data cannot have, it is cut."""
    level = [-1] * count
    for start in range(count):
        stack = [start]
        while stack:
            place = stack[-1]
            missing = [one for one in before[place] if level[one] < 0 and one not in stack]
            if level[place] < 0 and missing:
                stack.append(missing[0])
            else:
                level[place] = 1 + max((level[one] for one in before[place]), default=-1)
                stack.pop()
    return level


def _legend(shown: Sequence[TaskView], count: int, borders: dict[str, str]) -> Iterator[str]:
    left_out = f", {count - len(shown)} more are not drawn" if count > len(shown) else ""
    states = " ".join(dict.fromkeys(task.state for task in shown))
    yield f'<text x="{_GAP_X}" y="20">{len(shown)} tasks{left_out}: {escape(states)}</text>'
    for number, (name, colour) in enumerate(borders.items()):
        y = 38 + 18 * number
        yield f'<rect x="{_GAP_X}" y="{y - 10}" width="12" height="12" fill="none" stroke="{colour}" stroke-width="3"/>'
        yield f'<text x="{_GAP_X + 20}" y="{y}">{escape(printable(name))}</text>'


def _line(source: tuple[int, int], target: tuple[int, int], *, carries: bool) -> str:
    x1, y1, x2, y2 = source[0] + _WIDE // 2, source[1] + _HIGH, target[0] + _WIDE // 2, target[1]
    look = 'stroke="#616161"' if carries else 'stroke="#bdbdbd" stroke-dasharray="4 3"'
    middle = (y1 + y2) // 2
    return f'<path d="M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y2}" fill="none" {look}/>'


def _box(task: TaskView, where: tuple[int, int], border: str) -> str:
    x, y = where
    return (
        f'<g><title>{escape(_title(task))}</title><rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="6" '
        f'fill="{COLOURS.get(task.state, _UNKNOWN)}" stroke="{border}" stroke-width="2"/>'
        f'<text x="{x + _WIDE // 2}" y="{y + _HIGH // 2 + 4}" text-anchor="middle">{escape(_short(task))}</text></g>'
    )
