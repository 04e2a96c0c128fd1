"""What the ends of links are wired to: the engine behind the door, and the rules of the house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from agentd.comm.ends.floodgate import Floodgate
from agentd.comm.link import Link
from agentd.comm.settings import CommSettings
from agentd.comm.trust.same_machine import BARE, bare
from agentd.comm.trust.tickets import Tickets
from agentd.core.events import Event
from agentd.model.errors import AgentdError
from agentd.model.exchange import Offer
from agentd.model.task import Failure, Outcome, Reason, Status, Template
from agentd.model.values import Payload, Remote
from agentd.wire.faults import Unsendable
from agentd.wire.messages import DataChunk, Hello, HelloAck, Message

Item = TypeVar("Item")
Route = Callable[[Link, Message], None]
Land = Callable[[Link, DataChunk, int], "memoryview | None"]
"""Tells where so many bytes of a chunk that is coming belong; None: nowhere yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this agent is to others.

    `boot` is new at each start and `epoch` grows with it; `libraries` maps names to versions; `services` names what
    it answers beside work (`data`, `output`, `segments`, `stop`); `lends` tells whether neighbours may offer it tasks;
    `user_port` is the number of its port for users, 0 for none.
    """

    name: str
    agent_id: str
    boot: str
    epoch: int = 0
    python: tuple[int, int] = (0, 0)
    libraries: dict[str, str] = field(default_factory=dict)
    services: frozenset[str] = frozenset()
    lends: bool = True
    user_port: int = 0

    @property
    def capabilities(self) -> dict[str, bool | int | str]:
        """The same as the protocol says it."""
        facts: dict[str, bool | int | str] = {"lends": self.lends, **dict.fromkeys(sorted(self.services), True)}
        facts[BARE] = bare()
        return facts | {"user_port": self.user_port} if self.user_port else facts

    def hello(self, role: str, address: str, credits_: int) -> Hello:
        """Introduce this agent to whom it dials."""
        return Hello(
            role=role,
            agent_id=self.agent_id,
            name=self.name,
            boot=self.boot,
            epoch=self.epoch,
            python=self.python,
            libraries=self.libraries,
            capabilities=self.capabilities,
            address=address,
            credits=credits_,
        )

    def welcome(self, scope: str, address: str, credits_: int) -> HelloAck:
        """Introduce this agent to who dialled it; the session completes the message."""
        return HelloAck(
            agent_id=self.agent_id,
            name=self.name,
            boot=self.boot,
            epoch=self.epoch,
            scope=scope,
            credits=credits_,
            python=self.python,
            libraries=self.libraries,
            capabilities=self.capabilities,
            address=address,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What every end of a link may use.

    Attributes:
        post: gives the engine an event.
        admit: tells why a template may not run here; None if it may.
        inline: brings a payload's bytes into the message from shared memory or the store; may raise `AgentdError`.
        held: gives the tasks of a neighbour that have not ended here.
        routes: who takes the messages that are no events: data, output, segments, notices.
        lands: who gives room for the bytes of large chunks; none, or one.
        judges: who tells why an object cannot be the one that a neighbour names, or may not be named by it (`True` for
            one that has few rights); none, or one.
        sockets: who puts the connection into the offer of a line's task, or says why it cannot; none, or one.
        tickets: the connections of lines that are expected.
        floodgate: lets users wait.
        later: calls something when what it has to say has waited for long enough.
        dirty: links to be flushed at the end of the drain.
    """

    agent: Identity
    settings: CommSettings
    post: Callable[[Event], None]
    admit: Callable[[Template], str | None]
    inline: Callable[[Payload], Payload]
    floodgate: Floodgate
    later: Callable[[Callable[[], None]], object]
    held: Callable[[str], set[int]] = lambda _: set()
    routes: dict[type[Message], Route] = field(default_factory=dict)
    lands: list[Land] = field(default_factory=list)
    judges: list[Callable[[Remote, str, bool], str | None]] = field(default_factory=list)
    sockets: list[Callable[[Link, Offer], Offer | str]] = field(default_factory=list)
    tickets: Tickets = field(default_factory=Tickets)
    dirty: set[Link] = field(default_factory=set)

    def route(self, link: Link, message: Message) -> None:
        """Hand on a message that is no event; one that nobody takes here was only for information."""
        taker = self.routes.get(type(message))
        if taker is not None:
            taker(link, message)

    def send(self, link: Link, message: Message) -> None:
        """Append a message, to leave with the drain."""
        link.send(message)
        self.dirty.add(link)

    def failed(self, kind: str, reason: Reason, words: str) -> Outcome:
        """Give the outcome of a call that this agent could not take, or not answer."""
        failure = Failure(reason, kind, words, agent=self.agent.name)
        return Outcome(Status.FAILED, failure=failure, agent=self.agent.name)

    def inlined(self, payload: Payload) -> Payload:
        """Bring a payload's bytes into the message if that is possible; else leave it as it is."""
        if payload.is_portable:
            return payload
        try:
            return self.inline(payload)
        except AgentdError:
            return payload


def send_fitting(
    send: Callable[[list[Item]], None],
    items: list[Item],
    repaired: Callable[[Item], Item],
    replaced: Callable[[Item, str], Item | None],
) -> None:
    """Send a batch of which some items may be unable to travel.

    Those are repaired at first; what then still cannot travel is replaced by what `replaced` gives for it and the
    reason, or left out.
    """
    bad, _ = _sent(send, items)
    if not bad:
        return
    items = [repaired(item) if position in bad else item for position, item in enumerate(items)]
    bad, words = _sent(send, items)
    if not bad:
        return
    fitting = [replaced(item, words) if position in bad else item for position, item in enumerate(items)]
    _sent(send, [item for item in fitting if item is not None])


def _sent(send: Callable[[list[Item]], None], items: list[Item]) -> tuple[set[int], str]:
    """Send a batch, or tell which items cannot travel, and why."""
    if items:
        try:
            send(items)
        except Unsendable as error:
            return set(error.items), str(error)
    return set(), ""
