"""Programs whose tasks ask for tasks: as they run in a fake worker, and as they would run one after another.

A program is a tree. Its values are texts that tell what was computed of what, so that two runs that give the same
values have had the same data flow.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from agentd.model.graph import Known, Spawned, Standing
from agentd.model.values import Codec, Payload

if TYPE_CHECKING:
    from collections.abc import Generator

MARK = "nest "
MARKED = MARK.encode()
ONCE = 1
"""The template of a fake agent's workers under which a task may run only once, where they have it."""
LOST = "nothing"
"""Stands for the value of a version that was cancelled."""


class Step(Struct, omit_defaults=True):
    """One line of a program; its data are numbered from 0, its own inputs first."""

    task: Nest | None = None
    """Ask for this task, ..."""
    reads: tuple[int, ...] = ()
    makes: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    chain: int = 0
    waits: tuple[int, ...] = ()
    """... or wait for these data, ..."""
    barrier: int = -1
    """... or for a group, ..."""
    drops: tuple[int, ...] = ()
    """... or need these no longer, ..."""
    cancels: int = -1
    """... or give a group up, ..."""
    limit: float = 0.0
    """... or let nothing run after so many seconds."""


class Nest(Struct, omit_defaults=True):
    """A task and its code."""

    name: str
    seconds: float = 0.0
    steps: tuple[Step, ...] = ()
    raises: str = ""
    """How it ends if not well: `raise`, `group`, or how a worker dies."""
    template: int = 0
    """The template under which it is asked for."""
    is_big: bool = False
    """What it makes is large."""

    def write(self) -> Payload:
        """Write it as the arguments of a task."""
        return Payload(Codec.BYTES, MARK.encode() + msgspec.json.encode(self))


def read(payload: Payload) -> Nest | None:
    """Read a task's arguments; None: they are those of a plain task."""
    if not payload.data.startswith(MARKED):
        return None
    return msgspec.json.decode(payload.data[len(MARK) :], type=Nest)


LINE = re.compile(r"(?:(\w+) <- )?(\w+)(?:\(([\w, ]*)\))? ([\d.]+)( big)?( once)?( raises)?(?: in (\d+))?")


def written(text: str) -> Nest:
    """Read a program as scenarios write it: lines parted by `;`.

    A line is `x <- name(y, z) 1.5 big once raises in 2`, a task that reads y and z, makes x, takes 1.5 s, makes large
    values, may run only once, and belongs to group 2, all but its name and time optional; or `wait x y`, `drop x`,
    `barrier`, `barrier 2`, `cancel 2`.
    """
    names: dict[str, int] = {}
    return Nest("root", 0.0, tuple(_step(line.strip(), names) for line in text.split(";")))


def _step(line: str, names: dict[str, int]) -> Step:
    word, *rest = line.split()
    if word == "wait":
        return Step(waits=tuple(names[name] for name in rest))
    if word == "drop":
        return Step(drops=tuple(names[name] for name in rest))
    if word in {"barrier", "cancel"}:
        number = int(rest[0]) if rest else 0
        return Step(barrier=number) if word == "barrier" else Step(cancels=number)
    found = LINE.fullmatch(line)
    assert found is not None, line
    made_, name, reads, seconds, big, once, raises, group = found.groups()
    read_ = tuple(names[one.strip()] for one in reads.split(",")) if reads else ()
    makes = (names.setdefault(made_, len(names)),) if made_ else ()
    task = Nest(name, float(seconds), (), "raise" if raises else "", ONCE if once else 0, bool(big))
    return Step(task, read_, makes, groups=(int(group),) if group else ())


class Failed(Exception):
    """The code of a task did not end well; the text says how."""


def made(nest: Nest, seen: list[str], count: int) -> list[str]:
    """Compute what a task makes of what it has seen."""
    text = hashlib.sha1("|".join([nest.name, *seen]).encode(), usedforsecurity=False).hexdigest()[:10]
    return [f"{nest.name}.{number}.{text}" for number in range(count)]


def sequential(nest: Nest, inputs: list[str], count: int) -> list[str]:
    """Run a program one task after another.

    Raises:
        Failed: its code, or a task that it asked for and was not told of, did not end well.
    """
    data = dict(enumerate(inputs))
    seen = list(inputs)
    for step in nest.steps:
        if step.task is not None:
            values = sequential(step.task, [data[number] for number in step.reads], max(len(step.makes), 1))
            data.update(zip(step.makes, values, strict=False))
        seen += [data[number] for number in step.waits]
    if nest.raises:
        raise Failed(nest.raises)
    return made(nest, seen, count)


# --- in a worker ------------------------------------------------------------------------------------------------


class Sleep(NamedTuple):
    """The code computes."""

    seconds: float


class Ask(NamedTuple):
    """The code asks for something: `kind` is a kind of frame, as in the protocol of workers."""

    kind: str
    body: object
    waits: bool = False


def code(nest: Nest, inputs: list[str], count: int, first: int) -> Generator[Sleep | Ask, list[Known], list[str]]:
    """Run a program's own code; `first` is the first number for versions.

    Raises:
        Failed: a task that it waited for failed, or it does itself.
    """
    numbers: dict[int, int] = {}
    seen = list(inputs)
    for number, value in enumerate(inputs if nest.steps else ()):
        numbers[number] = first + number
        yield Ask("put", (first + number, Payload(Codec.BYTES, value.encode())))
    for place, step in enumerate(nest.steps):
        if step.task is not None:
            for number in step.makes:
                numbers[number] = first + number
            yield Ask("spawn", _spawned(step, step.task, numbers, place + 1))
        elif step.waits:
            rows = yield Ask("await", [numbers[number] for number in step.waits], waits=True)
            seen += [_value(row) for row in rows]
        elif step.barrier >= 0:
            (row,) = yield Ask("barrier", step.barrier, waits=True)
            if row.failure is not None:
                raise Failed(row.failure.message)
        elif step.drops:
            yield Ask("release", [numbers[number] for number in step.drops])
        elif step.cancels >= 0:
            yield Ask("cancel", step.cancels)
        elif step.limit:
            yield Ask("limit", step.limit)
    yield Sleep(nest.seconds)
    if nest.raises and nest.raises != "group":
        raise Failed(nest.raises)
    return made(nest, seen, count)


def _spawned(step: Step, task: Nest, numbers: dict[int, int], ref: int) -> Spawned:
    return Spawned(
        ref,
        task.template,
        task.write(),
        tuple(numbers[number] for number in step.reads),
        tuple(numbers[number] for number in step.makes),
        tuple(numbers[number] for number in step.after),
        step.groups,
        step.chain,
    )


def _value(row: Known) -> str:
    if row.standing == Standing.CANCELLED:
        return LOST
    if row.failure is not None:
        raise Failed(row.failure.message)
    return row.value.data.decode()
