"""Results that are too large for a message, for programs on other devices: named in it, and fetched in chunks.

Law: what a program was told of stays until it has let go of it or its session is over, and nobody else gets it. A
session whose connection was cut is not over: what it was told of stays for a while (`agentd.daemon.data.returns`).
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.data.objects import Object
from agentd.model.values import Part, Payload, Remote
from agentd.wire.messages import DataRelease

if TYPE_CHECKING:
    from agentd.comm.door import Door
    from agentd.comm.link import Link
    from agentd.daemon.data.returns import Returns
    from agentd.model.exchange import Settled
    from agentd.model.values import ObjectKey
    from agentd.wire.messages import Message
    from agentd.workers.segments import Segments

LENT_BYTES = 1 << 20
"""From this size on a result is named instead of sent (chosen: what one chunk holds)."""


class Loans:
    """Every value that a program on another device was told of by a reference."""

    def __init__(self, door: Door, segments: Segments, returns: Returns) -> None:
        self._identity = door.identity
        self._segments = segments
        self._returns = returns
        self._lent: dict[Link, dict[ObjectKey, Object]] = {}
        door.route(DataRelease, self._let_go)

    def lend(self, link: Link, settled: Settled) -> Settled:
        """Give the form in which a result is told: references in the place of what is large and not in the message."""
        value = settled.outcome.value
        hello = link.session.theirs
        if value.is_portable or value.size_bytes < LENT_BYTES or hello is None or not hello.capabilities.get("data"):
            return settled
        return replace(settled, outcome=replace(settled.outcome, value=self._named(link, value)))

    def _named(self, link: Link, value: Payload) -> Payload:
        ends: dict[tuple[int, int], int] = {}
        for part in value.parts:
            if part.segment or part.stored:
                place = part.segment, part.stored
                ends[place] = max(ends.get(place, 0), part.offset + part.size)
        made = {place: self._made(link, place, end) for place, end in ends.items()}
        parts = [
            Part(part.size, None, 0, part.offset, 0, made[part.segment, part.stored].remote)
            if part.segment or part.stored
            else part
            for part in value.parts
        ]
        return replace(value, parts=tuple(parts))

    def _made(self, link: Link, place: tuple[int, int], size: int) -> Object:
        own = self._identity
        found = Object(Remote(own.agent_id, own.boot, secrets.randbits(62) + 1, size, (own.agent_id,)))
        found.place = Part(size, None, place[0], 0, place[1])
        if place[0]:
            self._segments.retain(place[0])
        self._lent.setdefault(link, {})[found.key] = found
        return found

    def find(self, link: Link, key: ObjectKey) -> Object | None:
        """Give what the program at the other end was lent, also before it came back."""
        found = self._lent.get(link, {}).get(key)
        if found is None and link.program:
            found = self._returns.take(link.program, key)
            if found is not None:
                self._lent.setdefault(link, {})[key] = found
        return found

    def _let_go(self, link: Link, message: Message) -> None:
        assert isinstance(message, DataRelease)
        for key, _ in message.objects:
            found = self.find(link, key)
            if found is not None:
                del self._lent[link][key]
                self._release(found)

    def left(self, link: int) -> None:
        """A program is gone: it needs nothing any more, but for one that may come back."""
        for gone in [one for one in self._lent if one.number == link]:
            for key, found in self._lent.pop(gone).items():
                if gone.may_return:
                    self._returns.keep(gone.program, key, found, found.remote.size, partial(self._release, found))
                else:
                    self._release(found)

    def _release(self, found: Object) -> None:
        if found.place is not None and found.place.segment:
            self._segments.release(found.place.segment)
