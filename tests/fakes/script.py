"""Scenarios as text: commands to a fake world, and the transcript of what its agents wanted done.

A script is blocks, parted by empty lines; a block is commands, a line `----`, and the transcript that they give. Lines
that begin with `#` are for readers. The commands are the methods `do_…` below, with `_` written as `-`.

A line of the transcript is `time agent: wish · wish`; tasks are t1, t2, … in the order in which they first appear.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.placing.plan import explain
from agentd.core.state import Rules
from agentd.core.tasks.task import State
from agentd.model.errors import RequestError
from agentd.model.task import Constraints, Form, Status, Template
from schedulers.capacity import cores, shortfalls
from tests.fakes.world import World
from tests.fakes.world_nested import written
from tests.fakes.world_workers import DEATHS, KILLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.model.values import ObjectKey
    from tests.fakes.world_agent import Host

LEVELS = ("flag", "SIGINT", "SIGKILL")
LONGEST_S = 200.0
"""Of virtual time, until it must be quiet."""


def play(text: str) -> str:
    """Play a script and give it back with the transcripts that it really gives."""
    stage = Stage()
    blocks = [block for block in re.split(r"\n\s*\n", text.strip()) if block.strip()]
    return "\n\n".join(_played(stage, block) for block in blocks) + "\n"


def _played(stage: Stage, block: str) -> str:
    commands = block.partition("\n----")[0].splitlines()
    for line in commands:
        if not line.startswith("#"):
            stage.perform(line)
    said = stage.said()
    return "\n".join([*commands, "----", *said] if said or "----" in block else commands)


class Stage:
    """The world of one script, and what was noted of it."""

    def __init__(self) -> None:
        self.world = World()
        self.world.history.watchers.append(self._watch)
        self._labels: dict[int, str] = {}
        self._lines: list[tuple[str, str, list[str]]] = []
        self._sessions: dict[str, int] = {}
        self._templates: dict[str, list[Template]] = {}
        self._objects: dict[ObjectKey, str] = {}
        self._refs = 0

    def perform(self, line: str) -> None:
        """Do one command."""
        name, *words = shlex.split(line)
        plain = [word for word in words if "=" not in word]
        options = dict(word.split("=", 1) for word in words if "=" in word)
        getattr(self, "do_" + name.replace("-", "_"))(*plain, **options)

    def said(self) -> list[str]:
        """Give the transcript since the last time: one line for each time and agent."""
        lines, self._lines = self._lines, []
        return [f"{time} {who}: {' · '.join(words)}" for time, who, words in lines]

    def say(self, who: str, *words: str) -> None:
        """Note what somebody says."""
        time = f"{self.world.now:.2f}"
        if self._lines and self._lines[-1][:2] == (time, who):
            self._lines[-1][2].extend(words)
        elif words:
            self._lines.append((time, who, list(words)))

    def label(self, task: int) -> str:
        """Give the short name of a task."""
        return self._labels.setdefault(task, f"t{len(self._labels) + 1}")

    def object(self, key: ObjectKey) -> str:
        """Give the short name of an object: its home, and which it is of all."""
        return self._objects.setdefault(key, f"{key[0].removeprefix('id-')}.{len(self._objects) + 1}")

    def task(self, label: str) -> int:
        """Find a task by its short name, or as `a+3`: the third that agent a has made."""
        name, plus, number = label.partition("+")
        if plus:
            return (list(self.world.hosts).index(name) + 1) * 1_000_000 + int(number)
        return next(task for task, name in self._labels.items() if name == label)

    # --- commands: the stage ----------------------------------------------------------------------------------

    def do_agents(self, *specs: str, **_: str) -> None:
        # usage: agents a:2 b:4            two agents with so many cores.
        for spec in specs:
            name, _, units = spec.partition(":")
            self.world.add(name, int(units or 1), scheduler="fifo")

    def do_agent(self, name: str, units: str, **options: str) -> None:
        # usage: agent a 2 scheduler=lifo memory=100 hops=3 queue=5 orphan=20 unschedulable=10 spares=0
        rules = Rules(
            hop_limit=int(options.get("hops", 8)),
            most_waiting=int(options.get("queue", 1_000_000)),
            orphan_ttl_s=float(options.get("orphan", 600)),
            unschedulable_after_s=float(options["unschedulable"]) if "unschedulable" in options else None,
            spares=int(options["spares"]) if "spares" in options else None,
        )
        memory = int(options["memory"]) if "memory" in options else None
        capacity = cores(int(units), memory_mib=memory)
        self.world.add(name, capacity, scheduler=options.get("scheduler", "fifo"), rules=rules)

    def do_link(self, one: str, other: str, mutual: str = "", granted: str = "") -> None:
        # usage: link a b [mutual] [granted=2]     a may offload to b.
        self.world.connect(one, other, granted=int(granted) if granted else None, is_mutual=bool(mutual))
        self.world.run(0.5)

    def do_run(self, how: str = "", until: str = "") -> None:
        # usage: run 1.5, run until=quiet
        if until:
            self.world.run(0.2)
            if not self.world.run_until(lambda: self.world.is_quiet, LONGEST_S, 0.1):
                self.say("world", "it does not become quiet")
        else:
            self.world.run(float(how))

    # --- commands: users --------------------------------------------------------------------------------------

    def do_submit(self, name: str, times: str, program: str, **options: str) -> None:
        # usage: submit a 3 'ok 1' once=1 timeout=2 cores=2 memory=10 retry=1 priority=5 attempts=1 local=1 key=k
        host, template = self.world.hosts[name], template_of(options, is_durable=True)
        for number in range(int(times)):

            def answered(value: object) -> None:
                if isinstance(value, RequestError):
                    self.say(name, f"{value.status}: {value}")
                elif isinstance(value, tuple):
                    self.world.history.acknowledged(host, value[0])
                    self.say(name, f"{'accepted' if value[1] else 'known as'} {self.label(value[0])}")

            key = options.get("key", "")
            host.submit(template, program, answered, f"{key}{number or ''}" if key else "")

    def do_call(self, name: str, times: str, program: str, **options: str) -> None:
        # usage: call a 3 'ok 1' …           as submit, from a program that waits for the results.
        host, template = self.world.hosts[name], template_of(options, is_durable=False)
        templates = self._templates.setdefault(name, [])
        if name not in self._sessions:
            self._sessions[name] = host.open_session(
                [], lambda ref, outcome: self.say(name, f"call {ref} {Status(outcome.status).name.lower()}")
            )
        if template not in templates:
            templates.append(template)
            host.post(e.TemplatesDeclared(self._sessions[name], ((templates.index(template), template),)))
        refs = range(self._refs + 1, self._refs + 1 + int(times))
        self._refs += int(times)
        host.call(self._sessions[name], [(ref, templates.index(template), program) for ref in refs])

    def do_program(self, name: str, text: str, **options: str) -> None:
        # usage: program a 'x <- one 1; y <- two(x) 0.5; wait y'       as `submit`, of code that asks for tasks.
        for host in self.world.hosts.values():
            host.nested = [Template("m:task", Form.TASK), Template("m:once", Form.TASK, idempotent=False)]
        self.do_submit(name, "1", written(text).write().data.decode(), **options)

    def do_cancel(self, label: str) -> None:
        # usage: cancel t1
        task = self.task(label)
        host = self.world.hosts[self._owner(task)]
        host.cancel(task, lambda _: self.say(host.name, f"cancelling {self.label(task)}"))

    def do_cancel_calls(self, name: str, *refs: str) -> None:
        # usage: cancel-calls a 1 2
        self.world.hosts[name].post(e.CallsCancelled(self._sessions[name], tuple(map(int, refs))))

    def do_leave(self, name: str) -> None:
        # usage: leave a                     the program ends.
        self.world.hosts[name].leave(self._sessions.pop(name))

    def do_watch(self, label: str) -> None:
        # usage: watch t1
        task = self.task(label)
        host = self.world.hosts[self._owner(task)]
        host.watch(task, lambda _: self.say(host.name, f"told that {label} is {self._status(host, task)}"))

    def do_show(self, label: str) -> None:
        # usage: show t1                     state and reason, as its owner sees them.
        task_id = self.task(label)
        host = self.world.hosts[self._owner(task_id)]
        task, state = host.engine.state.tasks.get(task_id), host.engine.state
        if task is None:
            self.say("show", f"{label} is {self._status(host, task_id)}")
            return
        words = f"{label} is {task.state.name.lower()}, attempt {task.attempt}"
        if task.state is State.WAITING:
            shortfall = "; ".join(shortfalls(state.pool.capacity, task.demand))
            words += f", because {explain(task, host.engine.window, state.neighbourhood, shortfall, len(state.queue))}"
        self.say("show", words)

    def _owner(self, task: int) -> str:
        return list(self.world.hosts)[task // 1_000_000 - 1]

    @staticmethod
    def _status(host: Host, task: int) -> str:
        operation = host.engine.state.ledger.get(task)
        if operation is None or operation.status is None:
            return "unknown"
        failure = operation.failure
        where = f" on {operation.ran_on}" if operation.ran_on else ""
        words = f"{Status(operation.status).name.lower()}{where}, attempts {operation.attempts}, hops {operation.hops}"
        return words + (f", {failure.type}: {failure.message}" if failure else "")

    # --- commands: trouble ------------------------------------------------------------------------------------

    def do_cut(self, one: str, other: str, only: str = "") -> None:
        # usage: cut a b, cut a b only=a     nothing gets through, or nothing from a.
        self.world.wire(one, other).cut(*filter(None, [only]))

    def do_heal(self, one: str, other: str) -> None:
        # usage: heal a b
        self.world.wire(one, other).heal()

    def do_crash(self, name: str) -> None:
        # usage: crash a
        self.world.hosts[name].crash()

    def do_start(self, name: str) -> None:
        # usage: start a                     again, after a crash.
        self.world.hosts[name].start()

    def do_pause(self, name: str) -> None:
        # usage: pause a
        self.world.hosts[name].pause()

    def do_resume(self, name: str) -> None:
        # usage: resume a
        self.world.hosts[name].resume()

    def do_kill(self, name: str, worker: str, by: str = "") -> None:
        # usage: kill a w1 [by=oom]
        self.world.hosts[name].processes[int(worker[1:])].die(DEATHS.get(by, KILLED))

    def do_full(self, name: str) -> None:
        # usage: full a                      its disk is full.
        self.world.hosts[name].fill()

    def do_free(self, name: str) -> None:
        # usage: free a
        self.world.hosts[name].free()

    # --- commands: operators ----------------------------------------------------------------------------------

    def _answered(self, name: str) -> Callable[[object], None]:
        return lambda value: self.say(name, f"{value.status}: {value}" if isinstance(value, RequestError) else "done")

    def do_add(self, name: str, units: str, to: str = "") -> None:
        # usage: add a 2 [to=b]
        self.world.hosts[name].add(int(units), to)

    def do_reduce(self, name: str, units: str, of: str = "") -> None:
        # usage: reduce a 2 [of=b]
        self.world.hosts[name].reduce(int(units), self._answered(name), of)

    def do_remove(self, name: str, other: str, lost: str = "") -> None:
        # usage: remove a b [lost=1]         b is no neighbour of a any more.
        host = self.world.hosts[name]
        host.post(e.ResourceRemoved(host.ask(self._answered(name)), other, bool(lost)))

    def do_pool(self, name: str) -> None:
        # usage: pool a
        pool = self.world.hosts[name].engine.state.pool
        self.say("pool", f"{name} has {pool.total()}, {pool.free()} free, {pool.owed()} owed")

    def do_drain(self, name: str, grace: str) -> None:
        # usage: drain a 5
        self.world.hosts[name].post(e.DrainRequested(float(grace)))

    # --- the transcript ---------------------------------------------------------------------------------------

    def _watch(self, host: Host, commands: list[c.Command]) -> None:
        for command in commands:
            name = re.sub("([A-Z])", r"_\1", type(command).__name__).lower()
            words = getattr(self, "_say" + name, None)
            if words is not None:
                self.say(host.name, *words(command))

    def _tasks(self, tasks: list[Any]) -> str:
        labels = [self.label(task.id if hasattr(task, "id") else task.task) for task in tasks]
        return " ".join(labels) if len(labels) < 7 else f"{labels[0]}…{labels[-1]}"

    def _attempts(self, offers: list[Any]) -> str:
        return " ".join(self.label(one.task) + ("" if one.attempt == 1 else f"#{one.attempt}") for one in offers)

    def _pairs(self, pairs: tuple[tuple[int, int], ...]) -> str:
        return " ".join(self.label(task) + ("" if attempt == 1 else f"#{attempt}") for task, attempt, *_ in pairs)

    def _say_start_worker(self, command: c.StartWorker) -> list[str]:
        return [f"start w{command.worker}"]

    def _say_stop_worker(self, command: c.StopWorker) -> list[str]:
        return [f"stop w{command.worker}"]

    def _say_run_tasks(self, command: c.RunTasks) -> list[str]:
        where = "on top of w" if command.on_top else "on w"
        return [f"run {self._tasks(command.tasks)} {where}{command.worker}"]

    def _say_resume(self, command: c.Resume) -> list[str]:
        return [f"{self.label(command.task)} goes on"]

    def _say_revoke_tasks(self, command: c.RevokeTasks) -> list[str]:
        return [f"take back {command.count} of w{command.worker}"]

    def _say_interrupt_task(self, command: c.InterruptTask) -> list[str]:
        return [f"{LEVELS[command.level]} {self.label(command.task)}"]

    def _say_send_offers(self, command: c.SendOffers) -> list[str]:
        return [f"offer {self._attempts(command.offers)} → {command.neighbour}"]

    def _say_answer_offers(self, command: c.AnswerOffers) -> list[str]:
        said = [f"accept {self._pairs(command.accepted)}"] if command.accepted else []
        return said + [f"refuse {self.label(one.task)}: {one.reason}" for one in command.refused]

    def _say_send_ends(self, command: c.SendEnds) -> list[str]:
        ends = [f"{self._attempts([end])} {Status(end.outcome.status).name.lower()}" for end in command.ends]
        return [f"tell {command.neighbour} {', '.join(ends)}"]

    def _say_offer_lot(self, command: c.OfferLot) -> list[str]:
        return [f"offer {self._attempts(command.lot.offers)} → {command.neighbour}"]

    def _say_accept_lot(self, command: c.AcceptLot) -> list[str]:
        return [f"accept {self._pairs(tuple((task, command.attempt) for task in command.tasks))}"]

    def _say_end_lot(self, command: c.EndLot) -> list[str]:
        return [f"tell {command.neighbour} {', '.join(f'{self._attempts([end])} done' for end in command.lot.ends)}"]

    def _say_send_inventory(self, command: c.SendInventory) -> list[str]:
        rows = (("hold", command.held), ("ended", command.finished))
        told = [f"{word} {self._pairs(pairs)}" for word, pairs in rows if pairs]
        return [f"tell {command.neighbour} inventory: {', '.join(told)}"] if told else []

    def _say_send_drain(self, command: c.SendDrain) -> list[str]:
        return [f"tell {command.neighbour} that it leaves"]

    def _say_cancel_tasks(self, command: c.CancelTasks) -> list[str]:
        return [f"cancel {self._pairs(command.tasks)} → {command.neighbour}"]

    def _say_fetch_object(self, command: c.FetchObject) -> list[str]:
        return [f"fetch {self.object(command.remote.key)} ← {command.neighbour}"]

    def _say_abandon_fetch(self, command: c.AbandonFetch) -> list[str]:
        return [f"abandon {self.object(command.key)}"]

    def _say_release_objects(self, command: c.ReleaseObjects) -> list[str]:
        objects = " ".join(self.object(key) for key, _ in command.objects)
        return [f"need no more {objects} → {command.neighbour}"]

    def _say_tell_held(self, command: c.TellHeld) -> list[str]:
        objects = " ".join(map(self.object, command.objects))
        return [f"still need {objects} → {command.neighbour}"] if objects else []

    def _say_close_link(self, command: c.CloseLink) -> list[str]:
        return [f"close {command.neighbour}"]

    def _say_alarm(self, command: c.Alarm) -> list[str]:
        detail = ", ".join(f"{name} {value}" for name, value in command.detail.items())
        return [f"ALARM {command.message}" + (f" ({detail})" if detail else "")]

    def _say_publish(self, command: c.Publish) -> list[str]:
        if command.topic == "operation" and command.detail["state"] != "cancelling":
            return [f"{self.label(int(command.subject))} {command.detail['state']}"]
        if command.topic == "neighbour":
            return [f"{command.subject} is {command.detail['state']}"]
        return []

    def _say_publish_ends(self, command: c.PublishEnds) -> list[str]:
        return [f"{self.label(operation)} {state}" for operation, state in command.ends]

    def _say_stop(self, _: c.Stop) -> list[str]:
        return ["stop"]


def template_of(options: dict[str, str], *, is_durable: bool) -> Template:
    """Make the template that a command's options describe."""
    return Template(
        options.get("function", "m:f"),
        durable=is_durable,
        idempotent="once" not in options,
        timeout_s=float(options["timeout"]) if "timeout" in options else None,
        max_attempts=int(options.get("attempts", 3)),
        priority=int(options.get("priority", 0)),
        on_failure="RETRY" if "retry" in options else "FAIL",
        constraints=Constraints(
            computing_units=int(options.get("cores", 1)),
            memory_mib=int(options["memory"]) if "memory" in options else None,
            is_local="local" in options,
        ),
    )
