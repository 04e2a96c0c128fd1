"""One worker as the daemon sees it: its line of tasks, its right to start them, and what it holds."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING

from agentd.workers.page import (
    CALLS,
    ERR_START,
    FLAGGED,
    HEARD_AT,
    HOSTS,
    INTERRUPTED,
    OUT_START,
    RUNNING,
    STARTED,
    TIMED_OUT,
    WANTED,
    Page,
    make_page,
)
from agentd.workers.protocol import COUNT, NUMBER, TO_DAEMON_LIMIT, FrameReader, Kind, ProtocolError, frame

if TYPE_CHECKING:
    from agentd.comm.carrying.unix import UnixConnection
    from agentd.core.commands import Binding
    from agentd.core.tasks.task import Task
    from agentd.model.task import Failure
    from agentd.workers.output import WorkerOutput

MAX_CLAIMS = 64
"""Descriptors that may wait for their frame; chosen: a worker sends one at a time."""
MAX_SEGMENTS = 8192
"""Segments of one worker; chosen: far above what its pool keeps."""


class Process:
    """A worker's process. It starts a task only with a token, of which there is one for each task not yet started."""

    def __init__(self, number: int, output: WorkerOutput) -> None:
        self.number = number
        self.output = output
        self.pid = 0
        self.connection: UnixConnection
        self.reader = FrameReader(TO_DAEMON_LIMIT)
        self.fds: deque[int] = deque()
        self.line: deque[int] = deque()
        """Tasks given to it and not ended, in order."""
        self.stacked = 0
        """How many of them, at the end, run on top of others that wait."""
        self.templates: set[int] = set()
        """Numbers of the templates that it knows."""
        self.mapped: set[int] = set()
        """Segments that it was given."""
        self.holds: Counter[int] = Counter()
        """Segments that its tasks read, and how many of them."""
        self.own: dict[int, int] = {}
        """Its own segments: its number to ours."""
        self.outputs: dict[int, tuple[int, int]] = {}
        """What the tasks wrote whose results come next."""
        self.unsettled = 0
        """REVOKE frames that it has not obeyed yet."""
        self.owed = 0
        """Revocations whose settling was not told yet."""
        self.is_stopping = False
        self.marked = 0
        """The task that was to be stopped last; 0: none that matters."""
        self.killed: tuple[int, bool] | None = None
        """Task because of which it was killed by us, and whether its time was over."""
        self.complaint: Failure | None = None
        """Why it was given up, where that is not to be seen from how it ended."""
        self.status: int | None = None
        """Wait status, when it is known."""
        self.is_closed = False
        self._tokens = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        page = make_page()
        self.page = Page(page)
        self._page_fd = page

    def descriptors(self, there: socket.socket) -> list[int]:
        """Give what its process is made of."""
        out, err = self.output.streams
        return [there.fileno(), self._tokens, self._page_fd, out.fd, err.fd]

    def append(self, tasks: list[Task]) -> None:
        """Grant the right to start these, which must be written to it in the same turn."""
        self.line.extend([task.id for task in tasks])
        os.eventfd_write(self._tokens, len(tasks))

    def first(self) -> int:
        """Give the first task of its line.

        Raises:
            ProtocolError: it has none.
        """
        if not self.line:
            raise ProtocolError("it spoke of a task, and has none")
        return self.line[0]

    def take_back(self, count: int) -> int:
        """Take tasks from the end of the line that have not started; gives how many."""
        taken = 0
        with suppress(BlockingIOError):
            while taken < min(count, len(self.line)):
                os.eventfd_read(self._tokens)
                taken += 1
        for _ in range(taken):
            self.line.pop()
        return taken

    def revoke(self, count: int) -> None:
        """Tell it how many tasks at the end of its line are not its own any more."""
        self.connection.write(frame(Kind.REVOKE, COUNT.pack(count)))
        self.unsettled += 1

    def bind(self, binding: Binding) -> None:
        """Give it the units of the tasks that follow."""
        units = {"cpus": binding.cpus, "gpus": binding.gpus}
        self.connection.write(frame(Kind.BIND, json.dumps(units).encode()))

    def free(self, segment: int) -> None:
        """Give one of its own segments back to it."""
        self.connection.write(frame(Kind.FREE, NUMBER.pack(segment)))

    def running(self) -> tuple[int, float] | None:
        """Give the task that has started and not ended, and since when; None between tasks."""
        task = self.page.words[RUNNING]
        started = self.page.seconds[STARTED]
        if task and task in self.line and self.page.words[RUNNING] == task:
            return task, started
        return None

    def output_starts(self) -> tuple[int, int]:
        """Tell where the part of the running task begins in each stream."""
        return self.page.words[OUT_START], self.page.words[ERR_START]

    def ask_to_end(self, task: int) -> None:
        """Set the flag that users' code may look at."""
        self.page.words[FLAGGED] = self.marked = task

    def mark_interrupted(self, task: int, *, timed_out: bool) -> None:
        """Say that a SIGINT is meant for this task, or that it must not start."""
        self.page.words[TIMED_OUT] = task if timed_out else 0
        self.page.words[INTERRUPTED] = self.marked = task

    def heard_at(self) -> float:
        """Tell when a SIGINT last reached a task that it was meant for."""
        found: float = self.page.seconds[HEARD_AT]
        return found

    def is_deaf(self, task: int, last_heard: float) -> bool:
        """Tell whether a task runs on that a SIGINT was sent for, and that none has reached since the one named."""
        words = self.page.words
        return (words[RUNNING], words[INTERRUPTED]) == (task, task) and self.heard_at() == last_heard

    def unmark(self, tasks: list[int]) -> None:
        """Let tasks run that were stopped before, if one of these was: it is tried again."""
        if self.marked in tasks:
            for word in (FLAGGED, TIMED_OUT, INTERRUPTED):
                self.page.words[word] = 0
            self.marked = 0

    def tell_hosts(self, count: int) -> None:
        """Say how many agents can take tasks."""
        self.page.words[HOSTS] = count

    def want_back(self, task: int) -> None:
        """Have it end the task by which it serves a session, after the call at hand."""
        self.page.words[WANTED] = task

    def direct_calls(self) -> int:
        """Count the calls that sessions have made directly."""
        found: int = self.page.words[CALLS]
        return found

    def end_task(self, task: int) -> None:
        """Take the first task off the line, or the one that runs on top of those that wait.

        Raises:
            ProtocolError: it is another one that ended.
        """
        line = self.line
        if self.stacked and line[-1] == task:
            self.stacked -= 1
            line.pop()
        elif not line or line.popleft() != task:
            raise ProtocolError(f"a result of task {task} came, which it had not to run next")

    def end_tasks(self, tasks: list[int]) -> None:
        """Take tasks off the line that have ended one after the other; as `end_task`.

        Raises:
            ProtocolError: others ended.
        """
        line = self.line
        if self.stacked or tasks != [line.popleft() for _ in range(min(len(tasks), len(line)))]:
            raise ProtocolError("results came of tasks which it had not to run next")

    def claim(self) -> int:
        """Take the descriptor that belongs to the frame at hand.

        Raises:
            ProtocolError: there is none.
        """
        if not self.fds:
            raise ProtocolError("a frame came without its descriptor")
        return self.fds.popleft()

    def close(self) -> None:
        """Let everything go that belongs to the process."""
        for fd in (*self.fds, self._tokens, self._page_fd):
            os.close(fd)
        self.page.close()
        self.output.close()
