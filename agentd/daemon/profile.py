"""What the engine has learned of functions, taken up at the start and written down now and then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agentd.model.errors import ConfigError
from agentd.store.profile import NAME, read_given, read_profile, write_profile

if TYPE_CHECKING:
    from pathlib import Path

    from agentd.core.tasks.shapes import Learned, Shapes
    from agentd.daemon.settings import Settings
    from agentd.store.disk import Disk

log = logging.getLogger("agentd")


class Profile:
    """One agent's memory of what functions take; losing it costs speed, so it is never a reason not to start."""

    def __init__(self, disk: Disk, folder: Path, settings: Settings, shapes: Shapes) -> None:
        self._disk = disk
        self._path = folder / NAME
        self._given, self._copy = settings.input_profile, settings.output_profile
        self._shapes = shapes
        self._written: list[Learned] = []

    def take_up(self) -> None:
        """Teach the engine what was learned before, and what the operator says, who is right where both speak.

        Raises:
            ConfigError: the operator's file cannot be used.
        """
        try:
            self._shapes.teach(read_profile(self._disk, self._path))
        except (ConfigError, OSError) as error:
            log.warning("run times are learned anew: %s", error)
        if self._given is not None:
            self._shapes.teach(read_given(self._given))

    def write(self) -> None:
        """Write down what is known now, if that has changed."""
        learned = self._shapes.learned()
        if learned == self._written:
            return
        for path in filter(None, (self._path, self._copy)):
            try:
                write_profile(self._disk, path, learned)
            except OSError as error:
                log.warning("run times were not written to %s: %s", path, error)
        self._written = learned
