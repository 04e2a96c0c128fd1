"""What installed packages add: schedulers by entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.model.errors import ConfigError
from schedulers.configuration import LIMIT_CHARACTERS, Configuration, ConfigurationError, read
from schedulers.loading import UnknownScheduler, is_own, load

if TYPE_CHECKING:
    from pathlib import Path

    from schedulers.view import Scheduler

GROUP = "agentd.schedulers"


def _plug_ins() -> dict[str, str]:
    from importlib.metadata import entry_points  # reads the disk: only for a name that is not ours

    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def scheduler(name: str, file: Path | None = None) -> tuple[Scheduler, list[str]]:
    """Make the scheduler of this name, as its file configures it; gives also what in the file has no effect.

    Raises:
        ConfigError: there is none, or it cannot be made, or the file cannot be used.
    """
    found = Configuration({})
    if file is not None:
        try:
            with file.open(encoding="utf-8") as opened:
                found = read(opened.read(LIMIT_CHARACTERS + 1))
        except (OSError, UnicodeDecodeError, ConfigurationError) as error:
            raise ConfigError(f"--scheduler-config-file: {file}: {error}") from error
    try:
        made = load(name, {} if is_own(name) else _plug_ins(), found.values)
    except UnknownScheduler as error:
        where = f"--scheduler-config-file {file}, --scheduler" if found.values else "--scheduler"
        raise ConfigError(f"{where}: {error}") from error
    return made, [f"{file}: {note}; it has no effect" for note in found.notes]
