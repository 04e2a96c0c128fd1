"""An engine on a desk: events in by hand, commands out as a list, nothing performed but what a test asks for."""

from __future__ import annotations

from itertools import count
from typing import Any, TypeVar

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.engine import Engine
from agentd.core.neighbours.neighbour import LinkState, Neighbour
from agentd.core.state import Identity, Rules
from agentd.model.exchange import Offer, Report, Submission
from agentd.model.task import Template
from agentd.model.values import Payload
from schedulers.capacity import Capacity, cores
from schedulers.loading import load
from schedulers.view import Tier

CommandT = TypeVar("CommandT", bound=c.Command)
PLAIN = Template("m:f", durable=True)
CALL = Template("m:f")
LINK = 900


def row(**more: object) -> Neighbour:
    """Make a connected neighbour."""
    made = Neighbour("n", 8)
    made.agent_id, made.state, made.is_pooled, made.declared = "id-n", LinkState.CONNECTED, True, True
    made.granted = cores(2, memory_mib=100)
    for name, value in more.items():
        setattr(made, name, value)
    return made


class Desk:
    """One engine and the commands of its last turn."""

    def __init__(
        self, capacity: Capacity | int = 1, *, scheduler: Any = "fifo", rules: Rules | None = None, name: str = "own"
    ) -> None:
        amount = cores(capacity) if isinstance(capacity, int) else capacity
        policy = load(scheduler) if isinstance(scheduler, str) else scheduler
        self.now = 0.0
        self.engine = Engine(Identity(name, f"id-{name}", "boot-1", 1), amount, policy, count(1), rules or Rules())
        self.state = self.engine.state
        self.commands: list[c.Command] = []

    def turn(self, *events: e.Event, after_s: float = 0.0) -> list[c.Command]:
        """One batch."""
        self.now += after_s
        for event in events:
            self.engine.handle(event, self.now)
        self.commands = self.engine.drain(self.now)
        return self.commands

    def commit(self, *, after_s: float = 0.0) -> list[c.Command]:
        """Everything that was recorded is on the disk."""
        return self.turn(e.Committed(self.state.outbox.number), after_s=after_s)

    def of(self, kind: type[CommandT]) -> list[CommandT]:
        """Give the commands of one kind of the last turn."""
        return [command for command in self.commands if type(command) is kind]

    def one(self, kind: type[CommandT]) -> CommandT:
        """Give the only command of one kind of the last turn."""
        (command,) = self.of(kind)
        return command

    # --- common events ----------------------------------------------------------------------------------------

    def submit(self, template: Template = PLAIN, *, caller: int = 50, key: str = "", digest: bytes = b"") -> int:
        """Submit an operation and commit its acceptance; gives its number."""
        self.turn(e.OperationSubmitted(caller, template, Payload(), key, digest))
        started = list(self.commands)
        self.commit()
        number, _ = self.reply(caller)
        self.commands = started + self.commands
        return number

    def reply(self, caller: int) -> Any:
        """Give the answer that a caller got in the last turn."""
        return next(command.value for command in self.of(c.Reply) if command.caller == caller)

    def open_session(self, *templates: Template, caller: int = 70, user: str = "") -> int:
        """Let a program connect."""
        self.turn(e.TemplatesDeclared(caller, tuple(enumerate(templates or (CALL,))), user=user))
        return caller

    def call(self, caller: int, *refs: int, template: int = 0, payload: Payload | None = None) -> list[c.Command]:
        """Let a program submit calls."""
        return self.turn(e.CallsSubmitted(caller, [Submission(ref, template, payload or Payload()) for ref in refs]))

    def end(self, worker: int, *tasks: int, status: int = 0, seconds: float = 0.1, **more: Any) -> list[c.Command]:
        """Let a worker finish tasks."""
        return self.turn(e.TasksEnded(worker, [e.TaskResult(task, status, seconds=seconds, **more) for task in tasks]))

    def neighbour(
        self,
        name: str = "n",
        units: int = 1,
        *,
        link: int = LINK,
        boot: str = "b1",
        is_pooled: bool = True,
        takes_lots: bool = False,
    ) -> None:
        """Connect a neighbour that reports so many cores."""
        if is_pooled:
            self.turn(e.ResourceAdded(0, name, Capacity(), "comm", declared=False))
        self.turn(e.LinkOpened(name, f"id-{name}", boot, link, takes_lots=takes_lots))
        tiers = (Tier(1.0, float(units), float(units), float(units), 0.0),)
        self.turn(e.LoadReported(name, Report(1, 1, 0, tiers, cores(units))))

    def offer(
        self, task: int, template: Template = PLAIN, *, sender: str = "n", link: int = LINK, **more: Any
    ) -> list[c.Command]:
        """Let a neighbour offer a task."""
        self.turn(e.TemplatesDeclared(link, ((1, template),)))
        way = {"hops": 1, "visited": (f"id-{sender}",), "origin": sender}
        offer = Offer(**{"task": task, "template": 1, "payload": Payload(), **way, **more})
        return self.turn(e.OffersReceived(sender, link, [offer]))
