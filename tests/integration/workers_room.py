"""A supervisor with real workers for tests: functions are written to a folder, calls are awaited by name."""

from __future__ import annotations

import asyncio
import pickle
import textwrap
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agentd.core.commands import RunTasks
from agentd.core.events import Event, TaskResult, TasksEnded, WorkerLost, WorkerStarted
from agentd.core.tasks.task import HERE, Shape, Task
from agentd.model.task import Failure, Status, Template
from agentd.model.values import Codec, Payload
from agentd.workers.settings import WorkerSettings
from agentd.workers.supervisor import Supervisor
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentd.workers.segments import Segments

    Kind = TypeVar("Kind", bound=Event)

WAIT_S = 60.0
"""How long anything may take before a test is red: generous, as the machine may be busy."""


def arguments(*args: Any, **kwargs: Any) -> Payload:
    """Encode arguments, all of them inline."""
    return Payload(Codec.PICKLE, pickle.dumps((args, kwargs), 5))


def value_of(payload: Payload, segments: Segments | None = None) -> Any:
    """Decode a pickled value; parts in shared memory are copied out."""
    import os

    buffers = []
    for part in payload.parts:
        if part.data is not None:
            buffers.append(part.data)
        else:
            assert segments is not None
            buffers.append(os.pread(segments.fd(part.segment), part.size, part.offset))
    return None if payload.codec == Codec.NONE else pickle.loads(payload.data, buffers=buffers)


class Room:
    """Everything that a test of workers needs; use it as `async with`."""

    def __init__(self, folder: Path, code: str = "", **settings: Any) -> None:
        self.code = folder / "code"
        self.code.mkdir(exist_ok=True)
        (self.code / "functions.py").write_text(textwrap.dedent(code))
        settings = {"roots": (str(self.code),), "environ": {}} | settings
        self.settings = WorkerSettings(log_folder=folder / "log", **settings)
        self.events: list[Event] = []
        self._changed: asyncio.Event
        self.supervisor: Supervisor
        self._tasks = 0
        self._shapes: dict[Template, Shape] = {}

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self.supervisor = Supervisor(asyncio.get_running_loop(), self.settings, self._post)
        await self.supervisor.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.supervisor.close(0.0)

    def _post(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, looking again whenever an event was posted."""
        async with asyncio.timeout(WAIT_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def soon(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that no event tells."""
        async with asyncio.timeout(WAIT_S):
            while not holds():  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.002)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Give the events of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def results(self) -> dict[int, TaskResult]:
        """Give the results by task."""
        return {result.task: result for event in self.of(TasksEnded) for result in event.results}

    async def start_worker(self, worker: int = 1) -> int:
        """Start a worker and wait for it; gives its pid."""
        self.supervisor.start_worker(worker)
        await self.until(lambda: any(event.worker == worker for event in self.of(WorkerStarted)))
        return next(event.pid for event in self.of(WorkerStarted) if event.worker == worker)

    def task(self, function: str, payload: Payload | None = None, **options: Any) -> Task:
        """Make a task of a function in `functions.py`, or of `module:function`."""
        self._tasks += 1
        name = function if ":" in function or "form" in options else f"functions:{function}"
        template = Template(function=name, **options)
        shape = self._shapes.setdefault(template, Shape(len(self._shapes) + 1, template, Capacity()))
        return Task(self._tasks, shape, arguments() if payload is None else payload, HERE, 0)

    def give(self, tasks: list[Task], worker: int = 1, **options: Any) -> list[Task]:
        """Append tasks to a worker's line."""
        self.supervisor.run(RunTasks(worker, tasks, **options))
        self.supervisor.flush()
        return tasks

    async def result(self, task: Task) -> TaskResult:
        """Wait for the end of a task."""
        await self.until(lambda: task.id in self.results())
        return self.results()[task.id]

    async def run(self, function: str, *args: Any, worker: int = 1, **options: Any) -> TaskResult:
        """Run one task and wait for its end."""
        (task,) = self.give([self.task(function, arguments(*args), **options)], worker)
        return await self.result(task)

    async def call(self, function: str, *args: Any, worker: int = 1) -> Any:
        """Run one task that succeeds; gives its value."""
        result = await self.run(function, *args, worker=worker)
        assert result.status == Status.DONE, result.failure
        return value_of(result.value, self.supervisor.segments)

    async def fail(self, function: str, *args: Any, **options: Any) -> Failure:
        """Run one task that fails; gives how."""
        result = await self.run(function, *args, **options)
        assert result.status == Status.FAILED
        assert result.failure is not None
        return result.failure

    async def running(self, task: Task, worker: int = 1) -> None:
        """Wait until a task's code has begun."""
        await self.soon(lambda: (self.supervisor.running(worker) or (0, 0.0))[0] == task.id)

    async def lost(self, worker: int = 1) -> WorkerLost:
        """Wait for the death of a worker."""
        await self.until(lambda: any(event.worker == worker for event in self.of(WorkerLost)))
        return next(event for event in self.of(WorkerLost) if event.worker == worker)
