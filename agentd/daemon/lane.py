"""The lane: one queue of events, one reader, drained in batches.

Law: only the lane touches the engine; a drain handles all that is there, plans once, and performs all commands once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agentd.core.commands import Command
    from agentd.core.engine import Engine
    from agentd.core.events import Event
    from agentd.daemon.clock import Clock

from agentd.core.events import Ticked

T = TypeVar("T")
MOST_ROUNDS = 100
"""Rounds of one turn of the loop; what performing commands brings up beyond is left for the next turn (chosen)."""


def from_any_thread(loop: asyncio.AbstractEventLoop, act: Callable[[T], None]) -> Callable[[T], None]:
    """Make a function of the loop's thread callable from any; within that thread it is called at once."""
    own = threading.get_ident()

    def call(what: T) -> None:
        if threading.get_ident() == own:
            act(what)
        else:
            loop.call_soon_threadsafe(act, what)

    return call


class Lane:
    """Carries events to the engine and commands from it, on one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        clock: Clock,
        perform: Callable[[list[Command]], None],
        flush: Callable[[], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._clock = clock
        self._perform = perform
        self._flush = flush
        self._broken = broken
        self._events: list[Event] = []
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def post(self, event: Event) -> None:
        """Something has happened; it is handled in this turn of the loop, or the next."""
        self._events.append(event)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        try:
            self.drain()
        except BaseException as error:  # noqa: BLE001 - an engine in unknown state is never carried on with
            self._broken(error)

    def drain(self) -> None:
        """Handle all events that are there, and those that performing the commands, or leaving, brings up.

        What is committed while it leaves is told of at once, without another turn of the loop.
        """
        engine, now = self._engine, self._clock.now()
        for _ in range(MOST_ROUNDS):
            events, self._events = self._events, []
            for event in events:
                engine.handle(event, now)
            commands = engine.drain(now)
            if commands:
                self._perform(commands)
            if not self._events:
                self._flush()
                if not self._events:
                    break
        else:
            self._flush()
        self._is_due = False
        if self._events:
            self._is_due = True
            self._loop.call_soon(self._turn)
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        """Be woken when the engine wants it; a timer that is early enough stays."""
        wanted = self._engine.next_wakeup
        if wanted is None:
            return
        if self._timer is not None:
            if self._timer_at <= wanted:
                return
            self._timer.cancel()
        self._timer_at = wanted
        self._timer = self._loop.call_later(max(0.0, wanted - now), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.post(Ticked())
