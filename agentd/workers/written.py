"""What users' code wrote, as it is read and kept: by operation, whichever of its tasks wrote it.

Law: what a task that another one asked for has written comes into the output of their operation when it ends, behind
what that had written by then; so a reader who counts bytes reads each once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.workers.output import STREAMS
from agentd.workers.page import BROUGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agentd.core.events import TaskResult
    from agentd.core.tasks.task import Task
    from agentd.workers.output import Outputs
    from agentd.workers.process import Process


class Written:
    """The output of this agent's tasks, kept and live.

    Attributes:
        root_of: tells for which operation a task runs; the task itself where nobody else asked for it.
        on_ended: told each task that has ended, with what it wrote to stdout and stderr; None: nobody wants to know.
    """

    def __init__(self, outputs: Outputs, processes: dict[int, Process]) -> None:
        self._outputs = outputs
        self._processes = processes
        self.root_of: Callable[[int], int] = int
        self.on_ended: Callable[[TaskResult, bytes, bytes], None] | None = None
        self._doubted: set[int] = set()
        """Whose output nobody asked for when it was last looked through, or could any more."""

    @property
    def limit_bytes(self) -> int:
        """How much is kept of each stream of one operation."""
        return self._outputs.limit_bytes

    def read(self, task: int, stream: str, offset: int, limit: int) -> bytes:
        """Read what a task wrote to `out` or `err`, also while it runs; nothing where there is nothing (yet)."""
        which = STREAMS.index(stream)
        for process in self._processes.values():
            running = process.running()
            if running is not None and running[0] == task:
                live = process.output, process.output_starts()[which]
                data = self._outputs.read(task, which, offset, limit, live)
                if process.running() == running:
                    return data
        return self._outputs.read(task, which, offset, limit, None)

    def forget_all(self, tasks: Iterable[int]) -> None:
        """Remove what was kept of the output of tasks."""
        for task in self._outputs.kept.intersection(tasks):
            self._outputs.forget(task)

    def trim(self, is_known: Callable[[int], bool]) -> None:
        """Forget what can be asked for no more, one look after that was seen: calls of a session that has ended."""
        unknown = {task for task in self._outputs.kept if not is_known(task)}
        for task in unknown & self._doubted:
            self._outputs.forget(task)
        self._doubted = unknown

    def keep(self, process: Process, results: Sequence[TaskResult]) -> None:
        """Hand what tasks that have ended wrote to the operations for which it was."""
        for result in results:
            sizes = process.outputs.pop(result.task, None)
            if self.on_ended is not None:
                self.on_ended(result, *self._outputs.written(process.output, sizes or (0, 0)))
            if sizes is not None:
                root = self.root_of(result.task)
                if root != result.task:
                    self._take_early(root)
                    self._tell(root)
                self._outputs.take(process.output, root, sizes)

    def keep_rest(self, process: Process, task: int) -> str:
        """Keep what the task wrote (0 for none) during which its worker died; gives the end of its stderr."""
        root = self.root_of(task) if task else 0
        if root == task:
            return self._outputs.take_rest(process.output, task, process.output_starts())
        self._take_early(root)
        words = self._outputs.take_rest(process.output, root, process.output_starts())
        self._tell(root)
        return words

    def add(self, root: int, stream: str, data: bytes) -> None:
        """Append to an operation's output what was written for it on another agent."""
        self._take_early(root)
        self._outputs.add(root, STREAMS.index(stream), data)
        self._tell(root)

    def _tell(self, root: int) -> None:
        """Let an operation know that others have written for it: it may be that of a program which shows that."""
        for process in self._processes.values():
            if root in process.line:
                process.page.words[BROUGHT] += 1

    def _take_early(self, root: int) -> None:
        """Keep what an operation that runs here has written by now, since more is to follow behind it."""
        for process in self._processes.values():
            running = process.running()
            if running is not None and running[0] == root:
                self._outputs.take_early(process.output, root, process.output_starts())

    def keep_up(self) -> None:
        """Keep what operations that run for long have written by now, and hold it to its limit.

        So an agent that is killed has it still: nobody else knows which task has written what.
        """
        for process in self._processes.values():
            running = process.running()
            if running is None:
                continue
            starts = process.output_starts()
            if self.root_of(running[0]) == running[0] and process.running() == running:
                self._outputs.take_early(process.output, running[0], starts)
            self._outputs.cut(process.output, starts)
        self._outputs.go_on()

    def mark(self, tasks: Iterable[Task]) -> None:
        """Say in the output of operations that begin once more where that is: on stderr, which no program reads."""
        for task in tasks:
            if task.attempt > 1 and task.id in self._outputs.kept:
                self._outputs.add(task.id, 1, b"[attempt %d begins here]\n" % task.attempt)
