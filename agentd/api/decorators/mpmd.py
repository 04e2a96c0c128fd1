"""`@mpmd_mpi`: a task is one MPI run of several programs, each with processes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentd.api.decorators.binary import command_of
from agentd.api.decorators.bodies import counted, nodes_at_call, with_options
from agentd.api.decorators.commands import Command, allowed_path, expanded
from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.making import Words, above_task
from agentd.api.decorators.mpi import spread
from agentd.api.decorators.task import nodes_of
from agentd.api.tasks.definition import TaskDefinition

_WORDS = Words(
    "mpmd_mpi",
    ("runner", "programs"),
    ("working_dir", "processes_per_node", "fail_by_exit_value"),
    {"workingDir": "working_dir", "failByEV": "fail_by_exit_value", "processesPerNode": "processes_per_node"},
)
_PROGRAM = Words("mpmd_mpi: a program", ("binary",), ("processes", "args", "params"))
_BESIDE = ("working_dir", "fail_by_exit_value")
"""What is said once for all programs."""


def mpmd_mpi(*args: Any, **given: Any) -> Any:
    """Have a task be an MPI run of several programs.

    `@mpmd_mpi(runner="mpirun", programs=[{"binary": "sea", "processes": 2}, {"binary": "air", "args": "-n {{n}}"}])`
    runs `mpirun -n 2 sea : -n 1 air -n …`, as Open MPI, MPICH and Intel MPI have it. The task gives the exit code.

    Raises:
        DefinitionError: an argument is missing, unknown or wrong, or there is no task below.
    """
    words = _WORDS.read(args, given)
    programs = words["programs"]
    if not isinstance(programs, list | tuple) or not programs:
        raise DefinitionError(f"@mpmd_mpi: programs is a list of dicts, one for each program, not {programs!r}")
    said = [_program(one) for one in programs]
    beside = {name: words[name] for name in _BESIDE if name in words}

    def change(definition: TaskDefinition) -> TaskDefinition:
        counts = [nodes_of(one.get("processes", 1), definition) for one in said]
        each = nodes_of(words.get("processes_per_node", 1), definition)
        options = {
            "runner": str(words["runner"]),
            "counts": counts,
            "each": each,
            "nodes": nodes_at_call(_sum_of(counts), each),
            "commands": [command_of({"args": "", **one, **beside}, definition, fails=True) for one in said],
            "run": _run,
        }
        return with_options(definition, **options)

    return lambda function: above_task("mpmd_mpi", function, change)


def _program(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise DefinitionError(f"@mpmd_mpi: a program is a dict of binary, processes and args, not {given!r}")
    return _PROGRAM.read((), {str(name): value for name, value in given.items()})


def _sum_of(counts: list[Any]) -> Any:
    if all(isinstance(count, int) for count in counts):
        return sum(counts)
    return lambda arguments: sum(counted(count, arguments, "processes") for count in counts)


def _run(definition: TaskDefinition, arguments: dict[str, Any]) -> int:
    options = definition.options
    if options.get("box") is not None:
        raise DefinitionError(f"task {definition.label}: @container does not go above @mpmd_mpi, only above @mpi")
    commands: list[Command] = options["commands"]
    line: list[str] = []
    for command, given in zip(commands, options["counts"], strict=True):
        count = counted(given, arguments, "processes")
        line += [":"] * bool(line) + ["-n", str(count), *command.filled(definition, arguments)]
    runner = allowed_path(expanded(options["runner"]))
    with spread([runner], counted(options["each"], arguments, "processes_per_node")) as launcher:
        return commands[0].run([*launcher, *line], definition, arguments)
