"""Commands that tasks run: how their line is made, who allows them, and how they are run and ended.

Law: a command is a list of arguments and never goes through a shell.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from agentd.api.decorators.errors import CommandFailed, Unavailable
from agentd.api.decorators.expressions import from_environment
from agentd.api.tasks.definition import Content, Direction, Parameter, StandardStream, TaskDefinition
from agentd.api.tasks.runtime import PORT

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_VARIABLES = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_GRACE_S = 2.0
"""Between asking a command to end and ending it; chosen."""
ANY = "*"
"""On the operator's list: every command."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command as a decorator says it, before a call fills it in."""

    binary: str
    args: str | None = None
    """Arguments with `{{parameter}}` in them; None: the call's arguments in order."""
    working_dir: str = ""
    fails_by_exit_value: bool = True

    def filled(self, definition: TaskDefinition, arguments: Mapping[str, Any]) -> list[str]:
        """Make the command line of one call, its first element a path that may be run.

        Raises:
            Unavailable: it is not here, or not allowed.
        """
        binary = expanded(substituted(self.binary, arguments))
        return [allowed_path(binary), *self.arguments(definition, arguments)]

    def arguments(self, definition: TaskDefinition, arguments: Mapping[str, Any]) -> list[str]:
        """Make what follows the command's name."""
        if self.args is not None:
            return [expanded(substituted(word, arguments)) for word in shlex.split(self.args)]
        line: list[str] = []
        for name, value in arguments.items():
            parameter = definition.parameters.get(name, Parameter())
            if value is None or parameter.stream or name in {"self", "cls"}:
                continue
            line.extend(parameter.prefix + text for text in _texts(value))
        return line

    def run(self, line: list[str], definition: TaskDefinition, arguments: Mapping[str, Any], **more: str) -> int:
        """Run it, standard streams from and to the files that the task's parameters name; gives its exit code.

        `more` is what its environment has besides that of this process.

        Raises:
            CommandFailed: it ended with another code than 0, and that counts as a failure.
        """
        folder = expanded(substituted(self.working_dir, arguments)) or None
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as files:
            streams = _streams(definition, arguments, files)
            code = _run(line, folder, streams, {**os.environ, **more} if more else None)
        if code and self.fails_by_exit_value:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise CommandFailed(f"{shlex.join(line)} {how}, on {agent()}", code)
        return code


def _texts(value: Any) -> Iterator[str]:
    """Give the texts of one argument: one, or those of its elements, or of its keys and values."""
    if isinstance(value, list | tuple):
        for element in value:
            yield from _texts(element)
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _texts(pair)
    elif value is not None:
        yield text_of(value)


def text_of(value: Any) -> str:
    """Write a value as commands are given it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return " ".join(map(text_of, value))
    return os.fsdecode(value) if isinstance(value, bytes | os.PathLike) else str(value)


def substituted(text: str, arguments: Mapping[str, Any]) -> str:
    """Put a call's arguments in for `{{parameter}}`.

    Raises:
        Unavailable: there is no such parameter.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in arguments:
            return text_of(arguments[name])
        inner = next((rest[name] for rest in arguments.values() if isinstance(rest, dict) and name in rest), None)
        if inner is None:
            raise Unavailable(f"{text!r} speaks of {found[0]}; the call's arguments are {', '.join(arguments)}")
        return text_of(inner)

    return PLACEHOLDER.sub(value, text)


def expanded(text: str) -> str:
    """Put environment variables in for `$NAME` and `${NAME}`; one that is not set stays as it is written."""
    return _VARIABLES.sub(lambda found: from_environment(found[1] or found[2]) or found[0], text)


def agent() -> str:
    """Name the agent whose worker this is, for messages."""
    name = getattr(sys.modules.get(PORT), "agent", "")
    return f"agent {name}" if name else "this device"


def allowed_path(binary: str) -> str:
    """Give the path of a command that is here and may be run.

    Raises:
        Unavailable: it is not here, or the operator's list has it not.
    """
    if not binary:
        raise Unavailable("the name of the command is empty")
    path = shutil.which(binary)
    if path is None:
        raise Unavailable(
            f"{binary} is not on {agent()}: install it there, or constrain the task to agents that have it"
        )
    port = sys.modules.get(PORT)
    if port is None:  # a plain program runs what its user may run
        return path
    operators: tuple[str, ...] = tuple(getattr(port, "allow_binary", ()))
    if ANY in operators or binary in operators or _real(path) in {_real(shutil.which(one) or one) for one in operators}:
        return path
    raise Unavailable(
        f"{agent()} may not run {binary}: start it with --allow-binary {path}, or with --allow-binary '*' for all"
    )


def _real(path: str) -> str:
    return str(Path(path).resolve())


def _streams(
    definition: TaskDefinition, arguments: Mapping[str, Any], files: contextlib.ExitStack
) -> dict[str, IO[bytes]]:
    found: dict[str, IO[bytes]] = {}
    for name, parameter in definition.parameters.items():
        path = arguments.get(name)
        if not parameter.stream or parameter.content is not Content.FILE or path is None:
            continue
        written = "wb" if parameter.direction is Direction.OUT else "ab"
        mode = "rb" if parameter.stream is StandardStream.STDIN else written
        file = files.enter_context(Path(path).open(mode))  # noqa: SIM115 - the stack closes it
        found[parameter.stream.name.lower()] = file
    return found


def _run(line: list[str], folder: str | None, streams: Mapping[str, IO[bytes]], env: dict[str, str] | None) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    inputs = streams.get("stdin", subprocess.DEVNULL)
    with subprocess.Popen(
        line, cwd=folder, env=env, stdin=inputs, stdout=streams.get("stdout"), stderr=streams.get("stderr")
    ) as process:
        try:
            return process.wait()
        except BaseException:  # the task is cancelled, or ran too long
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            process.kill()
            raise
