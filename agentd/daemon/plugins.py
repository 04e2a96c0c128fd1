"""What installed packages add: schedulers by entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.model.errors import ConfigError
from schedulers.loading import UnknownScheduler, is_own, load

if TYPE_CHECKING:
    from schedulers.view import Scheduler

GROUP = "agentd.schedulers"


def _plug_ins() -> dict[str, str]:
    from importlib.metadata import entry_points  # reads the disk: only for a name that is not ours

    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def scheduler(name: str) -> Scheduler:
    """Make the scheduler of this name.

    Raises:
        ConfigError: there is none, or it cannot be made.
    """
    try:
        return load(name, {} if is_own(name) else _plug_ins())
    except UnknownScheduler as error:
        raise ConfigError(f"--scheduler: {error}") from error
