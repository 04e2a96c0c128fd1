"""The life of a worker: take a task from the line, run it, put its result out; again."""

from __future__ import annotations

import gc
import json
import os
import sys
import types
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from .. import protocol
from ..page import ERR_START, INTERRUPTED, OUT_START, RUNNING, STARTED, TIMED_OUT, Page
from ..protocol import COUNT, NUMBER, RUN_HEAD, RUN_ROW, SIZED, Kind, ProtocolError, frame
from .callees import DIRECT, INSTEAD, TASK, Callee, Declared, read_template
from .direct import DirectLines
from .executions import Executions
from .failures import CANCELLED, DONE, FAILED, Failure, Reason, failure_of
from .functions import Finder
from .interrupts import Guard
from .kept import Kept
from .link import Link
from .port import TaskPort
from .results import Outbox
from .shared import SegmentMap, SegmentPool
from .sources import Sources
from .surroundings import CpuLimit, TaskVariable, Units
from .values import Encoded, Reader, Writer, read_inputs, read_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = tuple[int, int, int, Any, Any, Any, int, float]
"""A task that waits: id, template, codec, encoded bytes, parts (or None), inputs (or None), number of versions made,
seconds for which its result may be held back.

An input is (codec, encoded bytes, parts).
"""
_seek, _END = os.lseek, os.SEEK_END
_EXPOSED = "_agentd_worker_task"
"""Name of the module by which the programming model finds the worker."""
_NO_VALUE: Encoded = (0, b"", None)
_MADE: Encoded = (0, b"", [])
"""Stands for what the task made, which its execution has."""
_TASKS = (TASK, INSTEAD)
_PATIENCE_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""How long to wait for work before memory is tidied: soon at first, then ever more seldom."""
_IDLE_SEGMENT_S = 10.0
"""A segment that was not needed for so long is given up; chosen."""


class Worker:
    """One process that runs users' code, one task at a time, in the order given, in its main thread."""

    def __init__(self, number: int, link: Link, tokens: int, page: Page, config: dict[str, Any]) -> None:
        self._link = link
        self._tokens = tokens
        self._words = page.words
        self._seconds = page.seconds
        self._line: deque[Row] = deque()
        self._stopping = False
        self._is_fork = False
        self._declared: dict[int, Declared] = {}
        self._callees: dict[int, Callee] = {}
        self._guard = Guard(page)
        released: deque[int] = deque()
        self._outbox = Outbox(link, released)
        self._segments = SegmentMap(released.append)
        self._pool = SegmentPool(
            self._announce,
            self._withdraw,
            idle_limit_bytes=config["idle_segment_bytes"],
            total_limit_bytes=config["segment_bytes"],
        )
        self._reader = Reader(self._segments, released.append)
        self._port = TaskPort(number, self._words, link, self._guard, self._outbox, config)
        names = os.path.join(self._port.files, f"{number}-") if self._port.files else ""
        self._writer = Writer(self._pool, config["segment_threshold_bytes"], self._guard, self._catch_up, names)
        self._port.join(self._reader, self._writer, self._pool, self._receive, self._run_stacked)
        self._families = self._port.families
        self._executions = Executions(self._port, self._words)
        self._kept = Kept()
        self._depth = 0
        """How many tasks run on top of another that waits."""
        self._finder = Finder(config["roots"], config["allow"], config["own_folder"])
        self._sources = Sources(self._finder.is_users)
        self._cpu_limit = CpuLimit(config["cpu_seconds"]) if config["cpu_seconds"] else None
        self._direct = self._make_direct()
        self._units = Units(config["hostname"], pins=config["pin_cpus"])
        self._place = {
            "agent": config["hostname"],
            "allow_binary": tuple(config["allow_binary"]),
            "services": config["services"],
            "storage": tuple(config["storage"]),
        }
        self._variable = TaskVariable()
        self._flush_out, self._flush_err = sys.stdout.flush, sys.stderr.flush
        self._out_end = self._err_end = 0
        self._on_frame = {
            Kind.RUN: self._on_run,
            Kind.TEMPLATE: self._on_template,
            Kind.REVOKE: self._on_revoke,
            Kind.BIND: self._on_bind,
            Kind.MAP: self._on_map,
            Kind.UNMAP: self._on_unmap,
            Kind.FREE: self._on_free,
            Kind.FILE: self._on_file,
            Kind.STOP: self._on_stop,
            Kind.RESUME: self._port.on_resume,
            Kind.STACK: self._on_stack,
            Kind.LINE: self._on_line,
        }

    def _make_direct(self) -> DirectLines:
        return DirectLines(
            self._words,
            self._guard,
            self._finder,
            self._writer,
            self._port,
            self._known_callee,
            self._end_family,
            self._cpu_limit,
            self._link,
        )

    # --- the line -----------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Run tasks until the daemon says stop.

        Raises:
            EOFError: the daemon is gone.
        """
        os.register_at_fork(after_in_child=self._forked)
        self._guard.install()
        self._expose()
        self._link.send(frame(Kind.HELLO, NUMBER.pack(os.getpid())))
        line, tokens, take_token, guard = self._line, self._tokens, os.eventfd_read, self._guard
        while (line or not self._stopping) and not guard.has_cut_import:
            if line:
                try:
                    take_token(tokens)
                except BlockingIOError:
                    self._rest()  # what is left of the line was taken back: a REVOKE frame is on its way
                else:
                    self._run(line.popleft())
            else:
                self._await_work()
        self._outbox.flush()
        if guard.has_cut_import:
            self._link.send(frame(Kind.LEAVES))

    def _await_work(self) -> None:
        """Have nothing to do until there is something; what users have edited meanwhile is loaded anew for it."""
        sources = self._sources
        sources.note()
        self._rest()
        if sources.have_changed():
            sources.forget()
            self._callees.clear()

    def _rest(self) -> None:
        """Send what waits, unless there is more to do at once; then wait for frames."""
        outbox = self._outbox
        if outbox.oldest and not self._port.is_shared and self._link.poll():
            self._receive()
            return
        outbox.flush()
        for patience_s in _PATIENCE_S:
            if not (self._pool.idle_bytes or self._segments.lent) or self._link.poll(patience_s):
                break
            gc.collect()
            self._pool.trim(_IDLE_SEGMENT_S)
            outbox.flush()
        if self._port.is_shared:
            self._port.read()
        else:
            self._receive()

    def _catch_up(self) -> None:
        """Take what has come while a task ran, without waiting."""
        while not self._port.is_shared and self._link.poll():
            self._receive()

    def _receive(self) -> None:
        for kind, body in self._link.receive():
            act = self._on_frame.get(kind)
            if act is None:
                raise ProtocolError(f"a frame of kind {kind} came")
            act(body)

    def _forked(self) -> None:
        """Keep a child that users' code forks away from the daemon: tasks that it calls run in place."""
        sys.modules.pop(_EXPOSED, None)
        self._link.close()
        os.close(self._tokens)
        self._guard.task = 0
        self._is_fork = self._direct.is_fork = True

    def _expose(self) -> None:
        """Let the programming model find out about the task that runs, without importing us by a public name."""
        module = types.ModuleType(_EXPOSED)
        module.cancelled = self._guard.is_cancelled  # type: ignore[attr-defined]
        module.task_id = lambda: self._words[RUNNING]  # type: ignore[attr-defined]
        module.port = self._port  # type: ignore[attr-defined]
        vars(module).update(self._place)
        sys.modules[module.__name__] = module

    # --- one task -----------------------------------------------------------------------------------------------

    def _run(self, row: Row) -> None:
        task, number, inputs = row[0], row[1], row[5]
        if inputs is not None and not self._kept.fill(inputs):
            self._pass_over(row)
            return
        words, outbox = self._words, self._outbox
        callee = self._callees.get(number)
        if outbox.oldest and (callee is None or callee.slow_s > outbox.hold_s):
            outbox.flush()
        if self._cpu_limit is not None:
            self._cpu_limit.renew()
        self._variable.set(task)
        failure: Failure | None = None
        status = DONE
        self._seconds[STARTED] = started = monotonic()
        words[RUNNING] = task
        try:
            encoded = self._perform(row, callee)
        except BaseException as error:  # noqa: BLE001 - users' code runs here
            self._guard.task = 0
            self._writer.take_back()
            encoded, status, failure = _NO_VALUE, FAILED, failure_of(error)
            self._clear(row)
        if self._is_fork:
            self._end_fork()
        seconds = monotonic() - started
        made = None
        if encoded is _MADE:
            made, failure = self._executions.take()
        if words[INTERRUPTED] == task and not self._is_forgiven(made):
            self._writer.take_back()
            encoded, status, failure = self._interrupted(failure)
            made = None
        elif made and failure is None and not self._executions.has_asked:
            self._kept.keep(task, made)
        if callee is None:
            callee = self._callees.get(number)
        if callee is not None:
            callee.learn(seconds)
        written = None if self._depth else self._output()
        words[RUNNING] = 0
        outbox.add(task, status, encoded, failure, started, seconds, row[7], written, made)
        if encoded[2] is not None:
            self._writer.keep()

    def _pass_over(self, row: Row) -> None:
        """Do not start a task that reads what is not kept here: the agent knows more."""
        self._reader.discard(row[4] or ())
        self._discard(row[5])
        self._outbox.flush()
        self._link.send(frame(Kind.PASSED, NUMBER.pack(row[0])))

    def _is_forgiven(self, made: list[Encoded] | None) -> bool:
        return made is not None and self._executions.was_forgiven

    def _perform(self, row: Row, callee: Callee | None) -> Encoded:
        """Run users' code: find it, read its arguments, call it, write its result."""
        task, number, codec, data, parts, inputs, _, _ = row
        guard = self._guard
        try:
            buffers: Sequence[memoryview] = ()
            if parts:
                if self._declared[number].form == DIRECT:
                    return self._direct.serve(task, parts, data)
                buffers = self._buffers(number, parts)
            guard.task = task
            guard.check(task)
            if callee is None:
                callee = self._callees[number] = Callee(self._declared[number], self._finder)
            if callee.definition is not None:
                self._executions.run(task, callee, data, buffers, inputs)
                return _MADE
            value = callee.call(codec, data, buffers)
            if self._families:
                return self._end_family(task, value, callee)
            return self._writer.encode(value, callee.wants_json)
        finally:
            guard.task = 0

    def _end_family(self, task: int, value: Any, callee: Callee) -> Encoded:
        """Write the result of a task that has asked for tasks, or that runs on top of one that has."""
        family = self._port.family_of(task)
        if family is None:
            return self._writer.encode(value, callee.wants_json)
        encoded = self._writer.encode(family.end(value), callee.wants_json)
        self._port.leave(task)
        return encoded

    def _known_callee(self, declared: Declared) -> Callee | None:
        """Give a function that tasks of this worker call already, with what it remembers from call to call."""
        known = (number for number, one in self._declared.items() if one == declared and number in self._callees)
        number = next(known, None)
        return None if number is None else self._callees[number]

    def _clear(self, row: Row) -> None:
        """Let go what a task that failed had: its family, and its inputs if it did not come to read them."""
        self._port.leave(row[0])
        if row[5] and self._executions.begun != row[0]:
            self._discard(row[5])

    def _buffers(self, number: int, parts: Any) -> list[memoryview]:
        """Give the buffers of a call: a task asked for by another may write into its arguments, without effect."""
        return self._reader.buffers(parts, private=self._declared[number].form in _TASKS)

    def _discard(self, inputs: Any) -> None:
        for _, _, parts in inputs:
            self._reader.discard(parts)

    def _run_stacked(self, row: Row) -> None:
        """Run a task on top of the one that waits, which then waits on."""
        try:
            os.eventfd_read(self._tokens)
        except BlockingIOError:  # it was taken back
            self._reader.discard(row[4] or ())
            self._discard(row[5] or ())
            return
        guard, words, writer, port = self._guard, self._words, self._writer, self._port
        task, started, interruptible = words[RUNNING], self._seconds[STARTED], guard.task
        placed, is_result = writer.placed, port.is_result
        guard.task, writer.placed, port.is_result = 0, [], False
        self._depth += 1
        try:
            self._run(row)
            self._outbox.flush()
        finally:
            self._depth -= 1
            self._seconds[STARTED], words[RUNNING] = started, task
            self._variable.set(task)
            writer.placed, port.is_result, guard.task = placed, is_result, interruptible

    def _interrupted(self, failure: Failure | None) -> tuple[Encoded, int, Failure | None]:
        """End a task that was to be stopped: also if it ended by itself meanwhile."""
        trace = failure.traceback if failure else ""
        if self._words[TIMED_OUT] == self._words[RUNNING]:
            return _NO_VALUE, FAILED, Failure(Reason.TIMED_OUT, "TimedOut", "the task ran longer than it may", trace)
        return _NO_VALUE, CANCELLED, None

    def _end_fork(self) -> None:
        """End a child that users' code forked and that came back from it, as if it were the worker."""
        self._flush_out()
        self._flush_err()
        os._exit(0)

    def _output(self) -> tuple[int, int] | None:
        """Say how much the task wrote to stdout and stderr; None for nothing."""
        try:
            self._flush_out()
            self._flush_err()
            out, err = _seek(1, 0, _END), _seek(2, 0, _END)
        except (OSError, ValueError):  # users' code closed it, or the disk is full
            return None
        if out == self._out_end and err == self._err_end:
            return None
        written = max(0, out - self._out_end), max(0, err - self._err_end)
        self._out_end, self._err_end = out, err
        self._words[OUT_START], self._words[ERR_START] = out, err
        return written

    # --- frames -------------------------------------------------------------------------------------------------

    def _on_run(self, body: memoryview) -> None:
        self._take(body, self._line.append)
        self._outbox.expect(len(self._line))

    def _on_stack(self, body: memoryview) -> None:
        self._take(body, self._port.stacked.append)

    @staticmethod
    def _take(body: memoryview, append: Callable[[Row], None]) -> None:
        count, hold_ms = RUN_HEAD.unpack_from(body)
        position, hold_s = RUN_HEAD.size + count * RUN_ROW.size, hold_ms / 1000
        for task, template, codec, parts, length, inputs, makes in RUN_ROW.iter_unpack(body[RUN_HEAD.size : position]):
            end = position + length
            data = body[position:end]
            position = end
            read = values = None
            if parts:
                read, position = read_parts(body, position, parts)
            if inputs:
                values, position = read_inputs(body, position, inputs)
            append((task, template, codec, data, read, values, makes, hold_s))

    def _on_template(self, body: memoryview) -> None:
        number, declared = read_template(body)
        self._declared[number] = declared

    def _on_revoke(self, body: memoryview) -> None:
        (count,) = COUNT.unpack(body)
        for _ in range(min(count, len(self._line))):
            row = self._line.pop()
            self._reader.discard(row[4] or ())
            self._discard(row[5] or ())
        self._outbox.flush()
        self._link.send(frame(Kind.SETTLED, COUNT.pack(1)))

    def _on_bind(self, body: memoryview) -> None:
        units = json.loads(bytes(body))
        self._units.bind(units["cpus"], units["gpus"])

    def _on_map(self, body: memoryview) -> None:
        number, size = SIZED.unpack(body)
        fd = self._link.claim()
        try:
            self._segments.add(number, fd, size, keeps=True)
        finally:
            os.close(fd)

    def _on_unmap(self, body: memoryview) -> None:
        for number in protocol.numbers(body):
            self._segments.drop(number)

    def _on_free(self, body: memoryview) -> None:
        for number in protocol.numbers(body):
            self._pool.free(number)

    def _on_file(self, body: memoryview) -> None:
        number, size = SIZED.unpack(body)
        self._reader.files.setdefault(number, []).append((self._link.claim(), size))

    def _on_line(self, body: memoryview) -> None:
        (number,) = NUMBER.unpack(body)
        self._direct.sockets[number] = self._link.claim()

    def _on_stop(self, _body: memoryview) -> None:
        self._stopping = True

    # --- own segments -------------------------------------------------------------------------------------------

    def _announce(self, number: int, fd: int, size: int) -> None:
        self._link.send_with(frame(Kind.NEW_SEGMENT, SIZED.pack(number, size)), [fd])

    def _withdraw(self, number: int) -> None:
        self._link.send(frame(Kind.DROPPED, NUMBER.pack(number)))
