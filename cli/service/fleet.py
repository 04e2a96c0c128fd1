"""The agents of a service as processes: started, found ready, linked, ended."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Self

from agentd.api import connect
from agentd.model.errors import AgentdError, ConfigError
from cli.processes import end, spawn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from agentd.api import Agent
    from cli.service.plan import Link, Member

READY_S = 60.0
"""How long an agent may take to start: a second is usual; chosen for a small device that is busy."""
LOOK_S = 0.02
LAST_LINES = 12
"""Of what an agent said, when it has to be shown."""
STOP_S = 40.0
"""How long an agent may take to stop: its grace for what runs, and some more."""
GRACE_S = "5"
"""How long work may go on when the service is broken off, unless the settings say otherwise."""


class Fleet:
    """The agents; started by `with`, ended when it is left.

    Attributes:
        agents: a client for each that has a user port, by name, once they are ready.
        rest: URL of the user port of each.
        comm: `host:port` for other agents of each.
    """

    def __init__(self, members: Sequence[Member], folder: Path, settings: Mapping[str, str | bool | list[str]]) -> None:
        self.members = members
        self.folder = folder
        self._settings = dict(settings)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.agents: dict[str, Agent] = {}
        self.rest: dict[str, str] = {}
        self.comm: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for member in self.members:
                self._start(member)
        except OSError as error:
            self.stop()
            raise ConfigError(f"{self.folder}: {error.strerror}: choose another with --log_dir") from error
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all agents."""
        for agent in self.agents.values():
            agent.close()
        self.agents.clear()
        end(self._processes, STOP_S)

    def _start(self, member: Member) -> None:
        own = self.folder / member.name
        own.mkdir(exist_ok=True)
        (own / "ready.json").unlink(missing_ok=True)
        settings = {
            "cpu": "1" if "project" not in self._settings else None,
            "local_access": "admin",
            "callback_host": "127.0.0.1",
            "grace_s": GRACE_S,
            **self._settings,
            "hostname": member.name,
            "rest_port": member.rest_port,
            "comm_port": member.comm_port,
            "state": str(own / "state"),
            "log_dir": str(own),
            "ready_file": str(own / "ready.json"),
        }
        words = [word for name, value in settings.items() for word in _words(name, value)]
        said, went_wrong = (self._log(member.name, kind) for kind in ("outputlog", "errorlog"))
        with said.open("wb") as out, went_wrong.open("wb") as err:
            self._processes[member.name] = spawn(["start", *words], out, err)

    def _log(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}.{kind}"

    def output(self, name: str) -> str:
        """Give what an agent printed."""
        return self._log(name, "outputlog").read_text("utf-8", "replace")

    def last_words(self, name: str) -> str:
        """Say what an agent said at last."""
        said = self._log(name, "errorlog").read_text("utf-8", "replace").strip().splitlines()[-LAST_LINES:]
        return "said at last:\n" + "\n".join(f"  {line}" for line in said) if said else "ended without a word"

    def await_ready(self) -> None:
        """Wait until all are ready.

        Raises:
            AgentdError: one did not start; the message has its last words.
        """
        deadline = time.monotonic() + READY_S
        for member in self.members:
            ready = self.folder / member.name / "ready.json"
            while not ready.exists():
                if self._processes[member.name].poll() is not None:
                    raise AgentdError(f"the agent {member.name} {self.last_words(member.name)}")
                if time.monotonic() > deadline:
                    raise AgentdError(f"the agent {member.name} was not ready after {READY_S:g} s")
                time.sleep(LOOK_S)
            said = json.loads(ready.read_text("utf-8"))
            self.rest[member.name], self.comm[member.name] = str(said["rest"] or ""), str(said["comm"] or "")
            if said["rest"]:
                self.agents[member.name] = connect(self.folder / member.name / "state")

    def link(self, link: Link) -> None:
        """Let one agent use another."""
        host, _, port = self.comm[link.neighbour].rpartition(":")
        self.agents[link.owner].add(link.neighbour, link.cores, "comm", {"Host": host, "Port": port})

    def await_links(self, wanted: Iterable[Link]) -> None:
        """Wait until all links are there.

        Raises:
            AgentdError: one does not come.
        """
        deadline = time.monotonic() + READY_S
        for link in wanted:
            while not self._is_connected(link):
                if time.monotonic() > deadline:
                    raise AgentdError(f"{link.owner} cannot reach {link.neighbour}; {self.last_words(link.owner)}")
                time.sleep(LOOK_S)

    def _is_connected(self, link: Link) -> bool:
        rows = self.agents[link.owner].neighbours()
        return any(row.name == link.neighbour and row.state == "connected" for row in rows)

    def running(self) -> list[str]:
        """Name those that have not ended."""
        return [name for name, process in self._processes.items() if process.poll() is None]

    def ended(self) -> list[str]:
        """Name those that have ended."""
        return [name for name, process in self._processes.items() if process.poll() is not None]


def _words(name: str, value: str | bool | list[str] | None) -> list[str]:
    """Write a setting as options of `agentd start`."""
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    option = f"--{name.replace('_', '-')}"
    return [f"{option}={str(one).lower() if isinstance(one, bool) else one}" for one in values]
