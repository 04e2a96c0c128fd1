"""Who the neighbours are: one name, one agent, at most one connection each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from agentd.comm.ends.peer_end import PeerEnd
from agentd.comm.ports.dialer import Dialer
from agentd.comm.trust.admission import Denial
from agentd.model.peers import Peer
from agentd.wire.messages import Hello, HelloAck
from agentd.wire.terms import Life


class Neighbour:
    """One neighbour as the door knows it.

    Attributes:
        name: by which the engine knows it.
        agent_id: who it is; empty until it was connected once.
        end: its connection, if there is one.
        dialer: what dials it, if it is ours to dial.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.agent_id = ""
        self.end: PeerEnd | None = None
        self.dialer: Dialer | None = None
        self._dialling: asyncio.Task[None] | None = None

    def dial(self, dialer: Dialer, tasks: asyncio.TaskGroup) -> None:
        """Keep a connection to it from now on, in place of what was dialled before."""
        self.stop_dialling()
        self.dialer = dialer
        if self.end is not None:
            dialer.rest()
        self._dialling = tasks.create_task(dialer.run(), name=f"dial {self.name}")

    def stop_dialling(self) -> None:
        """Dial no more."""
        if self._dialling is not None:
            self._dialling.cancel()
        self._dialling = self.dialer = None

    def connect(self, end: PeerEnd) -> None:
        """Take note of its connection."""
        self.end = end
        self.agent_id = end.them.agent_id
        if self.dialer is not None:
            self.dialer.rest()

    def disconnect(self) -> None:
        """Take note that the connection is gone."""
        self.end = None
        if self.dialer is not None:
            self.dialer.go_on()


class Roster:
    """All neighbours of one agent."""

    def __init__(self, agent_id: str, name: str) -> None:
        self._agent_id = agent_id
        self._name = name
        self._neighbours: dict[str, Neighbour] = {}

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(list(self._neighbours.values()))

    def get(self, name: str) -> Neighbour | None:
        """Give a neighbour by name."""
        return self._neighbours.get(name)

    def ensure(self, name: str) -> Neighbour:
        """Give a neighbour by name, made if need be."""
        return self._neighbours.setdefault(name, Neighbour(name))

    def who_is(self, hello: Hello) -> Neighbour:
        """Find out which neighbour somebody is: known by id, by the address that we dial, by name; or a new one."""
        for neighbour in self:
            if neighbour.agent_id == hello.agent_id:
                return neighbour
        for neighbour in self:
            if neighbour.dialer is not None and not neighbour.agent_id and neighbour.dialer.address == hello.address:
                return neighbour
        return self._neighbours.get(hello.name) or Neighbour(hello.name)

    def who_is_paired(self, peer: Peer) -> Neighbour:
        """Find out which neighbour a paired agent is: known by its id, or by the name that the book gives it."""
        for neighbour in self:
            if neighbour.agent_id == peer.agent_id:
                return neighbour
        return self._neighbours.get(peer.name) or Neighbour(peer.name)

    def objection(self, them: Hello | HelloAck, neighbour: Neighbour) -> Denial | None:
        """Tell why somebody cannot be this neighbour; None if he can."""
        if them.agent_id == self._agent_id:
            return Denial("identity", "this agent has reached itself", "give the address of another agent")
        if them.name == self._name:
            return Denial("clash", f"both agents are called {them.name}", "start one of them with another --hostname")
        if neighbour.end is not None and neighbour.agent_id != them.agent_id:
            return Denial(
                "clash", f"another agent is connected as {neighbour.name}", "start one of them with another --hostname"
            )
        for other in self:
            if other is not neighbour and other.end is not None and other.agent_id == them.agent_id:
                return Denial("clash", f"that agent is connected as {other.name}", f"remove {neighbour.name}")
        return None

    def keeps(self, neighbour: Neighbour, them: Hello | HelloAck, *, is_dialled: bool, now: float) -> bool:
        """Tell whether the connection that there is stays, rather than the one that just came about.

        The newer one replaces the older, since who connects anew has lost the other. Only when both agents dialled
        each other at the same time, both must choose the same one: that of the agent with the smaller id.
        """
        end = neighbour.end
        if end is None or end.them.boot != them.boot or end.is_dialled == is_dialled:
            return False
        if end.link.session.life(now) is not Life.ALIVE:
            return False
        return end.is_dialled == (self._agent_id < them.agent_id)
