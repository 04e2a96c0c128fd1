"""Why a worker's process ended, told apart."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.model.task import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable


class OutOfMemoryCount:
    """How often the kernel has killed for want of memory, since this was last asked.

    Read from /proc/vmstat (proc(5)) and, where there is one, the memory group of the daemon.
    """

    def __init__(self, files: Iterable[Path] | None = None) -> None:
        self._files = tuple(_sources() if files is None else files)
        self._seen = self._read()

    def has_risen(self) -> bool:
        """Tell whether it killed since the last question."""
        before, self._seen = self._seen, self._read()
        return self._seen > before

    def _read(self) -> int:
        return sum(_count_in(file) for file in self._files)


def _sources() -> Iterable[Path]:
    yield Path("/proc/vmstat")
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield Path(f"/sys/fs/cgroup{group}/memory.events")
            elif "memory" in controllers.split(","):
                yield Path(f"/sys/fs/cgroup/memory{group}/memory.oom_control")


def _count_in(file: Path) -> int:
    with suppress(OSError, ValueError):
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def failure_of_exit(status: int, *, out_of_memory: bool, last_words: str = "") -> Failure:
    """Say what a wait status means, as from waitpid(2); `last_words` is the end of what it wrote to stderr."""
    if not os.WIFSIGNALED(status):
        code = os.waitstatus_to_exitcode(status)
        return Failure(Reason.EXIT, "ProcessExited", f"the process ended itself with exit code {code}", last_words)
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL and out_of_memory:
        message = "the kernel killed the process because the machine, or its group, had no memory left"
        return Failure(Reason.OUT_OF_MEMORY, "OutOfMemory", message, last_words)
    if number == signal.SIGXCPU:
        message = "the task used more CPU time than it may (SIGXCPU)"
        return Failure(Reason.SIGNAL, "CpuLimit", message, last_words)
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return Failure(Reason.SIGNAL, "ProcessKilled", f"the process was ended by {name}", last_words)


def failure_of_kill(*, timed_out: bool) -> Failure:
    """Say that it was us, because a task would not end."""
    if timed_out:
        return Failure(Reason.TIMED_OUT, "TimedOut", "the task ran longer than it may and had to be killed")
    return Failure(Reason.SIGNAL, "Cancelled", "the task was cancelled and had to be killed")


def failure_of_loss(message: str) -> Failure:
    """Say that it could not be used any longer, for a reason of its own or of ours."""
    return Failure(Reason.SIGNAL, "WorkerLost", message)


STOPPED = Failure(Reason.NONE, "Stopped", "the worker was stopped because it was not needed")
