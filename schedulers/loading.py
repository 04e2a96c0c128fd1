"""Schedulers by name: short ones, `package.module:Class`, and the class names of the field."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from schedulers.view import Scheduler

DEFAULT = "load-balancing"

SHORT = {
    "fifo": "schedulers.fifo:Fifo",
    "lifo": "schedulers.lifo:Lifo",
    "loadbalancing": "schedulers.load_balancing:LoadBalancing",
}
"""Names without case, dashes and underscores."""

COMPSS = "es.bsc.compss.scheduler."
COMPSS_NAMES = {
    "fifo.FIFOScheduler": "fifo",
    "fifonew.FIFOScheduler": "fifo",
    "fifoScheduler.FIFOScheduler": "fifo",
    "lookahead.fifo.FifoTS": "fifo",
    "orderstrict.fifo.FifoTS": "fifo",
    "lifo.LIFOScheduler": "lifo",
    "lifonew.LIFOScheduler": "lifo",
    "lifoScheduler.LIFOScheduler": "lifo",
    "lookahead.lifo.LifoTS": "lifo",
    "loadbalancing.LoadBalancingScheduler": "loadbalancing",
    "loadBalancingScheduler.LoadBalancingScheduler": "loadbalancing",
    "lookahead.locality.LocalityTS": "loadbalancing",
}
"""What the field's class names stand for here."""


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
        names = ", ".join(sorted({"fifo", "lifo", "load-balancing", *(plug_ins or {})}))
        raise UnknownScheduler(f"unknown scheduler {name!r}: use one of {names}, or package.module:Class")
    return found


def load(name: str, plug_ins: dict[str, str] | None = None) -> Scheduler:
    """Make the scheduler that a name stands for.

    Raises:
        UnknownScheduler: nothing has this name, or what has it cannot be used as a scheduler.
    """
    module_name, _, class_name = resolve(name, plug_ins).partition(":")
    try:
        made = getattr(importlib.import_module(module_name), class_name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise UnknownScheduler(f"cannot make scheduler {name!r}: {error}") from error
    if not callable(getattr(made, "plan", None)):
        raise UnknownScheduler(f"scheduler {name!r} has no method plan(view)")
    return cast("Scheduler", made)
