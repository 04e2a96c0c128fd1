"""Templates interned: what is alike is looked at once, and what is learned of it is kept in one place."""

from __future__ import annotations

from agentd.core.tasks import Shape
from agentd.model.task import Constraints, Template
from schedulers.capacity import Capacity, Kind, Processor, with_default_cpu

SMOOTHING = 0.2
"""Weight of the newest run in the moving means (chosen: forgets a changed input size within ten runs)."""


def demand_of(constraints: Constraints) -> Capacity:
    """Work out what a call demands of one host."""
    asked = [
        Processor(
            units=constraints.computing_units,
            name=constraints.processor_name,
            architecture=constraints.processor_architecture,
            speed_ghz=constraints.processor_speed_ghz,
        )
    ]
    for units, kind in ((constraints.gpus, Kind.GPU), (constraints.fpgas, Kind.FPGA), (constraints.others, Kind.OTHER)):
        if units:
            asked.append(Processor(units=units, kind=kind))
    return with_default_cpu(
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


class Shapes:
    """Every template that is or was in use, each once."""

    def __init__(self) -> None:
        self._by_template: dict[Template, Shape] = {}
        self._demands: dict[Capacity, Capacity] = {}
        self._estimates: dict[str, Shape] = {}
        """First shape of each function: a new variant starts from what is known of the function."""

    def intern(self, template: Template) -> Shape:
        """Give the one shape of a template."""
        shape = self._by_template.get(template)
        if shape is None:
            demand = demand_of(template.constraints)
            demand = self._demands.setdefault(demand, demand)
            shape = Shape(number=len(self._by_template) + 1, template=template, demand=demand)
            kin = self._estimates.setdefault(template.function, shape)
            if template.function and kin.template.code == template.code:
                shape.estimate_s, shape.result_bytes = kin.estimate_s, kin.result_bytes
            self._by_template[template] = shape
        return shape

    def __iter__(self) -> object:
        return iter(self._by_template.values())


def learn(shape: Shape, seconds: float, result_bytes: int) -> None:
    """Fold one run into the moving means; `seconds` on a core of speed 1."""
    if shape.estimate_s is None:
        shape.estimate_s = seconds
        shape.result_bytes = float(result_bytes)
    else:
        shape.estimate_s += SMOOTHING * (seconds - shape.estimate_s)
        shape.result_bytes += SMOOTHING * (result_bytes - shape.result_bytes)
    shape.runs += 1
