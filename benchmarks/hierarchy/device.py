"""One device: the real engine, and a shell that performs its commands in virtual time."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.engine import Engine
from agentd.core.state import Identity, Rules
from agentd.model.exchange import Submission
from agentd.model.task import Template
from agentd.model.values import Codec, Payload
from benchmarks.hierarchy.net import Clock, Link, Pipe
from schedulers.capacity import Capacity, cores
from schedulers.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.tasks.task import Task

TURN_S = 0.0005
"""What a daemon takes for a message, as the studies of placement assume (measured daemons are faster)."""
COMMIT_S = 0.0002
MESSAGE_BYTES = 200
"""Of an offer or an end, beside the values."""
CALLER = 1


class Worker:
    """A line of tasks, run one after the other for as long as their payload says."""

    def __init__(self, device: Device, number: int) -> None:
        self.device = device
        self.number = number
        self.line: deque[Task] = deque()
        self.running: Task | None = None

    def give(self, tasks: list[Task]) -> None:
        """Append tasks to the line."""
        self.line.extend(tasks)
        self.next()

    def next(self) -> None:
        """Start the first of the line, unless one runs."""
        if self.running is not None or not self.line:
            return
        task = self.running = self.line.popleft()
        seconds = float(task.payload.data) / self.device.speed
        self.device.busy += 1
        self.device.busy_most = max(self.device.busy_most, self.device.busy)
        self.device.worked_s += seconds
        started = self.device.clock.now

        def over() -> None:
            self.running = None
            self.device.busy -= 1
            self.device.runs[task.id] = self.device.runs.get(task.id, 0) + 1
            value = Payload(Codec.BYTES, b"x")
            result = e.TaskResult(task.id, 0, value, None, started, seconds)
            self.device.post(e.TasksEnded(self.number, [result]))
            self.next()

        self.device.clock.at(started + seconds, over)

    def take_back(self, most: int) -> int:
        """Give back what has not started, from the end."""
        taken = min(most, len(self.line))
        for _ in range(taken):
            self.line.pop()
        return taken


class Device:
    """A device with its agent."""

    def __init__(self, clock: Clock, name: str, number: int, units: int, speed: float, scheduler: str) -> None:
        self.clock, self.name, self.speed, self.units = clock, name, speed, units
        self.busy = self.busy_most = 0
        self.worked_s = 0.0
        self.runs: dict[int, int] = {}
        """How often each task was run here to its end."""
        self.settled: Callable[[int, int], None] = lambda _ref, _status: None
        identity = Identity(name, f"{number:06d}-{name}", f"boot-{name}", 1)
        self.engine = Engine(identity, cores(units), load(scheduler), count(number << 32 | 1), Rules(speed=speed))
        self._pipes: dict[str, tuple[Device, Pipe, Link]] = {}
        self._workers: dict[int, Worker] = {}
        self._inbox: list[e.Event] = []
        self._is_due = False
        self._wake_at: float | None = None
        self._recorded = 0
        self._is_committing = False
        self._perform = self._table()

    def _table(self) -> dict[type[c.Command], Callable[[Any], None]]:
        return {
            c.StartWorker: self._start_worker,
            c.StopWorker: lambda _: None,
            c.RunTasks: lambda command: self._workers[command.worker].give(command.tasks),
            c.RevokeTasks: self._revoke,
            c.Record: self._record,
            c.SettleCalls: self._settle,
            c.DeclareTemplates: self._to(lambda me, command: e.TemplatesDeclared(me, command.templates)),
            c.SendOffers: self._to(lambda me, command: e.OffersReceived(self.name, me, command.offers)),
            c.AnswerOffers: self._to(lambda _, command: e.OffersAnswered(self.name, command.accepted, command.refused)),
            c.SendEnds: self._to(lambda _, command: e.EndsReceived(self.name, command.ends)),
            c.AcknowledgeEnds: self._to(lambda _, command: e.EndsAcknowledged(self.name, command.tasks)),
            c.CancelTasks: self._to(lambda _, command: e.CancelReceived(self.name, command.tasks)),
            c.SendReport: self._to(lambda _, command: e.LoadReported(self.name, command.report), urgent=True),
        }

    # --- users and neighbours ---------------------------------------------------------------------------------

    def open(self, templates: list[Template]) -> None:
        """Let a user of this device declare what is called."""
        self.post(e.TemplatesDeclared(CALLER, tuple(enumerate(templates))))

    def submit(self, calls: list[tuple[int, int, float]]) -> None:
        """Ask for calls: (number, template, seconds of a core of speed 1)."""
        rows = [Submission(ref, template, Payload(Codec.BYTES, repr(size).encode())) for ref, template, size in calls]
        self.post(e.CallsSubmitted(CALLER, rows))

    def join(self, other: Device, link: Link, *, is_parent: bool) -> None:
        """Be linked to another device, as one of the two ends."""
        self._pipes[other.name] = (other, Pipe(self.clock, link), link)
        self.post(e.ResourceAdded(0, other.name, Capacity(), "comm", is_parent=is_parent, declared=False))
        number = self.number_of(other.name)
        self.post(e.LinkOpened(other.name, other.engine.state.identity.agent_id, f"boot-{other.name}", number))
        self.hear(other.name)

    def hear(self, name: str) -> None:
        """Tell the engine how a link stands, now and every second: a report is no sign of life."""
        _, pipe, link = self._pipes[name]
        self.post(e.NeighbourHeard(name, link.delay_s + TURN_S, 1 / link.bytes_per_s, pipe.wait_s))
        self.clock.at(self.clock.now + 1.0, lambda: self.hear(name))

    def number_of(self, name: str) -> int:
        """Give the number of the link to a neighbour, which is also the caller number of what comes over it."""
        return CALLER + 1 + list(self._pipes).index(name)

    @property
    def messages(self) -> int:
        """Count what it has sent to neighbours."""
        return sum(pipe.messages for _, pipe, _ in self._pipes.values())

    def _to(self, make: Callable[[int, Any], e.Event], *, urgent: bool = False) -> Callable[[Any], None]:
        def send(command: Any) -> None:
            other, pipe, _ = self._pipes[command.neighbour]
            event = make(other.number_of(self.name), command)
            pipe.send(MESSAGE_BYTES, lambda: other.post(event), urgent=urgent)

        return send

    # --- the lane ---------------------------------------------------------------------------------------------

    def post(self, event: e.Event) -> None:
        """Something has happened."""
        self._inbox.append(event)
        if not self._is_due:
            self._is_due = True
            self.clock.at(self.clock.now + TURN_S, self._turn)

    def _turn(self) -> None:
        self._is_due = False
        now = self.clock.now
        events, self._inbox = self._inbox, []
        for event in events:
            self.engine.handle(event, now)
        for command in self.engine.drain(now):
            act = self._perform.get(type(command))
            if act is not None:
                act(command)
        wanted = self.engine.next_wakeup
        if wanted is not None and (self._wake_at is None or wanted < self._wake_at):
            self._wake_at = wanted
            self.clock.at(wanted, self._wake)

    def _wake(self) -> None:
        self._wake_at = None
        self.post(e.Ticked())

    # --- workers and journal ----------------------------------------------------------------------------------

    def _start_worker(self, command: c.StartWorker) -> None:
        self._workers[command.worker] = Worker(self, command.worker)
        self.post(e.WorkerStarted(command.worker, command.worker))

    def _revoke(self, command: c.RevokeTasks) -> None:
        taken = self._workers[command.worker].take_back(command.count)
        self.post(e.TasksRevoked(command.worker, taken))
        self.post(e.RevokeSettled(command.worker))

    def _record(self, command: c.Record) -> None:
        self._recorded = command.number
        if not self._is_committing:
            self._is_committing = True
            self.clock.at(self.clock.now + COMMIT_S, self._commit)

    def _commit(self) -> None:
        self._is_committing = False
        self.post(e.Committed(self._recorded))

    def _settle(self, command: c.SettleCalls) -> None:
        for one in command.settled:
            self.settled(one.ref, one.outcome.status)
