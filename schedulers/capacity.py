"""Amounts of compute and the one rule that says whether a demand fits into a capacity.

Law: a figure that is unknown on either side satisfies the other, and is reported as met by ignorance.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(Enum):
    """The class of device that a processor belongs to."""

    CPU = "CPU"
    GPU = "GPU"
    FPGA = "FPGA"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """One entry of like units; the units of two entries are never added up."""

    units: int
    kind: Kind = Kind.CPU
    name: str | None = None
    architecture: str | None = None
    speed_ghz: float | None = None
    internal_memory_gb: float | None = None
    property_name: str | None = None
    property_value: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot exist.

        Raises:
            ValueError: fewer than no units.
        """
        if self.units < 0:
            raise ValueError(f"a processor cannot have {self.units} units: give 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """An amount of compute: what a host has, or what a task demands of one.

    None means unknown: it satisfies any demand, and a demand of None asks for nothing.
    """

    processors: tuple[Processor, ...] = ()
    memory_mib: int | None = None
    memory_type: str | None = None
    storage_gb: float | None = None
    storage_type: str | None = None
    storage_bandwidth: int | None = None
    os_type: str | None = None
    os_distribution: str | None = None
    os_version: str | None = None
    software: frozenset[str] = field(default_factory=frozenset)
    queues: frozenset[str] = field(default_factory=frozenset)
    labels: frozenset[str] = field(default_factory=frozenset)
    wall_clock_limit_s: float | None = None

    def units(self, kind: Kind = Kind.CPU) -> int:
        """Count the units of one kind over all entries."""
        return sum([processor.units for processor in self.processors if processor.kind is kind])

    def covers(self, demand: Capacity) -> bool:
        """Tell whether `demand` fits in what is here."""
        return next(shortfalls(self, demand), None) is None


def cores(units: int, *, memory_mib: int | None = None) -> Capacity:
    """Build the commonest capacity: so many CPU units."""
    return Capacity(processors=(Processor(units=units),), memory_mib=memory_mib)


def _alike(here: object, asked: object) -> bool:
    return here is None or asked is None or here == asked


def _enough(here: float | None, asked: float | None) -> bool:
    return here is None or asked is None or here >= asked


def suits(here: Processor, asked: Processor) -> bool:
    """Tell whether one entry is of the kind that is asked for, whatever its units."""
    return (
        here.kind is asked.kind
        and _alike(here.name, asked.name)
        and _alike(here.architecture, asked.architecture)
        and _alike(here.property_name, asked.property_name)
        and _alike(here.property_value, asked.property_value)
        and _enough(here.speed_ghz, asked.speed_ghz)
        and _enough(here.internal_memory_gb, asked.internal_memory_gb)
    )


_AT_LEAST = (
    ("memory_mib", "MiB of memory"),
    ("storage_gb", "GB of storage"),
    ("storage_bandwidth", "storage bandwidth"),
)
_EQUAL = ("memory_type", "storage_type", "os_type", "os_distribution", "os_version")
_CONTAINS = (("software", "software"), ("queues", "queue"), ("labels", "label"))


def _named(processor: Processor) -> str:
    wishes = [
        f"{label} {value}"
        for label, value in (
            ("name", processor.name),
            ("architecture", processor.architecture),
            ("speed", processor.speed_ghz),
            ("internal memory", processor.internal_memory_gb),
            (processor.property_name or "property", processor.property_value),
        )
        if value is not None
    ]
    unit = "unit" if processor.units == 1 else "units"
    return f"{processor.units} {processor.kind.value} {unit}" + (f" ({', '.join(wishes)})" if wishes else "")


def shortfalls(here: Capacity, demand: Capacity) -> Iterator[str]:
    """Say in words what of `demand` is missing here; nothing when it fits."""
    for asked in demand.processors:
        entries = [entry for entry in here.processors if suits(entry, asked)]
        if not any(entry.units >= asked.units for entry in entries):
            best = max((entry.units for entry in entries), default=0)
            yield f"needs {_named(asked)}, the largest matching processor has {best}"
    for name, words in _AT_LEAST:
        have, asked_figure = getattr(here, name), getattr(demand, name)
        if not _enough(have, asked_figure):
            yield f"needs {asked_figure} {words}, has {have}"
    for name in _EQUAL:
        have, asked_text = getattr(here, name), getattr(demand, name)
        if not _alike(have, asked_text):
            yield f"needs {name.replace('_', ' ')} {asked_text}, has {have}"
    for name, words in _CONTAINS:
        missing = getattr(demand, name) - getattr(here, name)
        if missing:
            yield f"needs {words} {', '.join(sorted(missing))}"


def unknowns(here: Capacity, demand: Capacity) -> Iterator[str]:
    """Name the demands that are met here only because a figure is unknown."""
    for name in (*(name for name, _ in _AT_LEAST), *_EQUAL):
        if getattr(demand, name) is not None and getattr(here, name) is None:
            yield name.replace("_", " ")
    for asked in demand.processors:
        entry = next((entry for entry in here.processors if suits(entry, asked) and entry.units >= asked.units), None)
        if entry is None:
            continue
        for name in ("name", "architecture", "speed_ghz", "internal_memory_gb", "property_name", "property_value"):
            if getattr(asked, name) is not None and getattr(entry, name) is None:
                yield f"processor {name.replace('_', ' ')}"


def with_default_cpu(demand: Capacity) -> Capacity:
    """Complete a demand as the field does: no CPU unit asked gives one; entries of 0 units ask for nothing."""
    asked = tuple(processor for processor in demand.processors if processor.units > 0)
    if not any(processor.kind is Kind.CPU for processor in asked):
        asked = (Processor(units=1), *asked)
    return replace(demand, processors=asked)
