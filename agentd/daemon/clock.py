"""The one place that reads the clocks.

Law: agent time never falls and goes on over restarts; the wall clock is for people only.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.store.disk import is_full
from agentd.store.state import ClockMark, read_mark, resumed_agent_time, write_mark

if TYPE_CHECKING:
    from agentd.store.disk import Disk

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def machine_boot() -> str:
    """Tell one run of the machine from the next."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


class Clock:
    """Agent time: seconds since the agent was first started, as far as they are known."""

    def __init__(self, disk: Disk, folder: Path, journal_s: float) -> None:
        self._disk, self._folder = disk, folder
        mark = read_mark(disk, folder)
        base = resumed_agent_time(mark, journal_s, machine_boot(), time.clock_gettime(time.CLOCK_BOOTTIME))
        self._offset = base - time.clock_gettime(time.CLOCK_BOOTTIME)
        self.started_wall = time.time()
        self.mark()

    def now(self) -> float:
        """Read agent time."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self._offset

    def wall_offset_s(self) -> float:
        """Say how far the wall clock is ahead of agent time."""
        return time.time() - self.now()

    def mark(self) -> None:
        """Note where the clocks stand, so that the next start can go on from there.

        On a full disk the last note stays, which costs the time since: no reason not to start, nor to end badly.

        Raises:
            OSError: the disk failed otherwise.
        """
        boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            write_mark(self._disk, self._folder, ClockMark(machine_boot(), boottime + self._offset, boottime))
        except OSError as error:
            if not is_full(error):
                raise


def seconds() -> float:
    """Read a clock of which only differences mean anything, to measure what something takes."""
    return time.perf_counter()


def this_year() -> int:
    """Give the year, as far as the wall clock knows it."""
    return time.gmtime().tm_year
