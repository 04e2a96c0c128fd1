"""The processes that run users' code: starts, feeds, watches and ends them; commands in, events out.

Law: whatever was asked of a worker ends in exactly one event, and what a worker had finished is told before its death.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from agentd.comm.carrying.unix import UnixConnection
from agentd.core.events import (
    RevokeSettled,
    TaskResult,
    TasksEnded,
    TasksPassed,
    TasksRevoked,
    WorkerLost,
    WorkerStarted,
)
from agentd.model.errors import ConfigError
from agentd.workers import deaths
from agentd.workers.asking import Asking
from agentd.workers.direct_lines import DirectLines
from agentd.workers.frames import decode_output, decode_results, encode_plain_run, encode_run, encode_template
from agentd.workers.line_calls import LineCalls
from agentd.workers.output import Outputs
from agentd.workers.probing import look_for
from agentd.workers.process import MAX_CLAIMS, Process
from agentd.workers.protocol import COUNT, NUMBER, Kind, ProtocolError, frame, numbers
from agentd.workers.segments import Segments
from agentd.workers.sharing import Sharing
from agentd.workers.spawning import Spawner
from agentd.workers.task_folder import TaskFolder
from agentd.workers.written import Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.commands import InterruptTask, Resume, RevokeTasks, RunTasks
    from agentd.core.events import Event
    from agentd.workers.settings import WorkerSettings

_SHAPE, _INPUTS, _ARGUMENT_PARTS = attrgetter("shape"), attrgetter("inputs"), attrgetter("payload.parts")
_PARTS, _MADE = attrgetter("value.parts"), attrgetter("made")

STATUS_S = 0.08
"""How long the reason of a death is waited for; the death itself is told within 0.1 s."""
REAPED_S = 10.0
"""The same where the process has ended: the reason is on its way (chosen: on any machine only a fault takes longer)."""
STOP_S = 2.0
"""How long an idle worker may take to end by itself."""
HEARD_S = 0.1
"""How soon a task that runs on is sent another SIGINT if the last one did not reach it."""
WATCH_S = 1.0
"""How often the output of running tasks is kept, and held to its limit."""


class Supervisor:
    """Carries out the commands that concern workers, on the running loop, and posts what became of them.

    Nothing here waits but `start`, `probe` and `close`. What is written to workers leaves with `flush`.
    `open_stored(number)` gives a read-only descriptor of an object on the disk, which then is ours, or raises OSError.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: WorkerSettings,
        post: Callable[[Event], None],
        *,
        segments: Segments | None = None,
        open_stored: Callable[[int], int] | None = None,
    ) -> None:
        self._loop = loop
        self._post = post
        self.segments = Segments() if segments is None else segments
        self._outputs = Outputs(loop, settings.log_folder, settings.output_bytes)
        folder = settings.log_folder / "workers"
        base = settings.task_folder or settings.environment().get("TMPDIR", "")
        self._folder = TaskFolder(base, folder / "tasks")
        self._settings = settings = replace(settings, task_folder=self._folder.path)
        self._spawner = Spawner(loop, settings, folder / "spawner.err", self._on_exit)
        self._processes: dict[int, Process] = {}
        self.output = Written(self._outputs, self._processes)
        """What users' code wrote."""
        self._dirty: set[Process] = set()
        self._flush_is_due = False
        self.hosts: Callable[[], int] = lambda: 1
        """Counts the agents that can take tasks, this one among them; the daemon joins it."""
        self._hosts_told = 1
        self.lines = DirectLines()
        """The workers that serve a session directly."""
        self._sharing = Sharing(self.segments, self._touch, open_stored, self._folder)
        self._asking = Asking(self._sharing, post)
        self.segments.on_gone(self._on_segment_gone)
        self.segments.on_gone(self._folder.forget)
        self._oom = deaths.OutOfMemoryCount()
        self._watch: asyncio.TimerHandle | None = None
        self._all_lost: asyncio.Future[None] | None = None
        self._on_frame: dict[int, Callable[[Process, memoryview], None]] = {
            Kind.RESULTS: self._on_results,
            Kind.OUTPUT: self._on_output,
            Kind.SETTLED: self._on_settled,
            Kind.HELLO: self._on_hello,
            Kind.PASSED: self._on_passed,
            Kind.LEAVES: self._on_leaves,
            Kind.NEW_SEGMENT: self._sharing.on_new,
            Kind.DROPPED: self._sharing.on_dropped,
            Kind.RELEASED: self._sharing.on_released,
            **self._asking.on_frame(),
            **LineCalls(self._sharing, post).on_frame(),
        }

    # --- commands -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process that forks workers.

        Raises:
            ConfigError: the interpreter cannot be used; the message says why.
        """
        self._spawner.start()
        await self._spawner.wait_ready()

    def start_worker(self, worker: int) -> None:
        """Fork a worker; ends in `WorkerStarted` or `WorkerLost`."""
        try:
            process = Process(worker, self._outputs.open(worker))
        except OSError as error:
            failure = deaths.failure_of_loss(f"no worker can be made: {error}")
            self._loop.call_soon(self._post, WorkerLost(worker, failure))
            return
        here, there = socket.socketpair()
        process.connection = UnixConnection(
            self._loop,
            here,
            partial(self._on_bytes, process),
            lambda reason: self._on_closed(process, reason),
        )
        self._processes[worker] = process
        process.tell_hosts(self._hosts_told)
        try:
            self._spawner.fork(worker, process.descriptors(there))
        except (ConfigError, OSError) as error:
            process.complaint = deaths.failure_of_loss(str(error))
            process.status = 0
            self._loop.call_soon(process.connection.close)
        finally:
            there.close()

    def run(self, command: RunTasks) -> None:
        """Append tasks to a worker's line. A worker that is gone is ignored: its loss answers for them."""
        process = self._processes.get(command.worker)
        if process is None or process.is_closed:
            return
        write = process.connection.write
        if command.binding is not None:
            process.bind(command.binding)
        if process.marked:
            process.unmark([task.id for task in command.tasks])
        if self._outputs.kept:
            self.output.mark(command.tasks)
        known = process.templates
        for shape in set(map(_SHAPE, command.tasks)):
            if shape.number not in known:
                known.add(shape.number)
                write(encode_template(shape.number, shape.template))
        kind, hold_ms = Kind.STACK if command.on_top else Kind.RUN, command.hold_ms
        if any(map(_ARGUMENT_PARTS, command.tasks)) or any(map(_INPUTS, command.tasks)):
            gone = self._sharing.lend(process, command.tasks)
            self.lines.note(process, command.tasks[0])
            pieces = encode_run(command.tasks, gone=gone, kind=kind, hold_ms=hold_ms)
        else:
            pieces = encode_plain_run(command.tasks, kind, hold_ms=hold_ms)
        for piece in pieces:
            write(piece)
        process.stacked += command.on_top
        process.append(command.tasks)
        self._dirty.add(process)
        if self._watch is None:
            self._watch = self._loop.call_later(WATCH_S, self._watch_output)

    def resume(self, command: Resume) -> None:
        """Let a task go on that waited. A worker that is gone is ignored: its loss answers for the task."""
        process = self._processes.get(command.worker)
        if process is not None and not process.is_closed:
            self._asking.resume(process, command)
            self._dirty.add(process)

    def revoke(self, command: RevokeTasks) -> None:
        """Take back what has not started from the end of a worker's line."""
        process = self._processes.get(command.worker)
        if process is None or process.is_closed:
            return
        count = process.take_back(command.count)
        if count:
            process.revoke(count)
            self._dirty.add(process)
        process.owed += 1
        self._post(TasksRevoked(command.worker, count))
        self._settle(process)

    def interrupt(self, command: InterruptTask) -> None:
        """Stop a task: by the flag, by SIGINT, by SIGKILL. One that has ended already is left alone."""
        process, task = self._processes.get(command.worker), command.task
        if process is None or process.is_closed or task not in process.line:
            return
        if command.level == 0:
            process.ask_to_end(task)
            return
        process.mark_interrupted(task, timed_out=command.timed_out)
        running = process.running()
        if running is None or running[0] != task:
            return  # it has not started and will not; or it has just ended
        if command.level == 1:
            self._send_sigint(process, task, process.heard_at())
        else:
            process.killed = task, command.timed_out
            self._spawner.signal(process.number, signal.SIGKILL)

    def _send_sigint(self, process: Process, task: int, last_heard: float) -> None:
        """Send it until it is heard: one that finds the interpreter on its way into a system call is lost."""
        if not process.is_closed and process.is_deaf(task, last_heard):
            self._spawner.signal(process.number, signal.SIGINT)
            self._loop.call_later(HEARD_S, self._send_sigint, process, task, last_heard)

    def stop_worker(self, worker: int, *, at_once: bool = False) -> None:
        """End a worker when its line is empty, or at once; it is killed if it does not go. Ends in `WorkerLost`."""
        process = self._processes.get(worker)
        if process is None or process.is_closed:
            return
        process.is_stopping = True
        if at_once:
            self._kill(process)
            return
        process.connection.write(frame(Kind.STOP))
        process.connection.flush()
        if not process.line:
            self._loop.call_later(STOP_S, self._kill, process)

    def flush(self) -> None:
        """Send what was written to workers: at most one write for each."""
        count = self.hosts()
        if count != self._hosts_told:
            self._hosts_told = count
            for process in self._processes.values():
                process.tell_hosts(count)
        for process in self._dirty:
            process.connection.flush()
        self._dirty.clear()
        self.lines.look()

    # --- questions ----------------------------------------------------------------------------------------------

    def running(self, worker: int) -> tuple[int, float] | None:
        """Give the task that a worker really runs, and since when on the monotonic clock; None between tasks."""
        process = self._processes.get(worker)
        return None if process is None or process.is_closed else process.running()

    def pids(self) -> dict[int, int]:
        """Give the pid of each worker that has said hello; the spawner's under 0."""
        pids = {process.number: process.pid for process in self._processes.values() if process.pid}
        if self._spawner.pid is not None:
            pids[0] = self._spawner.pid
        return pids

    async def probe(self, function: str) -> str | None:
        """Look for a function by importing its module, in a process of its own; gives why it cannot be called."""
        return await look_for(self._loop, self._spawner, function, limit_s=self._settings.probe_s)

    async def close(self, grace_s: float) -> None:
        """End all workers: what runs may go on for the grace, then everything is killed."""
        self._all_lost = self._loop.create_future()
        for process in list(self._processes.values()):
            self.stop_worker(process.number)
        for last_s, is_last in ((grace_s, False), (STOP_S, True)):
            if not self._processes:
                break
            await asyncio.wait([self._all_lost], timeout=last_s)
            for process in list(self._processes.values()):
                if is_last or process.line:  # an idle one does what users' code has for its end, whatever the grace is
                    self._kill(process)
        await self._spawner.close(STOP_S)
        for process in list(self._processes.values()):
            process.connection.close()
            self._lose(process)
        if self._watch is not None:
            self._watch.cancel()
        self._outputs.close()
        self._folder.close()

    # --- what workers send --------------------------------------------------------------------------------------

    def _on_bytes(self, process: Process, data: bytes, fds: list[int]) -> None:
        if fds:
            process.fds.extend(fds)
        try:
            for kind, body in process.reader.feed(data):
                act = self._on_frame.get(kind)
                if act is None:
                    raise ProtocolError(f"a frame of kind {kind} came")
                act(process, body)
            if fds and len(process.fds) > MAX_CLAIMS:
                raise ProtocolError(f"{len(process.fds)} descriptors came without a frame")
        except (ProtocolError, struct.error, ValueError, OSError) as error:
            process.complaint = deaths.failure_of_loss(f"the worker broke the protocol and was killed: {error}")
            self._spawner.signal(process.number, signal.SIGKILL)
            process.connection.close()

    def _on_results(self, process: Process, body: memoryview) -> None:
        results: list[TaskResult] = [*decode_results(body)]
        if process.stacked:
            for result in results:
                process.end_task(result.task)
        else:
            process.end_tasks([result.task for result in results])
        if process.outputs or self.output.on_ended is not None:
            self.output.keep(process, results)
        if any(map(_PARTS, results)) or any(map(_MADE, results)):
            results = [self._sharing.adopted(process, result) for result in results]
        self._post(TasksEnded(process.number, results))

    def _on_output(self, process: Process, body: memoryview) -> None:
        for task, out, err in decode_output(body):
            if task in process.line:
                process.outputs[task] = out, err

    def _on_passed(self, process: Process, body: memoryview) -> None:
        passed = numbers(body)
        for task in passed:
            process.end_task(task)
        self._post(TasksPassed(process.number, passed))

    def _on_settled(self, process: Process, body: memoryview) -> None:
        (count,) = COUNT.unpack(body)
        if count > process.unsettled:
            raise ProtocolError(f"{count} revocations are said to be settled, {process.unsettled} were asked for")
        process.unsettled -= count
        self._settle(process)

    def _settle(self, process: Process) -> None:
        """Tell that tasks may be added again, once no revocation is open."""
        while process.owed and not process.unsettled:
            process.owed -= 1
            self._post(RevokeSettled(process.number))

    def _on_hello(self, process: Process, body: memoryview) -> None:
        if process.pid:
            raise ProtocolError("it said hello twice")
        (process.pid,) = NUMBER.unpack(body)
        self._post(WorkerStarted(process.number, process.pid))

    def _on_leaves(self, process: Process, _body: memoryview) -> None:
        """It ends by itself; what it was given meanwhile comes back with its loss, for which nobody is blamed."""
        process.is_stopping = True
        self._loop.call_later(STOP_S, self._kill, process)

    # --- shared memory ------------------------------------------------------------------------------------------

    def _touch(self, process: Process) -> None:
        """Have what was written leave in this turn of the loop, also if nothing calls `flush`."""
        self._dirty.add(process)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._flush_is_due = False
        self.flush()

    def _on_segment_gone(self, segment: int) -> None:
        for process in self._processes.values():
            if segment in process.mapped:
                process.mapped.discard(segment)
                process.connection.write(frame(Kind.UNMAP, NUMBER.pack(segment)))
                self._touch(process)

    # --- deaths -------------------------------------------------------------------------------------------------

    def _on_exit(self, worker: int, status: int) -> None:
        process = self._processes.get(worker)
        if process is None:
            return
        process.status = status
        if process.is_closed:
            self._lose(process)
        else:
            # What it forked may still hold its socket open; all that it sent itself is there to be read.
            process.connection.drain()
            process.connection.close("the process has ended")

    def _on_closed(self, process: Process, _reason: str) -> None:
        process.is_closed = True
        if process.status is not None:
            self._lose(process)
        else:
            self._loop.call_later(STATUS_S, self._give_up, process, REAPED_S)

    def _give_up(self, process: Process, patience_s: float = 0.0) -> None:
        """Its connection has ended and nobody knows how the process did: make sure that it has."""
        if self._processes.get(process.number) is not process:
            return
        if patience_s and self._spawner.pid is not None and process.pid and deaths.has_ended(process.pid):
            self._loop.call_later(patience_s, self._give_up, process)
            return
        self._spawner.signal(process.number, signal.SIGKILL)
        self._lose(process)

    def _kill(self, process: Process) -> None:
        if self._processes.get(process.number) is process and process.status is None:
            self._spawner.signal(process.number, signal.SIGKILL)

    def _lose(self, process: Process) -> None:
        """Tell the death, once, and let go what the worker held."""
        if self._processes.get(process.number) is not process:
            return
        del self._processes[process.number]
        self._dirty.discard(process)
        running = process.running()
        task = 0 if running is None else running[0]
        words = self.output.keep_rest(process, task)
        failure = deaths.failure_of(process, self._oom, words)
        if process.killed is not None and process.killed[0] != task:
            task = 0  # another one than was meant had just begun: it is innocent
        self._sharing.forget(process)
        self.lines.forget(process)
        process.close()
        self._post(WorkerLost(process.number, failure, task))
        if not self._processes and self._all_lost is not None and not self._all_lost.done():
            self._all_lost.set_result(None)

    # --- output -------------------------------------------------------------------------------------------------

    def _watch_output(self) -> None:
        """Keep what runs for long has written, up to its limit; idle agents are not woken by this."""
        self._watch = None
        self._oom.look()
        self.output.keep_up()
        if any(process.line for process in self._processes.values()):
            self._watch = self._loop.call_later(WATCH_S, self._watch_output)
