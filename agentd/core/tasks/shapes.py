"""Templates interned: what is alike is looked at once, and what is learned of it is kept in one place."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from agentd.core.tasks.task import Shape
from agentd.model.task import Constraints, Form, Spread, Template, WantedProcessor
from schedulers.capacity import Capacity, Kind, Processor, with_default_cpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentd.core.tasks.task import Task
    from agentd.model.task import Outcome
    from agentd.model.values import Payload

SHAPES_MOST = 4096
"""Templates that are remembered (chosen: far above what is in use at one time, a few MB)."""
CODE_MOST_BYTES = 64 << 20
"""Bytes of functions by value that are remembered (chosen)."""
LEAST_S = 3e-6
"""Floor of a learned run time: what a task costs a worker besides users' code (measured)."""
MOST_S = 1e9
"""Its cap: a neighbour that says infinity spoils nothing."""
ATTEMPTS_MOST = 1000
"""Attempts that a template may ask for (chosen)."""
NODES_MOST = 4096
"""Nodes that a template may ask for (chosen: far above the cores of any host)."""
ALTERNATIVES_MOST = 32
"""Ways to do one task that are looked at (chosen)."""
_FIGURES = (
    *("computing_units", "gpus", "fpgas", "others", "memory_mib"),
    *("storage_gb", "storage_bandwidth", "processor_speed_ghz"),
)
SMOOTHING = 0.2
"""Weight of the newest run in the moving means (chosen: forgets a changed input size within ten runs)."""


def sound(template: Template) -> Template:
    """Bring the figures of a template into bounds: whoever sent it, the engine can count with them."""
    limit, asked = template.timeout_s, template.constraints
    changes: dict[str, object] = {}
    if limit is not None and not 0 < limit <= MOST_S:
        changes["timeout_s"] = None if limit > MOST_S else LEAST_S
    if not 1 <= template.max_attempts <= ATTEMPTS_MOST:
        changes["max_attempts"] = min(max(template.max_attempts, 1), ATTEMPTS_MOST)
    below = {name: int(name == "computing_units") for name in _FIGURES if not (getattr(asked, name) or 0) >= 0}
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


def _rank(shape: Shape) -> tuple[int, int, int, float]:
    """Say which way to do a task goes before which: what needs a more special host, then what takes less time.

    Special are accelerators, then named properties, then many cores; a way that was never tried is tried.
    """
    demand, asked = shape.demand, shape.template.constraints
    special = sum([one.units for one in demand.processors if one.kind is not Kind.CPU])
    named = sum(1 for name in asked.__struct_fields__ if name not in _FIGURES and getattr(asked, name))
    return -special, -named, -demand.units(), shape.estimate_s or 0.0


class Learned(NamedTuple):
    """What is known of a function from former runs."""

    function: str
    seconds: float
    """Mean run time on a core of speed 1."""
    result_bytes: float
    runs: int


