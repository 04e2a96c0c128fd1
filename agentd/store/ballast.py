"""Space on the disk: some is held back, and given up when the disk is full so that what runs can be recorded."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agentd.model.errors import DiskError
from agentd.store.disk import Disk, is_full, preallocate

BALLAST_BYTES = 8 << 20
"""Chosen: room for the ends of some ten thousand operations."""


class Ballast:
    """A file of a fixed size that holds nothing."""

    def __init__(self, disk: Disk, path: Path, size: int = BALLAST_BYTES) -> None:
        self._disk = disk
        self.path = path
        self.size = size

    def take(self) -> bool:
        """Hold the space; tell whether it is held now.

        A margin of the same size must remain, so that the space is not given up again at once.

        Raises:
            OSError: the disk failed otherwise than by being full.
        """
        if self._disk.size(self.path) >= self.size:
            return True
        if self._disk.free_bytes(self.path.parent) < 2 * self.size:
            return False
        try:
            preallocate(self._disk, self.path, self.size)
        except OSError as error:
            if is_full(error):
                return False
            raise
        return True

    def give_up(self) -> None:
        """Let others have the space."""
        with suppress(FileNotFoundError):
            self._disk.unlink(self.path)


class Space:
    """Whether there is space, and what is done when there is none: the ballast goes, and comes back before new work.

    `filled` is told once each time the disk has become full, `freed` when the ballast is held again and all is done.
    """

    def __init__(self, ballast: Ballast, filled: Callable[[str], None], freed: Callable[[], None]) -> None:
        self._ballast = ballast
        self._filled = filled
        self._freed = freed
        self._is_holding = False
        self.is_full = False

    def attempt(self, undo: Callable[[], None], action: Callable[..., object], *arguments: object) -> bool:
        """Do something that needs space; tell whether there was enough, with the ballast given up for it if need be.

        Args:
            undo: called when it did not fit.
            action: what is done.
            arguments: of the action.

        Raises:
            DiskError: any other failure of the disk: what it holds now is not known, so nothing is tried again.
        """
        for _ in range(2):
            try:
                action(*arguments)
            except (sqlite3.Error, OSError) as error:
                if not is_full(error):
                    raise DiskError(f"{self._ballast.path.parent}: {error}") from error
                undo()
                self._ballast.give_up()
                self._is_holding = False
                self._tell(f"is full ({error})")
            else:
                return True
        return False

    def relieve(self, *, is_done: bool = True) -> None:
        """Hold the ballast; when that succeeds, and all is done, the disk is not full any more.

        Raises:
            OSError: the disk failed otherwise than by being full.
        """
        if self._is_holding and not self.is_full:
            return
        self._is_holding = self._ballast.take()
        if not self._is_holding:
            self._tell("is nearly full")
        elif self.is_full and is_done:
            self.is_full = False
            self._freed()

    def _tell(self, how: str) -> None:
        if not self.is_full:
            self.is_full = True
            self._filled(f"the disk of {self._ballast.path.parent} {how}: free some space there")
