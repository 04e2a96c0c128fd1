"""How a call of a task is read: worked out once for each definition, since calls are many."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from agentd.api.tasks.definition import READ, Content, Direction, Parameter
from agentd.api.tasks.templates import goes_by_value, lacks_program
from agentd.api.tasks.ways import ways_of

if TYPE_CHECKING:
    from agentd.api.tasks.definition import TaskDefinition

WRITES = frozenset({Direction.OUT, Direction.INOUT, Direction.CONCURRENT, Direction.COMMUTATIVE})

_FILES = frozenset({Content.FILE, Content.FILES, Content.DIRECTORY})


def has_files(definition: TaskDefinition) -> bool:
    """Tell whether any parameter is a file or a folder."""
    parameters = definition.parameters
    return bool(parameters) and any(spec.content in _FILES for spec in parameters.values())


def _depends_on_call(definition: TaskDefinition) -> bool:
    """Tell whether what a task demands is worked out from the arguments of a call."""
    return callable(definition.options.get("nodes")) or any(map(callable, definition.constraints.values()))


class Plan:
    """What all calls of one definition share."""

    def __init__(self, definition: TaskDefinition) -> None:
        self.definition = definition
        names = definition.names
        parameters = definition.parameters
        self.specs: tuple[Parameter, ...] = tuple([parameters.get(name, READ) for name in names])
        """Of the positional parameters."""
        self.rest = parameters.get(definition.varargs, READ)
        """Of what is in `*args`."""
        self.keywords = parameters.get(definition.varkwargs, READ)
        """Of what is in `**kwargs`."""
        self.is_plain = all(spec is READ or spec == READ for spec in parameters.values())
        """Every argument is an object that is read."""
        self._signature = inspect.signature(definition.function)
        shown = self._signature.parameters.values()
        self._fewest = len(names) - len([name for name in names if name in definition.defaults])
        self._is_simple = not any(one.kind is one.KEYWORD_ONLY and one.default is one.empty for one in shown)
        """A call without keywords is right if the number of its arguments is."""
        self.filled = tuple(
            (name, definition.defaults[name])
            for name in parameters
            if name in definition.defaults and parameters[name].content is not Content.OBJECT
        )
        """Default values that stand for files or collections."""
        self.nodes = definition.options.get("nodes", 1)
        """How many nodes a call takes, or what works it out."""
        self.ways = ways_of(definition)
        """Other ways to do it, of which one is chosen where a call is placed."""
        self.is_by_value = goes_by_value(definition)
        """Its code travels with what it reads of the names around it."""
        self.lacks_program = lacks_program(definition)
        """It is of a module, and called in a program."""
        self.declared: dict[int, dict[str, Any]] = {}
        """What was declared of it in that case, by number."""
        self.programs: dict[int, int] = {}
        """Numbers of templates that bring the program along, by those that do not."""
        self.seen: list[Any] = []
        """What that was when it was last sent."""
        depends = self.is_by_value or callable(definition.returns)
        self.is_fixed = not depends and not any(map(_depends_on_call, (definition, *self.ways)))
        """Nothing of the template depends on a call's arguments."""
        self.kind: type | None = definition.options.get("kind")
        """Type of what is returned, where the definition says it: its tasks can be called on the future."""
        self.template = 0
        """Number of the one template, where that is all there is; 0 until it was declared."""
        self.templates: dict[Any, int] = {}
        """Numbers of the templates by constraints, where they depend on the call."""
        returns = definition.returns
        self.returns = returns if isinstance(returns, int) else 0 if returns is None else 1
        if isinstance(returns, tuple):
            self.returns = len(returns)

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse a call that the function would refuse.

        Raises:
            TypeError: an argument is missing, unknown, or given twice.
        """
        if not kwargs and self._is_simple and self._fewest <= len(args) <= len(self.specs):
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.definition.label}: {error}") from None

    def spec(self, position: int) -> Parameter:
        """Give how a positional argument is used."""
        return self.specs[position] if position < len(self.specs) else self.rest

    def spec_of(self, name: str) -> Parameter:
        """Give how a keyword argument is used."""
        if name in self.definition.names:
            return self.specs[self.definition.names.index(name)]
        return self.definition.parameters.get(name, self.keywords)

    def name(self, where: int | str) -> str:
        """Name an argument for messages, by its position or its keyword."""
        names = self.definition.names
        if isinstance(where, str):
            return where
        return names[where] if where < len(names) else f"{self.definition.varargs}[{where - len(names)}]"

    def with_defaults(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
        """Give the keyword arguments, with defaults that stand for more than objects."""
        named = list(kwargs.items())
        given = self.definition.names[: len(args)]
        named += [(name, value) for name, value in self.filled if name not in kwargs and name not in given]
        return named

    def named(self, args: list[Any], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
        """Give the arguments with their names, for messages."""
        names = [*self.definition.names[: len(args)]]
        names += [f"{self.definition.varargs}[{position}]" for position in range(len(args) - len(names))]
        return [*zip(names, args), *kwargs.items()]  # noqa: B905 - as long as each other

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Give the arguments by name, defaults filled in: what callables of a definition are asked with."""
        found = self._signature.bind(*args, **kwargs)
        found.apply_defaults()
        return dict(found.arguments)


class Plans:
    """The plans of one runtime: templates have other numbers in another one."""

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}

    def of(self, definition: TaskDefinition) -> Plan:
        """Give the plan of a definition, which is kept from then on."""
        plan = self._plans.get(id(definition))
        if plan is None or plan.definition is not definition:
            plan = self._plans[id(definition)] = Plan(definition)
        return plan
