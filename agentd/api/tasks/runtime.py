"""What calls of decorated functions, and the functions around them, go to: the runtime of this process.

In a worker that is the one that has tasks run by the agent; in a session it is the one that asks an agent; anywhere
else tasks run in place, as plain Python.
"""

from __future__ import annotations

import sys
import threading
from typing import IO, TYPE_CHECKING, Any, Protocol

from agentd.api.tasks.in_place import InPlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.tasks.definition import TaskDefinition

PORT = "_agentd_worker_task"
"""Name among the loaded modules under which a worker shows its port to the programming model."""


class Runtime(Protocol):
    """What every runtime does. Names of groups and paths of files are the user's."""

    is_in_place: bool
    """Tasks run at once, in this process."""

    def call(self, definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a task: gives what its caller gets (a value in place; else a future, a list of futures, or None).

        Raises:
            TypeError: the arguments do not fit the function, or one cannot be what its parameter says.
            FileNotFoundError: a file that is read is not there, and no task makes it.
        """
        ...

    def wait_on(
        self, values: tuple[Any, ...], *, mode: str = "rw", lost: Callable[[BaseException], Any] | None = None
    ) -> Any:
        """Give values for what tasks return and write, also inside lists and dicts: one for one, a list for several.

        `mode` "r" promises that they will not be changed. `lost(error)` gives what stands for a value that never came
        to be; without it `error` is raised, which is the task's own exception.
        """
        ...

    def wait_on_file(self, *paths: str) -> Any:
        """Wait until each file is at its path as its last task left it; gives the path, or a list of them."""
        ...

    def wait_on_directory(self, *paths: str) -> Any:
        """As `wait_on_file`, for directories."""
        ...

    def open(self, path: str, mode: str = "r", **options: Any) -> IO[Any]:
        """Wait for the file, and open it as `open` does; one that is opened for writing is a new version."""
        ...

    def file_exists(self, *paths: str) -> Any:
        """Tell whether each file is there, or will be: one answer, or a list of them."""
        ...

    def delete_file(self, *paths: str) -> Any:
        """Remove files as soon as no task needs them; gives True, or a list of it."""
        ...

    def delete_object(self, *values: Any) -> Any:
        """Forget what was kept of these as soon as no task needs it; gives True, or a list of it."""
        ...

    def barrier(self, *, is_last: bool = False) -> None:
        """Wait for all tasks that were called so far; `is_last`: files that they wrote are then at their places.

        Raises:
            BaseException: what the first of them raised that finally failed and that nobody was told of.
        """
        ...

    def barrier_group(self, name: str) -> None:
        """Wait for the tasks of a group.

        Raises:
            GroupException: one of them ended the group.
        """
        ...

    def open_group(self, name: str) -> None:
        """Have tasks that are called from now on belong to a group too."""
        ...

    def close_group(self, name: str, *, waits: bool) -> None:
        """End what `open_group` began; `waits`: as `barrier_group` does."""
        ...

    def cancel_group(self, name: str) -> None:
        """Cancel what waits and runs of a group."""
        ...

    def set_wall_clock(self, seconds: float) -> None:
        """Cancel what is left of this program's tasks after so many seconds from now."""
        ...

    def number_of_resources(self) -> int:
        """Tell how many agents can take tasks now, this one included."""
        ...

    def snapshot(self) -> None:
        """Close what is open of groups, and have what is done recorded, where tasks are recorded."""
        ...


IN_PLACE = InPlace()
_used: Runtime | None = None
_making = threading.Lock()
"""Threads of a task may call their first tasks at a time: there is one runtime for all."""


def current() -> Runtime:
    """Give the runtime of this process."""
    if _used is not None:
        return _used
    worker = sys.modules.get(PORT)
    if worker is None:
        return IN_PLACE
    runtime: Runtime | None = getattr(worker, "runtime", None)
    return _nested(worker) if runtime is None else runtime


def _nested(worker: Any) -> Runtime:
    """Make the runtime of a worker, at the first call in it."""
    if not hasattr(worker, "port"):
        return IN_PLACE
    from agentd.api.tasks.nested import Nested  # workers only: a plain program does without

    with _making:
        if getattr(worker, "runtime", None) is None:
            worker.runtime = Nested(worker.port, IN_PLACE)
        runtime: Runtime = worker.runtime
    return runtime


def use(runtime: Runtime | None) -> None:
    """Have calls go to this one from now on; None: to what the process has by itself."""
    global _used  # noqa: PLW0603 - one for each process, as its calls have nothing else in common
    _used = runtime
