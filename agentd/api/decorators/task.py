"""`@task`: this function is a task, and this is how its arguments are used."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, overload

from agentd.api.decorators.bodies import nodes_at_call, with_options
from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.expressions import number_at_call, variable
from agentd.api.decorators.making import deprecated, described, parameters_of, rewrapped, task_function
from agentd.api.decorators.parameters import INOUT, is_specification, parameter_of, truth
from agentd.api.decorators.reduction import reduced
from agentd.api.decorators.returned import returns_of
from agentd.api.tasks.definition import Parameter, TaskDefinition
from agentd.api.tasks.places import warn

POLICIES = ("RETRY", "FAIL", "IGNORE", "CANCEL_SUCCESSORS")
"""What may happen when a task fails."""

ARGUMENTS = (
    *("returns", "priority", "target_direction", "on_failure", "time_out", "is_replicated", "is_distributed"),
    *("computing_nodes", "processes_per_node", "is_reduce", "chunk_size", "defaults", "cache_returns", "numba"),
    *("numba_flags", "numba_signature", "numba_declaration", "tracing_hook", "varargs_type"),
)
"""Of `@task` itself; any other name is that of a parameter."""
RENAMED = {
    "targetDirection": "target_direction",
    "timeOut": "time_out",
    "isReplicated": "is_replicated",
    "isDistributed": "is_distributed",
    "computingNodes": "computing_nodes",
    "varargsType": "varargs_type",
    "onFailure": "on_failure",
}
DROPPED = ("workingDir", "appName", "workerInMaster", "dfExecutor", "dfLib", "dfScript", "sourceClass")
"""Names that were arguments of `@task` once and say nothing today."""
_FORBIDDEN = "isModifier"


Function = Callable[..., Any]


class TaskDecorator:
    """`@task`; `is_strict`: a name that is no parameter of the function is an error and not only a warning."""

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict

    @overload
    def __call__(self, function: Function, /) -> Function: ...

    @overload
    def __call__(self, **given: Any) -> Callable[[Function], Function]: ...

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Decorate a function: `@task` and `@task()` for all defaults, else `@task(returns=…, a=INOUT, …)`.

        Raises:
            DefinitionError: an argument is wrong; nothing has run.
        """
        if args:
            if given or len(args) > 1 or not (callable(args[0]) or isinstance(args[0], staticmethod | classmethod)):
                raise DefinitionError("@task takes arguments by name: @task(returns=int, a=INOUT)")
            return self(**given)(args[0])
        words = _present(given)

        def decorate(function: Any) -> Any:
            return rewrapped(function, lambda inner: task_function(self._define(inner, words)))

        return decorate

    def _define(self, function: Callable[..., Any], words: Mapping[str, Any]) -> TaskDefinition:
        definition = described(function)
        of = definition.label
        definition.returns, definition.pending = returns_of(words.get("returns"), function, of)
        if isinstance(words.get("returns"), type):
            definition.options = {"kind": words["returns"]}  # its methods that are tasks can be called on the future
        definition.parameters = self._parameters(definition, words)
        definition.priority = int(_flag(words, "priority", of))
        definition.on_failure = policy(words.get("on_failure", "RETRY"), of)
        definition.failure_defaults = failure_defaults(words.get("defaults", {}), definition)
        definition.timeout_s = _seconds(words.get("time_out", 0), of)
        definition.is_replicated = _flag(words, "is_replicated", of)
        definition.is_distributed = _flag(words, "is_distributed", of)
        if _flag(words, "is_reduce", of):
            definition = reduced(definition, words.get("chunk_size", 0))
        nodes = nodes_at_call(nodes_of(words.get("computing_nodes", 1), definition))
        numba = words.get("numba", False)
        if numba or nodes != 1:
            flags = {name: words.get(f"numba_{name}") for name in ("flags", "signature", "declaration")}
            definition = with_options(definition, nodes=nodes, numba=numba and {"mode": numba, **flags})
        return definition

    def _parameters(self, definition: TaskDefinition, words: Mapping[str, Any]) -> dict[str, Parameter]:
        names, of = parameters_of(definition), definition.label
        found: dict[str, Parameter] = {}
        if definition.takes_target:
            found["self"] = parameter_of(words.get("target_direction", INOUT), "self", of)
        if "varargs_type" in words:
            if not definition.varargs:
                raise DefinitionError(f"task {of} has no *args that varargs_type could speak of")
            found[definition.varargs] = parameter_of(words["varargs_type"], definition.varargs, of)
        for name, given in words.items():
            if name in ARGUMENTS:
                continue
            if name in names or definition.varkwargs:
                found[name] = parameter_of(given, name, of)
            else:
                self._unexpected(name, given, names, of)
        return found

    def _unexpected(self, name: str, given: Any, names: tuple[str, ...], of: str) -> None:
        near = difflib.get_close_matches(name, names if is_specification(given) else (*ARGUMENTS, *names), 1)
        hint = f": did you mean {near[0]}?" if near else f": its parameters are {', '.join(names) or 'none'}"
        message = f"Unexpected argument {name} of @task above {of}{hint}"
        if self._is_strict:
            raise DefinitionError(message)
        warn(message, UserWarning)


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments under the names of today."""
    if _FORBIDDEN in given:
        raise DefinitionError(f"@task has no {_FORBIDDEN} any more: say target_direction=INOUT or target_direction=IN")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in DROPPED and not is_specification(value):
            warn(f"Deprecated argument {name} of @task: it has no effect", FutureWarning)
            continue
        now = RENAMED.get(name)
        if now is not None:
            deprecated("task", name, now)
        found[now or name] = value
    return found


def policy(given: object, of: str) -> str:
    """Read a failure policy.

    Raises:
        DefinitionError: there is none of this name.
    """
    name = str(given).upper()
    if name not in POLICIES:
        raise DefinitionError(f"on_failure of task {of} is one of {', '.join(POLICIES)}, not {given!r}")
    return name


def failure_defaults(given: object, definition: TaskDefinition) -> dict[str, Any]:
    """Read what takes the place of values that a failed task did not make.

    Raises:
        DefinitionError: a name is none of the task's parameters.
    """
    if not isinstance(given, Mapping):
        raise DefinitionError(f"defaults of task {definition.label} are a dict, not {given!r}")
    names = parameters_of(definition)
    unknown = [name for name in given if name != "returns" and name not in names]
    if unknown and not definition.varkwargs:
        there = ", ".join(("returns", *names))
        raise DefinitionError(f"task {definition.label} has no parameter {', '.join(unknown)}: there are {there}")
    return dict(given)


def _flag(words: Mapping[str, Any], name: str, of: str) -> bool:
    try:
        return truth(words.get(name, False))
    except ValueError as error:
        raise DefinitionError(f"{name} of task {of} cannot be {words[name]!r}: {error}") from None


def _seconds(given: object, of: str) -> float | None:
    try:
        seconds = float(str(given)) if given else 0.0
        if not 0 <= seconds < float("inf"):
            raise ValueError("it is 0 or more")
    except ValueError as error:
        raise DefinitionError(f"time_out of task {of} is a number of seconds, not {given!r}: {error}") from None
    return seconds or None


def nodes_of(given: Any, definition: TaskDefinition) -> Any:
    """Read a number of nodes or processes: a number, the name of an environment variable, or what a call works out.

    Raises:
        DefinitionError: it is none of these.
    """
    where = f"computing_nodes or processes of task {definition.label}"
    text = str(given).strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if not isinstance(given, str) or text.lstrip("+-").isdecimal():
        raise DefinitionError(f"{where} cannot be {given!r}: give 1 or more")
    if variable(text):
        return text
    return number_at_call(text.strip("{}"), getattr(definition.function, "__globals__", {}), where)


task = TaskDecorator(is_strict=True)
