"""`@container`: a task's command, or its function, runs in a container of an engine that the device has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.api.decorators.bodies import with_options
from agentd.api.decorators.commands import allowed_path, expanded, substituted
from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.making import Words, above_task
from agentd.api.decorators.ranks import run_ranks
from agentd.api.tasks.definition import Content, Parameter, TaskDefinition

ENGINES = ("DOCKER", "SINGULARITY", "UDOCKER")
_WORDS = Words("container", ("engine", "image"), ("options",))


@dataclass(frozen=True, kw_only=True)
class Container:
    """An image and what runs it."""

    engine: str
    image: str
    options: str = ""

    def line(
        self, inside: list[str], definition: TaskDefinition, arguments: Mapping[str, Any], *folders: str
    ) -> list[str]:
        """Make the command line that runs `inside` in the container, with the folders of the task's files in it.

        Raises:
            Unavailable: the engine is not here, or not allowed.
        """
        engine = allowed_path(self.engine.lower())
        places = sorted({str(Path.cwd()), *folders, *_folders(definition, arguments)})
        image = expanded(substituted(self.image, arguments))
        options = [expanded(word) for word in shlex.split(self.options)]
        if self.engine == "SINGULARITY":
            binds = [word for place in places for word in ("--bind", place)]
            return [engine, "exec", *binds, "--pwd", str(Path.cwd()), *options, image, *inside]
        volumes = [word for place in places for word in ("-v", f"{place}:{place}")]
        return [engine, "run", "--rm", "-i", *volumes, "-w", str(Path.cwd()), *options, image, *inside]


def _folders(definition: TaskDefinition, arguments: Mapping[str, Any]) -> set[str]:
    """Find the folders of a call's files."""
    found: set[str] = set()
    for name, value in arguments.items():
        content = definition.parameters.get(name, Parameter()).content
        if content is Content.FILE and value is not None:
            found.add(str(Path(value).resolve().parent))
        elif content is Content.DIRECTORY and value is not None:
            found.add(str(Path(value).resolve()))
        elif content is Content.FILES and value is not None:
            found.update(str(Path(one).resolve().parent) for one in value)
    return found


def container_of(words: Mapping[str, Any], definition: TaskDefinition) -> Container:
    """Read the words of `@container`.

    Raises:
        DefinitionError: there is no such engine.
    """
    engine = str(words["engine"]).upper()
    if engine not in ENGINES:
        raise DefinitionError(
            f"the engine of task {definition.label} is one of {', '.join(ENGINES)}, not {words['engine']!r}"
        )
    return Container(engine=engine, image=str(words["image"]), options=str(words.get("options") or ""))


def container(*args: Any, **given: Any) -> Any:
    """Run a task in a container: `@container(engine="DOCKER", image="alpine")`, above `@binary`, `@mpi` or `@task`.

    The image of a function's task needs a Python that can import the function's module.

    Raises:
        DefinitionError: an argument is missing, unknown or wrong, or there is no task below.
    """
    words = _WORDS.read(args, given)

    def change(definition: TaskDefinition) -> TaskDefinition:
        box = container_of(words, definition)
        if definition.options.get("run"):
            return with_options(definition, box=box)
        return with_options(definition, box=box, container=_run_function)

    return lambda function: above_task("container", function, change)


def _run_function(definition: TaskDefinition, arguments: dict[str, Any]) -> Any:
    box: Container = definition.options["box"]

    def around(line: list[str], folders: tuple[str, ...]) -> list[str]:
        return box.line(["python3", *line[1:]], definition, arguments, *folders)

    (value,) = run_ranks(definition, arguments, 1, around)
    return value
