"""The functions of `pycompss.api.api` without a runtime: everything is done already."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from agentd.api.tasks.runtime import IN_PLACE

if TYPE_CHECKING:
    from typing import Self


def compss_start(
    log_level: str = "off", tracing: bool = False, interactive: bool = False, disable_external: bool = False
) -> None:
    """There is nothing to start."""


def compss_stop(code: int = 0, _hard_stop: bool = False) -> None:
    """There is nothing to stop."""


def compss_file_exists(*file_name: str) -> Any:
    """Tell whether each file is there."""
    return IN_PLACE.file_exists(*file_name)


def compss_open(file_name: str, mode: str = "r") -> IO[Any]:
    """Open a file."""
    return IN_PLACE.open(file_name, mode)


def compss_delete_file(*file_name: str) -> Any:
    """Leave the files where they are."""
    return True if len(file_name) == 1 else [True] * len(file_name)


def compss_delete_object(*objs: Any) -> Any:
    """Nothing is kept of them."""
    return True if len(objs) == 1 else [True] * len(objs)


def compss_wait_on_file(*file_name: str) -> Any:
    """Give the paths back."""
    return IN_PLACE.wait_on_file(*file_name)


def compss_wait_on_directory(*directory_name: str) -> Any:
    """Give the paths back."""
    return IN_PLACE.wait_on_directory(*directory_name)


def compss_wait_on(*args: Any, **_kwargs: Any) -> Any:
    """Give the arguments back."""
    return IN_PLACE.wait_on(args)


def compss_barrier(no_more_tasks: bool = False) -> None:
    """Everything is done."""


def compss_barrier_group(group_name: str) -> None:
    """Everything is done."""


def compss_cancel_group(group_name: str) -> None:
    """Nothing is left to cancel."""


def compss_snapshot() -> None:
    """Nothing is recorded."""


def compss_get_number_of_resources() -> int:
    """Count this device alone."""
    return 1


def compss_request_resources(num_resources: int, group_name: str | None = None) -> None:
    """There is nobody to ask."""


def compss_free_resources(num_resources: int, group_name: str | None = None) -> None:
    """There is nothing to give back."""


def compss_set_wall_clock(wall_clock_limit: int) -> None:
    """A plain program has no limit."""


def compss_add_logger(logger_name: str) -> None:
    """There is no logging to join.

    Raises:
        NotInPyCOMPSsException: always.
    """
    from pycompss.util.exceptions import NotInPyCOMPSsException

    raise NotInPyCOMPSsException(f"there is no runtime whose log {logger_name} could join")


class TaskGroup:
    """A group that makes no difference."""

    def __init__(self, group_name: str, implicit_barrier: bool = True) -> None:
        self.group_name = group_name
        self.implicit_barrier = implicit_barrier

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Everything is done."""
