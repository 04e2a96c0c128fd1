"""The folder of one task: files that it reads are put there under their own names, files that it writes are fetched."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from typing import TYPE_CHECKING, Any

from agentd.api.memory.file_copies import copy_range
from agentd.api.tasks.joint import opened
from agentd.api.tasks.port import DIRECTORY, FILE, NONE
from agentd.api.tasks.references import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.api.tasks.messages import Encoded, Parts
    from agentd.api.tasks.port import Port

SMALL_BYTES = 1 << 20
"""Files below this travel as any bytes do (chosen: a copy in memory is cheaper than a descriptor)."""
_join = os.path.join


class Workplace:
    """Made when a task has files; gone with everything in it when the task has ended."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._folder = tempfile.mkdtemp(prefix="task-", dir=port.folder or None)
        self._made: dict[str, bool] = {}
        """Paths that we made, and whether each is a folder."""
        self._linked: set[str] = set()
        """Paths of files that are not the task's own."""
        self._joint: set[str] = set()
        """Paths of files that others write too: whoever comes next has them, not what this task hands in."""
        self._ended: list[str] = []
        """Folders of such files that nobody writes any more."""
        self._count = 0

    def settle(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """Put paths in the place of files, also inside collections."""
        return [self._settled(value) for value in args], {key: self._settled(item) for key, item in kwargs.items()}

    def _settled(self, value: Any) -> Any:
        if type(value) is Path:
            return self._path(value)
        if type(value) is list:
            return [self._settled(item) for item in value]
        if type(value) is dict:
            return {key: self._settled(item) for key, item in value.items()}
        return value

    def _path(self, wanted: Path) -> str:
        return self._joint_path(wanted) if wanted.joint else self._own_path(wanted)

    def _joint_path(self, wanted: Path) -> str:
        """Give the path of a file that tasks share; the one that reads nothing of it takes it away from them."""
        folder, source = _join(self._port.shared, wanted.joint), wanted.source
        if source is None:
            path = _join(folder, wanted.name)
            self._ended.append(folder)
        else:
            path, is_first = opened(folder, wanted.name, lambda path: write_file(self._port, source.parts, path))
            if not is_first and source.parts:
                self._port.discard(source.parts)
            self._joint.add(path)
        self._made[path] = False
        return path

    def _own_path(self, wanted: Path) -> str:
        path = _join(self._folder, wanted.name)
        if os.path.lexists(path):  # another file of the same name
            self._count += 1
            os.mkdir(_join(self._folder, f".{self._count}"))
            path = _join(self._folder, f".{self._count}", wanted.name)
        self._made[path] = wanted.is_folder
        if wanted.source is None:
            if wanted.is_folder:
                os.mkdir(path)
        elif wanted.is_folder:
            unpack(self._port, wanted.source.parts, path)
        elif wanted.is_written or not wanted.source.parts or not self._port.link(wanted.source.parts, path):
            write_file(self._port, wanted.source.parts, path)
        else:
            self._linked.add(path)
        return path

    def has(self, value: Any) -> bool:
        """Tell whether a value is the path of one of its files."""
        return isinstance(value, str) and value in self._made

    def explain(self, error: PermissionError) -> None:
        """Say why a file cannot be written that the task has said to read only."""
        if error.filename in self._linked and hasattr(error, "add_note"):
            error.add_note(
                f"the task says that it only reads {os.path.basename(error.filename)}, which others read too: "
                "say that it writes it (FILE_INOUT), or copy its content to another file"
            )

    def put(self, source: str, path: str) -> None:
        """Copy a file of the user's to where one of ours was to be."""
        shutil.copyfile(source, path)

    def hand_in(self, path: str, what: str) -> Encoded:
        """Hand a file that was written to the agent.

        Raises:
            FileNotFoundError: it was not written.
        """
        if path in self._joint:
            return NONE, b"", None
        is_folder = self._made[path]
        if not (os.path.isdir(path) if is_folder else os.path.isfile(path)):
            kind = "directory" if is_folder else "file"
            raise FileNotFoundError(f"{what}: the task was to write the {kind} {os.path.basename(path)} and did not")
        return handed_in(self._port, path, is_folder=is_folder, is_given=True)

    def close(self) -> None:
        """Remove everything."""
        for folder in (self._folder, *self._ended):
            shutil.rmtree(folder, ignore_errors=True)


def handed_in(port: Port, path: str, *, is_folder: bool, is_given: bool = False) -> Encoded:
    """Give the content of a file or folder to the agent; `is_given`: nobody will write it any more.

    Raises:
        OSError: it cannot be read.
        MemoryError: there is no memory for it.
    """
    if not is_folder:
        return FILE, b"", _content(port, path, is_given=is_given)
    packed = pack(port, path)
    try:
        return DIRECTORY, b"", _content(port, packed, is_given=True)
    finally:
        os.unlink(packed)


def _content(port: Port, path: str, *, is_given: bool) -> Parts | None:
    """Give what a file holds: a small one as bytes, a large one as a file of its own, a copy if others may write it."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return None
        if size < max(port.threshold, SMALL_BYTES):
            data = file.read()
            parts = port.place(memoryview(data))
            return [(count, bytes(part) if not segment else b"", segment, at) for count, part, segment, at in parts]
        if is_given and os.fstat(file.fileno()).st_nlink == 1:
            return port.place_file(file.fileno(), size)
        with tempfile.NamedTemporaryFile("wb", 0, prefix="file-", dir=port.folder or None) as copy:
            copy_range(file.fileno(), 0, size, copy.fileno())
            return port.place_file(copy.fileno(), size)


def write_file(port: Port, parts: Any, path: str) -> None:
    """Write the content of a file that came.

    Raises:
        OSError: it cannot be written.
    """
    with open(path, "wb", 0) as file:
        if parts:
            port.pour(parts, file.fileno())


def pack(port: Port, folder: str) -> str:
    """Write a folder into an archive; gives its path, which is the caller's to remove."""
    file, path = tempfile.mkstemp(prefix="folder-", dir=port.folder or None)
    with os.fdopen(file, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(folder, arcname=".")
    return path


def unpack(port: Port, parts: Any, folder: str) -> None:
    """Make a folder of an archive; what would land outside of it is refused.

    Raises:
        tarfile.TarError: it is no such archive.
    """
    file, path = tempfile.mkstemp(prefix="folder-", dir=port.folder or None)
    os.close(file)
    try:
        os.unlink(path)
        write_file(port, parts, path)
        os.makedirs(folder, exist_ok=True)
        with tarfile.open(path) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(folder, filter="tar")
            else:
                archive.extractall(folder)  # noqa: S202 - made by our own code; an older Python has no filter
    finally:
        if os.path.lexists(path):
            os.unlink(path)
