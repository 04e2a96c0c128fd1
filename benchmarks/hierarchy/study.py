"""A tree of devices, what its users ask, and how long they wait: by a scheduler, and by one queue for all cores.

The tree, the links and the arrivals are those of studies of fog hierarchies: phones under Raspberry Pis under servers
under a cloud, users at the phones, the busiest gateways far busier than the others.
"""

from __future__ import annotations

import random
from heapq import heappop, heappush
from itertools import cycle
from statistics import mean, quantiles
from typing import NamedTuple

from agentd.model.task import Template
from benchmarks.hierarchy.device import Device
from benchmarks.hierarchy.net import Clock, Link

MEAN_S = 0.5
"""Mean size of a task, in seconds of a core of speed 1."""
BURST = 20
"""Mean number of tasks that arrive together."""
WARM_UP_S = 1.0
PATIENCE_S = 600.0
TEMPLATES = [Template("m:short"), Template("m:long")]


class Spec(NamedTuple):
    """One device of the tree."""

    name: str
    units: int
    speed: float
    parent: str
    link: Link


class Arrival(NamedTuple):
    """A task that a user asks for."""

    at_s: float
    device: str
    template: int
    size_s: float
    """Seconds of a core of speed 1; no scheduler is told."""


class Figures(NamedTuple):
    """What came of a run, in seconds."""

    mean_s: float
    p99_s: float
    makespan_s: float
    messages_per_task: float = 0.0
    hops: float = 0.0


def tree(agents: int, chance: random.Random) -> list[Spec]:
    """Make a tree of about so many agents: a cloud, servers, Raspberry Pis, phones."""
    servers = max(agents // 110, 1)
    small = max(agents // 11, 2)
    phones = max(agents - 1 - servers - small, 1)
    specs = [Spec("cloud", max(round(agents * 0.13), 1), 1.2, "", Link(0.0, 1.0))]
    specs += [Spec(f"server{n}", 32, 1.0, "cloud", Link(0.020, 125e6)) for n in range(servers)]
    specs += [Spec(f"pi{n}", 4, 0.35, f"server{n % servers}", Link(0.001, 37.5e6)) for n in range(small)]
    for n in range(phones):
        speed = round(0.5 * chance.uniform(0.7, 1.3), 2)
        specs.append(Spec(f"phone{n}", 2, speed, f"pi{n % small}", Link(0.003, 6.25e6)))
    return specs


def capacity(specs: list[Spec]) -> float:
    """Add up the cores, as cores of speed 1."""
    return sum(spec.units * spec.speed for spec in specs)


def arrivals(specs: list[Spec], load: float, seconds: float, sizes: str, chance: random.Random) -> list[Arrival]:
    """Draw bursts of tasks at phones, Zipf-distributed over the gateways, for so long."""
    gateways: dict[str, list[str]] = {}
    for spec in specs:
        if spec.name.startswith("phone"):
            gateways.setdefault(spec.parent, []).append(spec.name)
    weights = [1 / rank for rank in range(1, len(gateways) + 1)]
    phones = [cycle(names) for names in gateways.values()]
    rate = load * capacity(specs) / MEAN_S / BURST
    found: list[Arrival] = []
    now = 0.0
    while (now := now + chance.expovariate(rate)) < seconds:
        phone = next(chance.choices(phones, weights)[0])
        burst = 1 + int(chance.expovariate(1 / (BURST - 0.5)))
        found += [Arrival(WARM_UP_S + now, phone, *size(sizes, chance)) for _ in range(burst)]
    return found


def size(kind: str, chance: random.Random) -> tuple[int, float]:
    """Draw a task: which function, and its seconds on a core of speed 1, of mean `MEAN_S`."""
    if kind == "exponential":
        return 0, chance.expovariate(1 / MEAN_S)
    if kind == "pareto":
        return 0, MEAN_S / 3 * chance.paretovariate(1.5)
    is_long = chance.random() < 0.25
    return (1, 41 * MEAN_S / 11) if is_long else (0, MEAN_S / 11)


def central(specs: list[Spec], tasks: list[Arrival]) -> Figures:
    """Serve all from one queue that knows every idle core at once, links cost nothing, sizes are unknown.

    First come, first served; the fastest idle core takes the task.
    """
    idle = [(-spec.speed, f"{spec.name}/{n}") for spec in specs for n in range(spec.units)]
    idle.sort()
    busy: list[tuple[float, float, str]] = []
    responses: list[float] = []
    last = 0.0
    for task in tasks:
        now = max(task.at_s, last)
        while busy and busy[0][0] <= now:
            _, speed, core = heappop(busy)
            heappush(idle, (speed, core))
        if not idle:
            now, speed, core = heappop(busy)
            heappush(idle, (speed, core))
        last = now
        speed, core = heappop(idle)
        ends = now + task.size_s / -speed
        heappush(busy, (ends, speed, core))
        responses.append(ends - task.at_s)
    makespan = max(ends for ends, _, _ in busy) - tasks[0].at_s
    return Figures(mean(responses), quantiles(responses, n=100)[98], makespan)


def hierarchy(specs: list[Spec], tasks: list[Arrival], scheduler: str) -> Figures:
    """Serve all by agents that know their neighbours only.

    Raises:
        AssertionError: a task was lost, failed, or ran twice, or a device ran more than it has cores.
    """
    clock = Clock()
    devices = {
        spec.name: Device(clock, spec.name, number, spec.units, spec.speed, scheduler)
        for number, spec in enumerate(specs, 1)
    }
    for spec in specs:
        if spec.parent:
            devices[spec.name].join(devices[spec.parent], spec.link, is_parent=True)
            devices[spec.parent].join(devices[spec.name], spec.link, is_parent=False)
        devices[spec.name].open(TEMPLATES)
    ended: dict[int, float] = {}
    for device in devices.values():
        device.settled = lambda ref, status: _note(ended, ref, status, clock.now)
    for at_s, group in _bursts(tasks):
        clock.at(at_s, lambda group=group: _submit(devices, tasks, group))  # type: ignore[misc]
    clock.run(lambda: len(ended) == len(tasks), until=tasks[-1].at_s + PATIENCE_S)
    assert len(ended) == len(tasks), f"{len(tasks) - len(ended)} tasks were lost under {scheduler}"
    assert sum(sum(device.runs.values()) for device in devices.values()) == len(tasks), "a task ran twice"
    assert all(device.busy_most <= device.units for device in devices.values()), "a device ran more than it may"
    responses = [ended[ref] - task.at_s for ref, task in enumerate(tasks, 1)]
    forwarded = sum(device.engine.state.counters["forwarded"] for device in devices.values())
    messages = sum(device.messages for device in devices.values())
    makespan = max(ended.values()) - tasks[0].at_s
    count = len(tasks)
    return Figures(mean(responses), quantiles(responses, n=100)[98], makespan, messages / count, forwarded / count)


def _note(ended: dict[int, float], ref: int, status: int, now: float) -> None:
    assert status == 0, f"task {ref} failed"
    assert ref not in ended, f"task {ref} was settled twice"
    ended[ref] = now


def _bursts(tasks: list[Arrival]) -> list[tuple[float, list[int]]]:
    groups: dict[tuple[float, str], list[int]] = {}
    for number, task in enumerate(tasks):
        groups.setdefault((task.at_s, task.device), []).append(number)
    return [(at_s, group) for (at_s, _), group in groups.items()]


def _submit(devices: dict[str, Device], tasks: list[Arrival], group: list[int]) -> None:
    rows = [(number + 1, tasks[number].template, tasks[number].size_s) for number in group]
    devices[tasks[group[0]].device].submit(rows)
