"""What an adaptor needs that reaches a neighbour by itself, and what the daemon asks of it.

An adaptor without `courier` gives an address, at which the neighbour speaks Comm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from agentd.core.commands import Command
from agentd.core.events import Event
from agentd.model.values import Payload


class Surroundings(Struct, frozen=True):
    """The daemon, as a courier sees it."""

    post: Callable[[Event], None]
    """Tell the engine what happened."""
    number: Callable[[], int]
    """Give a number for a link, which nobody else has."""
    inline: Callable[[Payload], Payload]
    """Bring the bytes of a payload into the message, from shared memory or the store."""
    now: Callable[[], float]
    """Read agent time, in seconds."""
    agent_id: str
    heartbeat_s: float = 1.0


class Courier(Protocol):
    """One neighbour that is reached in another way than by a Comm link.

    It posts `LinkOpened` and `LinkClosed` as it is reached and lost, and answers every offer; `run` goes on for as
    long as the neighbour is wanted and is cancelled then.
    """

    def performers(self) -> Mapping[type[Command], Callable[[Any], None]]:
        """Tell which method performs which command that concerns this neighbour; others have no meaning for it."""
        ...

    def redial(self) -> None:
        """Give the present connection up and make a new one."""
        ...

    async def output(self, task: int, stream: str, offset: int, limit: int) -> bytes:
        """Read what a task wrote to `stdout` or `stderr` there; nothing when that is not to be had."""
        ...

    async def run(self) -> None:
        """Keep in touch, for ever. Cancelled, it has posted that the link is closed."""
        ...


@runtime_checkable
class Couriers(Protocol):
    """An adaptor that makes couriers."""

    def address(self, name: str, properties: Mapping[str, str]) -> str:
        """Give where the neighbour is, for people; checks the properties."""
        ...

    def courier(self, name: str, properties: Mapping[str, str], surroundings: Surroundings) -> Courier:
        """Make the courier of one neighbour."""
        ...
