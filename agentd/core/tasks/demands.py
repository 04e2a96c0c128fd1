"""What templates ask for, brought into bounds, and what that demands of a host.

Law: whoever sent a template, the engine can count with its figures.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from msgspec.structs import replace

from agentd.model.task import Constraints, Form, Template, WantedProcessor
from schedulers.capacity import Capacity, Kind, Processor, with_default_cpu

LEAST_S = 3e-6
"""Floor of how long a task takes or may take: what it costs a worker besides users' code (measured)."""
MOST_S = 1e9
"""Cap of the same: a neighbour that says infinity spoils nothing."""
ATTEMPTS_MOST = 1000
"""Attempts that a template may ask for (chosen)."""
NODES_MOST = 4096
"""Nodes that a template may ask for (chosen: far above the cores of any host)."""
ALTERNATIVES_MOST = 32
"""Ways to do one task that are looked at (chosen)."""
FIGURES = (
    *("computing_units", "gpus", "fpgas", "others", "memory_mib"),
    *("storage_gb", "storage_bandwidth", "processor_speed_ghz"),
)
"""Of the constraints, those that are amounts; all others are names."""


def sound(template: Template) -> Template:
    """Bring the figures of a template into bounds: whoever sent it, the engine can count with them."""
    limit, asked = template.timeout_s, template.constraints
    changes: dict[str, object] = {}
    if limit is not None and not 0 < limit <= MOST_S:
        changes["timeout_s"] = None if limit > MOST_S else LEAST_S
    if not 1 <= template.max_attempts <= ATTEMPTS_MOST:
        changes["max_attempts"] = min(max(template.max_attempts, 1), ATTEMPTS_MOST)
    below = {name: int(name == "computing_units") for name in FIGURES if not (getattr(asked, name) or 0) >= 0}
    if below:
        changes["constraints"] = asked = replace(asked, **below)
    known = tuple(one for one in asked.processors if one.units >= 0 and one.kind in Kind.__members__)
    if known != asked.processors:
        changes["constraints"] = replace(asked, processors=known)
    if not 1 <= template.nodes <= NODES_MOST:
        changes["nodes"] = min(max(template.nodes, 1), NODES_MOST)
    if template.hosts:
        changes["hosts"] = ()  # not for anybody else to say
    if template.alternatives:
        are_sound = template.form is Form.TASK
        few = template.alternatives[:ALTERNATIVES_MOST] if are_sound else ()
        changes["alternatives"] = tuple([sound(replace(one, alternatives=())) for one in few if one.form is Form.TASK])
    return replace(template, **changes) if changes else template


def _properties(wanted: WantedProcessor) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in WantedProcessor.__struct_fields__ if name != "kind"}


def demand_of(constraints: Constraints) -> Capacity:
    """Work out what a call demands of one host."""
    asked = [
        Processor(
            units=constraints.computing_units,
            name=constraints.processor_name,
            architecture=constraints.processor_architecture,
            speed_ghz=constraints.processor_speed_ghz,
            internal_memory_gb=constraints.processor_internal_memory_gb,
            property_name=constraints.processor_property_name,
            property_value=constraints.processor_property_value,
        )
    ]
    asked.extend(Processor(kind=Kind(one.kind), **_properties(one)) for one in constraints.processors)
    for units, kind in ((constraints.gpus, Kind.GPU), (constraints.fpgas, Kind.FPGA), (constraints.others, Kind.OTHER)):
        if units:
            asked.append(Processor(units=units, kind=kind))
    demand = with_default_cpu(
        Capacity(
            processors=tuple(asked),
            memory_mib=constraints.memory_mib,
            memory_type=constraints.memory_type,
            storage_gb=constraints.storage_gb,
            storage_type=constraints.storage_type,
            storage_bandwidth=constraints.storage_bandwidth,
            os_type=constraints.operating_system_type,
            os_distribution=constraints.operating_system_distribution,
            os_version=constraints.operating_system_version,
            software=frozenset(name.upper() for name in constraints.software),
            queues=frozenset(name.upper() for name in constraints.host_queues),
            labels=frozenset(constraints.labels),
        )
    )
    if constraints.computing_units == 0:
        asked_for = tuple(processor for processor in demand.processors if processor.kind is not Kind.CPU)
        return dataclasses.replace(demand, processors=asked_for)
    return demand


def demand_of_nodes(template: Template) -> Capacity:
    """Work out what a call demands of one host, so many nodes as it names together."""
    demand, nodes = demand_of(template.constraints), template.nodes
    if nodes == 1:
        return demand
    return dataclasses.replace(
        demand,
        processors=tuple(dataclasses.replace(one, units=one.units * nodes) for one in demand.processors),
        memory_mib=None if demand.memory_mib is None else demand.memory_mib * nodes,
        storage_gb=None if demand.storage_gb is None else demand.storage_gb * nodes,
    )
