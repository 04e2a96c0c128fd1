"""Tasks that are commands, and commands before and after tasks: `@binary`, `@prolog`, `@epilog`."""

from __future__ import annotations

from typing import Any

from agentd.api.decorators.bodies import with_options
from agentd.api.decorators.commands import PLACEHOLDER, Command
from agentd.api.decorators.containers import Container, container_of
from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.making import Words, above_task, deprecated, parameters_of
from agentd.api.decorators.parameters import truth
from agentd.api.tasks.definition import TaskDefinition

_RENAMED = {"workingDir": "working_dir", "failByEV": "fail_by_exit_value", "failByExitValue": "fail_by_exit_value"}
_BINARY = Words("binary", ("binary",), ("working_dir", "args", "fail_by_exit_value", "engine", "image"), _RENAMED)
_PROLOG = Words("prolog", ("binary",), ("args", "fail_by_exit_value", "working_dir", "params"), _RENAMED)
_EPILOG = Words("epilog", ("binary",), ("args", "fail_by_exit_value", "working_dir", "params"), _RENAMED)


def command_of(words: dict[str, Any], definition: TaskDefinition, *, fails: bool) -> Command:
    """Make the command that a decorator's words say, for a task.

    Raises:
        DefinitionError: a placeholder names no parameter, or a value is of the wrong kind.
    """
    args = words.get("args", words.get("params"))
    try:
        fails = truth(words.get("fail_by_exit_value", fails))
    except ValueError as error:
        raise DefinitionError(f"fail_by_exit_value above task {definition.label}: {error}") from None
    command = Command(
        binary=str(words["binary"]),
        args=None if args in {None, "#"} else str(args),
        working_dir=_folder(words.get("working_dir")),
        fails_by_exit_value=fails,
    )
    names = parameters_of(definition)
    for text in (command.binary, command.args or "", command.working_dir):
        for found in PLACEHOLDER.finditer(text):
            if found[1] not in names and not definition.varkwargs:
                there = ", ".join(names) or "none"
                raise DefinitionError(
                    f"task {definition.label} has no parameter for {found[0]} in {text!r}: its parameters are {there}"
                )
    return command


def _folder(given: object) -> str:
    text = "" if given is None else str(given)
    return "" if text in {"#", "[unassigned]", "."} else text


def run_binary(definition: TaskDefinition, arguments: dict[str, Any]) -> int:
    """Run a task that is a command; gives its exit code.

    Raises:
        Unavailable: the command is not here, or not allowed.
        CommandFailed: its exit code counts as a failure.
    """
    command: Command = definition.options["command"]
    box: Container | None = definition.options.get("box")
    if box is None:
        return command.run(command.filled(definition, arguments), definition, arguments)
    inside = [command.binary, *command.arguments(definition, arguments)]
    return command.run(box.line(inside, definition, arguments), definition, arguments)


def binary(*args: Any, **given: Any) -> Any:
    """Have a task be a command: `@binary(binary="grep", args="-c {{word}} {{file}}")`.

    Without `args` the call's arguments become the command's, in order; parameters that stand for a standard stream
    redirect it. The task gives the exit code.

    Raises:
        DefinitionError: an argument is missing, unknown or wrong, or there is no task below.
    """
    words = _BINARY.read(args, given)
    engine, image = words.pop("engine", None), words.pop("image", None)

    def change(definition: TaskDefinition) -> TaskDefinition:
        options: dict[str, Any] = {"command": command_of(words, definition, fails=True), "run": run_binary}
        if engine is not None and image is not None:
            deprecated("binary", "engine", "@container(engine=…, image=…) above it")
            options["box"] = container_of({"engine": engine, "image": image}, definition)
        return with_options(definition, **options)

    return lambda function: above_task("binary", function, change)


def _beside(name: str, words: dict[str, Any], *, fails: bool) -> Any:
    """Add a command that runs before or after the task; `fails`: its exit code counts unless told otherwise."""

    def change(definition: TaskDefinition) -> TaskDefinition:
        return with_options(definition, **{name: command_of({"args": "", **words}, definition, fails=fails)})

    return lambda function: above_task(name, function, change)


def prolog(*args: Any, **given: Any) -> Any:
    """Run a command before the task: `@prolog(binary="mkdir", args="-p {{folder}}")`.

    Raises:
        DefinitionError: an argument is missing, unknown or wrong, or there is no task below.
    """
    return _beside("prolog", _PROLOG.read(args, given), fails=True)


def epilog(*args: Any, **given: Any) -> Any:
    """Run a command after the task, if the task did not fail; its own exit code counts only if that is asked for.

    Raises:
        DefinitionError: an argument is missing, unknown or wrong, or there is no task below.
    """
    return _beside("epilog", _EPILOG.read(args, given), fails=False)