class Shapes:
    """The templates that are in use, each once; those that were not asked for lately are forgotten.

    What was forgotten stays with the tasks that have it, and comes again under a new number.
    """

    def __init__(self) -> None:
        self._by_template: OrderedDict[Template, Shape] = OrderedDict()
        self._demands: dict[Capacity, Capacity] = {}
        self._kin: dict[str, Shape] = {}
        """A shape of each function: a new variant starts from what is known of the function."""
        self._bound: dict[tuple[int, str], Shape] = {}
        """Shapes that are bound to a host, by the number of what they are made of and the host."""
        self._taught: dict[str, Learned] = {}
        """What was known before this boot, of functions by name."""
        self._last_number = 0
        self._code_bytes = 0

    def __len__(self) -> int:
        return len(self._by_template)

    def functions(self) -> list[str]:
        """Name the functions of what is remembered, each once, in the order in which they came."""
        return list(dict.fromkeys(template.function for template in self._by_template if template.function))

    def teach(self, learned: Iterable[Learned]) -> None:
        """Take up what is known of functions by name; it holds for those that have not run since."""
        for one in learned:
            if len(self._taught) < SHAPES_MOST or one.function in self._taught:
                self._taught[one.function] = one

    def learned(self) -> list[Learned]:
        """Give what is known of functions by name: what was learned since the start, then what was taught."""
        found = dict(self._taught)
        for shape in self._by_template.values():
            name = shape.template.function
            if shape.estimate_s is not None and shape.runs and name and not shape.template.code:
                found[name] = Learned(name, shape.estimate_s, shape.result_bytes, shape.runs)
        return sorted(found.values())[:SHAPES_MOST]

    def intern(self, template: Template) -> Shape:
        """Give the one shape of a template."""
        shape = self._by_template.get(template)
        if shape is None:
            shape = self._new(template)
            self._forget_old()
        else:
            self._by_template.move_to_end(template)
        return shape

    def _new(self, template: Template) -> Shape:
        kept = sound(template)
        shape = self._made(kept)
        if kept.alternatives:
            for one in (replace(kept, alternatives=(), spread=Spread.NONE), *kept.alternatives):
                is_of_program = not one.code and one.function.startswith("__main__:")
                way = self._made(replace(one, code=kept.code) if is_of_program else one)
                way.of = shape
                shape.ways += (way,)
            shape.ways = tuple(sorted(shape.ways, key=_rank))
        self._by_template[template] = shape
        self._code_bytes += template.code_bytes
        return shape

    def bound(self, shape: Shape, host: str) -> Shape:
        """Give the shape of tasks that may run on one host only: a neighbour, empty for this agent."""
        found = self._bound.get((shape.number, host))
        if found is None:
            template = shape.template
            if host:  # it is to stay there
                template = replace(template, constraints=replace(template.constraints, is_local=True))
            found = self._made(template)
            found.is_here, found.of, found.only = not host and shape.is_here, shape, host
            for one in shape.ways:
                way = self._made(one.template)
                way.of = found
                found.ways += (way,)
            if len(self._bound) >= SHAPES_MOST:
                self._bound.clear()
            self._bound[shape.number, host] = found
        return found

    def over(self, shape: Shape, hosts: tuple[str, ...], nodes: int) -> Shape:
        """Give the shape of the main part of a task whose nodes are held on these hosts, so many of them here."""
        key = (shape.number, ",".join(hosts))
        found = self._bound.get(key)
        if found is None:
            found = self._made(replace(shape.template, nodes=nodes, hosts=hosts))
            found.of = shape
            if len(self._bound) >= SHAPES_MOST:
                self._bound.clear()
            self._bound[key] = found
        return found

    def _made(self, kept: Template) -> Shape:
        """Make a shape, with what is known of its function."""
        demand = demand_of_nodes(kept)
        demand = self._demands.setdefault(demand, demand)
        self._last_number += 1
        shape = Shape(number=self._last_number, template=kept, demand=demand)
        kin = self._kin.setdefault(kept.function, shape)
        if kept.function and kin.template.code == kept.code:
            shape.estimate_s, shape.result_bytes = kin.estimate_s, kin.result_bytes
        taught = None if shape.estimate_s is not None or kept.code else self._taught.get(kept.function)
        if taught is not None:
            shape.estimate_s, shape.result_bytes = min(max(LEAST_S, taught.seconds), MOST_S), taught.result_bytes
        return shape

    def _forget_old(self) -> None:
        known = self._by_template
        while len(known) > SHAPES_MOST or (self._code_bytes > CODE_MOST_BYTES and len(known) > 1):
            template, shape = known.popitem(last=False)
            self._code_bytes -= template.code_bytes
            for one in (shape, *shape.ways):
                if self._kin.get(one.template.function) is one:
                    del self._kin[one.template.function]
        if len(self._demands) > SHAPES_MOST:
            self._demands.clear()


def learn_made(shape: Shape, made: Iterable[Payload]) -> None:
    """Fold the size of what one run made into its moving mean; the largest says whether it may travel by itself."""
    size = max([value.size_bytes for value in made])
    shape.made_bytes += (SMOOTHING if shape.runs else 1.0) * (size - shape.made_bytes)


def learn(shape: Shape, seconds: float, result_bytes: int) -> None:
    """Fold one run into the moving means; `seconds` on a core of speed 1, whatever somebody says that it took."""
    _fold(shape, 1, seconds, float(result_bytes))


def learn_all(tasks: Sequence[Task], outcomes: Sequence[Outcome], speed: float) -> None:
    """Fold runs on a core of this speed into the moving means: of each kind of task, those that end together as one."""
    first = tasks[0].shape if tasks else None
    if first is not None and all(task.shape is first for task in tasks):
        kinds = {first: list(outcomes)}
    else:
        kinds = {}
        for task, outcome in zip(tasks, outcomes, strict=True):
            kinds.setdefault(task.shape, []).append(outcome)
    for shape, its_outcomes in kinds.items():
        count = len(its_outcomes)
        seconds = sum([outcome.seconds for outcome in its_outcomes]) / count * speed
        _fold(shape, count, seconds, sum([outcome.value.size_bytes for outcome in its_outcomes]) / count)


def _fold(shape: Shape, runs: int, seconds: float, result_bytes: float) -> None:
    """Fold so many runs with these means into the moving means, as if each had been like that."""
    if shape.of is not None:
        _fold(shape.of, runs, seconds, result_bytes)
        if shape.of.ways:
            shape.of.ways = tuple(sorted(shape.of.ways, key=_rank))
    if not LEAST_S <= seconds <= MOST_S:
        seconds = min(max(LEAST_S, seconds), MOST_S)
    if shape.estimate_s is None:
        shape.estimate_s = seconds
        shape.result_bytes = result_bytes
    else:
        weight = SMOOTHING if runs == 1 else 1 - (1 - SMOOTHING) ** runs
        shape.estimate_s += weight * (seconds - shape.estimate_s)
        shape.result_bytes += weight * (result_bytes - shape.result_bytes)
    shape.runs += runs
