"""Who this agent is, and what time it is for it: what the state folder holds beside the journal.

Agent time is seconds that never go back: they go on over restarts of the daemon and of the machine, whatever the wall
clock does. The machine's own time since its boot is enough while it runs; a mark on the disk leads over a restart.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from agentd.model.errors import ConfigError
from agentd.model.unreadable import UNREADABLE
from agentd.store.disk import Disk, read_file, write_file

_ID_NAME = "agent-id"
_ID = re.compile(rb"[0-9a-f]{32}\n?")
_CLOCK_NAME = "clock"
_MOST_BYTES = 4096
"""Largest file that is read here (chosen: each holds one line)."""


def agent_id(disk: Disk, folder: Path) -> str:
    """Give the agent's identifier, 128 random bits as 32 hexadecimal digits; made once, at the first start.

    Raises:
        ConfigError: the file that holds it was changed by somebody.
        OSError: the disk failed.
    """
    path = folder / _ID_NAME
    found = read_file(disk, path, limit=_MOST_BYTES)
    if found is None:
        made = secrets.token_hex(16)
        write_file(disk, path, made.encode("ascii") + b"\n")
        return made
    if not _ID.fullmatch(found):
        raise ConfigError(
            f"{path} does not hold an agent's identifier (32 hexadecimal digits): put the former content back, "
            "or remove the file to become a new agent that peers have to be paired with again"
        )
    return found.decode("ascii").strip()


class ClockMark(Struct, frozen=True):
    """An agent time and the machine's time at the same moment."""

    machine_boot: str
    """`/proc/sys/kernel/random/boot_id`: tells one run of the machine from the next."""
    agent_time_s: float
    boottime_s: float
    """CLOCK_BOOTTIME: it counts while the machine sleeps, and starts anew when it boots."""


def write_mark(disk: Disk, folder: Path, mark: ClockMark) -> None:
    """Put a mark in the place of the last one.

    Raises:
        OSError: the disk failed, or is full; the last mark is still there.
    """
    write_file(disk, folder / _CLOCK_NAME, msgspec.json.encode(mark))


def read_mark(disk: Disk, folder: Path) -> ClockMark | None:
    """Give the last mark; None when there is none that makes sense, which costs the time since, not the order.

    Raises:
        ConfigError: something else than a file of ours is in its place.
        OSError: the disk failed.
    """
    found = read_file(disk, folder / _CLOCK_NAME, limit=_MOST_BYTES)
    try:
        mark = msgspec.json.decode(found, type=ClockMark) if found is not None else None
    except UNREADABLE:
        return None
    return mark if mark is not None and mark.agent_time_s >= 0 and mark.boottime_s >= 0 else None


def next_agent_time_base(
    last_recorded_s: float, last_boottime_s: float, same_machine_boot: bool, boottime_now_s: float
) -> float:
    """Give the agent time of the moment `boottime_now_s`, from the last one that was recorded.

    Within one boot of the machine the time in between is known and counts; over a boot it is not, and does not.
    """
    if not same_machine_boot:
        return last_recorded_s
    return last_recorded_s + max(0.0, boottime_now_s - last_boottime_s)


def resumed_agent_time(mark: ClockMark | None, journal_s: float, machine_boot: str, boottime_now_s: float) -> float:
    """Give the agent time of now from the last mark and the last time in the journal, whichever is later."""
    if mark is None:
        return journal_s
    same = bool(machine_boot) and mark.machine_boot == machine_boot
    return max(journal_s, next_agent_time_base(mark.agent_time_s, mark.boottime_s, same, boottime_now_s))
