"""An engine for tasks inside of one process: it takes the real frames, and runs what is ready in an order of a seed."""

from __future__ import annotations

import json
import os
import pickle
import random
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentd.api.tasks.definition import TaskDefinition, definition_of
from agentd.api.tasks.execution import Execution
from agentd.api.tasks.nested import Nested
from agentd.api.tasks.runtime import IN_PLACE, use
from agentd.model.task import Failure, Template
from agentd.model.values import Part, Payload
from agentd.workers.frames import decode_asked
from agentd.workers.inside.failures import failure_of
from agentd.workers.protocol import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.model.graph import Spawned

THERE, FAILED, CANCELLED = range(3)


@dataclass
class Waiting:
    """A task that was asked for and has not run."""

    id: int
    parent: int
    spawned: Spawned


@dataclass
class Version:
    """How a version stands; None for its value until it is there."""

    standing: int = THERE
    value: Payload | None = None
    failure: Failure | None = None


@dataclass
class FakePort:
    """One device, one process: tasks run on top of whoever waits."""

    folder: str
    seed: int = 0
    number: int = 7
    threshold: int = 1024
    ran: list[str] = field(default_factory=list)
    """Names of the tasks that ran, in order."""
    released: list[int] = field(default_factory=list)
    put: list[int] = field(default_factory=list)
    segments: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.shared = os.path.join(self.folder, "shared")
        self.tasks = [1]
        """Ids of what runs, the topmost last."""
        self.families: list[Any] = []
        self.versions: dict[int, Version] = {}
        self.templates: dict[int, Template] = {}
        self.definitions: dict[str, TaskDefinition] = {}
        self.waiting: list[Waiting] = []
        self.groups: dict[tuple[int, int], Failure] = {}
        self._answers: dict[int, list[Any]] = {}
        self._last = 1

    # --- the port -----------------------------------------------------------------------------------------------

    def task(self) -> int:
        return self.tasks[-1]

    def enter(self, family: Any) -> None:
        self.families.append(family)

    def hosts(self) -> int:
        return 1

    def send(self, kind: int, body: bytes) -> None:
        asked = decode_asked(kind, memoryview(body))
        if kind == Kind.DECLARE:
            self.templates.update(dict(asked))
        elif kind == Kind.SPAWN:
            self._spawn(*asked)
        elif kind == Kind.PUT:
            for put in asked[1]:
                self.put.append(put.version)
                self.versions[put.version] = Version(value=put.value)
        elif kind == Kind.RELEASE:
            for version in asked[1]:
                assert version not in self.released, "released twice"
                assert version in self.versions
                self.released.append(version)
        elif kind == Kind.AWAIT:
            self._await(*asked)
        elif kind == Kind.BARRIER:
            self._barrier(*asked)
        elif kind == Kind.CANCEL:
            self._cancel(*asked)

    def wait(self, token: int) -> list[Any]:
        return self._answers.pop(token)

    def encode(self, value: Any) -> Any:
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(value, 5, buffer_callback=buffers.append)
        parts = [self._placed(buffer.raw()) for buffer in buffers]
        return 1, data, parts or None

    def _placed(self, view: memoryview) -> tuple[int, bytes, int, int]:
        if view.nbytes < self.threshold:
            return view.nbytes, bytes(view), 0, 0
        number = len(self.segments) + 1
        self.segments[number] = bytes(view)
        return view.nbytes, b"", number, 0

    def place(self, view: memoryview) -> list[tuple[int, bytes, int, int]]:
        return [self._placed(view)]

    def place_file(self, fd: int, size: int) -> list[tuple[int, bytes, int, int]]:
        return [self._placed(memoryview(os.pread(fd, size, 0)))]

    def pour(self, parts: Any, to: int) -> None:
        for data in self.buffers(parts, writable=False):
            os.write(to, data)

    def look(self, segment: int, offset: int, size: int) -> memoryview:
        return memoryview(self.segments[segment])[offset : offset + size]

    def buffers(self, parts: Any, *, writable: bool) -> list[memoryview]:
        found = [part.data if part.data is not None else self.segments[part.segment] for part in parts]
        return [memoryview(bytearray(data) if writable else data) for data in found]

    def discard(self, parts: Any) -> None:
        """Nothing is held."""

    def link(self, parts: Any, path: str) -> bool:
        return False

    # --- the engine ---------------------------------------------------------------------------------------------

    def _spawn(self, parent: int, tasks: list[Spawned]) -> None:
        assert parent in self.tasks
        for spawned in tasks:
            for version in (*spawned.reads, *spawned.after):
                assert version in self.versions, "a version is read that nobody makes"
                assert version not in self.released, "a version is read that was released"
            for version in spawned.makes:
                assert version not in self.versions
                self.versions[version] = Version(standing=-1)
            self._last += 1
            self.waiting.append(Waiting(self._last, parent, spawned))

    def _await(self, parent: int, token: int, versions: list[int], wants_values: bool) -> None:
        assert parent in self.tasks
        self._run_until(lambda: all(self.versions[version].standing >= 0 for version in versions))
        self._answers[token] = [
            self._row(version) if wants_values else (version, 0, 0, b"", ()) for version in versions
        ]

    def _row(self, version: int) -> tuple[int, int, int, bytes, Any]:
        found = self.versions[version]
        return self._told(version, found.standing, found.value or Payload(), found.failure)

    @staticmethod
    def _told(version: int, standing: int, value: Payload, failure: Failure | None) -> tuple[int, int, int, bytes, Any]:
        if failure is None:
            return version, standing, value.codec, value.data, value.parts
        told = {name: getattr(failure, name) for name in ("reason", "type", "message", "traceback")}
        parts = (Part(len(failure.exception), failure.exception),) if failure.exception else ()
        return version, standing, 2, json.dumps({**told, "agent": "fake", "attempt": 1}).encode(), parts

    def _barrier(self, parent: int, token: int, group: int) -> None:
        def is_over() -> bool:
            return not any(one.parent == parent and (not group or group in one.spawned.groups) for one in self.waiting)

        self._run_until(is_over)
        failure = self.groups.pop((parent, group), None)
        self._answers[token] = [self._told(0, FAILED if failure else THERE, Payload(), failure)]

    def _cancel(self, parent: int, group: int) -> None:
        for one in [one for one in self.waiting if one.parent == parent and (not group or group in one.spawned.groups)]:
            self._end(one, CANCELLED, (), None)

    def _run_until(self, holds: Any) -> None:
        while not holds():
            ready = [one for one in self.waiting if self._is_ready(one.spawned)]
            assert ready, "what is waited for never comes"
            self._run(self.random.choice(ready))

    def _is_ready(self, spawned: Spawned) -> bool:
        return all(self.versions[version].standing >= 0 for version in (*spawned.reads, *spawned.after))

    def _end(self, one: Waiting, standing: int, made: Any, failure: Failure | None) -> None:
        with suppress(ValueError):
            self.waiting.remove(one)
        values = list(made) or [Payload()] * len(one.spawned.makes)
        assert len(values) == len(one.spawned.makes)
        for version, value in zip(one.spawned.makes, values, strict=True):
            self.versions[version] = Version(standing, value, failure)

    def _run(self, one: Waiting) -> None:
        self.waiting.remove(one)
        reads = [self.versions[version] for version in one.spawned.reads]
        after = [self.versions[version] for version in one.spawned.after]
        bad = next((found for found in (*reads, *after) if found.standing != THERE), None)
        if bad is not None:
            self._end(one, CANCELLED, (), bad.failure)
            return
        template = self.templates[one.spawned.template]
        self.ran.append(template.name)
        inputs = [(found.value.codec, found.value.data, found.value.parts) for found in reads if found.value]
        execution = Execution(self, self.definitions[template.function], inputs)
        self.tasks.append(one.id)
        try:
            execution.read(one.spawned.payload.data, self.buffers(one.spawned.payload.parts, writable=True))
            value = execution.run()
            made = execution.made(value, self._family(one.id))
        except Exception as error:  # noqa: BLE001 - users' code runs here
            self._failed(one, execution, template, error)
        else:
            self._end(one, THERE, [self._payload(encoded) for encoded in made], None)
        finally:
            self._finish(one.id)
            execution.close()

    def _failed(self, one: Waiting, execution: Execution, template: Template, error: Exception) -> None:
        found = failure_of(error)
        failure = Failure(found.reason, found.type, found.message, found.traceback, exception=found.exception)
        if getattr(error, "ends_group", False):
            for group in one.spawned.groups:
                self.groups[one.parent, group] = failure
                self._cancel(one.parent, group)
        elif template.on_failure != "IGNORE":
            self.groups.setdefault((one.parent, 0), failure)
            self._end(one, FAILED, (), failure)
            return
        self._end(one, THERE, [self._payload(encoded) for encoded in execution.instead()], None)

    def _finish(self, task: int) -> None:
        """The code of a task has ended: its children end before anybody is told."""
        self._run_until(lambda: not any(one.parent == task for one in self.waiting))
        family = self._family(task)
        if family is not None:
            self.families.remove(family)
            family.leave()
        self.tasks.remove(task)

    def _family(self, task: int) -> Any:
        return next((family for family in self.families if family.task == task), None)

    @staticmethod
    def _payload(encoded: Any) -> Payload:
        codec, data, parts = encoded
        rows = tuple(
            [Part(size, None if segment else bytes(inline), segment, at) for size, inline, segment, at in parts or ()]
        )
        return Payload(codec, data, rows)


@contextmanager
def program(port: FakePort, *functions: Any) -> Iterator[FakePort]:
    """Run what follows as the code of a task whose agent is `port`, which knows these decorated functions."""
    for function in functions:
        definition = definition_of(function)
        assert definition is not None
        port.definitions[f"{definition.module}:{definition.qualname}"] = definition
    runtime = Nested(port, IN_PLACE)
    use(runtime)
    try:
        yield port
        family = port._family(1)
        if family is not None:
            family.end(None)
    finally:
        use(None)
        with suppress(AssertionError):
            port._finish(1)
