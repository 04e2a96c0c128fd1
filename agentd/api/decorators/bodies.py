"""What runs in a worker when a task is more than its function: a command, a container, what comes before and after."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from agentd.api.decorators.commands import Command, agent
from agentd.api.decorators.compiled import compiled
from agentd.api.decorators.errors import Unavailable
from agentd.api.decorators.expressions import from_environment, variable
from agentd.api.decorators.making import bound
from agentd.api.tasks.definition import TaskDefinition
from agentd.api.tasks.runtime import PORT

Run = Callable[[TaskDefinition, dict[str, Any]], Any]
"""Runs a task in another way than by calling its function, with the call's arguments by name."""
_MAKING_BODIES = ("run", "prolog", "epilog", "nodes", "numba", "container")


def body_of(definition: TaskDefinition) -> Callable[..., Any]:
    """Give what is called in the worker: the function itself where nothing else was asked for."""
    options = definition.options
    if not any(options.get(name) for name in _MAKING_BODIES):
        return definition.function
    return functools.partial(perform, definition)


def with_options(definition: TaskDefinition, **options: Any) -> TaskDefinition:
    """Copy a definition with further options, and with the body that they make."""
    changed = replace(definition, options={**definition.options, **options})
    changed.body = body_of(changed)
    return changed


def perform(definition: TaskDefinition, /, *args: Any, **kwargs: Any) -> Any:
    """Run a task that is more than its function.

    Raises:
        Unavailable: something that it needs is not here; nothing has run.
        Exception: what it, or a command around it, failed with.
    """
    arguments = bound(definition, args, kwargs)
    with _nodes(definition, arguments):
        return _perform(definition, arguments, args, kwargs)


def _perform(
    definition: TaskDefinition, arguments: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    options = definition.options
    before = _line(options.get("prolog"), definition, arguments)
    after = _line(options.get("epilog"), definition, arguments)
    if before is not None:
        options["prolog"].run(before, definition, arguments)
    value = _run_itself(definition, arguments, args, kwargs)
    if after is not None:
        options["epilog"].run(after, definition, arguments)
    return value


def _run_itself(
    definition: TaskDefinition, arguments: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    run: Run | None = definition.options.get("run") or definition.options.get("container")
    if run is not None:
        return run(definition, arguments)
    function = compiled(definition) if definition.options.get("numba") else definition.function
    return function(*args, **kwargs)


def _line(command: Command | None, definition: TaskDefinition, arguments: dict[str, Any]) -> list[str] | None:
    """Make a command line ahead of the task, so that a command that is missing is found out before anything ran."""
    return None if command is None else command.filled(definition, arguments)


def counted(given: Any, arguments: Mapping[str, Any], what: str) -> int:
    """Work out a number of nodes or processes at a call.

    Raises:
        Unavailable: it is less than one, or the environment variable that has it is not set.
    """
    if isinstance(given, str):
        text = from_environment(variable(given) or "")
        if text is None or not text.isdecimal():
            raise Unavailable(f"{what}: the environment variable {given} holds no number on {agent()}")
        given = int(text)
    number = int(given(arguments)) if callable(given) else int(given)
    if number < 1:
        raise Unavailable(f"{what} is {number}: at least 1 is needed")
    return number


def _counter(given: Any, what: str) -> Callable[[Mapping[str, Any]], int]:
    """Give what works out a number of nodes or processes at a call."""
    return lambda arguments: counted(given, arguments, what)


def nodes_at_call(given: Any, processes_per_node: Any = 1) -> Any:
    """Give how many nodes a call takes: a number, or what works it out; `given` are nodes, or processes on nodes.

    Raises:
        Unavailable: by what works it out, as `counted`.
    """
    if isinstance(given, int) and isinstance(processes_per_node, int):
        return -(-given // processes_per_node)
    total, each = _counter(given, "computing_nodes"), _counter(processes_per_node, "processes_per_node")
    return lambda arguments: -(-total(arguments) // each(arguments))


@contextlib.contextmanager
def _nodes(definition: TaskDefinition, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Tell a task of several nodes what it has, in the variables that launchers and programs read.

    The nodes are cores of this agent, or of several: one name for each, this agent's first.
    """
    given = definition.options.get("nodes", 1)
    number = counted(given, arguments, "computing_nodes") if given and given != 1 else 1
    port = sys.modules.get(PORT)
    if number == 1 or port is None:
        yield
        return
    units = definition.constraints.get("computing_units", 1)
    each = str(max(1, int(units(arguments) if callable(units) else units)))
    own = ",".join([str(getattr(port, "agent", "")) or "localhost"] * number)
    names = str(getattr(getattr(port, "port", None), "nodes", "")) or own
    told = {
        "COMPSS_NUM_NODES": str(number),
        "COMPSS_HOSTNAMES": names,
        "COMPSS_NODES": names,
        "COMPSS_NUM_THREADS": each,
        "OMP_NUM_THREADS": each,
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
