"""What COMPSs says of a resource in XML, and the capacity that it means.

Source: `MethodResourceDescription` as the requests `newResource` and `reduceNode` hold it. `[unassigned]` and figures
below zero are how the field writes what is not known.
"""

from __future__ import annotations

import math
from typing import Any, Final

from resources_xml.schema import Shape, leaf, listing, many, maybe, one
from resources_xml.values import UnfitValueError, any_text, choice, integer, known_text
from schedulers.capacity import Capacity, Kind, Processor

UNKNOWN_TEXT: Final = "[unassigned]"
UNKNOWN: Final = -1.0
UNITS_MOST: Final = 1 << 20
"""As in a JSON body."""
MOST_GB: Final = 1e9
"""Largest size or speed (chosen: beyond it figures are typing errors, and MiB still fit 63 bits)."""


def figure(raw: str) -> float | None:
    """Take a number of which one below zero says that it is not known.

    Raises:
        UnfitValueError: it is none, or too large to be true.
    """
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not value <= MOST_GB:
        raise UnfitValueError(f"a number up to {MOST_GB:g}, or -1 for unknown", "Write it in digits, without a unit.")
    return None if value < 0 else value


def _processor(*, pair: None = None, **fields: Any) -> Processor:
    del pair
    return Processor(**{**fields, "kind": Kind(fields["kind"])})


def _description(
    *,
    processors: tuple[Processor, ...],
    memory_gb: float | None,
    bandwidth: float | None,
    limit: float | None,
    **more: Any,
) -> Capacity:
    return Capacity(
        processors=tuple(processor for processor in processors if processor.units),
        memory_mib=None if memory_gb is None else round(memory_gb * 1024),
        storage_bandwidth=None if bandwidth is None else round(bandwidth),
        software=frozenset(name.upper() for name in more.pop("software") if name),
        queues=frozenset(name.upper() for name in more.pop("queues") if name),
        wall_clock_limit_s=None if limit is None else limit,
        **{name: value for name, value in more.items() if not name.startswith("_")},
    )


_TEXT = leaf(known_text)
_FIGURE = leaf(figure)

PROCESSOR = Shape(
    _processor,
    {
        "units": one("computingUnits", leaf(integer(0, UNITS_MOST))),
        "kind": maybe("type", leaf(choice(*(kind.value for kind in Kind), any_case=True)), default="CPU"),
        "name": maybe("name", _TEXT),
        "architecture": maybe("architecture", _TEXT),
        "speed_ghz": maybe("speed", _FIGURE),
        "internal_memory_gb": maybe("internalMemory", _FIGURE),
        "property_name": maybe("propName", _TEXT),
        "property_value": maybe("propValue", _TEXT),
    },
)

DESCRIPTION = Shape(
    _description,
    {
        "processors": maybe("processors", listing("processor", PROCESSOR, least=0), default=()),
        "memory_gb": maybe("memorySize", _FIGURE),
        "memory_type": maybe("memoryType", _TEXT),
        "storage_gb": maybe("storageSize", _FIGURE),
        "storage_type": maybe("storageType", _TEXT),
        "bandwidth": maybe("storageBW", _FIGURE),
        "os_distribution": maybe("operatingSystemDistribution", _TEXT),
        "os_type": maybe("operatingSystemType", _TEXT),
        "os_version": maybe("operatingSystemVersion", _TEXT),
        "software": many("appSoftware", leaf(any_text)),
        "queues": many("hostQueues", leaf(any_text)),
        "limit": maybe("wallClockLimit", _FIGURE),
        # what a resource costs decides nothing here
        "_price": maybe("pricePerUnit", _FIGURE),
        "_unit": maybe("priceTimeUnit", _FIGURE),
        "_value": maybe("value", _FIGURE),
    },
)


def described(capacity: Capacity) -> dict[str, Any]:
    """Say a capacity as `GET /COMPSs/resources` does."""
    return {
        "processors": [
            {
                "name": entry.name or UNKNOWN_TEXT,
                "architecture": entry.architecture or UNKNOWN_TEXT,
                "units": entry.units,
            }
            for entry in capacity.processors
        ],
        "memory_size": UNKNOWN if capacity.memory_mib is None else capacity.memory_mib / 1024,
        "memory_type": capacity.memory_type or UNKNOWN_TEXT,
        "storage_size": UNKNOWN if capacity.storage_gb is None else float(capacity.storage_gb),
        "storage_type": capacity.storage_type or UNKNOWN_TEXT,
        "storage_bandwidth": -1 if capacity.storage_bandwidth is None else capacity.storage_bandwidth,
    }
