"""What installed packages add: schedulers by entry point."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from agentd.model.errors import ConfigError
from schedulers.loading import UnknownScheduler, load

if TYPE_CHECKING:
    from schedulers.view import Scheduler

GROUP = "agentd.schedulers"


def scheduler(name: str) -> Scheduler:
    """Make the scheduler of this name.

    Raises:
        ConfigError: there is none, or it cannot be made.
    """
    plug_ins = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    try:
        return load(name, plug_ins)
    except UnknownScheduler as error:
        raise ConfigError(f"--scheduler: {error}") from error
