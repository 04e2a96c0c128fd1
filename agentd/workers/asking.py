"""What running tasks ask of the agent: frames of a worker into events, and the answers back.

Law: only a task that its worker has and that has not ended can ask, and it can name no memory but its worker's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentd.core import events as e
from agentd.workers.frames import decode_asked, encode_resume
from agentd.workers.protocol import Kind, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.commands import Resume
    from agentd.model.graph import Put, Spawned
    from agentd.workers.process import Process
    from agentd.workers.sharing import Sharing


class Asking:
    """The way of nested tasks between the workers and the engine."""

    def __init__(self, sharing: Sharing, post: Callable[[e.Event], None]) -> None:
        self._sharing = sharing
        self._post = post

    def on_frame(self) -> dict[int, Callable[[Process, memoryview], None]]:
        """Say who answers for which frame."""
        return {
            Kind.DECLARE: self._on_declare,
            Kind.SPAWN: self._on_spawn,
            Kind.PUT: self._on_put,
            Kind.AWAIT: self._on_await,
            Kind.BARRIER: self._on_barrier,
            Kind.RELEASE: self._on_release,
            Kind.CANCEL: self._on_cancel,
            Kind.LIMIT: self._on_limit,
        }

    def resume(self, process: Process, command: Resume) -> None:
        """Let a task go on that waited: what it waited for is readable in its worker from now on."""
        if command.binding is not None:
            process.bind(command.binding)
        gone = self._sharing.show(process, [known.value for known in command.known])
        for piece in encode_resume(command, gone=gone):
            process.connection.write(piece)

    # --- what comes ---------------------------------------------------------------------------------------------

    def _on_declare(self, process: Process, body: memoryview) -> None:
        self._post(e.TemplatesDeclared(-process.number, decode_asked(Kind.DECLARE, body)))

    def _on_spawn(self, process: Process, body: memoryview) -> None:
        parent, tasks = decode_asked(Kind.SPAWN, body)
        self._check(process, parent)
        self._post(e.TasksSpawned(process.number, parent, [self._spawned(process, task) for task in tasks]))

    def _spawned(self, process: Process, task: Spawned) -> Spawned:
        if not task.payload.parts:
            return task
        return msgspec.structs.replace(task, payload=self._sharing.adopted_value(process, task.payload))

    def _on_put(self, process: Process, body: memoryview) -> None:
        parent, values = decode_asked(Kind.PUT, body)
        self._check(process, parent)
        self._post(e.VersionsPut(process.number, parent, [self._put(process, put) for put in values]))

    def _put(self, process: Process, put: Put) -> Put:
        return msgspec.structs.replace(put, value=self._sharing.adopted_value(process, put.value))

    def _on_await(self, process: Process, body: memoryview) -> None:
        parent, token, versions, wants_values = decode_asked(Kind.AWAIT, body)
        self._check(process, parent)
        self._post(e.VersionsAwaited(process.number, parent, token, versions, wants_values))

    def _on_barrier(self, process: Process, body: memoryview) -> None:
        parent, token, group = decode_asked(Kind.BARRIER, body)
        self._check(process, parent)
        self._post(e.TasksAwaited(process.number, parent, token, group))

    def _on_release(self, process: Process, body: memoryview) -> None:
        parent, versions = decode_asked(Kind.RELEASE, body)
        if parent in process.line:  # objects are collected whenever Python wants, also after their task has ended
            self._post(e.VersionsReleased(process.number, parent, versions))

    def _on_cancel(self, process: Process, body: memoryview) -> None:
        parent, group = decode_asked(Kind.CANCEL, body)
        self._check(process, parent)
        self._post(e.GroupCancelled(process.number, parent, group))

    def _on_limit(self, process: Process, body: memoryview) -> None:
        parent, seconds = decode_asked(Kind.LIMIT, body)
        self._check(process, parent)
        self._post(e.LimitSet(process.number, parent, seconds))

    @staticmethod
    def _check(process: Process, parent: int) -> None:
        if parent not in process.line:
            raise ProtocolError(f"task {parent} asked for something, which this worker does not run")
