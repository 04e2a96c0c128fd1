"""The other ways to do a task, which `@implement` names: the agent takes one of them where the task is placed."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from agentd.api.tasks.definition import definition_of

if TYPE_CHECKING:
    from agentd.api.tasks.definition import TaskDefinition

_known: dict[str, dict[tuple[str, str], TaskDefinition]] = {}
"""Ways by the dotted name of the task that they do, each by its module and qualified name."""
_noting = threading.Lock()


def note(task: str, way: TaskDefinition) -> None:
    """Note a way to do the task of this dotted name, which need not be defined yet."""
    with _noting:
        _known.setdefault(task, {})[way.module, way.qualname] = way


def ways_of(definition: TaskDefinition) -> list[TaskDefinition]:
    """Give the other ways to do a task, as all decorators above them left them, in the order of their definition."""
    if not _known:
        return []
    module, name = definition.module, definition.qualname
    found = dict(_known.get(f"{module}.{name}", {}))
    if module == "__main__":  # the program goes by the name of its file too
        file = getattr(sys.modules.get(module), "__file__", None) or ""
        found.update(_known.get(f"{os.path.splitext(os.path.basename(file))[0]}.{name}", {}))
    return [_latest(way) for way in found.values()]


def _latest(way: TaskDefinition) -> TaskDefinition:
    found: Any = sys.modules.get(way.module)
    for name in way.qualname.split("."):
        found = getattr(found, name, None)
    return definition_of(found) or way.settle()
