"""Which worker may see which shared memory: descriptors are handed out once, holds follow the tasks."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from agentd.model.values import Codec, Part
from agentd.workers.process import MAX_SEGMENTS
from agentd.workers.protocol import NUMBER, SIZED, Kind, ProtocolError, frame, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentd.core.events import TaskResult
    from agentd.core.tasks.task import Task
    from agentd.model.values import Payload
    from agentd.workers.process import Process
    from agentd.workers.segments import Segments
    from agentd.workers.task_folder import TaskFolder


FILES = frozenset({Codec.FILE, Codec.DIRECTORY})


class Sharing:
    """Translates between the segments of workers and the register of the daemon.

    A task that reads a segment holds it until its worker says that the last view of the value is gone. A result in a
    segment is held once, for the engine, which gives it back with `ReleaseSegments`.
    """

    def __init__(
        self,
        segments: Segments,
        touch: Callable[[Process], None],
        open_stored: Callable[[int], int] | None,
        folder: TaskFolder,
    ) -> None:
        self._folder = folder
        self._segments = segments
        self._touch = touch
        self._open_stored = open_stored

    # --- arguments ----------------------------------------------------------------------------------------------

    def lend(self, process: Process, tasks: Sequence[Task]) -> frozenset[int]:
        """Make the parts of these tasks' arguments, and of what they read, readable in a worker; gives what is gone.

        Numbers of segments are positive in what is given, those of stored objects negative.
        """
        gone: set[int] = set()
        for task in tasks:
            self._lend_payload(process, task.payload, gone)
            for value in task.inputs:
                self._lend_payload(process, value, gone)
        return frozenset(gone)

    def show(self, process: Process, values: Sequence[Payload]) -> frozenset[int]:
        """As `lend`, for values that a running task has waited for."""
        gone: set[int] = set()
        for value in values:
            self._lend_payload(process, value, gone)
        return frozenset(gone)

    def _lend_payload(self, process: Process, payload: Payload, gone: set[int]) -> None:
        if not payload.parts:
            return
        for segment in {part.segment for part in payload.parts if part.segment}:
            if not self._lend_segment(process, segment):
                gone.add(segment)
        for part in payload.parts:
            if part.stored and not self._lend_stored(process, part.stored):
                gone.add(-part.stored)

    def _lend_segment(self, process: Process, segment: int) -> bool:
        if segment not in self._segments:
            return False
        socket = self._segments.take_socket(segment)
        if socket is not None:
            try:
                process.connection.write(frame(Kind.LINE, NUMBER.pack(segment)), (socket,))
            finally:
                os.close(socket)
            return True
        if segment not in process.mapped:
            process.mapped.add(segment)
            body = SIZED.pack(segment, self._segments.size(segment))
            process.connection.write(frame(Kind.MAP, body), (self._segments.fd(segment),))
        self._segments.retain(segment)
        process.holds[segment] += 1
        return True

    def _lend_stored(self, process: Process, stored: int) -> bool:
        if self._open_stored is None:
            return False
        try:
            fd = self._open_stored(stored)
        except OSError:
            return False
        try:
            body = SIZED.pack(stored, os.fstat(fd).st_size)
            process.connection.write(frame(Kind.FILE, body), (fd,))
        finally:
            os.close(fd)
        return True

    def on_released(self, process: Process, body: memoryview) -> None:
        """Some of a worker's tasks have let go what they read."""
        for segment in numbers(body):
            if process.holds[segment] <= 0:
                raise ProtocolError(f"segment {segment} was released, which it did not hold")
            process.holds[segment] -= 1
            if not process.holds[segment]:
                del process.holds[segment]
            self._segments.release(segment)

    # --- results ------------------------------------------------------------------------------------------------

    def on_new(self, process: Process, body: memoryview) -> None:
        """A worker has made a segment."""
        number, size = SIZED.unpack(body)
        fd = process.claim()
        try:
            if number in process.own or len(process.own) >= MAX_SEGMENTS:
                raise ProtocolError(f"segment {number} was made twice, or is one too many")

            def free(_segment: int) -> None:
                process.free(number)
                self._touch(process)

            segment = process.own[number] = self._segments.adopt(fd, size, free, may_be_file=True)
            if self._segments.is_file(segment):
                self._folder.name(process.number, number, segment)
        finally:
            os.close(fd)

    def on_dropped(self, process: Process, body: memoryview) -> None:
        """A worker has given up segments of its own."""
        for number in numbers(body):
            segment = process.own.pop(number, None)
            if segment is None:
                raise ProtocolError(f"segment {number} was given up, which was never made")
            self._segments.disown(segment)

    def adopted(self, process: Process, result: TaskResult) -> TaskResult:
        """Put our numbers in the place of the worker's, and hold each segment once for the engine.

        Raises:
            ProtocolError: it names what is not its own, or what is not there.
        """
        if not result.value.parts and not result.made:
            return result
        made = tuple([self.adopted_value(process, value) for value in result.made])
        return msgspec.structs.replace(result, value=self.adopted_value(process, result.value), made=made)

    def adopted_value(self, process: Process, value: Payload) -> Payload:
        """As `adopted`, for one value.

        Raises:
            ProtocolError: it names what is not its own, or what is not there.
        """
        if not value.parts:
            return value
        parts = tuple([self._part(process, part) for part in value.parts])
        if value.codec not in FILES and any(part.segment and self._segments.is_file(part.segment) for part in parts):
            raise ProtocolError("a result that is no file lies in one")
        for segment in {part.segment for part in parts if part.segment}:
            self._segments.retain(segment)
        return msgspec.structs.replace(value, parts=parts)

    def _part(self, process: Process, part: Part) -> Part:
        if part.stored or part.offset < 0 or part.size < 0:
            raise ProtocolError("a result names an object that a worker cannot have")
        if part.data is not None:
            if part.segment or part.size != len(part.data):
                raise ProtocolError("a result has a part that is in two places")
            return part
        segment = process.own.get(part.segment)
        if segment is None or part.offset + part.size > self._segments.size(segment):
            raise ProtocolError(f"a result lies outside of segment {part.segment}")
        return Part(part.size, None, segment, part.offset)

    # --- deaths -------------------------------------------------------------------------------------------------

    def forget(self, process: Process) -> None:
        """A worker is gone: what it read is released, what it made lives until nobody needs it."""
        for segment, count in process.holds.items():
            for _ in range(count):
                self._segments.release(segment)
        process.holds.clear()
        for segment in process.own.values():
            with suppress(KeyError):
                self._segments.disown(segment)
        process.own.clear()
