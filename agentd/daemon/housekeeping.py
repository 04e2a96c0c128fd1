"""What a daemon does once a minute, whatever else there is: clocks are noted, and what nobody needs is let go."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agentd.core import events as e
from agentd.daemon.memory import give_back
from agentd.model.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.events import Event
    from agentd.daemon.data.transfers import Transfers
    from agentd.daemon.profile import Profile
    from agentd.daemon.survival import Store
    from agentd.daemon.users.agent import Agent
    from agentd.daemon.users.functions import Functions

EVERY_S = 60.0
"""How often (chosen: a clock that is set is noticed within a minute, and an idle agent hardly wakes)."""
BLOB_S = 24 * 3600.0
"""How long an uploaded object waits for an operation that names it."""

log = logging.getLogger("agentd")


def keep_house(
    post: Callable[[Event], None],
    store: Store,
    functions: Functions,
    agent: Agent,
    profile: Profile,
    transfers: Transfers,
) -> None:
    """Begin with it, on the running loop; it goes on for as long as that runs."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        post(e.ClockRead(store.clock.wall_offset_s()))
        post(e.ModulesListed(functions.modules()))
        give_back()
        try:
            store.clock.mark()
            store.objects.expire(BLOB_S)
            agent.trim_output()
            profile.write()
            transfers.trim()
        except (OSError, DiskError) as error:
            log.warning("housekeeping put off: %s", error)
        loop.call_later(EVERY_S, look)

    loop.call_later(EVERY_S, look)
