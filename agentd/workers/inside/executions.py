"""Decorated tasks that other tasks asked for: the frame around what `agentd/api/tasks/execution.py` does.

That module is the one that the task's own module uses, and is loaded with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..page import TIMED_OUT
from .failures import Failure, Reason, Refused, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .callees import Callee
    from .port import TaskPort
    from .values import Encoded


class Executions:
    """Runs them, one at a time or one on top of another."""

    def __init__(self, port: TaskPort, words: memoryview) -> None:
        self._port = port
        self._words = words
        self._make: Callable[..., Any] | None = None
        self.made: list[Encoded] | None = None
        """What the task that ended last made; None where it was none of these, or failed."""
        self.failure: Failure | None = None
        """Why its group ends, though it is done."""
        self.begun = 0
        """The last task whose inputs were its own to let go."""
        self.was_forgiven = False
        """Its time was over, and it is done all the same."""
        self.has_asked = False
        """It asked for tasks itself: it has not ended before they have."""

    def take(self) -> tuple[list[Encoded] | None, Failure | None]:
        """Give what the last one made, once."""
        made, failure = self.made, self.failure
        self.made, self.failure = None, None
        return made, failure

    def run(self, task: int, callee: Callee, data: memoryview, buffers: Sequence[memoryview], inputs: Any) -> None:
        """Run a task; what it made is then in `made`.

        Raises:
            Refused: its call cannot be read.
            BaseException: whatever users' code raises.
        """
        make = self._make
        if make is None:
            make = self._make = importlib.import_module("agentd.api.tasks.execution").Execution
        self.begun = task
        self._port.nodes = callee.hosts
        execution = make(self._port, callee.definition, inputs or ())
        self.was_forgiven = self.has_asked = False
        try:
            self._read(execution, data, buffers)
            if callee.is_instead:
                self.made = self._written(execution.instead)
                return
            try:
                value = execution.run()
                family = self._port.family_of(task)
                self.has_asked = family is not None
                self.made = self._written(lambda: execution.made(value, family))
            except BaseException as error:  # noqa: BLE001 - users' code runs here
                self.has_asked = self._port.family_of(task) is not None
                self._rescue(task, callee, execution, error)
        finally:
            execution.close()
            self._port.leave(task)

    @staticmethod
    def _read(execution: Any, data: memoryview, buffers: Sequence[memoryview]) -> None:
        try:
            execution.read(data, buffers)
        except (MemoryError, Refused):
            raise
        except Exception as error:  # users' code runs here
            message = f"the arguments cannot be read here: {type(error).__name__}: {error}"
            raise Refused(Reason.NOT_DECODABLE, message) from error

    def _written(self, write: Callable[[], list[Encoded]]) -> list[Encoded]:
        self._port.is_result = True
        try:
            return write()
        finally:
            self._port.is_result = False

    def _rescue(self, task: int, callee: Callee, execution: Any, error: BaseException) -> None:
        """Let a task be done that raised: because that ends its group, or because it is to be ignored.

        Raises:
            BaseException: the same, where it is neither.
        """
        if getattr(error, "ends_group", False):
            failure = failure_of(error)
            failure.reason = Reason.GROUP_EXCEPTION
            self.made, self.failure = self._written(execution.instead), failure
            return
        is_over = isinstance(error, KeyboardInterrupt) and self._words[TIMED_OUT] == task
        if callee.definition.on_failure != "IGNORE" or not (is_over or isinstance(error, Exception)):
            raise error
        self.made, self.was_forgiven = self._written(execution.instead), is_over
