"""From a function to a task and back: how decorators read each other's work."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from agentd.api.decorators.errors import DefinitionError
from agentd.api.tasks.definition import ATTRIBUTE, TaskDefinition
from agentd.api.tasks.places import warn
from agentd.api.tasks.runtime import current

Function = Callable[..., Any]
_PROGRAM = {"__agentd_main__": "__main__"}
"""What a worker calls a program while it makes its module is that program."""
CALL = "call"
"""Option: `(definition, args, kwargs)`, called instead of the runtime; in the end it calls the runtime itself."""


def described(function: Function) -> TaskDefinition:
    """Say of a function what its signature says."""
    said: Any = function
    if not callable(said) or isinstance(said, type):
        raise DefinitionError(f"@task stands above a function, not above {function!r}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        name = getattr(function, "__qualname__", repr(function))
        words = "a task runs in a worker without a loop: decorate a function that calls asyncio.run"
        raise DefinitionError(f"@task stands above a function, and {name} is a coroutine's: {words}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise DefinitionError(f"@task stands above a function written in Python, not above {function!r}") from None
    names, defaults, varargs, varkwargs = [], {}, "", ""
    for name, parameter in signature.parameters.items():
        match parameter.kind:
            case parameter.VAR_POSITIONAL:
                varargs = name
            case parameter.VAR_KEYWORD:
                varkwargs = name
            case kind:
                if kind is not parameter.KEYWORD_ONLY:
                    names.append(name)
                if parameter.default is not parameter.empty:
                    defaults[name] = parameter.default
    qualname = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", "") or ""
    return TaskDefinition(
        function=function,
        body=function,
        module=_PROGRAM.get(module, module),
        qualname=qualname,
        names=tuple(names),
        defaults=defaults,
        varargs=varargs,
        varkwargs=varkwargs,
        takes_target=names[:1] == ["self"] and not qualname.rpartition(".")[0].endswith("<locals>"),
    )


def parameters_of(definition: TaskDefinition) -> tuple[str, ...]:
    """Give the names of all parameters of a task's function, in order."""
    signature = inspect.signature(definition.function)
    return tuple(signature.parameters)


def task_function(definition: TaskDefinition) -> Function:
    """Give the function that users call: it hands each call to the runtime of this process."""

    @functools.wraps(definition.function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if definition.pending is not None:
            definition.settle()
        if CALL in definition.options:
            return definition.options[CALL](definition, args, kwargs)
        return current().call(definition, args, kwargs)

    setattr(call, ATTRIBUTE, definition)
    return call


def rewrapped(function: Any, decorate: Callable[[Function], Function]) -> Any:
    """Decorate a function, also one that is a static method or a class method already."""
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorate(function.__func__))
    return decorate(function)


def above_task(decorator: str, function: Any, change: Callable[[TaskDefinition], TaskDefinition]) -> Any:
    """Give a task anew, changed by a decorator that stands above `@task`.

    Raises:
        DefinitionError: there is no `@task` below it.
    """

    def decorate(inner: Function) -> Function:
        definition = getattr(inner, ATTRIBUTE, None)
        if not isinstance(definition, TaskDefinition):
            name = getattr(inner, "__qualname__", repr(inner))
            raise DefinitionError(f"@{decorator} stands above @task: write @task below it, above {name}")
        return task_function(change(definition))

    return rewrapped(function, decorate)


def then(
    first: Callable[[TaskDefinition], None] | None, second: Callable[[TaskDefinition], None] | None
) -> Callable[[TaskDefinition], None] | None:
    """Join what two decorators leave for the first call."""
    if first is None or second is None:
        return first or second

    def both(definition: TaskDefinition) -> None:
        first(definition)
        second(definition)

    return both


def bound(definition: TaskDefinition, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Give a call's arguments by name, defaults filled in; `*args` as a tuple and `**kwargs` as a dict, by their names.

    Raises:
        DefinitionError: they do not fit the function.
    """
    names = definition.names
    found = dict(definition.defaults)
    found.update(zip(names, args, strict=False))
    if definition.varargs:
        found[definition.varargs] = tuple(args[len(names) :])
    elif len(args) > len(names):
        raise DefinitionError(f"{definition.label} takes {len(names)} arguments, {len(args)} were given")
    rest = {}
    for name, value in kwargs.items():
        if definition.varkwargs and name not in names and name not in definition.defaults:
            rest[name] = value
        else:
            found[name] = value
    if definition.varkwargs:
        found[definition.varkwargs] = rest
    return found


class Words:
    """Keyword arguments of one decorator: the mandatory, the optional, and what they were called once."""

    def __init__(
        self, decorator: str, mandatory: tuple[str, ...], optional: tuple[str, ...], renamed: Mapping[str, str] = {}
    ) -> None:
        self._decorator = decorator
        self._mandatory = mandatory
        self._known = (*mandatory, *optional)
        self._renamed = renamed

    def read(self, args: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
        """Give the arguments under their present names.

        Raises:
            DefinitionError: one is missing, unknown, or has no name.
        """
        if args:
            raise DefinitionError(f"@{self._decorator} takes arguments by name: @{self._decorator}({self._known[0]}=…)")
        found = {}
        for name, value in given.items():
            now = self._renamed.get(name)
            if now is not None:
                deprecated(self._decorator, name, now)
            found[now or name] = value
        self._check(found)
        return found

    def _check(self, found: Mapping[str, Any]) -> None:
        missing = [name for name in self._mandatory if name not in found]
        if missing:
            raise DefinitionError(f"@{self._decorator} needs {', '.join(missing)}")
        unknown = [name for name in found if name not in self._known]
        if unknown:
            there = ", ".join(self._known)
            raise DefinitionError(f"@{self._decorator} has no argument {', '.join(unknown)}: there are {there}")


def deprecated(decorator: str, old: str, new: str) -> None:
    """Say that an argument has another name now."""
    message = f"Deprecated argument {old} of @{decorator}: it is called {new} now"
    warn(message, FutureWarning)
