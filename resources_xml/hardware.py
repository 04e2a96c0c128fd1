"""What a device is made of: the building blocks that both files share, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from resources_xml.errors import Position
from resources_xml.schema import HERE, NAME, Shape, leaf, listing, many, maybe, one
from resources_xml.values import choice, integer, known_text, number, text

OS_TYPES = ("Linux", "Windows", "MacOS", "FreeBSD", "SunOS")  # specified: the enumeration of both schemas
PROCESSOR_KINDS = ("CPU", "GPU", "FPGA", "OTHER")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """One entry of like units. None: unknown."""

    name: str
    units: int
    kind: str = "CPU"  # one of PROCESSOR_KINDS
    architecture: str | None = None
    speed_ghz: float | None = None
    internal_memory_gb: float | None = None
    property_name: str | None = None
    property_value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The main memory of a device."""

    size_gb: float
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The disk of a device, or a shared one. The format gives no unit for the bandwidth."""

    size_gb: float | None = None
    type: str | None = None
    bandwidth: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """The system of a device; `type` is one of OS_TYPES."""

    type: str
    distribution: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedDisk:
    """A shared disk, by its name, and where the device sees it."""

    name: str
    mount_point: str
    at: Position = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a device costs for each started unit of time."""

    time_unit_min: int
    per_unit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """All that is said of a device itself. Nothing said means unknown."""

    processors: tuple[Processor, ...] = ()
    memory: Memory | None = None
    storage: Storage | None = None
    operating_system: OperatingSystem | None = None
    software: frozenset[str] = frozenset()  # upper-cased, as the field compares them
    shared_disks: tuple[AttachedDisk, ...] = ()
    price: Price | None = None

    def units(self, kind: str = "CPU") -> int:
        """Count the units of one kind over all processors."""
        return sum(processor.units for processor in self.processors if processor.kind == kind)

    @property
    def memory_mib(self) -> int | None:
        """The memory in MiB, at 1,024 of them in a GB, as devices count memory; None: unknown."""
        return None if self.memory is None else round(self.memory.size_gb * 1024)


@dataclass(frozen=True, slots=True)
class _Pair:
    key: str
    value: str


def _processor(*, pair: _Pair | None, **fields: Any) -> Processor:
    return Processor(property_name=pair.key if pair else None, property_value=pair.value if pair else None, **fields)


def _software(*, applications: tuple[str, ...]) -> frozenset[str]:
    return frozenset(application.upper() for application in applications)


_PAIR = Shape(_Pair, {"key": one("Key", leaf(text)), "value": one("Value", leaf(text))})

PROCESSOR = Shape(
    _processor,
    {
        "name": NAME,
        "units": one("ComputingUnits", leaf(integer(1))),
        "architecture": maybe("Architecture", leaf(known_text)),
        "speed_ghz": maybe("Speed", leaf(number())),
        "kind": maybe("Type", leaf(choice(*PROCESSOR_KINDS, any_case=True)), default="CPU"),
        "internal_memory_gb": maybe("InternalMemorySize", leaf(number())),
        "pair": maybe("ProcessorProperty", _PAIR),
    },
)

MEMORY = Shape(Memory, {"size_gb": one("Size", leaf(number())), "type": maybe("Type", leaf(known_text))})

_STORAGE_DETAILS = {
    "type": maybe("Type", leaf(known_text)),
    "bandwidth": maybe("Bandwidth", leaf(integer(0))),
}
STORAGE = Shape(Storage, {"size_gb": maybe("Size", leaf(number())), **_STORAGE_DETAILS})
SIZED_STORAGE = Shape(Storage, {"size_gb": one("Size", leaf(number())), **_STORAGE_DETAILS})

OPERATING_SYSTEM = Shape(
    OperatingSystem,
    {
        "type": one("Type", leaf(choice(*OS_TYPES))),
        "distribution": maybe("Distribution", leaf(known_text)),
        "version": maybe("Version", leaf(known_text)),
    },
)

SOFTWARE = Shape(_software, {"applications": many("Application", leaf(text), least=1)})

_ATTACHED_DISK = Shape(AttachedDisk, {"name": NAME, "mount_point": one("MountPoint", leaf(text)), "at": HERE})
SHARED_DISKS = listing("AttachedDisk", _ATTACHED_DISK, key="name")

PRICE = Shape(
    Price,
    {
        "time_unit_min": one("TimeUnit", leaf(integer(1))),
        "per_unit": one("PricePerUnit", leaf(number(zero=True))),
    },
)

NO_SOFTWARE: frozenset[str] = frozenset()
_SYSTEM = {
    "operating_system": maybe("OperatingSystem", OPERATING_SYSTEM),
    "software": maybe("Software", SOFTWARE, default=NO_SOFTWARE),
    "shared_disks": maybe("SharedDisks", SHARED_DISKS, default=()),
    "price": maybe("Price", PRICE),
}
_PROCESSORS = many("Processor", PROCESSOR, least=1, key="name")
_MEMORY = maybe("Memory", MEMORY)
_STORAGE = maybe("Storage", STORAGE)

# The four ways in which a device is described. All give Hardware, with what the way leaves out unknown.
OWN_HARDWARE = Shape(
    Hardware,
    {
        "processors": many("Processor", PROCESSOR, key="name"),
        "memory": _MEMORY,
        "storage": maybe("Storage", SIZED_STORAGE),
        **_SYSTEM,
    },
)
NODE_HARDWARE = Shape(Hardware, {"processors": _PROCESSORS, "memory": _MEMORY, "storage": _STORAGE, **_SYSTEM})
INSTANCE_HARDWARE = Shape(
    Hardware,
    {"processors": _PROCESSORS, "memory": _MEMORY, "storage": _STORAGE, "price": maybe("Price", PRICE)},
)
IMAGE_SYSTEM = Shape(Hardware, _SYSTEM)
