"""`@implement`: several ways to do one task; which one runs is chosen by what the host has, then by how long they take.

Law: an alternative whose demands this agent cannot meet is never chosen while another one's can be met.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from agentd.api.decorators.bodies import perform
from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.making import CALL, Words, above_task, bound, with_options
from agentd.api.tasks.definition import ATTRIBUTE, TaskDefinition, definition_of
from agentd.api.tasks.runtime import PORT, current

_WORDS = Words("implement", ("source_class", "method"), (), {"sourceClass": "source_class", "sourceMethod": "method"})
_lock = threading.Lock()
_known: dict[tuple[str, str], list[TaskDefinition]] = {}
"""Alternatives by the module and the qualified name of the task that they implement."""
_mean_s: dict[tuple[str, str], tuple[int, float]] = {}
"""By module and name of an implementation: runs in this process, and their mean in seconds."""
_ACCELERATORS = ("gpus", "fpgas", "others")


def implement(*args: Any, **given: Any) -> Any:
    """Mark a task as another way to do `method` of module `source_class`; calls of that one may run this one.

    Raises:
        DefinitionError: an argument is missing or unknown, or there is no task below.
    """
    words = _WORDS.read(args, given)
    source = (str(words["source_class"]), str(words["method"]))

    def change(definition: TaskDefinition) -> TaskDefinition:
        with _lock:
            others = _known.setdefault(source, [])
            others[:] = [one for one in others if one.label != definition.label]
            others.append(definition)
        _take_over(source)
        return definition

    return lambda function: above_task("implement", function, change)


def _take_over(source: tuple[str, str]) -> None:
    """Have the task that is implemented choose among its implementations from now on."""
    found = _module(source[0])
    for name in source[1].split("."):
        found = getattr(found, name, None)
    definition = getattr(getattr(found, "__func__", found), ATTRIBUTE, None)
    if not isinstance(definition, TaskDefinition):
        raise DefinitionError(f"@implement: there is no task {source[1]} in {source[0]}, which must be imported before")
    if "source" not in definition.options:
        changed = with_options(definition, choice=_run_fastest, source=source)
        definition.options, definition.body = {CALL: _choose, **changed.options}, functools.partial(perform, definition)


def _module(name: str) -> Any:
    """Find a module by its name, or a class in one; the program itself goes by the name of its file too."""
    main = sys.modules.get("__main__")
    if name not in sys.modules and Path(getattr(main, "__file__", None) or "").stem == name:
        return main
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        above, _, last = name.rpartition(".")
        if not above or not name.startswith(error.name or ""):
            raise DefinitionError(f"@implement: there is no module {error.name}, named by source_class") from None
        return getattr(importlib.import_module(above), last, None)


def implementations(definition: TaskDefinition) -> list[TaskDefinition]:
    """Give all ways to do a task, its own first."""
    source = definition.options.get("source")
    with _lock:
        others = list(_known.get(source, ())) if source else []
    return [definition, *map(_latest, others)]


def _latest(definition: TaskDefinition) -> TaskDefinition:
    """Give an implementation as the decorators above `@implement` left it."""
    found: Any = sys.modules.get(definition.module)
    for name in definition.qualname.split("."):
        found = getattr(found, name, None)
    return definition_of(found) or definition


def fits(constraints: Mapping[str, Any], arguments: Mapping[str, Any]) -> bool:
    """Tell whether this agent has what is demanded; what is not known of it is there."""
    capacity: Mapping[str, Any] = getattr(sys.modules.get(PORT), "capacity", {})
    for name, asked in constraints.items():
        wanted = asked(arguments) if callable(asked) else asked
        here = capacity.get(name)
        if name in _ACCELERATORS:
            if wanted and int(here or 0) < wanted:
                return False
        elif here is None or wanted is None:
            continue
        elif isinstance(wanted, int | float) and not isinstance(wanted, bool):
            if here < wanted:
                return False
        elif isinstance(wanted, str) and here != wanted:
            return False
    return True


def _choose(definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the implementation that suits this agent best: accelerators before none, the task's own before others."""
    runtime = current()
    if runtime.is_in_place:
        return runtime.call(definition, args, kwargs)
    arguments = bound(definition, args, kwargs)
    able = [one for one in implementations(definition) if fits(one.settle().constraints, arguments)]
    return runtime.call(max(able or [definition], key=_accelerators), args, kwargs)


def _accelerators(definition: TaskDefinition) -> int:
    return sum(1 for name in _ACCELERATORS if definition.constraints.get(name))


def _run_fastest(
    definition: TaskDefinition, own: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run one of the implementations that demand the same: each once, then the one that took the least."""
    if PORT not in sys.modules:
        return own()
    alike = [one for one in implementations(definition) if one.settle().constraints == definition.constraints]
    chosen = min(alike, key=lambda one: _mean_s.get((one.module, one.qualname), (0, -1.0))[1])
    started = perf_counter()
    value = own() if chosen is definition else chosen.body(*args, **kwargs)
    _learn((chosen.module, chosen.qualname), perf_counter() - started)
    return value


def _learn(name: tuple[str, str], seconds: float) -> None:
    runs, mean = _mean_s.get(name, (0, 0.0))
    _mean_s[name] = runs + 1, mean + (seconds - mean) / (runs + 1)
