"""Runs a task's function in processes of its own: the ranks of an MPI run, or one in a container.

The arguments go to the processes as a file, and what each of them gives comes back as one.
"""

from __future__ import annotations

import pickle
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentd.api.decorators import rank
from agentd.api.decorators.commands import Command
from agentd.api.decorators.errors import CommandFailed, DefinitionError
from agentd.api.tasks.definition import TaskDefinition

Line = Callable[[list[str], tuple[str, ...]], list[str]]
"""Makes the whole command line around that of one process, with the folders that it must see."""


def run_ranks(
    definition: TaskDefinition, arguments: dict[str, Any], count: int, around: Line, *, layouts: Any = None
) -> list[Any]:
    """Call the task's function in `count` processes; gives what each of them returned, in the order of their ranks.

    Raises:
        DefinitionError: the function is part of a script, where other processes cannot find it.
        CommandFailed: the run ended with another code than 0.
        Exception: what a rank's function raised; that of the lowest rank.
    """
    if definition.module == "__main__":
        raise DefinitionError(f"task {definition.label} runs in processes of its own: define it in a module")
    job = {
        "path": [place for place in sys.path if place],
        "module": definition.module,
        "qualname": definition.qualname,
        "varargs": definition.varargs,
        "varkwargs": definition.varkwargs,
        "names": definition.names,
        "arguments": arguments,
        "layouts": layouts or {},
    }
    own = str(Path(rank.__file__).resolve())
    with tempfile.TemporaryDirectory(prefix="agentd-ranks-") as folder:
        (Path(folder) / rank.JOB).write_bytes(pickle.dumps(job, protocol=5))
        line = around([sys.executable, own, folder], (folder, *_folders()))
        command = Command(binary=line[0], fails_by_exit_value=False)
        code = command.run(line, definition, {})
        found = [_result(Path(folder) / f"{rank.RESULT}{number}") for number in range(count)]
    for ok, value in filter(None, found):
        if not ok:
            raise value
    missing = [number for number, one in enumerate(found) if one is None]
    if code or missing:
        shown = shlex.join(line[:6])
        raise CommandFailed(f"{shown} … ended with exit code {code}; no result of ranks {missing}", code or 1)
    return [value for _, value in filter(None, found)]


def _folders() -> tuple[str, ...]:
    return tuple(place for place in sys.path if place and Path(place).is_dir())


def _result(file: Path) -> tuple[bool, Any] | None:
    if not file.exists():
        return None
    found: tuple[bool, Any] = pickle.loads(file.read_bytes())
    return found
