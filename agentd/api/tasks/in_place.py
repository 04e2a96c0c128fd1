"""The runtime where there is no agent: a task is a plain call, and waiting finds everything done."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.tasks.definition import TaskDefinition


def one_or_list(values: list[Any]) -> Any:
    """Give the answer to one question as it is, those to several as a list."""
    return values[0] if len(values) == 1 else values


class InPlace:
    """Tasks are run where they are called."""

    is_in_place = True

    def call(self, definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function."""
        return definition.body(*args, **kwargs)

    def wait_on(
        self, values: tuple[Any, ...], *, mode: str = "rw", lost: Callable[[BaseException], Any] | None = None
    ) -> Any:
        """Give the arguments back."""
        del mode, lost
        return one_or_list(list(values))

    def wait_on_file(self, *paths: str) -> Any:
        """Give the paths back."""
        return one_or_list(list(paths))

    def wait_on_directory(self, *paths: str) -> Any:
        """Give the paths back."""
        return one_or_list(list(paths))

    def open(self, path: str, mode: str = "r", **options: Any) -> IO[Any]:
        """Open the file."""
        return Path(path).open(mode, **options)

    def file_exists(self, *paths: str) -> Any:
        """Look."""
        return one_or_list([os.path.exists(path) for path in paths])

    def delete_file(self, *paths: str) -> Any:
        """Remove them now; what is not there is no error."""
        for path in paths:
            with suppress(FileNotFoundError):
                if Path(path).is_dir():
                    shutil.rmtree(path)
                else:
                    Path(path).unlink()
        return one_or_list([True] * len(paths))

    def delete_object(self, *values: Any) -> Any:
        """Nothing is kept of them."""
        return one_or_list([True] * len(values))

    def barrier(self, *, is_last: bool = False) -> None:
        """Everything is done."""

    def barrier_group(self, name: str) -> None:
        """Everything is done."""

    def open_group(self, name: str) -> None:
        """A group makes no difference here."""

    def close_group(self, name: str, *, waits: bool) -> None:
        """A group makes no difference here."""

    def cancel_group(self, name: str) -> None:
        """Nothing is left to cancel."""

    def set_wall_clock(self, seconds: float) -> None:
        """A plain program has no limit."""

    def number_of_resources(self) -> int:
        """This device alone."""
        return 1

    def snapshot(self) -> None:
        """Nothing is recorded."""
