"""The functions that a program with tasks calls around them; each asks the runtime of this process.

Outside of an agent they do nothing, so that the same file runs as a plain program.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any

from agentd.api.tasks.runtime import current

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Path = str | os.PathLike[str]


def wait_on(*values: Any, mode: str = "rw") -> Any:
    """Wait for what tasks return or write, and give the values: one for one argument, a list for several.

    Futures inside lists and dicts, to any depth, are waited for too. With `mode="r"` you promise not to change what you
    get, which saves a copy of large values.

    Raises:
        Exception: the task's own exception, with the remote traceback as its cause and the agent in its notes.
        TaskCancelled: the task was cancelled, or what it needed never came to be.
    """
    try:
        return current().wait_on(values, mode=_mode(mode))
    except BaseException as error:
        if _is_of_a_task(error):  # how it went through this library tells nobody anything
            error.__traceback__ = None
        raise


def _is_of_a_task(error: BaseException) -> bool:
    from agentd.api.tasks.errors import TaskCancelled
    from agentd.api.tasks.failures import RemoteTraceback

    return isinstance(error.__cause__, RemoteTraceback) or isinstance(error, TaskCancelled)


def _mode(mode: str) -> str:
    if mode not in {"r", "rw"}:
        raise ValueError(f'mode is "r" or "rw", not {mode!r}')
    return mode


def wait_on_file(*paths: Path) -> Any:
    """Wait until each file is at its path as the last task that writes it leaves it; gives the paths back."""
    return current().wait_on_file(*[os.fspath(path) for path in paths])


def wait_on_directory(*paths: Path) -> Any:
    """As `wait_on_file`, for directories."""
    return current().wait_on_directory(*[os.fspath(path) for path in paths])


def open_file(path: Path, mode: str = "r", **options: Any) -> IO[Any]:
    """Wait for a file and open it, with the options of `open`."""
    return current().open(os.fspath(path), mode, **options)


def file_exists(*paths: Path) -> Any:
    """Tell whether each file is there, or is made by a task that was called."""
    return current().file_exists(*[os.fspath(path) for path in paths])


def delete_file(*paths: Path) -> Any:
    """Remove each file as soon as no task needs it."""
    return current().delete_file(*[os.fspath(path) for path in paths])


def delete_object(*values: Any) -> Any:
    """Let go what the agent keeps of each value, as soon as no task needs it."""
    return current().delete_object(*values)


def barrier() -> None:
    """Wait for all tasks that were called so far.

    Raises:
        Exception: that of the first task that failed and that nobody was told of.
    """
    current().barrier()


def barrier_group(name: str) -> None:
    """Wait for the tasks of a group.

    Raises:
        GroupException: one of them ended the group.
    """
    current().barrier_group(name)


def cancel_group(name: str) -> None:
    """Cancel what waits and what runs of a group of tasks."""
    current().cancel_group(name)


def set_wall_clock(seconds: float) -> None:
    """Cancel what is left of this program's tasks after so many seconds from now.

    Raises:
        ValueError: they are not more than 0.
    """
    if not seconds > 0:
        raise ValueError(f"a wall clock limit is more than 0 seconds, not {seconds!r}")
    current().set_wall_clock(seconds)


def number_of_resources() -> int:
    """Tell how many agents can take tasks now, this one included."""
    return current().number_of_resources()


class TaskGroup:
    """Tasks that are called inside of `with TaskGroup(name):` belong to the group, also to those around it.

    At its end it waits for its tasks, unless `implicit_barrier` is False; left by an exception, it does not wait.
    """

    def __init__(self, name: str, implicit_barrier: bool = True) -> None:
        if not name:
            raise TypeError(f"a group needs a name, not {name!r}")
        self.name = name
        self.implicit_barrier = implicit_barrier

    def __enter__(self) -> Self:
        current().open_group(self.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current().close_group(self.name, waits=self.implicit_barrier and error is None)
