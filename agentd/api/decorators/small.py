"""Decorators of a few lines: constraints, failure policies, tasks without cores, functions that wait."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from agentd.api.decorators.bodies import nodes_at_call, with_options
from agentd.api.decorators.demands import demands_of
from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.making import Words, above_task, then
from agentd.api.decorators.task import failure_defaults, nodes_of, policy
from agentd.api.tasks.definition import TaskDefinition
from agentd.api.tasks.runtime import current


def constraint(*args: Any, **given: Any) -> Any:
    """Say what a task demands of the host that runs it: `@constraint(computing_units=2, memory_size="$GB")`.

    Numbers may be texts, names of environment variables (`"$NAME"`), or expressions over the call's arguments.

    Raises:
        DefinitionError: a key is unknown, a value is wrong, or there is no task below.
    """
    if args:
        raise DefinitionError("@constraint takes arguments by name: @constraint(computing_units=2)")

    def change(definition: TaskDefinition) -> TaskDefinition:
        now, later = demands_of(given, definition)
        return _with_constraints(definition, {**definition.constraints, **now}, later)

    return lambda function: above_task("constraint", function, change)


def _with_constraints(
    definition: TaskDefinition, constraints: dict[str, Any], later: Callable[[TaskDefinition], None] | None = None
) -> TaskDefinition:
    changed = with_options(definition)
    changed.constraints, changed.pending = constraints, then(definition.pending, later)
    return changed


def on_failure(*args: Any, **given: Any) -> Any:
    """Say what becomes of a failed task: `@on_failure(management="IGNORE", returns=0, result=[])`.

    RETRY runs it again, FAIL fails the program, IGNORE goes on with the values given here (None where there is none),
    CANCEL_SUCCESSORS cancels what needs its results and goes on.

    Raises:
        DefinitionError: there is no such policy or parameter, or no task below.
    """
    if args or "management" not in given:
        raise DefinitionError('@on_failure needs management: @on_failure(management="IGNORE")')
    values = {name: value for name, value in given.items() if name != "management"}

    def change(definition: TaskDefinition) -> TaskDefinition:
        changed = with_options(definition)
        changed.on_failure = policy(given["management"], definition.label)
        if values:
            changed.failure_defaults = failure_defaults(values, definition)
        return changed

    return lambda function: above_task("on_failure", function, change)


def IO(*args: Any, **given: Any) -> Any:  # noqa: N802 - the name that its users know
    """Mark a task that waits for disks and networks: it needs no core, and any number of them run side by side."""
    if given or len(args) > 1:
        raise DefinitionError("@IO takes no arguments")

    def decorate(function: Any) -> Any:
        return above_task(
            "IO", function, lambda below: _with_constraints(below, {**below.constraints, "computing_units": 0})
        )

    return decorate(args[0]) if args else decorate


_MULTINODE = Words("multinode", (), ("computing_nodes",), {"computingNodes": "computing_nodes"})


def multinode(*args: Any, **given: Any) -> Any:
    """Say over how many nodes a task's code spreads by itself; it finds them in COMPSS_HOSTNAMES.

    All of them are reserved together: cores of the agent that runs it where it has so many, else of several agents.

    Raises:
        DefinitionError: an argument is wrong, or there is no task below.
    """
    words = _MULTINODE.read(args, given)

    def change(definition: TaskDefinition) -> TaskDefinition:
        return with_options(definition, nodes=nodes_at_call(nodes_of(words.get("computing_nodes", 1), definition)))

    return lambda function: above_task("multinode", function, change)


def local(function: Any = None, /) -> Any:
    """Mark an ordinary function that needs values: futures among its arguments are waited for before it runs."""
    if function is None:
        return local
    if not callable(function):
        raise DefinitionError("@local stands above a function and takes no arguments")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        runtime = current()
        there = [runtime.wait_on((value,)) for value in args]
        named = {name: runtime.wait_on((value,)) for name, value in kwargs.items()}
        return function(*there, **named)

    return call
