"""What outlives the process: opened at the start, read, and given to the engine."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from agentd import __version__
from agentd.core import events as e
from agentd.core.journal.entries import Booted
from agentd.core.journal.recovery import Recovered, fold
from agentd.daemon.clock import Clock, seconds
from agentd.daemon.lane import from_any_thread
from agentd.daemon.users.results import undelivered
from agentd.store.journal import Journal
from agentd.store.objects import Objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from agentd.core.engine import Engine
    from agentd.core.events import Event
    from agentd.daemon.data.sharing import Sharing
    from agentd.store.disk import Disk

log = logging.getLogger("agentd")


class Store(NamedTuple):
    """What survives, opened and read."""

    journal: Journal
    objects: Objects
    recovered: Recovered
    clock: Clock
    alarms: list[str]


def open_store(
    disk: Disk,
    folder: Path,
    stack: AsyncExitStack,
    sharing: Sharing,
    post: Callable[[Event], None],
    broken: Callable[[BaseException], None],
) -> Store:
    """Open the journal and read all of it, and the objects; `stack` closes what is opened.

    Raises:
        DiskError: the folder cannot be read or written.
    """
    clock: Clock | None = None
    objects = Objects(disk, folder / "objects", lambda: clock.now() if clock is not None else 0.0)
    journal = _journal(disk, folder, sharing, objects, post, broken)
    stack.callback(journal.close)
    entries, alarms = journal.load()
    recovered = fold(entries)
    clock = Clock(disk, folder, recovered.agent_time_s)
    stack.callback(clock.mark)
    objects.claim(journal.references)
    return Store(journal, objects, recovered, clock, [str(alarm) for alarm in (*alarms, *objects.alarms)])


def _journal(
    disk: Disk,
    folder: Path,
    sharing: Sharing,
    objects: Objects,
    post: Callable[[Event], None],
    broken: Callable[[BaseException], None],
) -> Journal:
    loop = asyncio.get_running_loop()
    tell = from_any_thread(loop, post)
    return Journal(
        disk,
        folder / "journal.db",
        committed=lambda number: tell(e.Committed(number)),
        filled=lambda words: tell(e.DiskFilled(words)),
        freed=lambda: tell(e.DiskFreed()),
        broken=from_any_thread(loop, broken),
        keep=lambda payload: objects.keep(payload, sharing.segments.fd),
        unreferenced=objects.delete,
        alarmed=lambda words: log.error("journal damaged: %s", words),
        clock=seconds,
    )


async def take_up(engine: Engine, store: Store) -> None:
    """Let the engine go on where the last run ended; there must be a lane, to be told of a disk that is full."""
    store.journal.start()
    outcomes = await undelivered(store.recovered, store.journal)
    now, identity = store.clock.now(), engine.state.identity
    engine.handle(e.ClockRead(store.clock.wall_offset_s()), now)
    engine.state.outbox.record(Booted(identity.boot, identity.epoch, now, __version__))
    engine.restore(store.recovered, outcomes, now)
