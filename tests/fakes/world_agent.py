"""One agent of the fake world: the real engine, and a shell that performs its commands in virtual time."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.engine import Engine
from agentd.core.journal import entries as j
from agentd.core.journal.recovery import fold
from agentd.core.state import Identity
from agentd.model.exchange import Submission
from agentd.model.task import Template
from agentd.model.values import Codec, Payload
from schedulers.capacity import Capacity, Processor, cores
from tests.fakes.world_data import Courier, Memory
from tests.fakes.world_links import Comm
from tests.fakes.world_workers import KILLED, Process, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentd.core.state import Rules
    from agentd.core.tasks.task import Task
    from agentd.model.task import Outcome
    from schedulers.view import Scheduler
    from tests.fakes.world import World
    from tests.fakes.world_links import End

ENTRIES = j.Booted | j.Accepted | j.Started | j.Returned | j.Ended | j.Cancelling | j.WasRead | j.Delivered
ALL_ENTRIES = ENTRIES | j.EndedAlike | j.Forgotten | j.CalledBack | j.HostAdded | j.HostRemoved
MOST_ROUNDS = 100


def ends_of(entry: object) -> Iterable[j.Ended]:
    """Give the ends that an entry tells."""
    return entry.each() if isinstance(entry, j.EndedAlike) else (entry,) if isinstance(entry, j.Ended) else ()


class Disk:
    """Committed entries, encoded."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(ALL_ENTRIES).decode
        self._ended: dict[int, Outcome] = {}
        """By operation: its first end among the entries that were looked through for ends."""
        self._looked_through = 0

    def write(self, entries: Iterable[j.Entry]) -> None:
        """Put entries behind those that are there."""
        self._entries.extend(map(self._encode, entries))

    def read(self) -> list[j.Entry]:
        """Give all entries."""
        return list(map(self._decode, self._entries))

    def ended(self, operation: int) -> Outcome | None:
        """Find an operation's end; None when there is none."""
        for entry in map(self._decode, self._entries[self._looked_through :]):
            for end in ends_of(entry):
                self._ended.setdefault(end.operation, end.outcome)
        self._looked_through = len(self._entries)
        return self._ended.get(operation)


