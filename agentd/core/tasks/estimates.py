"""What runs teach of a function: how long it takes and how large its results are, as moving means.

Law: each run moves a mean by a fifth of its distance, and no more whatever somebody says that it took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.tasks.demands import FIGURES, LEAST_S, MOST_S
from schedulers.capacity import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentd.core.tasks.task import Shape, Task
    from agentd.model.task import Outcome
    from agentd.model.values import Payload

SMOOTHING = 0.2
"""Weight of the newest run in the moving means (chosen: forgets a changed input size within ten runs)."""


def rank(shape: Shape) -> tuple[int, int, int, float]:
    """Say which way to do a task goes before which: what needs a more special host, then what takes less time.

    Special are accelerators, then named properties, then many cores; a way that was never tried is tried.
    """
    demand, asked = shape.demand, shape.template.constraints
    special = sum([one.units for one in demand.processors if one.kind is not Kind.CPU])
    named = sum(1 for name in asked.__struct_fields__ if name not in FIGURES and getattr(asked, name))
    return -special, -named, -demand.units(), shape.estimate_s or 0.0


def learn_made(shape: Shape, made: Iterable[Payload]) -> None:
    """Fold the size of what one run made into its moving mean; the largest says whether it may travel by itself."""
    size = max([value.size_bytes for value in made])
    shape.made_bytes += (SMOOTHING if shape.runs else 1.0) * (size - shape.made_bytes)


def learn_made_all(tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> None:
    """As `learn_made`, for many: of each kind of task, those that end together as one."""
    sizes: dict[Shape, list[int]] = {}
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome.made:
            sizes.setdefault(task.shape, []).append(max([value.size_bytes for value in outcome.made]))
    for shape, its_own in sizes.items():
        weight = 1 - (1 - SMOOTHING) ** len(its_own) if shape.runs else 1.0
        shape.made_bytes += weight * (sum(its_own) / len(its_own) - shape.made_bytes)


def learn(shape: Shape, seconds: float, result_bytes: int) -> None:
    """Fold one run into the moving means; `seconds` on a core of speed 1, whatever somebody says that it took."""
    _fold(shape, 1, seconds, float(result_bytes))


def learn_all(tasks: Sequence[Task], outcomes: Sequence[Outcome], speed: float) -> None:
    """Fold runs on a core of this speed into the moving means: of each kind of task, those that end together as one."""
    kinds: dict[Shape, Sequence[Outcome]] = dict.fromkeys([task.shape for task in tasks], outcomes)
    if len(kinds) > 1:
        each: dict[Shape, list[Outcome]] = {shape: [] for shape in kinds}
        for task, outcome in zip(tasks, outcomes, strict=True):
            each[task.shape].append(outcome)
        kinds = {**each}
    for shape, its_outcomes in kinds.items():
        count = len(its_outcomes)
        seconds = sum([outcome.seconds for outcome in its_outcomes]) / count * speed
        values = [outcome.value for outcome in its_outcomes]
        size = sum([value.size_bytes if value.parts else len(value.data) for value in values])
        _fold(shape, count, seconds, size / count)


def _fold(shape: Shape, runs: int, seconds: float, result_bytes: float) -> None:
    """Fold so many runs with these means into the moving means, as if each had been like that."""
    if shape.of is not None:
        _fold(shape.of, runs, seconds, result_bytes)
        if shape.of.ways:
            shape.of.ways = tuple(sorted(shape.of.ways, key=rank))
    if not LEAST_S <= seconds <= MOST_S:
        seconds = min(max(LEAST_S, seconds), MOST_S)
    if shape.estimate_s is None:
        shape.estimate_s = seconds
        shape.result_bytes = result_bytes
    else:
        weight = SMOOTHING if runs == 1 else 1 - (1 - SMOOTHING) ** runs
        shape.estimate_s += weight * (seconds - shape.estimate_s)
        shape.result_bytes += weight * (result_bytes - shape.result_bytes)
    shape.runs += runs
