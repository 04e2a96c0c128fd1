"""Workers of a fake device: processes that take tasks from a line and run them, can be killed, and can hang."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agentd.core import events as e
from agentd.core.events import (
    RevokeSettled,
    TaskResult,
    TasksEnded,
    TasksPassed,
    TasksRevoked,
    WorkerLost,
    WorkerStarted,
)
from agentd.model.graph import Put
from agentd.model.task import Failure, Form, Reason, Status
from agentd.model.values import Codec, Kept, Payload
from tests.fakes import world_nested as nested
from tests.fakes.world_data import BIG

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from agentd.core.commands import InterruptTask, Resume, RunTasks
    from agentd.core.tasks.task import Task
    from agentd.model.graph import Known
    from tests.fakes.world_agent import Host

START_S = 0.03
STOP_S = 0.005
TELL_S = 0.0003
"""How long results may be held back to be told together."""


class Program(NamedTuple):
    """What a task does: `ok 0.1`, `raise 0.1`, `segv 0.1`, `oom 0.1`, `exit 0.1`, `hang`, `deaf`; `big` behind it."""

    act: str
    seconds: float
    is_big: bool = False
    """Its arguments and its result are large."""

    @classmethod
    def read(cls, payload: Payload) -> Program:
        """Read it from a task's arguments."""
        return _parsed(payload.data)

    @staticmethod
    def write(text: str) -> Payload:
        """Write it as a task's arguments."""
        return Payload(Codec.BYTES, text.encode())


@lru_cache(maxsize=4096)  # few programs are run by many tasks, and each is read several times
def _parsed(text: bytes) -> Program:
    act, *words = text.decode().split()
    if act == "nest":
        return Program(act, 0.0)
    return Program(act, float(words[0]) if words else 0.0, BIG in words)


DEATHS = {
    "segv": Failure(Reason.SIGNAL, "WorkerDied", "signal 11"),
    "oom": Failure(Reason.OUT_OF_MEMORY, "OutOfMemory", "the kernel killed it"),
}
KILLED = Failure(Reason.SIGNAL, "WorkerDied", "signal 9")
VERSIONS = 1 << 12
"""Numbers that the code of one task has for its versions."""


KEPT_MOST = 8
"""Tasks of which a worker keeps what they made."""


class Code:
    """The code of a task that asks for tasks, as far as it has come."""

    def __init__(self, task: Task, inputs: list[str], nest: nested.Nest, first: int) -> None:
        self.task = task
        self.nest = nest
        self.token = 0
        """Of the wait that it is in."""
        self.has_asked = False
        self.steps: Generator[nested.Sleep | nested.Ask, list[Known], list[str]] = nested.code(
            nest, inputs, max(task.makes, 1), first
        )


