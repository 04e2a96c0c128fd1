"""Templates of tasks: declared to the agent once, then named by number."""

from __future__ import annotations

import inspect
import json
import linecache
import sys
import types
from typing import TYPE_CHECKING, Any

from agentd.api.tasks.joint import has_joint
from agentd.api.tasks.messages import packed
from agentd.api.tasks.port import PICKLE, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentd.api.tasks.definition import TaskDefinition
    from agentd.api.tasks.nested import Nested
    from agentd.api.tasks.plans import Plan

_FORM_TASK = 4
"""As `agentd.model.task.Form`."""
_EACH, _IN_TURN = 1, 2
"""As `agentd.model.task.Spread`."""
_EMPTY = types.CellType()
"""Of a name that has no value yet."""
_RUNS = 4
"""Executions in all of a task that may be tried again; from PyCOMPSs' documentation of on_failure."""
_TOLD = b"\n# agentd: "
"""As in `agentd/workers/inside/programs.py`."""
_MAIN, ALIAS = "__main__", "__agentd_main__"
"""The program's module, and its name in workers that execute it for its tasks."""


def template_of(runtime: Nested, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
    """Give the number of the template of one call, and how many values it returns; declare it if it is new.

    Raises:
        Exception: whatever a demand that is worked out from the arguments raises.
    """
    definition = plan.definition
    if plan.is_fixed:
        if not plan.template:
            plan.template = _declare(runtime, plan, [_fields(one, None) for one in (definition, *plan.ways)])
        return plan.template, plan.returns
    if plan.is_by_value:
        seen = list(_seen_by(definition.function, set()))
        if len(seen) != len(plan.seen) or any(one is not other for one, other in zip(seen, plan.seen, strict=True)):
            plan.templates.clear()  # what it would find here is other than what was sent along
            plan.seen = seen
    bound = plan.bound(args, kwargs)
    rows = [_fields(one, bound) for one in (definition, *plan.ways)]
    key = repr([(row.get("constraints"), row.get("nodes")) for row in rows])  # lists among them have no hash
    number = plan.templates.get(key)
    if number is None:
        number = plan.templates[key] = _declare(runtime, plan, rows)
    returns = definition.returns
    return number, int(returns(bound)) if callable(returns) else plan.returns


def _fields(definition: TaskDefinition, bound: Mapping[str, Any] | None) -> dict[str, Any]:
    """Say what a task is and what it demands, in the words of the model's `Template`."""
    module = _MAIN if definition.module == ALIAS else definition.module
    fields: dict[str, Any] = {
        "function": f"{module}:{definition.qualname}",
        "form": _FORM_TASK,
        "codec": PICKLE,
        "on_failure": definition.on_failure,
        "name": definition.label,
        "priority": definition.priority,
    }
    constraints = {name: value(bound) if callable(value) else value for name, value in definition.constraints.items()}
    nodes = definition.options.get("nodes", 1)
    if has_joint(definition):
        constraints["is_local"] = True
    if constraints:
        fields["constraints"] = constraints
    if callable(nodes) or nodes != 1:
        fields["nodes"] = int(nodes(bound) if callable(nodes) else nodes)
    if definition.timeout_s:
        fields["timeout_s"] = float(definition.timeout_s)
    if definition.on_failure == "RETRY":
        fields["max_attempts"] = _RUNS
    if definition.is_replicated or definition.is_distributed:
        fields["spread"] = _EACH if definition.is_replicated else _IN_TURN
    return fields


def _declare(runtime: Nested, plan: Plan, rows: list[dict[str, Any]]) -> int:
    """Declare a task; the rows behind the first are other ways to do it."""
    definition = plan.definition
    number = runtime.new_template()
    template, *ways = rows
    if definition.on_failure == "CANCEL_SUCCESSORS":
        runtime.may_cancel = True  # from now on versions are kept for the case that their successors are cancelled
    code = code_of(definition)
    if code:
        template["code"] = code
    if ways:
        template["alternatives"] = ways
    if plan.lacks_program:
        plan.declared[number] = template
    runtime.port.send(Kind.DECLARE, packed([[number, template]]))
    return number


def with_program(runtime: Nested, plan: Plan, template: int) -> int:
    """Give the template of a call whose arguments are made of the program's own functions or classes.

    It is as another one, and brings the program along, which a task of a module does not need otherwise.
    """
    number = plan.programs.get(template)
    if number is None:
        number = plan.programs[template] = runtime.new_template()
        runtime.port.send(Kind.DECLARE, packed([[number, plan.declared[template] | {"code": source_of_main()}]]))
    return number


def lacks_program(definition: TaskDefinition) -> bool:
    """Tell whether a task of a module is called in a program, of which a worker may know nothing."""
    return definition.module not in {_MAIN, ALIAS} and not goes_by_value(definition) and bool(source_of_main())


def goes_by_value(definition: TaskDefinition) -> bool:
    """Tell whether a worker can have the function by value only: it is defined in a function, a notebook, or a text."""
    if "<locals>" in definition.qualname or definition.qualname == "<lambda>":
        return True
    if definition.module in {_MAIN, ALIAS} and _file_of(definition.function)[:1] == "<":  # by exec: in no file
        return True
    return definition.module in {_MAIN, ALIAS} and not source_of_main()


def _file_of(function: Any) -> str:
    return getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", "")


def _seen_by(function: Any, done: set[int]) -> Iterator[Any]:
    """Yield what a function reads of the names around it, and what the functions among that do."""
    function = getattr(function, "__wrapped__", function)
    code, around = getattr(function, "__code__", None), getattr(function, "__globals__", None)
    if code is None or around is None or id(function) in done:
        return
    done.add(id(function))
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != _EMPTY]
    for value in (*[around[name] for name in _names(code) if name in around], *cells):
        yield value
        if getattr(value, "__module__", None) in {_MAIN, ALIAS}:
            yield from _seen_by(value, done)


def _names(code: Any) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if hasattr(inner, "co_names"):
            yield from _names(inner)


def code_of(definition: TaskDefinition) -> bytes:
    """Give what a worker needs to have the function: nothing, the source of the program, or the function by value.

    Raises:
        RuntimeError: it can only go by value, and there is no cloudpickle for that.
    """
    if not goes_by_value(definition):
        return source_of_main() if definition.module in {_MAIN, ALIAS} else b""
    try:
        import cloudpickle
    except ModuleNotFoundError:
        words = f"{definition.label} is defined where no worker finds it: put it into a module, or install cloudpickle"
        raise RuntimeError(words) from None
    code: bytes = cloudpickle.dumps(definition, 5)
    return code


def source_of_main() -> bytes:
    """Give the source of the program, with its file and its arguments in a last line; nothing where there is none."""
    file = getattr(sys.modules.get(_MAIN), "__file__", None)
    source = "".join(linecache.getlines(file)).encode() if file else b""
    return source and source + _TOLD + json.dumps({"file": file, "argv": list(map(str, sys.argv))}).encode() + b"\n"
