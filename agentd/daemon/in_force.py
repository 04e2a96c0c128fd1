"""The settings with which an agent runs, left in its state folder for who asks while it does.

Options of a command line are known to the process alone: whoever looks from outside would tell an operator what the
next start would take, where the question is who can reach the agent that runs now.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agentd.api.places import read_ready
from agentd.daemon.settings import Settings
from agentd.store.disk import LocalDisk, read_file, write_file

if TYPE_CHECKING:
    from agentd.store.disk import Disk

NAME = "settings.json"
_MOST_BYTES = 4 << 20
"""Largest such file that is read. Chosen: far above the longest command line that Linux takes (2 MiB, execve(2))."""


class _Left(msgspec.Struct, frozen=True):
    boot: str
    settings: Settings


def leave_word(disk: Disk, folder: Path, boot: str, settings: Settings) -> None:
    """Write what this run of the agent goes by.

    Raises:
        OSError: the disk failed.
    """
    write_file(disk, folder / NAME, msgspec.json.encode(_Left(boot, settings), enc_hook=str))


def in_force(folder: Path) -> Settings | None:
    """Read what the last agent to be ready on this folder goes by; None: it left no word that can be read here.

    Raises:
        OSError: the file cannot be read.
    """
    data = read_file(LocalDisk(), folder / NAME, limit=_MOST_BYTES)
    try:
        left = None if data is None else msgspec.json.decode(data, type=_Left, dec_hook=_read)
    except msgspec.MsgspecError:  # of another version, whose settings are others
        return None
    is_its = left is not None and left.boot == (read_ready(folder) or {}).get("boot")
    return left.settings if left is not None and is_its else None


def _read(kind: type, text: Any) -> Any:
    return kind(text)
