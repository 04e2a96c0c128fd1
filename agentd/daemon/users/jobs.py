"""Operations of COMPSs' door as jobs: numbered, told on stdout, and their output kept in files by their number.

At the level of debugging every task that runs on this agent is a job, with what it wrote itself.

Source: the folder of logs of a COMPSs agent, `jobs/job<N>_NEW.out` and `.err`; N counts from 1 in each run.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
from collections import OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agentd.core.tasks.task import Task
    from agentd.model.task import Failure
    from agentd.model.views import OperationView

log = logging.getLogger("agentd")

NUMBERS_MOST = 100_000
"""Operations whose number is remembered until they end (chosen: as the operations that are kept)."""
WORDS = {"done": "completed", "cancelled": "cancelled"}
"""How the field says an end; any other is a failure."""
SUFFIXES = {"stdout": "out", "stderr": "err"}


class Jobs:
    """The jobs of one run.

    `folder` need not be there before the first ends. `say` prints a line on the agent's stdout.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], *, is_debug: bool = False) -> None:
        self._folder = folder
        self.say = say
        self.is_debug = is_debug
        self._count = itertools.count(1)
        self._numbers: OrderedDict[int, int] = OrderedDict()
        self._kept: OrderedDict[int, None] = OrderedDict()
        """Jobs of operations whose files are there already, as they ran here."""

    def begin(self, operation: int) -> None:
        """Give an operation its number; one that has it keeps it."""
        if operation not in self._numbers:
            self._numbers[operation] = next(self._count)
            if len(self._numbers) > NUMBERS_MOST:
                self._numbers.popitem(last=False)

    async def end(self, view: OperationView, output: AsyncIterator[tuple[str, bytes]]) -> None:
        """Keep what an operation printed, then tell how it ended."""
        self.begin(int(view.id))
        number = self._numbers.pop(int(view.id))
        try:
            if number not in self._kept:
                await self._keep(number, view, output)
        except OSError as error:
            log.warning("the output of job %d is not kept: %s", number, error)
        took_ms = round(((view.ended_at or view.submitted_at) - view.submitted_at) * 1000)
        self.say(f"Job {WORDS.get(view.state, 'failed')} after {max(took_ms, 0)}")

    def task_ended(self, task: Task, failure: Failure | None, out: bytes, err: bytes, *, is_operation: bool) -> None:
        """Keep what a task wrote that ran here; `is_operation`: its own end is yet to be told."""
        self.begin(task.id)
        number = self._numbers[task.id]
        if is_operation:
            self._kept[number] = None
            if len(self._kept) > NUMBERS_MOST:
                self._kept.popitem(last=False)
        else:
            del self._numbers[task.id]
        history = "NEW" if task.attempt + task.retries == 1 else "RESUBMITTED"
        words = (failure.traceback or f"{failure.type}: {failure.message}\n").encode() if failure is not None else b""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for suffix, data in (("err", err + words), ("out", _definition(task.shape.template.function) + out)):
                path = self._folder / f"job{number}_{history}.{suffix}"
                with _new(_part(path)) as file:
                    file.write(data)
                _part(path).rename(path)
        except OSError as error:
            log.warning("the output of job %d is not kept: %s", number, error)

    async def _keep(self, number: int, view: OperationView, output: AsyncIterator[tuple[str, bytes]]) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        paths = {stream: self._folder / f"job{number}_NEW.{suffix}" for stream, suffix in SUFFIXES.items()}
        with ExitStack() as stack:
            files = {stream: stack.enter_context(_new(_part(path))) for stream, path in paths.items()}
            if self.is_debug:
                files["stdout"].write(_definition(view.function))
            async for stream, data in output:
                await asyncio.to_thread(files[stream].write, data)
            if view.error is not None:
                files["stderr"].write((view.error.traceback or f"{view.error.type}: {view.error.message}\n").encode())
        for path in reversed(paths.values()):
            _part(path).rename(path)


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb")


def _definition(function: str) -> bytes:
    """Say which function it was, as tests of the field look for it at the level of debugging: in two forms."""
    module, _, method = function.partition(":")
    forms = f"[DECLARING CLASS={module}, METHOD NAME={method}]", json.dumps({"class": module, "method_name": method})
    return "".join(f"  * Method definition: {form}\n" for form in forms).encode()
