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
_MAIN = "__main__"


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
    key = repr(constraints)
    number = plan.templates.get(key)
    if number is None:
        number = plan.templates[key] = _declare(runtime, definition, constraints)
    returns = definition.returns
    return number, int(returns(bound)) if callable(returns) else plan.returns


def _declare(runtime: Nested, definition: TaskDefinition, constraints: Mapping[str, Any]) -> int:
    number = runtime.new_template()
    template: dict[str, Any] = {
        "function": f"{definition.module}:{definition.qualname}",
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
        runtime.may_cancel = True
    if definition.module == _MAIN:
        template["code"] = source_of_main()
    runtime.port.send(Kind.DECLARE, packed([[number, template]]))
    return number


def source_of_main() -> bytes:
    """Give the source of the program that runs as `__main__`.

    Raises:
        RuntimeError: it has none, as in an interactive session.
    """
    file = getattr(sys.modules[_MAIN], "__file__", None)
    lines = linecache.getlines(file) if file else []
    if not lines:
        raise RuntimeError("tasks cannot be defined where there is no source: put them into a module of their own")
    return "".join(lines).encode()