class Process:
    """One worker process."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.number = number
        self.is_started = False
        self.is_dead = False
        self.line: deque[Task] = deque()
        """Tasks that have not started."""
        self.inputs: dict[int, tuple[Payload, ...]] = {}
        """Of each of them, as they were sent."""
        self.kept: dict[int, tuple[Payload, ...]] = {}
        """What the last tasks made."""
        self.running: Task | None = None
        self.blocked: list[Code] = []
        """Those of which the code waits, the last one on top."""
        self.units: frozenset[int] = frozenset()
        self.marked: set[int] = set()
        """Tasks that are not to start any more."""
        self._results: list[TaskResult] = []
        self._turn = 0
        self._numbers = 0
        """Given to tokens and to blocks of versions."""
        self._owed = 0
        """Revocations of which it was not told that they are settled."""
        self._unsettled = 0

    # --- the daemon's side ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Be there after a while."""

        def ready() -> None:
            if not self.is_dead:
                self.is_started = True
                self.host.post(WorkerStarted(self.number, 1000 + self.number))
                if self.host.nested:
                    self.host.post(e.TemplatesDeclared(-self.number, tuple(enumerate(self.host.nested))))
                self._next()

        self.host.world.after(self.host.world.jitter(START_S, 0.3), ready)

    def run(self, command: RunTasks) -> None:
        """Take tasks."""
        if command.binding is not None:
            self.units = frozenset(command.binding.cpus)
        if self._owed:
            self.host.world.history.broken(f"worker {self.number} of {self.host.name} was added to while it gave back")
        if command.on_top:
            (task,) = command.tasks
            if not self.blocked or self.running is not None:
                self.host.world.history.broken(f"task {task.id} is to run on top of nothing")
            self._start(task, task.inputs)
            return
        self.marked.difference_update([task.id for task in command.tasks])  # it is given anew, and is to start now
        self.line.extend(command.tasks)
        self.inputs.update((task.id, task.inputs) for task in command.tasks)
        self._next()

    def resume(self, command: Resume) -> None:
        """Go on with a task that waited."""
        code = next((one for one in self.blocked if one.token == command.token), None)
        if code is None or self.is_dead:
            return
        if self.running is not None or code is not self.blocked[-1]:
            self.host.world.history.broken(f"task {command.task} goes on below another one")
        self.blocked.remove(code)
        self.running = code.task
        for known in command.known:
            self.host.memory.check(known.value, known.value.data.decode(), f"what task {command.task} waited for")
        if command.binding is not None:
            self.units = frozenset(command.binding.cpus)
        self.host.world.history.resumed(self.host, self, code.task)
        self._advance(code, command.known)

    def revoke(self, count: int) -> None:
        """Give back what has not started, from the end."""
        taken = [self.line.pop() for _ in range(min(count, len(self.line)))]
        self._owed += 1
        self.host.post(TasksRevoked(self.number, len(taken)))
        if taken:
            self._unsettled += 1
            self.host.world.after(self.host.world.jitter(0.0002, 0.002), self._obeyed)
        self._settle()

    def _obeyed(self) -> None:
        self._unsettled -= 1
        self._settle()

    def _settle(self) -> None:
        while self._owed and not self._unsettled and not self.is_dead:
            self._owed -= 1
            self.host.post(RevokeSettled(self.number))

    def interrupt(self, command: InterruptTask) -> None:
        """Stop a task by flag, SIGINT, or SIGKILL; one that has not started never will."""
        task = self.running or (self.blocked[-1].task if self.blocked else None)
        if task is None or task.id != command.task:
            if any(waiting.id == command.task for waiting in self.line):
                self.marked.add(command.task)
                self._next()
            return
        act = Program.read(task.payload).act
        if command.level == 2:
            self.die(KILLED)
        elif command.level == 1 and nested.read(task.payload) is not None:
            self._back_to(task)
            self._end(Status.FAILED, Failure(Reason.EXCEPTION, "KeyboardInterrupt", "interrupted"))
        elif command.level == 1 and act != "deaf":
            reason = Reason.TIMED_OUT if command.timed_out else Reason.EXCEPTION
            self._end(Status.FAILED, Failure(reason, "KeyboardInterrupt", "interrupted"))
        elif command.level == 0 and act == "ok":
            self._end(Status.FAILED, Failure(Reason.EXCEPTION, "Cancelled", "it saw the flag"))

    def die(self, failure: Failure) -> None:
        """End at once; what it had finished is told first."""
        if self.is_dead:
            return
        self._tell()
        self.is_dead = True
        self.host.processes.pop(self.number, None)
        top = self.running or (self.blocked[-1].task if self.blocked else None)
        running = top.id if top is not None else 0
        self.running = None
        self.blocked.clear()
        self.host.post(WorkerLost(self.number, failure, running))

    # --- its own side -----------------------------------------------------------------------------------------

    def _next(self) -> None:
        while self.is_started and not self.is_dead and self.running is None and not self.blocked and self.line:
            task = self.line.popleft()
            inputs = self._filled(self.inputs.pop(task.id))
            if inputs is None:
                self._tell()
                self.host.post(TasksPassed(self.number, [task.id]))
            elif task.id in self.marked:
                failure = Failure(Reason.EXCEPTION, "Cancelled", "it was not started")
                self._results.append(TaskResult(task.id, Status.FAILED, failure=failure))
                self._tell_soon()
            else:
                self._start(task, inputs)

    def _filled(self, inputs: tuple[Payload, ...]) -> list[Payload] | None:
        """Put what was kept in the place of what stands for it; None where it was not."""
        found: list[Payload] = []
        for value in inputs:
            if isinstance(value, Kept):
                if value.task not in self.kept:
                    return None
                found.append(self.kept[value.task][value.place])
            else:
                found.append(value)
        return found

    def _start(self, task: Task, inputs: Sequence[Payload]) -> None:
        self.running = task
        self._turn += 1
        turn = self._turn
        nest = nested.read(task.payload)
        if nest is not None and task.shape.template.form is Form.INSTEAD:  # none of its code runs
            values = nested.made(nest, ["instead"], task.makes)
            self._end(Status.DONE, None, Payload(), tuple([Payload(Codec.BYTES, text.encode()) for text in values]))
            return
        self.host.started(self, task)
        if nest is not None:
            self._numbers += 1
            texts = [value.data.decode() for value in inputs]
            self._advance(Code(task, texts, nest, self.number << 32 | self._numbers * VERSIONS), None)
            return
        program = Program.read(task.payload)
        if program.act in {"hang", "deaf"}:
            return

        def over() -> None:
            if self.running is task and self._turn == turn and not self.is_dead:
                self._over(program)

        self.host.world.after(program.seconds, over)

    def _over(self, program: Program) -> None:
        death = DEATHS.get(program.act)
        if death is not None:
            self.die(death)
        elif program.act == "ok":
            self._end(Status.DONE, None)
        else:
            reason = Reason.EXIT if program.act == "exit" else Reason.EXCEPTION
            self._end(Status.FAILED, Failure(reason, "ValueError", "users' code raised", "Traceback…"))

    # --- code that asks for tasks -----------------------------------------------------------------------------

    def _advance(self, code: Code, known: list[Known] | None) -> None:
        """Let the code of a task run until it computes, waits, or ends."""
        while self.running is code.task and not self.is_dead:
            try:
                wish = code.steps.send(known) if known is not None else next(code.steps)
            except StopIteration as stop:
                self._over_with(code, stop.value)
                return
            except nested.Failed as error:
                self._fail_with(code, str(error))
                return
            known = None
            if isinstance(wish, nested.Sleep):
                if wish.seconds:
                    self._sleep(code, wish.seconds)
                    return
            else:
                known = self._ask(code, wish)

    def _sleep(self, code: Code, seconds: float) -> None:
        def over() -> None:
            self._advance(code, None)

        self.host.world.after(seconds, over)

    def _ask(self, code: Code, wish: nested.Ask) -> list[Known] | None:
        task, body = code.task.id, wish.body
        code.has_asked = True
        self._numbers += 1
        token = self._numbers
        event: e.Event
        if wish.kind == "put":
            event = e.VersionsPut(self.number, task, [Put(*body)])  # type: ignore[misc]
        elif wish.kind == "spawn":
            event = e.TasksSpawned(self.number, task, [body])  # type: ignore[list-item]
        elif wish.kind == "await":
            event = e.VersionsAwaited(self.number, task, token, body)  # type: ignore[arg-type]
        elif wish.kind == "barrier":
            event = e.TasksAwaited(self.number, task, token, body)  # type: ignore[arg-type]
        elif wish.kind == "release":
            event = e.VersionsReleased(self.number, task, body)  # type: ignore[arg-type]
        elif wish.kind == "cancel":
            event = e.GroupCancelled(self.number, task, body)  # type: ignore[arg-type]
        else:
            event = e.LimitSet(self.number, task, body)  # type: ignore[arg-type]
        self._tell()  # whatever ended before is told before what comes after
        if wish.waits:
            code.token = token
            self.running = None
            self.blocked.append(code)
        self.host.post(event)
        return None

    def _back_to(self, task: Task) -> None:
        """A task that waits is interrupted: it runs, to end."""
        if self.running is None:
            self.blocked.pop()
            self.running = task

    def _over_with(self, code: Code, made: list[str]) -> None:
        memory, is_big = self.host.memory, code.nest.is_big and code.task.makes
        values = tuple(Payload(Codec.BYTES, text.encode(), (memory.put(text),) if is_big else ()) for text in made)
        failure = None
        if code.nest.raises == "group":
            failure = Failure(Reason.GROUP_EXCEPTION, "COMPSsException", f"{code.nest.name} ends its group")
        if code.task.makes and not code.has_asked and failure is None:
            self.kept[code.task.id] = values
            if len(self.kept) > KEPT_MOST:
                del self.kept[next(iter(self.kept))]
        if code.task.makes:
            self._end(Status.DONE, failure, Payload(), values)
        else:
            self._end(Status.DONE, failure, values[0])

    def _fail_with(self, code: Code, how: str) -> None:
        death = DEATHS.get(how)
        if death is not None:
            self.die(death)
        else:
            self._end(Status.FAILED, Failure(Reason.EXCEPTION, "ValueError", f"{code.nest.name}: {how}", "Traceback…"))

    def _end(
        self,
        status: Status,
        failure: Failure | None,
        value: Payload | None = None,
        made: tuple[Payload, ...] = (),
    ) -> None:
        task = self.running
        assert task is not None
        self.running = None
        if value is None:
            value = self.host.result_of(task) if status == Status.DONE else Payload()
        if status == Status.DONE and task.makes and not made:
            made, value = (value,) * task.makes, Payload()
        nest = nested.read(task.payload)
        if nest is not None:
            seconds = 0.001 if nest.steps else min(max(nest.seconds, 0.0001), 0.001)
            self._results.append(TaskResult(task.id, status, value, failure, self.host.world.now, seconds, made=made))
            self._tell_soon()
            self._next()
            return
        seconds = Program.read(task.payload).seconds
        self._results.append(
            TaskResult(task.id, status, value, failure, self.host.world.now - seconds, seconds, 0, made)
        )
        self._tell_soon()
        self._next()

    def _tell_soon(self) -> None:
        self.host.world.after(self.host.world.jitter(TELL_S, 0.002), self._tell)

    def _tell(self) -> None:
        if self._results and not self.is_dead:
            results, self._results = self._results, []
            self.host.post(TasksEnded(self.number, results))
