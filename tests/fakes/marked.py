"""Decorated functions for tests of the runtime alone: what the decorators make of them, without the decorators."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from agentd.api.tasks.definition import ATTRIBUTE, Content, Direction, Parameter, TaskDefinition
from agentd.api.tasks.runtime import current

if TYPE_CHECKING:
    from collections.abc import Callable

IN, OUT, INOUT = (Parameter(direction=way) for way in (Direction.IN, Direction.OUT, Direction.INOUT))
CONCURRENT = Parameter(direction=Direction.CONCURRENT)
COMMUTATIVE = Parameter(direction=Direction.COMMUTATIVE)
IN_DELETE = Parameter(direction=Direction.IN_DELETE)


def of(content: Content, direction: Direction = Direction.IN, depth: int | None = None) -> Parameter:
    """Make a parameter of another content than an object."""
    return Parameter(content=content, direction=direction, depth=depth)


def marked(returns: Any = None, **options: Any) -> Callable[[Any], Any]:
    """Mark a function as a task; what is no field of a definition is a parameter."""
    fields = {name: options.pop(name) for name in list(options) if name in TaskDefinition.__dataclass_fields__}

    def mark(function: Any) -> Any:
        shown = inspect.signature(function).parameters
        positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        definition = TaskDefinition(
            function=function,
            body=function,
            module=function.__module__,
            qualname=function.__qualname__,
            names=tuple([name for name, one in shown.items() if one.kind in positional]),
            defaults={name: one.default for name, one in shown.items() if one.default is not one.empty},
            varargs=next((name for name, one in shown.items() if one.kind is one.VAR_POSITIONAL), ""),
            varkwargs=next((name for name, one in shown.items() if one.kind is one.VAR_KEYWORD), ""),
            parameters=options,
            returns=returns,
            **fields,
        )

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return current().call(definition, args, kwargs)

        setattr(call, ATTRIBUTE, definition)
        return call

    return mark
