"""What this device grants: the operator's word, else project.xml, else what the machine has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentd.adaptors.catalogue import class_of, find
from agentd.daemon.machine import machine_cores, machine_memory_mib
from agentd.daemon.settings import Settings
from agentd.model.errors import ConfigError, RequestError
from schedulers.capacity import Capacity, Kind, Processor

if TYPE_CHECKING:
    from pathlib import Path

    from resources_xml import Hardware, Nodes


def read_files(settings: Settings) -> Nodes | None:
    """Read project.xml and resources.xml, if they are given.

    Raises:
        ConfigError: `--comm` is not supported, or a file cannot be read or is wrong; names file, line and element.
    """
    try:
        find(settings.comm)
    except RequestError as error:
        raise ConfigError(f"--comm: {error}") from error
    if settings.project is None:
        return None
    from resources_xml import ResourcesXmlError, nodes, read_project, read_resources  # a third of all start-up

    try:
        project = read_project(_content(settings.project), source=str(settings.project))
        empty = b"<ResourcesList/>"
        text = empty if settings.resources is None else _content(settings.resources)
        listed = read_resources(text, source=str(settings.resources or "resources.xml"))
        return nodes(project, listed, adaptor=class_of(settings.comm))
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


def beyond_hardware(capacity: Capacity) -> list[str]:
    """Say what an own capacity claims that this machine does not have."""
    cores, memory = machine_cores(), machine_memory_mib()
    warnings = []
    if capacity.units() > cores:
        warnings.append(
            f"{capacity.units()} CPU units are more than the {cores} cores of this machine: tasks will share them"
        )
    if capacity.memory_mib is not None and capacity.memory_mib > memory:
        warnings.append(f"{capacity.memory_mib} MiB of memory are more than the {memory} of this machine")
    return warnings


def own_capacity(settings: Settings, described: Nodes | None) -> Capacity:
    """Work out what this agent grants: flags beat project.xml, which beats what the machine has."""
    hardware = described.own.hardware if described is not None else None
    declared = capacity_of(hardware) if hardware is not None and hardware.processors else None
    base = declared or Capacity(
        processors=(Processor(units=machine_cores(), name="MainProcessor"),),
        memory_mib=machine_memory_mib(),
        os_type="Linux",
    )
    processors = list(base.processors)
    for kind, units, name in ((Kind.CPU, settings.cpu, "MainProcessor"), (Kind.GPU, settings.gpu, "gpu")):
        if units is not None:
            like = next((entry for entry in processors if entry.kind is kind), Processor(units=0, kind=kind, name=name))
            others = [entry for entry in processors if entry.kind is not kind]
            processors = [*([replace(like, units=units)] if units else []), *others]
    memory = base.memory_mib if settings.memory_mib is None else settings.memory_mib
    return replace(base, processors=tuple(processors), memory_mib=memory)
