"""Schedulers by name: short ones, `package.module:Class`, and the class names of the field."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from schedulers.view import Scheduler

DEFAULT = "load-balancing"

SHORT = {
    "data": "schedulers.data:Data",
    "fifo": "schedulers.fifo:Fifo",
    "fifodata": "schedulers.fifo_data:FifoData",
    "lifo": "schedulers.lifo:Lifo",
    "loadbalancing": "schedulers.load_balancing:LoadBalancing",
    "ready": "schedulers.ready:Ready",
}
"""Names without case, dashes and underscores."""
SPELLED = ("fifo", "fifo-data", "lifo", "ready", DEFAULT, "data")
"""The short names as they are written."""

COMPSS = "es.bsc.compss."
_LOOKAHEAD = {"fifo": "Fifo", "lifo": "Lifo", "locality": "Locality", "constraintsfifo": "ConstraintsFifo"}
_SUCCESSORS = {"fifo": "fifodata", "lifo": "lifo", "locality": "data", "constraintsfifo": "fifodata"}
"""The field's schedulers that try what a task has freed on that task's host first."""
COMPSS_NAMES = {
    "components.impl.TaskScheduler": "ready",
    "scheduler.data.DataScheduler": "data",
    "scheduler.dataScheduler.DataScheduler": "data",
    "scheduler.fifodatalocation.FIFODataLocationScheduler": "fifodata",
    "scheduler.fifo.FIFOScheduler": "fifo",
    "scheduler.fifonew.FIFOScheduler": "fifo",
    "scheduler.fifoScheduler.FIFOScheduler": "fifo",
    "scheduler.lookahead.fifo.FifoTS": "fifo",
    "scheduler.orderstrict.fifo.FifoTS": "fifo",
    "scheduler.fifodata.FIFODataScheduler": "fifodata",
    "scheduler.fifodatanew.FIFODataScheduler": "fifodata",
    "scheduler.fifoDataScheduler.FIFODataScheduler": "fifodata",
    "scheduler.dependencyconstraintfifo.DependencyConstraintFIFOScheduler": "fifodata",
    "scheduler.lifo.LIFOScheduler": "lifo",
    "scheduler.lifonew.LIFOScheduler": "lifo",
    "scheduler.lifoScheduler.LIFOScheduler": "lifo",
    "scheduler.lookahead.lifo.LifoTS": "lifo",
    "scheduler.loadbalancing.LoadBalancingScheduler": "loadbalancing",
    "scheduler.loadBalancingScheduler.LoadBalancingScheduler": "loadbalancing",
    "scheduler.lookahead.locality.LocalityTS": "loadbalancing",
    "scheduler.fullgraph.multiobjective.MOScheduler": "loadbalancing",
    "scheduler.fullGraphScheduler.FullGraphScheduler": "loadbalancing",
    "scheduler.multiobjective.MOScheduler": "loadbalancing",
    "scheduler.predefined.PredefinedTS": "loadbalancing",
    **{
        f"scheduler.lookahead.{family}.{name}.{_LOOKAHEAD[name]}TS": stands_for
        for family in ("successors", "mt.successors")
        for name, stands_for in _SUCCESSORS.items()
    },
}
"""What the field's class names stand for here, without their common beginning."""


class UnknownScheduler(ValueError):
    """No scheduler has this name; the message lists those that there are."""


def spell(name: str) -> str:
    """Bring a short name into its one spelling."""
    return name.lower().replace("-", "").replace("_", "")


def is_own(name: str) -> bool:
    """Tell whether a name stands for a scheduler of this package."""
    return spell(COMPSS_NAMES.get(name.removeprefix(COMPSS), name)) in SHORT


def resolve(name: str, plug_ins: dict[str, str] | None = None) -> str:
    """Give the `module:Class` that a name stands for.

    Args:
        name: short name, `package.module:Class`, or a class name of the field.
        plug_ins: further short names with their `module:Class`.

    Raises:
        UnknownScheduler: nothing has this name.
    """
    known = {**{spell(short): target for short, target in (plug_ins or {}).items()}, **SHORT}
    if name.startswith(COMPSS):
        name = COMPSS_NAMES.get(name.removeprefix(COMPSS), name)
    if ":" in name:
        return name
    found = known.get(spell(name))
    if found is None:
        names = ", ".join((*SPELLED, *sorted(short for short in plug_ins or {} if spell(short) not in SHORT)))
        raise UnknownScheduler(f"unknown scheduler {name!r}: use one of {names}, or package.module:Class")
    return found


def load(
    name: str, plug_ins: dict[str, str] | None = None, configuration: Mapping[str, object] | None = None
) -> Scheduler:
    """Make the scheduler that a name stands for, with keyword arguments for its class.

    Raises:
        UnknownScheduler: nothing has this name, or what has it cannot be used as a scheduler, or not so configured.
    """
    module_name, _, class_name = resolve(name, plug_ins).partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
        _check(name, kind, configuration or {})
        made = kind(**(configuration or {}))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, UnknownScheduler):
            raise
        raise UnknownScheduler(f"cannot make scheduler {name!r}: {error}") from error
    if not callable(getattr(made, "plan", None)):
        raise UnknownScheduler(f"scheduler {name!r} has no method plan(view)")
    return cast("Scheduler", made)


def _check(name: str, kind: Callable[..., object], configuration: Mapping[str, object]) -> None:
    """Refuse what the scheduler does not take, and text where it takes a figure."""
    if not configuration:
        return
    taken = inspect.signature(kind).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return
    for key, value in configuration.items():
        if key not in taken:
            words = ", ".join(taken) if taken else "no settings"
            raise UnknownScheduler(f"scheduler {name!r} has no setting {key!r}: it takes {words}")
        if isinstance(taken[key].default, float) and (isinstance(value, (str, bool)) or not value >= 0):  # type: ignore[operator]
            raise UnknownScheduler(f"scheduler {name!r}: {key} is {value!r}, write a number from 0 on")
