"""The folder of an agent for the files of its tasks: made when it starts, gone with all that is in it when it ends.

Law: what an agent that was killed has left behind is removed by the next one of the same state.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from agentd.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "agentd-tasks-"
FILES = "files"
"""Below it: large files as they are, by the numbers of their segments; `<worker>-<number>` until those are known."""


class TaskFolder:
    """Folders of running tasks, `<worker>/task-…`; files that they share, `shared/…`; and names of large files."""

    def __init__(self, base: str, note: Path) -> None:
        """Make it.

        Args:
            base: where; empty: where the system keeps temporary files.
            note: link by which the next agent finds what this one has left, should it be killed.

        Raises:
            ConfigError: it cannot be made.
        """
        self._note = note
        self._named: set[int] = set()
        _remove_left(note)
        try:
            self.path = tempfile.mkdtemp(prefix=PREFIX, dir=base if os.path.isdir(base) else None)
            os.mkdir(os.path.join(self.path, FILES), 0o700)
            os.symlink(self.path, note)
        except OSError as error:
            raise ConfigError(f"no folder for the files of tasks can be made: {error}; TMPDIR says where") from error

    def name(self, worker: int, number: int, segment: int) -> None:
        """Have a file that a worker has handed over go by our number, if it has given it a name."""
        with suppress(OSError):
            os.rename(self._file(f"{worker}-{number}"), self._file(str(segment)))
            self._named.add(segment)

    def forget(self, segment: int) -> None:
        """Remove a file's name; who still has it open, or a name of its own for it, keeps what is in it."""
        if segment in self._named:
            self._named.discard(segment)
            with suppress(OSError):
                os.unlink(self._file(str(segment)))

    def _file(self, name: str) -> str:
        return os.path.join(self.path, FILES, name)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            os.unlink(self._note)


def _remove_left(note: Path) -> None:
    """Remove what an agent has left that could not do so itself."""
    try:
        left = os.readlink(note)
    except OSError:
        return
    with suppress(OSError):
        status = os.lstat(left)
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if is_ours and os.path.basename(left).startswith(PREFIX):
            shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):
        os.unlink(note)
