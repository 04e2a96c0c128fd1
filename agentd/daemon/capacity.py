"""What this device grants: the operator's word, else project.xml, else what the machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.daemon.settings import Settings, machine_cores, machine_memory_mib
from agentd.model.errors import ConfigError
from schedulers.capacity import Capacity, Kind, Processor

if TYPE_CHECKING:
    from pathlib import Path

    from resources_xml import Hardware, Nodes


def read_files(settings: Settings) -> Nodes | None:
    """Read project.xml and resources.xml, if they are given.

    Raises:
        ConfigError: a file cannot be read or is wrong; names file, line and element.
    """
    if settings.project is None:
        return None
    from resources_xml import ResourcesXmlError, nodes, read_project, read_resources  # a third of all start-up

    try:
        project = read_project(_content(settings.project), source=str(settings.project))
        empty = b"<ResourcesList/>"
        text = empty if settings.resources is None else _content(settings.resources)
        return nodes(project, read_resources(text, source=str(settings.resources or "resources.xml")))
    except ResourcesXmlError as error:
        raise ConfigError(str(error)) from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read((4 << 20) + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def capacity_of(hardware: Hardware) -> Capacity:
    """Say hardware in the words of a capacity."""
    storage, system = hardware.storage, hardware.operating_system
    return Capacity(
        processors=tuple(
            Processor(
                units=processor.units,
                kind=Kind(processor.kind),
                name=processor.name,
                architecture=processor.architecture,
                speed_ghz=processor.speed_ghz,
                internal_memory_gb=processor.internal_memory_gb,
                property_name=processor.property_name,
                property_value=processor.property_value,
            )
            for processor in hardware.processors
        ),
        memory_mib=hardware.memory_mib,
        memory_type=hardware.memory.type if hardware.memory else None,
        storage_gb=storage.size_gb if storage else None,
        storage_type=storage.type if storage else None,
        storage_bandwidth=storage.bandwidth if storage else None,
        os_type=system.type if system else None,
        os_distribution=system.distribution if system else None,
        os_version=system.version if system else None,
        software=frozenset(hardware.software),
    )


def own_capacity(settings: Settings, described: Nodes | None) -> tuple[Capacity, list[str]]:
    """Work out what this agent grants, and what an operator should know about it."""
    warnings = [str(note) for note in described.warnings] if described is not None else []
    declared = described.own.hardware if described is not None else None
    has_flags = settings.cpu is not None or settings.gpu is not None or settings.memory_mib is not None
    if declared is not None and declared.processors and not has_flags:
        return capacity_of(declared), warnings
    cores = machine_cores()
    cpu = cores if settings.cpu is None else settings.cpu
    if cpu > cores:
        warnings.append(f"--cpu {cpu} is more than the {cores} cores of this machine: tasks will share them")
    processors = [Processor(units=cpu, name="MainProcessor")] if cpu else []
    if settings.gpu:
        processors.append(Processor(units=settings.gpu, kind=Kind.GPU, name="gpu"))
    memory = machine_memory_mib() if settings.memory_mib is None else settings.memory_mib
    return Capacity(processors=tuple(processors), memory_mib=memory, os_type="Linux"), warnings
