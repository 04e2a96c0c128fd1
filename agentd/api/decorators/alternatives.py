"""`@implement`: several ways to do one task, of which one is taken by the agent that runs it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.making import Words, above_task
from agentd.api.tasks.definition import TaskDefinition
from agentd.api.tasks.places import warn
from agentd.api.tasks.ways import note

_WORDS = Words("implement", ("source_class", "method"), (), {"sourceClass": "source_class", "sourceMethod": "method"})


def implement(*args: Any, **given: Any) -> Callable[[Any], Any]:
    """Mark a task as another way to do `method` of module `source_class`; calls of that one may run this one.

    That task may be defined before or after this one. Called by its own name, this one is a task like any other.

    Raises:
        DefinitionError: an argument is missing or unknown, the module has no such task, or there is no task below.
    """
    words = _WORDS.read(args, given)
    source, method = str(words["source_class"]), str(words["method"])

    def change(definition: TaskDefinition) -> TaskDefinition:
        _check(source, method, definition)
        note(f"{source}.{method}", definition)
        return definition

    return lambda function: above_task("implement", function, change)


def _check(source: str, method: str, definition: TaskDefinition) -> None:
    """Refuse what is certainly wrong, and warn of what cannot be found: it is never chosen then."""
    main = sys.modules.get("__main__")
    stem = Path(getattr(main, "__file__", None) or "").stem
    if source in {definition.module, "__main__", stem, f"{definition.module}.{_above(definition.qualname)}"}:
        return  # being defined at this moment
    found = _found(source)
    if found is None:
        message = f"@implement: there is no module {source}, named by source_class: {definition.label} is never chosen"
        warn(message, UserWarning)
        return
    is_ready = not getattr(getattr(found, "__spec__", None), "_initializing", False)
    if found is not source and is_ready and not hasattr(found, method):
        raise DefinitionError(f"@implement: there is no task {method} in {source}")


def _above(qualname: str) -> str:
    return qualname.rpartition(".")[0]


def _found(source: str) -> Any:
    """Give a module, or a class in one, that is loaded; its name where it could be; None where there is none."""
    if source in sys.modules:
        return sys.modules[source]
    above, _, last = source.rpartition(".")
    if above in sys.modules:
        holder = sys.modules[above]
        is_ready = not getattr(getattr(holder, "__spec__", None), "_initializing", False)
        return getattr(holder, last, None if is_ready else source) or source
    try:
        return source if importlib.util.find_spec(source.partition(".")[0]) else None
    except (ImportError, ValueError):
        return None
