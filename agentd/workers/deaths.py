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

    from agentd.workers.process import Process

_PF_EXITING = 0x4
"""Of the flags of a process, in linux/sched.h: it ends, and its files may be closed already."""


class OutOfMemoryCount:
    """How often the kernel has killed for want of memory lately: each such kill explains the death of one worker.

    Lately is since the last look but one, so that what another program was killed for an hour ago explains nothing.
    Read of the daemon's memory group, or where there is none of the machine, from /proc/vmstat (proc(5)).
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or next(filter(_has_count, _groups()), Path("/proc/vmstat"))
        self._explained = self._seen = self._read()
        """At the last look but one, or as many kills more as were taken for somebody's death; and at the last look."""

    def look(self) -> None:
        """Read it, as is to be done now and then while workers work."""
        self._explained, self._seen = max(self._explained, self._seen), self._read()

    def has_risen(self) -> bool:
        """Tell whether it killed lately, and take one of these kills for the death at hand."""
        if self._read() <= self._explained:
            return False
        self._explained += 1
        return True

    def _read(self) -> int:
        return _count_in(self._file) or 0


def _groups() -> Iterable[Path]:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield Path(f"/sys/fs/cgroup{group}/memory.events")
            elif "memory" in controllers.split(","):
                yield Path(f"/sys/fs/cgroup/memory{group}/memory.oom_control")


def _has_count(file: Path) -> bool:
    return _count_in(file) is not None


def _count_in(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None


def failure_of(process: Process, kills: OutOfMemoryCount, last_words: str) -> Failure:
    """Say why a worker is gone, by how its process ended, what it has done before, and what was done to it."""
    status = process.status
    if process.killed is not None:
        return failure_of_kill(timed_out=process.killed[1])
    if process.complaint is not None:
        return process.complaint
    if process.is_stopping and (status is None or not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0):
        return STOPPED
    if status is None:
        return failure_of_loss("the worker lost its connection, or the process that forked it was killed")
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return failure_of_exit(status, out_of_memory=killed and kills.has_risen(), last_words=last_words)


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


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended or is about to, though who forked it may not have been told yet."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # as in proc(5), from the state on
    except OSError:
        return True
    return words[0] in {b"Z", b"X"} or bool(int(words[6]) & _PF_EXITING)


STOPPED = Failure(Reason.NONE, "Stopped", "the worker was stopped because it was not needed")
