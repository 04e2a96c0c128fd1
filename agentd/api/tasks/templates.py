"""Templates of tasks: declared to the agent once, then named by number."""

from __future__ import annotations

import linecache
import sys
from typing import TYPE_CHECKING, Any

from agentd.api.tasks.messages import packed
from agentd.api.tasks.port import PICKLE, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentd.api.tasks.definition import TaskDefinition
    from agentd.api.tasks.nested import Nested
    from agentd.api.tasks.plans import Plan

_FORM_TASK = 4
"""As `agentd.model.task.Form`."""
_RUNS = 4
"""Executions in all of a task that may be tried again; from PyCOMPSs' documentation of on_failure."""
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
            plan.template = _declare(runtime, definition, definition.constraints)
        return plan.template, plan.returns
    bound = plan.bound(args, kwargs)
    constraints = {name: value(bound) if callable(value) else value for name, value in definition.constraints.items()}
    key = repr(constraints)  # lists among them have no hash
    number = plan.templates.get(key)
    if number is None:
        number = plan.templates[key] = _declare(runtime, definition, constraints)
    returns = definition.returns
    return number, int(returns(bound)) if callable(returns) else plan.returns


def _declare(runtime: Nested, definition: TaskDefinition, constraints: Mapping[str, Any]) -> int:
    number = runtime.new_template()
    module = _MAIN if definition.module == ALIAS else definition.module
    template: dict[str, Any] = {
        "function": f"{module}:{definition.qualname}",
        "form": _FORM_TASK,
        "codec": PICKLE,
        "on_failure": definition.on_failure,
        "name": definition.label,
        "priority": definition.priority,
    }
    if constraints:
        template["constraints"] = dict(constraints)
    if definition.timeout_s:
        template["timeout_s"] = float(definition.timeout_s)
    if definition.on_failure == "RETRY":
        template["max_attempts"] = _RUNS
    if definition.on_failure == "CANCEL_SUCCESSORS":
        runtime.may_cancel = True  # from now on versions are kept for the case that their successors are cancelled
    code = code_of(definition)
    if code:
        template["code"] = code
    runtime.port.send(Kind.DECLARE, packed([[number, template]]))
    return number


def code_of(definition: TaskDefinition) -> bytes:
    """Give what a worker needs to have the function: nothing, the source of the program, or the function by value.

    Raises:
        RuntimeError: it can only go by value, and there is no cloudpickle for that.
    """
    is_inner = "<locals>" in definition.qualname
    if definition.module not in {_MAIN, ALIAS} and not is_inner:
        return b""
    source = b"" if is_inner else source_of_main()
    if source:
        return source
    try:
        import cloudpickle
    except ModuleNotFoundError:
        words = f"{definition.label} is defined where no worker finds it: put it into a module, or install cloudpickle"
        raise RuntimeError(words) from None
    code: bytes = cloudpickle.dumps(definition, 5)
    return code


def source_of_main() -> bytes:
    """Give the source of the program; nothing where there is none, as in a notebook."""
    file = getattr(sys.modules.get(_MAIN), "__file__", None)
    return "".join(linecache.getlines(file)).encode() if file else b""
