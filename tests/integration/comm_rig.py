"""Doors and bare clients for the tests of Comm over real sockets, all in one process and loop."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import ClassVar, Self, TypeVar

from agentd.comm.door import Door
from agentd.comm.ends.wiring import Identity
from agentd.comm.reception import OnGuest, no_guests
from agentd.comm.settings import CommSettings
from agentd.comm.trust.admission import Admission
from agentd.comm.trust.security import Security
from agentd.core.commands import OpenLink, SendInventory
from agentd.core.events import Event, LinkOpened
from agentd.model.values import Payload
from agentd.wire.messages import Hello, HelloAck, Message
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms

PATIENCE_S = 60.0
"""A test that waits longer has failed; none waits this long when it passes."""
E_ = TypeVar("E_", bound=Event)


class Agent:
    """A door whose engine is a list of events."""

    def __init__(
        self,
        name: str,
        settings: CommSettings | None = None,
        *,
        owner_uid: int | None = None,
        admit: Callable[[object], str | None] = lambda _: None,
        lends: bool = True,
        local_access: str = "code",
        tokens: dict[str, tuple[str, str]] | None = None,
        inline: Callable[[Payload], Payload] = lambda payload: payload,
        security: Security | None = None,
        agent_id: str = "",
        boot: str = "boot-1",
        on_guest: OnGuest = no_guests,
        held: Callable[[str], set[int]] = lambda _: set(),
        services: frozenset[str] = frozenset(),
    ) -> None:
        self.events: list[Event] = []
        self.tells = True
        """Say, as an engine does first over each link, what is held of the other's tasks."""
        self._changed = asyncio.Event()
        self.address = ("", 0)
        uid = os.getuid() if owner_uid is None else owner_uid
        security = security or Security()
        self.door = Door(
            Identity(name=name, agent_id=agent_id or f"id-{name}", boot=boot, epoch=1, lends=lends, services=services),
            settings or CommSettings(backoff_first_s=0.01, backoff_most_s=0.1),
            post=self.post,
            admit=admit,
            admission=Admission(
                uid=os.getuid(), local_access=local_access, identify=(tokens or {}).get, security=security
            ),
            number=itertools.count(1).__next__,
            random=Random(1),
            security=security,
            inline=inline,
            owner_of=lambda _own, _peer: uid,
            on_guest=on_guest,
            held=held,
        )

    async def __aenter__(self) -> Self:
        await self.door.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.door.__aexit__(*error)

    def post(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        if isinstance(event, LinkOpened) and event.compares and self.tells:
            self.do(SendInventory(event.neighbour, (), ()))

    def of(self, kind: type[E_]) -> list[E_]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[E_], count: int = 1) -> list[E_]:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)

    async def until_true(self, holds: Callable[[], bool]) -> None:
        """Wait for a state that comes about by events of this agent."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def until_strangers(self, count: int) -> None:
        """Wait until so many connections are there that have not been welcomed."""
        async with asyncio.timeout(PATIENCE_S):
            # nothing tells of a stranger who says nothing
            while self.door._reception.listener.strangers != count:  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def listen(self) -> Agent:
        self.address = await self.door.open_tcp("127.0.0.1", 0)
        return self

    async def listen_and_close(self) -> int:
        """Give a port at which nobody answers any more."""
        async with self:
            await self.listen()
        return self.address[1]

    def dial(self, other: Agent, name: str) -> None:
        self.door.open_link(OpenLink(name, "comm", (("Host", other.address[0]), ("Port", str(other.address[1])))))

    def do(self, command: object) -> None:
        self.door.performers()[type(command)](command)
        self.door.flush()


class Client:
    """A bare program that speaks, or does not speak, the protocol."""

    made: ClassVar[list[Client]] = []
    """All clients of the running test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, local: bool = False) -> None:
        self.reader = reader
        self.writer = writer
        self.session = Session(Side.DIALLER, Terms(local=local), 0.0)
        self.heard: list[Message] = []
        self.made.append(self)

    @staticmethod
    async def tcp(address: tuple[str, int]) -> Client:
        return Client(*await asyncio.open_connection(*address))

    @staticmethod
    async def unix(path: Path) -> Client:
        return Client(*await asyncio.open_unix_connection(str(path)), local=True)

    def say(self, message: Message) -> None:
        for pieces in self.session.send(message, 0.0):
            self.writer.writelines(pieces)

    async def hear(self, kind: type[Message]) -> Message:
        """Give the next message of a kind; the others before it are kept in `heard`."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in list(self.heard):
                    if isinstance(message, kind):
                        self.heard.remove(message)
                        return message
                data = await self.reader.read(65_536)
                assert data, f"closed before {kind.__name__}; heard {self.heard}"
                self.heard.extend(self.session.receive(data, 0.0))

    async def hello(self, role: str = "user", **fields: object) -> Message:
        self.say(Hello(role=role, **fields))
        return await self.ack()

    async def ack(self) -> Message:
        return await self.hear(HelloAck)

    async def end(self) -> bytes:
        """Read to the end of the connection, and give what came."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read(-1)
            except ConnectionResetError:
                return b""

    async def close(self) -> None:
        if self.writer.get_extra_info("ssl_object") is None:
            self.writer.close()
        else:  # TLS would wait for the other end's goodbye, which may be behind what nobody reads
            self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


def passing_time() -> Callable[[float], None]:
    """Give what lets seconds pass at once for all that runs in this loop; else time goes on as ever."""
    loop, passed_s = asyncio.get_running_loop(), [0.0]
    time_s = loop.time
    loop.time = lambda: time_s() + sum(passed_s)  # type: ignore[method-assign]
    return passed_s.append


def run(
    main: Callable[[], Coroutine[None, None, None]],
    runner: Callable[[Coroutine[None, None, None]], None] = asyncio.run,
) -> None:
    """Run a test's coroutine, and close the clients that it left."""

    async def guarded() -> None:
        try:
            await main()
        finally:
            for client in Client.made:
                await client.close()
            Client.made.clear()

    runner(guarded())
