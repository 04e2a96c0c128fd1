"""The port of a worker's tasks to the agent: what they ask leaves here, and waits end here.

It satisfies `Port` of `agentd/api/tasks/port.py`, which this side must not import. Law: frames leave wholly, whatever
interrupts the task; a wait ends when its answer is there, or when its task is to end.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ..page import BROUGHT, HOSTS, RUNNING
from ..protocol import KNOWN_ROW, RESUME_HEAD, frame
from .values import read_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from .interrupts import Guard
    from .link import Link
    from .results import Outbox
    from .shared import SegmentPool
    from .values import Encoded, Reader, Writer

_LOOK_S = 0.1
"""How often a task that waits while one of its threads reads looks whether it is to end."""
_LONG_S = 3600.0
"""How long one look for frames may take; chosen: it is only taken again."""
Row = tuple[int, int, int, Any, Any]
"""Version, standing, codec, encoded bytes, parts."""


class TaskPort:
    """One for each worker; families of tasks come and go on it."""

    def __init__(
        self, number: int, words: memoryview, link: Link, guard: Guard, outbox: Outbox, config: dict[str, Any]
    ) -> None:
        self.number = number
        self.threshold: int = config["segment_threshold_bytes"]
        base: str = config["task_folder"]
        self.files = os.path.join(base, "files") if base else ""
        """Where the agent's large files have names, as in `agentd/workers/task_folder.py`."""
        self.shared = os.path.join(base, "shared") if base else ""
        self._folder = os.path.join(base, str(number)) if base else ""
        self._has_folder = not base
        self.families: list[Any] = []
        """Of the tasks that run here, the topmost last."""
        self.stacked: deque[Any] = deque()
        """Tasks that are to run on top of the one that waits."""
        self.nodes = ""
        """Of the task that began last: the agents that its nodes are on, parted by commas; empty: all are here."""
        self.is_result = False
        """What is encoded is the result of the task on top: it can be taken back until it is sent."""
        self._words = words
        self._link = link
        self._guard = guard
        self._outbox = outbox
        self._reader: Reader
        self._writer: Writer
        self._pool: SegmentPool
        self._receive: Callable[[], None]
        self._run_stacked: Callable[[Any], None]
        self._answers: dict[int, list[Row]] = {}
        self._change = threading.Condition()
        self._is_reading = False
        self.is_shared = False
        """A thread of a task has waited: from then on who reads takes turns."""
        self._main = threading.get_ident()

    def join(
        self,
        reader: Reader,
        writer: Writer,
        pool: SegmentPool,
        receive: Callable[[], None],
        run_stacked: Callable[[Any], None],
    ) -> None:
        """Take the parts of the worker that need the port themselves."""
        self._reader, self._writer, self._pool = reader, writer, pool
        self._receive, self._run_stacked = receive, run_stacked

    @property
    def folder(self) -> str:
        """Where folders of this worker's tasks are made, which go with the worker at the latest."""
        if not self._has_folder:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            self._has_folder = True
        return self._folder

    # --- families -----------------------------------------------------------------------------------------------

    def task(self) -> int:
        """Give the task whose code runs on top."""
        found: int = self._words[RUNNING]
        return found

    def enter(self, family: Any) -> None:
        """Note that the task on top asks for tasks: first the agent must know that those before it have ended."""
        self._flush()
        self.families.append(family)

    def family_of(self, task: int) -> Any:
        """Give the family of a task that runs; None if it asked for nothing."""
        families = self.families
        return families[-1] if families and families[-1].task == task else None

    def leave(self, task: int) -> None:
        """The code of a task has ended."""
        family = self.family_of(task)
        if family is not None:
            self.families.pop()
            family.leave()

    # --- asking -------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send the results of earlier tasks: nobody knows how long this one waits."""
        guard = self._guard
        task, guard.task = guard.task, 0
        self._outbox.flush()
        guard.task = task

    def send(self, kind: int, body: bytes) -> None:
        """Send one frame."""
        if threading.get_ident() != self._main:  # no signal ever interrupts it
            self._link.send(frame(kind, body))
            return
        guard = self._guard
        task, guard.task = guard.task, 0
        try:
            self._link.send(frame(kind, body))
        finally:
            guard.task = task

    def encode(self, value: Any) -> Encoded:
        """Write a value."""
        writer = self._writer
        if self.is_result:
            return writer.encode(value, False)
        before, writer.placed = writer.placed, []
        try:
            return writer.encode(value, False)
        finally:
            writer.placed = before

    def place(self, view: memoryview) -> list[tuple[int, bytes | memoryview, int, int]]:
        """Put bytes into shared memory, or beside the frame."""
        writer = self._writer
        if self.is_result:
            return writer.place(view)
        before, writer.placed = writer.placed, []
        try:
            return writer.place(view)
        finally:
            writer.placed = before

    def place_file(self, fd: int, size: int) -> list[tuple[int, bytes | memoryview, int, int]]:
        """Hand a file over that nobody writes any more."""
        writer = self._writer
        if self.is_result:
            return writer.place_file(fd, size)
        before, writer.placed = writer.placed, []
        try:
            return writer.place_file(fd, size)
        finally:
            writer.placed = before

    def pour(self, parts: Any, to: int) -> None:
        """Write the content of a value that came into a file."""
        self._reader.pour(parts, to)

    def link(self, parts: Any, path: str) -> bool:
        """Give a large file that came a path without a copy, where that can be done; it is not to be written."""
        return bool(self.files) and self._reader.link(parts, path, self.files)

    def look(self, segment: int, offset: int, size: int) -> memoryview:
        """Give what was written into a segment of ours."""
        return self._pool.look(segment, offset, size)

    def buffers(self, parts: Any, *, writable: bool) -> list[memoryview]:
        """Give the buffers of a value that came."""
        return self._reader.buffers(parts, private=writable)

    def discard(self, parts: Any) -> None:
        """Let the buffers of a value go."""
        self._reader.discard(parts)

    def hosts(self) -> int:
        """Tell how many agents can take tasks at the moment, this one among them."""
        found: int = self._words[HOSTS]
        return found

    def brought(self) -> int:
        """Give a number that has grown when other tasks have written for the operation of the task here."""
        found: int = self._words[BROUGHT]
        return found

    # --- waiting ------------------------------------------------------------------------------------------------

    def on_resume(self, body: memoryview) -> None:
        """Take an answer."""
        token, count = RESUME_HEAD.unpack_from(body)
        position = RESUME_HEAD.size + count * KNOWN_ROW.size
        rows: list[Row] = []
        for version, standing, codec, parts, length in KNOWN_ROW.iter_unpack(body[RESUME_HEAD.size : position]):
            data = body[position : position + length]
            read, position = read_parts(body, position + length, parts)
            rows.append((version, standing, codec, data, read))
        self._answers[token] = rows

    def wait(self, token: int) -> list[Row]:
        """Wait for an answer; meanwhile do what the agent wants done on top of the task that waits.

        Raises:
            KeyboardInterrupt: the task is to end.
        """
        if threading.get_ident() != self._main:
            self.is_shared = True
            return self._wait(token, is_main=False)
        guard = self._guard
        interruptible, guard.task = guard.task, 0
        try:
            return self._wait(token, is_main=True)
        finally:
            guard.task = interruptible

    def _wait(self, token: int, *, is_main: bool) -> list[Row]:
        while True:
            while is_main and self.stacked:
                self._run_stacked(self.stacked.popleft())
            if is_main:
                self._outbox.flush()
            with self._change:
                if token in self._answers:
                    return self._answers.pop(token)
                if self._is_reading:
                    self._change.wait(_LOOK_S if is_main else None)
                    if is_main:
                        self._guard.check(self.task())
                    continue
                self._is_reading = True
            try:
                self._read_one(is_main=is_main)
            finally:
                with self._change:
                    self._is_reading = False
                    self._change.notify_all()

    def read(self) -> bool:
        """Read frames once, for the worker itself; False if a thread of the task did it meanwhile."""
        with self._change:
            if self._is_reading:
                self._change.wait()
                return False
            self._is_reading = True
        try:
            self._receive()
        finally:
            with self._change:
                self._is_reading = False
                self._change.notify_all()
        return True

    def _read_one(self, *, is_main: bool) -> None:
        """Wait for bytes and take the frames in them; an interrupt meets the wait, never a frame half read."""
        guard = self._guard
        try:
            if is_main:
                guard.task = self.task()
                guard.check(guard.task)
            while not self._link.poll(_LONG_S):
                continue
        finally:
            if is_main:
                guard.task = 0
        self._receive()
