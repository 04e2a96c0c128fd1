"""What runs in a worker when a task is more than its function: a command, a container, what comes before and after."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from agentd.api.decorators.commands import Command, agent
from agentd.api.decorators.compiled import compiled
from agentd.api.decorators.errors import Unavailable
from agentd.api.decorators.expressions import from_environment, variable
from agentd.api.decorators.making import bound
from agentd.api.tasks.definition import TaskDefinition

Run = Callable[[TaskDefinition, dict[str, Any]], Any]
"""Runs a task in another way than by calling its function, with the call's arguments by name."""
_MAKING_BODIES = ("run", "prolog", "epilog", "nodes", "numba", "container", "choice")


def body_of(definition: TaskDefinition) -> Callable[..., Any]:
    """Give what is called in the worker: the function itself where nothing else was asked for."""
    options = definition.options
    if not any(options.get(name) for name in _MAKING_BODIES):
        return definition.function
    return functools.partial(perform, definition)


def perform(definition: TaskDefinition, /, *args: Any, **kwargs: Any) -> Any:
    """Run a task that is more than its function.

    Raises:
        Unavailable: something that it needs is not here; nothing has run.
        Exception: what it, or a command around it, failed with.
    """
    options = definition.options
    arguments = bound(definition, args, kwargs)
    _check_nodes(definition, arguments)
    before = _line(options.get("prolog"), definition, arguments)
    after = _line(options.get("epilog"), definition, arguments)
    if before is not None:
        options["prolog"].run(before, definition, arguments)
    own = functools.partial(_run_itself, definition, arguments, args, kwargs)
    value = options["choice"](definition, own, args, kwargs) if options.get("choice") else own()
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


def _check_nodes(definition: TaskDefinition, arguments: Mapping[str, Any]) -> None:
    given = definition.options.get("nodes", 1)
    if not given or given == 1:
        return
    number = counted(given, arguments, "computing_nodes")
    if number > 1:
        raise Unavailable(
            f"task {definition.label} wants {number} nodes; {agent()} gives a task one node, itself: say "
            "computing_nodes=1 and processes, or split the task into one for each node"
        )
    os.environ.setdefault("COMPSS_NUM_NODES", "1")
