"""The functions that programs call around their tasks."""

from __future__ import annotations

import logging
import sys
from typing import IO, Any

from agentd.api.tasks.functions import TaskGroup as _TaskGroup
from agentd.api.tasks.places import warn
from agentd.api.tasks.runtime import current
from pycompss.api.exceptions import COMPSsException
from pycompss.util.exceptions import NotInPyCOMPSsException

__all__ = [
    "TaskGroup",
    "compss_add_logger",
    "compss_barrier",
    "compss_barrier_group",
    "compss_cancel_group",
    "compss_delete_file",
    "compss_delete_object",
    "compss_file_exists",
    "compss_free_resources",
    "compss_get_number_of_resources",
    "compss_open",
    "compss_request_resources",
    "compss_set_wall_clock",
    "compss_snapshot",
    "compss_start",
    "compss_stop",
    "compss_wait_on",
    "compss_wait_on_directory",
    "compss_wait_on_file",
]


def compss_start(
    log_level: str = "off", tracing: bool = False, interactive: bool = False, disable_external: bool = False
) -> None:
    """Start the runtime: nothing is left to do inside of an agent; a notebook (`interactive`) gets one."""
    if interactive:
        from pycompss import interactive as notebook

        notebook.start(log_level=log_level)


def compss_stop(code: int = 0, _hard_stop: bool = False) -> None:
    """Wait for all tasks, unless `_hard_stop`; stop what `compss_start` started."""
    if not _hard_stop:
        current().barrier(is_last=True)
    notebook = sys.modules.get("pycompss.interactive")
    if notebook is not None:
        notebook.stop(_hard_stop=_hard_stop)


def compss_wait_on(*objs: Any, mode: str = "rw") -> Any:
    """Wait for values, also inside lists and dicts: one for one argument, a list for several.

    A value that never came to be, since its task failed or was cancelled, is None, with a warning that says why.
    """
    return current().wait_on(objs, mode="r" if mode == "r" else "rw", lost=_none)


def _none(error: BaseException) -> None:
    if isinstance(error, COMPSsException):
        raise error
    reason = f"{type(error).__name__}: {error}"
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    warn(f"there is no such value, and None stands for it: {reason}{notes}", RuntimeWarning)


def compss_wait_on_file(*file_name: str) -> Any:
    """Wait until files are at their paths as the last task left them; gives the path, or True inside of an agent."""
    runtime = current()
    found = runtime.wait_on_file(*file_name)
    return found if runtime.is_in_place else _there(found)


def compss_wait_on_directory(*directory_name: str) -> Any:
    """As `compss_wait_on_file`, for directories."""
    runtime = current()
    found = runtime.wait_on_directory(*directory_name)
    return found if runtime.is_in_place else _there(found)


def _there(found: Any) -> Any:
    return [True] * len(found) if isinstance(found, list) else True


def compss_open(file_name: str, mode: str = "r") -> IO[Any]:
    """Wait for a file and open it; opened for writing it is a new version, for the tasks called afterwards."""
    return current().open(file_name, mode)


def compss_file_exists(*file_name: str) -> Any:
    """Tell whether files are there or are made by tasks."""
    return current().file_exists(*file_name)


def compss_delete_file(*file_name: str) -> Any:
    """Remove files as soon as no task needs them."""
    return current().delete_file(*file_name)


def compss_delete_object(*objs: Any) -> Any:
    """Let objects go as soon as no task needs them."""
    return current().delete_object(*objs)


def compss_barrier(no_more_tasks: bool = False) -> None:
    """Wait for all tasks that were called so far; with `no_more_tasks` their files are at their places."""
    current().barrier(is_last=no_more_tasks)


def compss_barrier_group(group_name: str) -> None:
    """Wait for the tasks of a group.

    Raises:
        COMPSsException: one of them ended the group.
    """
    current().barrier_group(group_name)


def compss_cancel_group(group_name: str) -> None:
    """Cancel what waits and what runs of a group."""
    current().cancel_group(group_name)


class TaskGroup(_TaskGroup):
    """Tasks called inside of `with TaskGroup(name):` belong to the group; at its end it waits for them."""

    def __init__(self, group_name: str, implicit_barrier: bool = True) -> None:
        super().__init__(group_name, implicit_barrier)
        self.group_name = group_name


def compss_snapshot() -> None:
    """Record what is done, where that is recorded."""
    current().snapshot()


def compss_get_number_of_resources() -> int:
    """Count the agents that can take tasks now, this one included."""
    return current().number_of_resources()


def compss_request_resources(num_resources: int, group_name: str | None = None) -> None:
    """Ask for further nodes; agents are added by their operators, so this only says so."""
    _no_clouds("asked for", num_resources, group_name)


def compss_free_resources(num_resources: int, group_name: str | None = None) -> None:
    """Give nodes back; agents are removed by their operators, so this only says so."""
    _no_clouds("given back", num_resources, group_name)


def _no_clouds(what: str, number: int, group: str | None) -> None:
    if not current().is_in_place:
        where = "" if group is None else f" (group {group})"
        message = f"{number} nodes were {what}{where}: an agent's neighbours are added and removed by its operator"
        warn(message, RuntimeWarning)


def compss_set_wall_clock(wall_clock_limit: int) -> None:
    """Cancel what is left of this program's tasks after so many seconds."""
    current().set_wall_clock(wall_clock_limit)


def compss_add_logger(logger_name: str) -> None:
    """Have a logger write to the program's output, which the agent keeps.

    Raises:
        NotInPyCOMPSsException: there is no runtime.
    """
    if current().is_in_place:
        raise NotInPyCOMPSsException(f"there is no runtime whose log {logger_name} could join")
    logger = logging.getLogger(logger_name)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
