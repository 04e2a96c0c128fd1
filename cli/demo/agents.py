"""Three agents on this machine, each a process of its own in a folder of its own, linked into a chain.

Law: whatever happens, what was started here is ended here, by the number of its process.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from agentd.api import connect
from agentd.model.errors import AgentdError
from cli.processes import end, spawn

if TYPE_CHECKING:
    from agentd.api import Agent

READY_S = 60.0
"""How long an agent may take to start: a second is usual; chosen for a small device that is busy."""
LAST_LINES = 12
"""Of what an agent said, when it has to be shown."""
ASKED_TO_END = {0, -signal.SIGTERM, -signal.SIGKILL}
"""Exit codes of an agent that was stopped from here."""
GRACE_S = 0
"""How long an agent lets work go on when the demo is broken off: nobody wants it then."""


class Member(NamedTuple):
    """One agent of the chain."""

    name: str
    cores: int


CHAIN = (Member("phone", 1), Member("rPi", 1), Member("server", 2))
"""From the one that is asked to the one furthest away; each knows the next one only."""


def spread(processors: list[int]) -> dict[str, list[int]]:
    """Deal the machine's processors to the agents in turn, again from the first when there are too few."""
    turn = cycle(processors)
    return {member.name: list(islice(turn, member.cores)) for member in CHAIN}


class Chain:
    """The agents; started by `with`, stopped when it is left.

    Attributes:
        agents: a client for each, by name, once they are ready.
    """

    def __init__(self, folder: Path, code: Path) -> None:
        self._folder = folder
        self._code = code
        self._processors = spread(sorted(os.sched_getaffinity(0)))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.agents: dict[str, Agent] = {}

    def __enter__(self) -> Self:
        try:
            for member in CHAIN:
                self._start(member)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        crashed = self.stop()
        if crashed and isinstance(error, AgentdError):
            raise AgentdError("\n".join(f"the agent {name} {self._last_words(name)}" for name in crashed)) from error

    def _start(self, member: Member) -> None:
        state = self._folder / member.name
        options = {
            "hostname": member.name,
            "cpu": member.cores,
            "state": state,
            "pythonpath": self._code,
            "rest-port": "auto",
            "comm-port": "auto",
            "grace-s": GRACE_S,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with self._said_by(member.name).open("wb") as said:
            self._processes[member.name] = spawn(
                ["start", *words], subprocess.PIPE, said, self._processors[member.name]
            )

    def _said_by(self, name: str) -> Path:
        return self._folder / f"{name}.err"

    def _last_words(self, name: str) -> str:
        said = self._said_by(name).read_text("utf-8", "replace").strip().splitlines()[-LAST_LINES:]
        return "said at last:\n" + "\n".join(f"  {line}" for line in said) if said else "ended without a word"

    def link(self) -> None:
        """Wait until all are ready, then tell each of the next one and what it may lend there.

        Raises:
            AgentdError: one did not start; the message has its last words.
        """
        for member in CHAIN:
            self._await(member)
            self.agents[member.name] = connect(self._folder / member.name)
        for place, member in enumerate(CHAIN[1:], 1):
            host, _, port = str(self.agents[member.name].agent().comm).rpartition(":")
            beyond = sum(each.cores for each in CHAIN[place:])
            self.agents[CHAIN[place - 1].name].add(member.name, beyond, "comm", {"Host": host, "Port": port})

    def _await(self, member: Member) -> None:
        """Read the line that an agent prints when it is ready."""
        out = self._processes[member.name].stdout
        assert out is not None
        is_heard, _, _ = select.select([out], [], [], READY_S)
        if is_heard and out.readline():
            return
        if not is_heard:
            raise AgentdError(f"the agent {member.name} was not ready after {READY_S:g} s")
        raise AgentdError(f"the agent {member.name} {self._last_words(member.name)}")

    def stop(self) -> list[str]:
        """End all agents, those that do not listen by force, and name those that had ended by themselves."""
        for agent in self.agents.values():
            agent.close()
        self.agents.clear()
        end(self._processes)
        return [name for name, process in self._processes.items() if process.returncode not in ASKED_TO_END]
