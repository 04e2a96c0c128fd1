"""Carrying out commands: a table from command to the shell that performs it, and nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from agentd.core import commands as c
from agentd.core.journal.entries import Ended, Forgotten

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.comm.door import Door
    from agentd.daemon.data.sharing import Sharing
    from agentd.daemon.data.transfers import Transfers
    from agentd.daemon.diary import Diary
    from agentd.daemon.neighbours.links import Links
    from agentd.daemon.users.agent import Agent
    from agentd.daemon.users.callbacks import Callbacks
    from agentd.daemon.users.results import Results
    from agentd.store.journal import Journal
    from agentd.workers.supervisor import Supervisor

log = logging.getLogger("agentd")


class Effects:
    """Performs commands; what is hot is appended to buffers that `flush` sends once per drain."""

    def __init__(
        self,
        supervisor: Supervisor,
        journal: Journal,
        results: Results,
        door: Door,
        sharing: Sharing,
        transfers: Transfers,
        links: Links,
        callbacks: Callbacks,
        agent: Agent,
        diary: Diary,
        stop: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._results = results
        self._door = door
        self._agent = agent
        self._diary = diary
        self._tasks = agent.unended()
        self._stop = stop
        self._perform: dict[type[c.Command], Callable[[Any], object]] = {
            c.StartWorker: lambda command: supervisor.start_worker(command.worker),
            c.StopWorker: lambda command: supervisor.stop_worker(command.worker, at_once=command.at_once),
            c.RunTasks: supervisor.run,
            c.RevokeTasks: supervisor.revoke,
            c.InterruptTask: supervisor.interrupt,
            c.Resume: supervisor.resume,
            c.ReleaseSegments: self._release,
            c.RetainSegments: self._retain,
            c.FetchObject: transfers.fetch,
            c.AbandonFetch: transfers.abandon,
            c.Record: self._record,
            c.RecordCalls: lambda command: journal.append_all(command.number, command.entries),
            c.Reply: lambda command: agent.reply(command.caller, command.value),
            **links.performers(),
            c.SettleCalls: sharing.settle,
            c.CallBack: callbacks.begin,
            c.OpenLink: links.open,
            c.CloseLink: links.close,
            c.PublishEnds: lambda command: agent.feed.publish_ends(command.ends),
            c.Publish: self._publish,
            c.Alarm: _tell,
            c.Stop: lambda _: stop(),
        }

    def watch_runs(self, told: Callable[[int], None]) -> None:
        """Tell each task that is handed to a worker."""

        def run(command: c.RunTasks) -> None:
            for task in command.tasks:
                told(task.id)
            self._supervisor.run(command)

        self._perform[c.RunTasks] = run

    def perform(self, commands: list[c.Command]) -> None:
        """Carry out what the engine wants."""
        table = self._perform
        for command in commands:
            table[type(command)](command)

    def flush(self) -> None:
        """Send what this drain gathered: work first, since it takes longest.

        With no task left, but such as serve a session without us, there is nothing else to do but to wait for the disk:
        what is short is committed at once.
        """
        self._supervisor.flush()
        self._door.flush()
        self._journal.flush(at_once=self._supervisor.lines.are_all(self._tasks))

    def _publish(self, command: c.Publish) -> None:
        if command.topic == "neighbour":
            self._diary.note(command.subject, command.detail)
        elif command.topic == "worker":
            self._diary.died(command.subject, command.detail)
        self._agent.feed.publish(command.topic, command.subject, command.detail)

    def _record(self, command: c.Record) -> None:
        entry = command.entry
        if type(entry) is Ended:
            self._results.remember(entry.operation, entry.outcome)
        elif type(entry) is Forgotten:
            self._supervisor.output.forget_all(entry.operations)
            self._results.forget_all(entry.operations)
        self._journal.append(command.number, entry)

    def _release(self, command: c.ReleaseSegments) -> None:
        for segment in command.segments:
            self._supervisor.segments.release(segment)

    def _retain(self, command: c.RetainSegments) -> None:
        for segment in command.segments:
            self._supervisor.segments.retain(segment)


def _tell(alarm: c.Alarm) -> None:
    """Write an alarm into the log as a sentence."""
    facts = ", ".join(f"{name} {fact}" for name, fact in alarm.detail.items() if fact not in {"", None})
    log.warning("%s (%s)" if facts else "%s%s", alarm.message, facts)
