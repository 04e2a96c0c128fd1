"""Templates interned: what is alike is looked at once, and what is learned of it is kept in one place.

Law: templates that are equal have one shape; what is remembered of them is bounded in number and in bytes of code.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from agentd.core.tasks.demands import LEAST_S, MOST_S, demand_of_nodes, sound
from agentd.core.tasks.estimates import rank
from agentd.core.tasks.task import Shape
from agentd.model.task import Constraints, Form, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentd.model.task import Template
    from schedulers.capacity import Capacity

SHAPES_MOST = 4096
"""Templates that are remembered (chosen: far above what is in use at one time, a few MB)."""
CODE_MOST_BYTES = 64 << 20
"""Bytes of functions by value that are remembered (chosen)."""

_INSTEAD = " instead"
"""In the place of a host: none has such a name."""


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
            shape.ways = tuple(sorted(shape.ways, key=rank))
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

    def instead(self, shape: Shape) -> Shape:
        """Give the shape of what on_failure=IGNORE gives for such a task, which any worker of this agent makes."""
        key = (shape.number, _INSTEAD)
        found = self._bound.get(key)
        if found is None:
            few = {"nodes": 1, "hosts": (), "alternatives": (), "constraints": Constraints(), "spread": Spread.NONE}
            found = self._made(replace(shape.template, form=Form.INSTEAD, on_failure="FAIL", timeout_s=None, **few))
            found.only = ""
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
