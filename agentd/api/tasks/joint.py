"""Joint files: files that tasks write side by side, FILE_CONCURRENT.

Consecutive uses of a file without order share one file, in a folder of its own, whose path is the same for all of them:
so locks, appends, and what they put beside it, do what they do among programs of one device. The tasks run on the agent
whose code calls them. Law: whoever uses the file next has it as the last of them left it, and none of them later.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from agentd.api.tasks.definition import ATTRIBUTE, Content, Direction, Parameter, TaskDefinition

if TYPE_CHECKING:
    from collections.abc import Callable


def is_joint(spec: Parameter) -> bool:
    """Tell whether a parameter is a file that tasks write side by side."""
    return spec.content is Content.FILE and spec.direction is Direction.CONCURRENT


def has_joint(definition: TaskDefinition) -> bool:
    """Tell whether a task writes a file side by side with others."""
    return any(map(is_joint, definition.parameters.values()))


def opened(folder: str, name: str, write: Callable[[str], None]) -> tuple[str, bool]:
    """Give the path of a joint file, which the first of those who use it writes; tells whether it was this one.

    Raises:
        OSError: it cannot be written.
    """
    path = os.path.join(folder, name)
    if os.path.isdir(folder):
        return path, False
    above = os.path.dirname(folder)
    os.makedirs(above, 0o700, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix=".", dir=above)
    try:
        write(os.path.join(fresh, name))
        os.rename(fresh, folder)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not os.path.isdir(folder):
            raise  # else another one was first
    return path, True


def gathered(path: str) -> None:
    """Hand in a joint file, when all that wrote it have ended: a task of ours, which has nothing else to do."""
    del path


class Joint:
    """Tasks that write one file side by side."""

    __slots__ = ("folder", "groups", "members", "name")

    def __init__(self, folder: str, name: str) -> None:
        self.folder = folder
        self.name = name
        self.members: list[int] = []
        """A version of each, without a value: it is there when the task has ended."""
        self.groups: tuple[int, ...] = ()
        """Groups of any of them."""


GATHERED = TaskDefinition(
    function=gathered,
    body=gathered,
    module=__name__,
    qualname="gathered",
    names=("path",),
    parameters={"path": Parameter(direction=Direction.OUT, content=Content.FILE)},
    constraints={"computing_units": 0, "is_local": True},
    task_name="file is complete",
)
setattr(gathered, ATTRIBUTE, GATHERED)
