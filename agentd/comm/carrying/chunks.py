"""Long things on their way over one link: a chunk at a time, made when there is room for it.

Law: they wait for everything else, and nothing waits for them but one chunk; and in each turn of the loop there is one.
An end that reads as fast as we write would keep us writing, and what it asks for meanwhile would be read too late.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from agentd.wire.messages import Message

CHUNK_MOST_BYTES, CHUNK_LEAST_BYTES = 1 << 20, 64 << 10
"""Of one chunk (measured: larger ones are no faster; chosen: on a slow link one takes no longer than a beat)."""
CHUNK_S = 0.05
"""How long a chunk may occupy a link whose speed is known."""


class Bulk(Protocol):
    """Something long to be sent when nothing else waits."""

    def next(self) -> Message | None:
        """Give the next chunk; None when there is none at the moment: `Link.send_bulk` it again when there is."""
        ...

    def close(self) -> None:
        """Nothing more will be asked for: the link is gone."""
        ...


class Chunks:
    """All of one link, in turn; `go_on` is called in the next turn of the loop while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, go_on: Callable[[], None]) -> None:
        self._loop = loop
        self._go_on = go_on
        self._bulk: deque[Bulk] = deque()
        self._had_turn = False

    def __bool__(self) -> bool:
        return bool(self._bulk)

    def add(self, bulk: Bulk) -> None:
        """Let something have its turns; what has them already goes on as before."""
        if bulk not in self._bulk:
            self._bulk.append(bulk)

    def is_turn_over(self) -> bool:
        """Tell whether this turn of the loop has had its chunk; if not, it has from now on."""
        is_over, self._had_turn = self._had_turn, True
        if not is_over:
            self._loop.call_soon(self._next_turn)
        return is_over

    def _next_turn(self) -> None:
        self._had_turn = False
        if self._bulk:
            self._go_on()

    def take(self) -> Message | None:
        """Ask the next in turn for a chunk; None: it has none."""
        bulk = self._bulk.popleft()
        message = bulk.next()
        if message is not None:
            self._bulk.append(bulk)
        return message

    def close(self) -> None:
        """Forget them: the link is gone."""
        while self._bulk:
            self._bulk.popleft().close()
        self._go_on = _nothing  # or the two would wait for the search for circles


def _nothing() -> None:
    """Be called for nothing."""


def chunk_bytes(bytes_per_s: float | None) -> int:
    """Say how large a chunk may be, so that a heartbeat behind it is not late; None: the link's speed is not known."""
    if bytes_per_s is None:
        return CHUNK_MOST_BYTES
    return min(max(int(bytes_per_s * CHUNK_S), CHUNK_LEAST_BYTES), CHUNK_MOST_BYTES)
