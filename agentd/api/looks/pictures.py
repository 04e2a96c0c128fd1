"""The graph of an operation's tasks as a picture: Graphviz text, or SVG that any browser shows.

Law: what is drawn depends on the tasks alone, and whatever they are called, their names stay text.
"""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape
from typing import TYPE_CHECKING

from agentd.api.routes.tables import printable
from agentd.model.figures import counted, duration

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
_TOP, _LEAST_WIDE, _LEAST_COLUMNS = 84, 420, 8
"""Room for the legend, the least width that it needs, and boxes in a row at the least."""
_MANY = 8
"""Tasks that were asked for by the operation itself, above which that is not drawn."""

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
    """Draw the graph: what belongs together is together, and who needs what stands below it."""
    shown = drawable(tasks)
    found = _telling(shown, edges(shown))
    where = _laid_out(len(shown), found)
    borders = _agents(shown)
    width = max(max((x for x, _ in where), default=0) + _WIDE + _GAP_X, _LEAST_WIDE)
    height = max((y for _, y in where), default=0) + _HIGH + _GAP_Y + _TOP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">'
    )
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    lines = [head, paper, *_legend(shown, len(tasks), borders), f'<g transform="translate(0 {_TOP})">']
    lines += [_line(where[source], where[target], carries=carries) for source, target, carries in found]
    lines += [_box(task, where[place], borders.get(task.host, "#9e9e9e")) for place, task in enumerate(shown)]
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _telling(tasks: Sequence[TaskView], found: list[Edge]) -> list[Edge]:
    """Leave out that the operation itself asked for nearly all: where those are many, nothing else would be seen."""
    known = {task.id for task in tasks}
    roots = {place for place, task in enumerate(tasks) if task.parent not in known}
    others = [edge for edge in found if edge[0] not in roots or edge[2]]
    return others if len(found) - len(others) > _MANY else found


def _laid_out(count: int, found: Sequence[Edge]) -> list[tuple[int, int]]:
    """Give each task its place: groups that no line joins stand side by side, what asked for all above them."""
    widest = max(_LEAST_COLUMNS, math.isqrt(2 * count))
    before: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in found:
        before[target].append(source)
    where = [(0, 0)] * count
    left = top = bottom = 0
    for group in _groups(count, found):
        cells = _grid(group, before, widest)
        wide = 1 + max(column for column, _ in cells.values())
        if left and left + wide > widest:
            left, top = 0, bottom
        for place, (column, row) in cells.items():
            where[place] = (_GAP_X + (left + column) * (_WIDE + _GAP_X), (top + row) * (_HIGH + _GAP_Y))
        left, bottom = left + wide, max([bottom, *(top + row + 1 for _, row in cells.values())])
        if group == [0]:
            left, top = 0, bottom
    return where


def _groups(count: int, found: Sequence[Edge]) -> list[list[int]]:
    """Part tasks into those that lines join, in the order of each one's first."""
    beside: dict[int, list[int]] = defaultdict(list)
    for source, target, _ in found:
        beside[source].append(target)
        beside[target].append(source)
    seen: set[int] = set()
    groups = []
    for start in range(count):
        if start in seen:
            continue
        seen.add(start)
        group, stack = [], [start]
        while stack:
            place = stack.pop()
            group.append(place)
            new = [one for one in dict.fromkeys(beside[place]) if one not in seen]
            seen.update(new)
            stack += new
        groups.append(sorted(group))
    return groups


def _grid(group: list[int], before: dict[int, list[int]], widest: int) -> dict[int, tuple[int, int]]:
    """Give each task of a group its column, near those that it needs, and its row, by the longest way to it."""
    level = _levels(group, before)
    steps: dict[int, list[int]] = defaultdict(list)
    for place in group:
        steps[level[place]].append(place)
    cells: dict[int, tuple[int, int]] = {}
    row = 0
    for step in sorted(steps):
        wishes = {place: _mean([cells[one][0] for one in before[place] if one in cells]) for place in steps[step]}
        order = sorted(steps[step], key=lambda one: (wishes[one], one))
        for start in range(0, len(order), widest):  # a step of very many takes several rows
            part = order[start : start + widest]
            columns = _spread([wishes[place] for place in part], widest)
            cells.update((place, (column, row)) for place, column in zip(part, columns, strict=True))
            row += 1
    return cells


def _spread(wishes: Sequence[float], widest: int) -> list[int]:
    """Give each its own column, in order, each as near to its wish as those before it let it."""
    columns: list[int] = []
    for left, wish in zip(range(len(wishes), 0, -1), wishes, strict=True):
        least = columns[-1] + 1 if columns else 0
        columns.append(min(max(least, round(wish)), widest - left))
    return columns


def _mean(columns: list[int]) -> float:
    return sum(columns) / len(columns) if columns else 0.0


def _levels(group: list[int], before: dict[int, list[int]]) -> dict[int, int]:
    """Count the longest way to each task; in a circle, which data cannot have, it is cut."""
    level: dict[int, int] = {}
    for start in group:
        stack = [start]
        while stack:
            place = stack[-1]
            missing = next((one for one in before[place] if one not in level and one not in stack), None)
            if place not in level and missing is not None:
                stack.append(missing)
            else:
                level[place] = 1 + max((level.get(one, -1) for one in before[place]), default=-1)
                stack.pop()
    return level


def _legend(shown: Sequence[TaskView], count: int, borders: dict[str, str]) -> Iterator[str]:
    left_out = f", {count - len(shown)} more are not drawn" if count > len(shown) else ""
    tasks = counted(len(shown), "task") + left_out
    yield f'<text x="{_GAP_X}" y="20">{tasks}; dashed: asked for by, without data</text>'
    states = {state: (COLOURS.get(state, _UNKNOWN), "#9e9e9e") for state in dict.fromkeys(one.state for one in shown)}
    agents = {printable(name): (_UNKNOWN, colour) for name, colour in borders.items()}
    for y, signs in ((38, states), (56, agents)):
        x = _GAP_X
        for name, (fill, colour) in signs.items():
            box = f'x="{x}" y="{y - 10}" width="12" height="12"'
            yield f'<rect {box} fill="{fill}" stroke="{colour}" stroke-width="2"/>'
            yield f'<text x="{x + 20}" y="{y}">{escape(name)}</text>'
            x += 36 + 7 * len(name)


def _line(source: tuple[int, int], target: tuple[int, int], *, carries: bool) -> str:
    x1, y1, x2, y2 = source[0] + _WIDE // 2, source[1] + _HIGH, target[0] + _WIDE // 2, target[1]
    look = 'stroke="#616161"' if carries else 'stroke="#9e9e9e" stroke-dasharray="4 3"'
    middle = (y1 + y2) // 2
    return f'<path d="M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y2}" fill="none" {look}/>'


def _box(task: TaskView, where: tuple[int, int], border: str) -> str:
    x, y = where
    return (
        f'<g><title>{escape(_title(task))}</title><rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="6" '
        f'fill="{COLOURS.get(task.state, _UNKNOWN)}" stroke="{border}" stroke-width="2"/>'
        f'<text x="{x + _WIDE // 2}" y="{y + _HIGH // 2 + 4}" text-anchor="middle">{escape(_short(task))}</text></g>'
    )
