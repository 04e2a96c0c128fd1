"""`@mpi`: a task is an MPI program, or a function that the ranks of an MPI run call together."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from agentd.api.decorators.binary import command_of
from agentd.api.decorators.bodies import counted, nodes_at_call, with_options
from agentd.api.decorators.commands import Command, allowed_path, expanded, substituted
from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.making import Words, above_task, parameters_of
from agentd.api.decorators.parameters import truth
from agentd.api.decorators.ranks import run_ranks
from agentd.api.decorators.task import nodes_of
from agentd.api.tasks.definition import TaskDefinition

_OPTIONAL = ("binary", "processes", "processes_per_node", "working_dir", "flags", "scale_by_cu", "args")
_RENAMED = {
    "computing_nodes": "processes",
    "computingNodes": "processes",
    "workingDir": "working_dir",
    "failByEV": "fail_by_exit_value",
    "processesPerNode": "processes_per_node",
}
_LAYOUT = "_layout"
_LAYOUT_KEYS = ("block_count", "block_length", "stride")


def mpi(*args: Any, **given: Any) -> Any:
    """Have a task be an MPI run: `@mpi(runner="mpirun", processes=4)`, with `binary` for a program of its own.

    Without `binary` the task's function is called by each rank, and a list of what the ranks give comes back; a list
    that is named by `<parameter>_layout={block_count, block_length, stride}` is shared out among them.

    Raises:
        DefinitionError: an argument is missing, unknown or wrong, or there is no task below.
    """
    layouts = {name.removesuffix(_LAYOUT): value for name, value in given.items() if name.endswith(_LAYOUT)}
    plain = {name: value for name, value in given.items() if not name.endswith(_LAYOUT)}
    words = Words("mpi", ("runner",), (*_OPTIONAL, "fail_by_exit_value"), _RENAMED).read(args, plain)

    def change(definition: TaskDefinition) -> TaskDefinition:
        processes = nodes_of(words.get("processes", 1), definition)
        each = nodes_of(words.get("processes_per_node", 1), definition)
        options: dict[str, Any] = {
            "runner": str(words["runner"]),
            "flags": "" if words.get("flags") in {None, "#"} else str(words["flags"]),
            "processes": processes,
            "nodes": nodes_at_call(processes, each),
            "each": each,
            "scale": truth(words.get("scale_by_cu", False)),
            "layouts": {name: _layout(value, name, definition) for name, value in layouts.items()},
            "run": _run_program if words.get("binary") else _run_function,
        }
        words.setdefault("binary", "")
        options["command"] = command_of(words, definition, fails=True)
        return with_options(definition, **options)

    return lambda function: above_task("mpi", function, change)


def _layout(given: Any, name: str, definition: TaskDefinition) -> dict[str, int]:
    if name not in parameters_of(definition):
        raise DefinitionError(f"@mpi: task {definition.label} has no parameter {name} for {name}{_LAYOUT}")
    if not isinstance(given, Mapping) or any(key not in _LAYOUT_KEYS for key in given):
        raise DefinitionError(f"@mpi: {name}{_LAYOUT} is a dict of {', '.join(_LAYOUT_KEYS)}, not {given!r}")
    return {str(key): int(value) for key, value in given.items()}


def _launcher(definition: TaskDefinition, arguments: Mapping[str, Any]) -> tuple[list[str], int]:
    """Make the beginning of the command line, and tell how many processes there will be."""
    options = definition.options
    count = counted(options["processes"], arguments, "processes")
    if options["scale"]:
        units = definition.constraints.get("computing_units", 1)
        count *= int(units(arguments) if callable(units) else units)
    runner = allowed_path(expanded(options["runner"]))
    flags = [expanded(substituted(word, arguments)) for word in shlex.split(options["flags"])]
    return [runner, *flags, "-n", str(count)], count


@contextlib.contextmanager
def spread(launcher: list[str], each: int) -> Iterator[list[str]]:
    """Give the beginning of the command line with a file of the hosts, where the nodes are on several.

    A line for each process: so Open MPI, MPICH and Intel MPI read it alike (`mpirun(1)`, `-machinefile`).
    """
    names = os.environ.get("COMPSS_HOSTNAMES", "").split(",")
    if len(set(names)) < 2:
        yield launcher
        return
    with tempfile.NamedTemporaryFile("w", prefix="agentd-hosts-", suffix=".txt") as file:
        file.writelines(f"{name}\n" for name in names for _ in range(each))
        file.flush()
        yield [launcher[0], "-machinefile", file.name, *launcher[1:]]


def _run_program(definition: TaskDefinition, arguments: dict[str, Any]) -> int:
    command: Command = definition.options["command"]
    box = definition.options.get("box")
    plain, _ = _launcher(definition, arguments)
    with spread(plain, counted(definition.options["each"], arguments, "processes_per_node")) as launcher:
        if box is None:
            line = [*launcher, *command.filled(definition, arguments)]
        else:
            inside = [command.binary, *command.arguments(definition, arguments)]
            line = [*launcher, *box.line(inside, definition, arguments)]
        return command.run(line, definition, arguments)


def _run_function(definition: TaskDefinition, arguments: dict[str, Any]) -> Any:
    plain, count = _launcher(definition, arguments)
    box = definition.options.get("box")
    with spread(plain, counted(definition.options["each"], arguments, "processes_per_node")) as launcher:

        def around(line: list[str], folders: tuple[str, ...]) -> list[str]:
            if box is None:
                return [*launcher, *line]
            return [*launcher, *box.line(["python3", *line[1:]], definition, arguments, *folders)]

        found = run_ranks(definition, arguments, count, around, layouts=definition.options["layouts"])
    return found if count > 1 or definition.returns != 1 else found[0]
