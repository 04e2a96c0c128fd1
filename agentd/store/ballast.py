"""Space that is held back, to be given up when the disk is full so that what runs can still be recorded."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from agentd.store.disk import Disk, is_full, preallocate

BALLAST_BYTES = 8 << 20
"""Chosen: room for the ends of some ten thousand operations."""


class Ballast:
    """A file of a fixed size that holds nothing."""

    def __init__(self, disk: Disk, path: Path, size: int = BALLAST_BYTES) -> None:
        self._disk = disk
        self._path = path
        self.size = size

    def take(self) -> bool:
        """Hold the space; tell whether it is held now.

        A margin of the same size must remain, so that the space is not given up again at once.

        Raises:
            OSError: the disk failed otherwise than by being full.
        """
        if self._disk.size(self._path) >= self.size:
            return True
        if self._disk.free_bytes(self._path.parent) < 2 * self.size:
            return False
        try:
            preallocate(self._disk, self._path, self.size)
        except OSError as error:
            if is_full(error):
                return False
            raise
        return True

    def give_up(self) -> None:
        """Let others have the space."""
        with suppress(FileNotFoundError):
            self._disk.unlink(self._path)
