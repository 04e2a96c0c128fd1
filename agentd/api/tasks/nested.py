"""The runtime in a worker: calls of tasks become tasks of the agent, waits give the cores back until they are over."""

from __future__ import annotations

import itertools
import threading
from typing import IO, TYPE_CHECKING, Any

from agentd.api.tasks.families import Family
from agentd.api.tasks.in_place import one_or_list
from agentd.api.tasks.plans import Plans

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.tasks.definition import TaskDefinition
    from agentd.api.tasks.in_place import InPlace
    from agentd.api.tasks.port import Port

_RESERVED_BITS = 24
"""A program that asks through a worker has 16 million numbers; a worker has 255 such programs in its life."""


class Nested:
    """The runtime of one process; each task that runs in it has a family of its own."""

    is_in_place = False

    def __init__(self, port: Port, in_place: InPlace) -> None:
        self.port = port
        self._in_place = in_place
        self.may_cancel = False
        """A task was called whose failure cancels what needs its results."""
        upper = port.number << 32
        versions, refs, templates = itertools.count(upper + 1), itertools.count(1), itertools.count(1)
        self.new_version: Callable[[], int] = versions.__next__
        self.new_ref: Callable[[], int] = refs.__next__
        self.new_template: Callable[[], int] = templates.__next__
        self._reserved = 0
        self._families: list[Family] = []
        self.plan_of = Plans().of
        self._main = threading.main_thread().ident
        self._of_thread = threading.local()
        self._beginning = threading.Lock()

    def reserve(self) -> int:
        """Set numbers aside for a program that asks through this process; gives the first of them."""
        self._reserved += 1
        return self._reserved << _RESERVED_BITS

    def start_at(self, first: int) -> None:
        """Use numbers from here on, which another process has set aside."""
        counters = [itertools.count(base + first + 1) for base in (self.port.number << 32, 0, 0)]
        self.new_version, self.new_ref, self.new_template = [counter.__next__ for counter in counters]

    # --- families -----------------------------------------------------------------------------------------------

    def family(self) -> Family | None:
        """Give the family of the code that calls; None where no task runs."""
        families = self._families
        if threading.get_ident() != self._main:
            return self._thread_family()
        task = self.port.task()
        if families and families[-1].task == task:
            return families[-1]
        return self._begun(task) if task else None

    def _begun(self, task: int) -> Family:
        """Give the family of a task, which is made if this is the first call; threads may come at a time."""
        with self._beginning:
            if self._families and self._families[-1].task == task:
                return self._families[-1]
            family = Family(self, task)
            self.port.enter(family)
            self._families.append(family)
            return family

    def _thread_family(self) -> Family | None:
        """A thread belongs to the task that ran when it first called a task."""
        family: Family | None = getattr(self._of_thread, "family", None)
        if family is None:
            task = self.port.task()
            if not task:
                return None
            family = self._of_thread.family = self._begun(task)
        if not family.home.is_open:
            raise RuntimeError("the task that started this thread has ended: wait for your threads in it")
        return family

    def left(self, family: Family) -> None:
        """A task has ended."""
        self._families.remove(family)

    def _here(self) -> Family:
        family = self.family()
        if family is None:
            raise RuntimeError("no task runs here")
        return family

    # --- what users call ----------------------------------------------------------------------------------------

    def call(self, definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Ask the agent for a task."""
        family = self.family()
        if family is None:
            return self._in_place.call(definition, args, kwargs)
        return family.call(self.plan_of(definition), args, kwargs)

    def wait_on(
        self, values: tuple[Any, ...], *, mode: str = "rw", lost: Callable[[BaseException], Any] | None = None
    ) -> Any:
        """Wait, and give values."""
        family = self.family()
        if family is None:
            return one_or_list(list(values))
        try:
            found = family.resolve(list(values), mode, lost)
        except RecursionError as error:
            if error.__cause__ is not None:  # a task's own
                raise
            raise ValueError("what is waited for holds itself, or is nested too deep: wait for its parts") from None
        return one_or_list(found)

    def wait_on_file(self, *paths: str) -> Any:
        """Wait for files."""
        return one_or_list(self._here().files.wait(list(paths), is_folder=False))

    def wait_on_directory(self, *paths: str) -> Any:
        """Wait for directories."""
        return one_or_list(self._here().files.wait(list(paths), is_folder=True))

    def open(self, path: str, mode: str = "r", **options: Any) -> IO[Any]:
        """Wait for a file and open it."""
        return self._here().files.open(path, mode, **options)

    def file_exists(self, *paths: str) -> Any:
        """Tell whether files are, or will be, there."""
        return one_or_list([self._here().files.exists(path) for path in paths])

    def delete_file(self, *paths: str) -> Any:
        """Remove files."""
        for path in paths:
            self._here().files.delete(path)
        return one_or_list([True] * len(paths))

    def delete_object(self, *values: Any) -> Any:
        """Let go what is kept of objects."""
        family = self._here()
        for value in values:
            family.forget(value)
        return one_or_list([True] * len(values))

    def barrier(self, *, is_last: bool = False) -> None:
        """Wait for all tasks so far; when they are the last, have what they wrote at its place."""
        family = self.family()
        if family is not None:
            family.barrier(0)
            if is_last:
                family.files.bring_back()

    def barrier_group(self, name: str) -> None:
        """Wait for a group."""
        family = self._here()
        family.barrier(family.group(name))

    def open_group(self, name: str) -> None:
        """Begin a group."""
        self._here().open_group(name)

    def close_group(self, name: str, *, waits: bool) -> None:
        """End a group."""
        family = self._here()
        family.close_group(name)
        if waits:
            family.barrier(family.group(name))

    def cancel_group(self, name: str) -> None:
        """Cancel a group."""
        family = self._here()
        family.cancel(family.group(name))

    def set_wall_clock(self, seconds: float) -> None:
        """Limit the rest of the program."""
        self._here().limit(seconds)

    def number_of_resources(self) -> int:
        """Tell how many agents can take tasks."""
        return max(1, self.port.hosts())

    def snapshot(self) -> None:
        """Close what is open of groups; what is done is recorded by the agent anyway."""
        self.barrier()
