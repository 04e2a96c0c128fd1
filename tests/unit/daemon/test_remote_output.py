"""Output of tasks elsewhere: taken from who was asked for it, and from nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agentd.daemon.showing.output import RemoteOutput
from agentd.wire.messages import Output, OutputRequest


class Link:
    """A link with a number."""

    is_closed = False

    def __init__(self, number: int) -> None:
        self.number = number


class Door:
    """Keeps what is sent, and who takes what comes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.takers: dict[type, Callable[[Any, Any], None]] = {}
        self.sent = asyncio.Event()

    def route(self, kind: type, taker: Callable[[Any, Any], None]) -> None:
        self.takers[kind] = taker

    def link_to(self, _: str) -> Link:
        return self._link

    def send(self, _: Link, message: OutputRequest) -> None:
        assert message.task == 5
        self.sent.set()

    def flush(self) -> None:
        """Do nothing: all is sent."""


def test_output_comes_from_who_holds_the_task() -> None:
    """Another neighbour, which guesses what was asked, puts no words into its mouth."""

    async def main() -> bytes:
        holder = Link(1)
        door = Door(holder)
        output = RemoteOutput(door, None, None)  # type: ignore[arg-type]
        reading = asyncio.create_task(output.read("holder", 5, "stdout", 0, 100))
        await door.sent.wait()
        take = door.takers[Output]
        take(Link(2), Output(task=5, stream=1, offset=0, data=b"forged"))
        take(holder, Output(task=5, stream=1, offset=0, data=b"true"))
        return await reading

    assert asyncio.run(main()) == b"true"