class Host:
    """A device with one agent; the agent may crash and start again, the disk stays."""

    def __init__(
        self, world: World, name: str, capacity: Capacity, scheduler: Callable[[], Scheduler], rules: Rules, number: int
    ) -> None:
        self.world = world
        self.name = name
        self.agent_id = f"id-{name}"
        self.capacity = capacity
        self.rules = rules
        self.numbers = count(1)
        """Callers and links."""
        self.ids = count(number * 1_000_000 + 1)
        self.boots = 0
        self.boot = ""
        self.engine: Engine
        self.is_down = True
        self.is_paused = False
        self.is_full = False
        self.is_stopped = False
        self.nested: list[Template] = []
        """Templates that every worker declares for the tasks that its tasks ask for."""
        self.disk = Disk()
        self.processes: dict[int, Process] = {}
        self.ends: dict[str, End] = {}
        self.answers: dict[int, Callable[[object], None]] = {}
        self.sessions: dict[int, Callable[[int, Outcome], None]] = {}
        self.memory = Memory(self)
        self.courier = Courier(self)
        self._make_scheduler = scheduler
        self._inbox: deque[e.Event] = deque()
        self._is_due = False
        self._wake_at: float | None = None
        self._undurable: list[tuple[int, j.Entry]] = []
        self._is_committing = False
        self._performers: dict[type[c.Command], Callable[[Any], None]] = {
            c.StartWorker: self._start_worker,
            c.StopWorker: lambda command: self._with(command.worker, lambda one: one.die(KILLED)),
            c.RunTasks: lambda command: self._with(command.worker, lambda one: one.run(command)),
            c.RevokeTasks: lambda command: self._with(command.worker, lambda one: one.revoke(command.count)),
            c.InterruptTask: lambda command: self._with(command.worker, lambda one: one.interrupt(command)),
            c.Resume: lambda command: self._with(command.worker, lambda one: one.resume(command)),
            c.Record: lambda command: self._record([(command.number, command.entry)]),
            c.RecordCalls: self._record_calls,
            c.Reply: self._reply,
            c.SettleCalls: self._settle,
            c.CallBack: lambda command: self.post(e.CallbackEnded(command.operation)),
            c.Publish: lambda _: None,
            c.PublishEnds: lambda _: None,
            c.Alarm: lambda _: None,
            c.Stop: self._stop,
            **Comm(self).performers,
            **self.courier.performers,
        }

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Boot: take up what the disk holds."""
        self.boots += 1
        self.boot = f"{self.name}-{self.boots}"
        self.is_down = self.is_stopped = False
        identity = Identity(self.name, self.agent_id, self.boot, self.boots)
        self.engine = Engine(identity, self.capacity, self._make_scheduler(), self.ids, self.rules)
        entries = self.disk.read()
        recovered = fold(entries)
        outcomes = {end.operation: end.outcome for entry in entries for end in ends_of(entry)}
        for finished in recovered.finished.values():
            self.world.history.seen_again(self, finished)
        self.engine.state.outbox.record(j.Booted(self.boot, self.boots, self.world.now, "0"))
        self.engine.restore(recovered, outcomes, self.world.now)
        self._turn_soon()

    def crash(self) -> None:
        """Die as by kill -9: memory, workers and connections are gone, the disk stays."""
        self.world.history.crashed(self, [entry for _, entry in self._undurable])
        self.is_down, self.boot = True, ""
        self.memory.crash()
        self.courier.crash()
        for process in self.processes.values():
            process.is_dead = True
        self.processes.clear()
        for end in list(self.ends.values()):
            end.close("crash")
        self.ends.clear()
        self.answers.clear()
        self.sessions.clear()
        self._inbox.clear()
        self._undurable.clear()
        self._wake_at, self._is_committing = None, False

    def heal(self) -> None:
        """Run again if it does not."""
        self.resume()
        if self.is_full:
            self.free()
        if self.is_down:
            self.start()

    def pause(self) -> None:
        """Stand still as by SIGSTOP."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on."""
        self.is_paused = False
        self._turn_soon()

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing is wanted of it any more."""
        if self.is_stopped:
            return True
        state = self.engine.state
        is_done = not state.tasks and not self._inbox and not self._undurable and not self.is_down
        return is_done and not any(row.held for row in state.neighbourhood.by_name.values())

    # --- the lane ---------------------------------------------------------------------------------------------

    def post(self, event: e.Event) -> None:
        """Something has happened."""
        if not self.is_down:
            self._inbox.append(event)
            self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self.world.after(0.0, partial(self._turn, self.boot))

    def _turn(self, boot: str) -> None:
        self._is_due = False
        if self.is_down or self.is_paused or self.boot != boot:
            if not self.is_down and not self.is_paused:
                self._turn_soon()
            return
        for _ in range(MOST_ROUNDS):
            events, self._inbox = self._inbox, deque()
            engine, now = self.engine, self.world.now
            for event in events:
                engine.handle(event, now)
            commands = engine.drain(now)
            self.world.history.performed(self, commands)
            for command in commands:
                self._performers[type(command)](command)
            if not self._inbox or self.is_down:
                break
        if self._inbox:
            self._turn_soon()
        self._set_timer(boot)

    def _set_timer(self, boot: str) -> None:
        wanted = None if self.is_down else self.engine.next_wakeup
        if wanted is None or (self._wake_at is not None and self._wake_at <= wanted):
            return
        self._wake_at = wanted

        def wake() -> None:
            if self.boot == boot:
                self._wake_at = None
                self.post(e.Ticked())

        self.world.after(wanted - self.world.now, wake)

    # --- the journal ------------------------------------------------------------------------------------------

    def _record_calls(self, command: c.RecordCalls) -> None:
        first = command.number - len(command.entries) + 1
        self._record(list(enumerate(command.entries, first)))

    def _record(self, numbered: list[tuple[int, j.Entry]]) -> None:
        self._undurable += [(number, self.memory.keep(entry)) for number, entry in numbered]
        if not self._is_committing:
            self._is_committing = True
            boot = self.boot
            slow = 0.05 if self.world.random.random() < 0.05 else 0.003
            self.world.after(self.world.jitter(0.001, slow), lambda: self._commit(boot))

    def _commit(self, boot: str) -> None:
        if self.boot != boot:
            return
        self._is_committing = False
        entries, self._undurable = self._undurable, []
        self.disk.write(entry for _, entry in entries)
        self.post(e.Committed(entries[-1][0]))

    def fill(self) -> None:
        """The disk is full: what is under way is still written, from the ballast."""
        self.is_full = True
        self.post(e.DiskFilled("no space left on device"))

    def free(self) -> None:
        """There is room again."""
        self.is_full = False
        self.post(e.DiskFreed())

    # --- workers ----------------------------------------------------------------------------------------------

    def _start_worker(self, command: c.StartWorker) -> None:
        process = self.processes[command.worker] = Process(self, command.worker)
        process.begin()

    def _with(self, worker: int, act: Callable[[Process], None]) -> None:
        process = self.processes.get(worker)
        if process is not None:
            act(process)

    def started(self, process: Process, task: Task) -> None:
        """Users' code has begun."""
        for value in task.values:
            self.memory.check(value, value.data.decode(), f"task {task.id}")
        self.world.history.started(self, process, task)

    def result_of(self, task: Task) -> Payload:
        """Give a value that tells this execution from any other."""
        text = f"{task.id} {self.name} {self.world.history.nonce()}"
        parts = (self.memory.put(text),) if Program.read(task.payload).is_big else ()
        return Payload(Codec.BYTES, text.encode(), parts)

    def arguments(self, program: str) -> Payload:
        """Write what a user submits."""
        payload = Program.write(program)
        if self.is_down or not Program.read(payload).is_big:
            return payload
        text = f"{program} {self.world.history.nonce()}"
        return Payload(Codec.BYTES, text.encode(), (self.memory.put(text),))

    # --- neighbours and resources -----------------------------------------------------------------------------

    def lend(self, neighbour: str, granted: int | None) -> None:
        """Let it offload to a neighbour: as much as was granted, or as the neighbour says of itself."""
        amount = Capacity() if granted is None else cores(granted)
        self.post(e.ResourceAdded(0, neighbour, amount, "comm", declared=granted is not None))

    def add(self, units: int, name: str = "", answer: Callable[[object], None] | None = None) -> None:
        """Grow, or grant more of a neighbour."""
        caller = 0 if answer is None else self.ask(answer)
        self.post(e.ResourceAdded(caller, name or self.name, cores(units)))

    def reduce(self, units: int, answer: Callable[[object], None], name: str = "") -> None:
        """Shrink."""
        less = Capacity(processors=(Processor(units=units),))
        self.post(e.ResourceReduced(self.ask(answer), name or self.name, less))

    # --- callers ----------------------------------------------------------------------------------------------

    def ask(self, answer: Callable[[object], None]) -> int:
        """Give the number of a caller that waits for one answer."""
        caller = next(self.numbers)
        self.answers[caller] = answer
        return caller

    def _reply(self, command: c.Reply) -> None:
        answer = self.answers.pop(command.caller, None)
        if answer is not None:
            answer(command.value)

    def submit(self, template: Template, program: str, answer: Callable[[object], None], key: str = "") -> None:
        """Ask for one operation, as the user port does."""
        payload, digest = self.arguments(program), program.encode()
        self.post(e.OperationSubmitted(self.ask(answer), template, payload, key, digest))

    def watch(self, operation: int, answer: Callable[[object], None]) -> None:
        """Wait for an operation's end."""
        self.post(e.OperationWatched(self.ask(answer), operation))

    def cancel(self, operation: int, answer: Callable[[object], None]) -> None:
        """Ask for an operation's end."""
        self.post(e.CancelRequested(self.ask(answer), operation))

    def open_session(self, templates: list[Template], settled: Callable[[int, Outcome], None]) -> int:
        """Connect as a program that submits calls."""
        caller = next(self.numbers)
        self.sessions[caller] = settled
        self.post(e.TemplatesDeclared(caller, tuple(enumerate(templates))))
        return caller

    def call(self, caller: int, calls: list[tuple[int, int, str]]) -> None:
        """Submit calls: (ref, template, program)."""
        rows = [Submission(ref, template, self.arguments(program)) for ref, template, program in calls]
        self.post(e.CallsSubmitted(caller, rows))

    def leave(self, caller: int) -> None:
        """End a session."""
        self.sessions.pop(caller, None)
        self.post(e.CallerLeft(caller))

    def _settle(self, command: c.SettleCalls) -> None:
        settled = self.sessions.get(command.caller)
        for one in command.settled:
            value = one.outcome.value
            self.memory.check(value, value.data.decode(), f"the value of call {one.ref}")
            self.memory.release(tuple(part.segment for part in value.parts if part.segment))
            if settled is not None:
                settled(one.ref, one.outcome)

    def _stop(self, _: c.Stop) -> None:
        """The daemon ends by itself: everything that it recorded is on the disk."""
        if self._undurable:
            self.world.history.broken(f"{self.name} stopped before its last entries were on the disk")
        self.crash()
        self.is_stopped = True
