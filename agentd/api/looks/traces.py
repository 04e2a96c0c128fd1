"""When an operation's tasks ran, and where: a trace that Perfetto and Chrome open, and sums by function.

The format is Chrome's trace events (https://perfetto.dev/docs/getting-started/other-formats): microseconds, a process
for each agent, a thread for each of its workers.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from agentd.model.figures import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentd.model.views import TaskView

SUMMARY_HEAD = ("function", "tasks", "done", "failed", "mean", "p95", "longest", "together", "waited", "in", "out")
_US = 1_000_000


def trace(tasks: Sequence[TaskView]) -> str:
    """Write the trace: one lane a worker and agent, a slice for each run, an arrow for each datum that went on."""
    ran = [task for task in tasks if task.started_at is not None]
    begin = min((task.submitted_at for task in tasks), default=0.0)
    now = max((task.ended_at or task.started_at or 0.0 for task in ran), default=begin)
    processes = {name: number for number, name in enumerate(dict.fromkeys(task.host for task in ran), 1)}
    lanes = _lanes(ran, now)
    events: list[dict[str, Any]] = []
    for name, number in processes.items():
        events.append({"ph": "M", "name": "process_name", "pid": number, "args": {"name": f"agent {name or '?'}"}})
    events.extend(
        {"ph": "M", "name": "thread_name", "pid": processes[host], "tid": lane, "args": {"name": worker}}
        for (host, lane), worker in _named(ran, lanes).items()
    )
    spans = _spans(ran, lanes, begin, now)
    events.extend(_slice(task, processes[task.host], lanes[task.id], begin, spans[task.id]) for task in ran)
    events.extend(_arrows(ran, processes, lanes, begin, spans))
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": events})


def _lanes(ran: Sequence[TaskView], now: float) -> dict[str, int]:
    """Give each run a lane: its worker's, or, where that is not known, the first that is free at the time."""
    found: dict[str, int] = {}
    free: dict[str, list[float]] = defaultdict(list)
    for task in sorted(ran, key=lambda one: one.started_at or 0.0):
        if task.worker:
            found[task.id] = task.worker
            continue
        ends, started = free[task.host], task.started_at or 0.0
        lane = next((number for number, end in enumerate(ends) if end <= started), len(ends))
        ends[lane : lane + 1] = [task.ended_at or now]
        found[task.id] = 1_000_000 + lane
    return found


def _spans(ran: Sequence[TaskView], lanes: dict[str, int], begin: float, now: float) -> dict[str, tuple[float, float]]:
    """Say from when to when each ran, so that slices of one lane follow each other, or lie within each other.

    When a task ended is when its agent was told, and workers tell of several at once: those ran one after another, the
    last one until then. One that runs on top of another, which waits, lies within it.
    """
    spans: dict[str, tuple[float, float]] = {}
    by_lane: dict[tuple[str, int], list[TaskView]] = defaultdict(list)
    for task in ran:
        by_lane[task.host, lanes[task.id]].append(task)
    for tasks in by_lane.values():
        behind: tuple[float | None, float] = (None, 0.0)
        for task in sorted(tasks, key=lambda one: (one.ended_at or now, one.started_at or 0.0, one.id), reverse=True):
            start, end = task.started_at or begin, max(task.ended_at or now, task.started_at or begin)
            earlier = behind[1] - (end - start)
            if behind[0] == end and earlier >= (task.placed_at or start):
                start, end = earlier, behind[1]
            behind = task.ended_at, start
            spans[task.id] = start, end
        _untangle([task.id for task in tasks], spans)
    return spans


def _untangle(lane: list[str], spans: dict[str, tuple[float, float]]) -> None:
    """Cut what ends within a slice that began later: clocks are not that exact."""
    around: list[str] = []
    for one in sorted(lane, key=lambda one: (spans[one][0], -spans[one][1])):
        start, end = spans[one]
        while around and spans[around[-1]][1] < end:
            before = spans[around[-1]]
            spans[around.pop()] = before[0], min(before[1], start)
        around.append(one)


def _named(ran: Sequence[TaskView], lanes: dict[str, int]) -> dict[tuple[str, int], str]:
    names = {}
    for task in ran:
        lane = lanes[task.id]
        names[task.host, lane] = f"worker {task.worker}" if task.worker else f"lane {lane - 1_000_000 + 1}"
    return names


def _slice(task: TaskView, process: int, lane: int, begin: float, span: tuple[float, float]) -> dict[str, Any]:
    started, ended = span
    told = {
        "task": task.id,
        "state": task.state,
        "attempt": task.attempt,
        "parent": task.parent,
        "waited_s": _waited(task),
        "argument_bytes": task.argument_bytes,
        "result_bytes": task.result_bytes,
        "reason": task.reason,
    }
    return {
        "ph": "X",
        "name": task.function,
        "cat": task.state,
        "pid": process,
        "tid": lane,
        "ts": (started - begin) * _US,
        "dur": max(ended - started, 0.0) * _US,
        "args": {name: value for name, value in told.items() if value not in {None, ""}},
    }


def _arrows(
    ran: Sequence[TaskView],
    processes: dict[str, int],
    lanes: dict[str, int],
    begin: float,
    spans: dict[str, tuple[float, float]],
) -> Iterator[dict[str, Any]]:
    maker = {version: task for task in ran for version in task.makes}
    number = 0
    for task in ran:
        for version in task.reads:
            source = maker.get(version)
            if source is None or source is task:
                continue
            number += 1
            ended = spans[source.id][1]
            ends = (("s", source, ended), ("f", task, max(ended, spans[task.id][0])))
            for phase, one, moment in ends:
                event = {"ph": phase, "id": number, "name": "data", "cat": "data", "ts": (moment - begin) * _US}
                event |= {"pid": processes[one.host], "tid": lanes[one.id]}
                yield event | {"bp": "e"} if phase == "f" else event


def _waited(task: TaskView) -> float | None:
    """Give the seconds from when it could run to when it ran."""
    if task.started_at is None:
        return None
    return max(0.0, task.started_at - (task.ready_at if task.ready_at is not None else task.submitted_at))


def summary(tasks: Sequence[TaskView]) -> list[tuple[str, ...]]:
    """Sum tasks up by function, the most expensive first, in the columns of `SUMMARY_HEAD`."""
    by_function: dict[str, list[TaskView]] = defaultdict(list)
    for task in tasks:
        by_function[task.function].append(task)
    rows = [_summed(function, group) for function, group in by_function.items()]
    return [row for _, row in sorted(rows, key=lambda pair: (-pair[0], pair[1]))]


def _summed(function: str, group: list[TaskView]) -> tuple[float, tuple[str, ...]]:
    times = sorted(task.seconds for task in group if task.seconds is not None)
    waits = [wait for wait in map(_waited, group) if wait is not None]
    total = sum(times)
    p95 = times[math.ceil(0.95 * len(times)) - 1] if times else None
    figures = (total / len(times) if times else None, p95, times[-1] if times else None, total if times else None)
    return total, (
        function,
        str(len(group)),
        str(sum(task.state == "done" for task in group)),
        str(sum(task.state == "failed" for task in group)),
        *map(_shown, figures),
        _shown(sum(waits) / len(waits) if waits else None),
        size(sum(task.argument_bytes for task in group)),
        size(sum(task.result_bytes for task in group)),
    )


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)
