"""The files of a family: which path stands for which version, and what must still come back to its place.

Law: a task reads a file as it was when the task was called. A file that tasks write is at its caller's path when it was
waited for, and at the latest when the caller's code has ended.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from agentd.api.tasks.data import Datum
from agentd.api.tasks.definition import Content, Direction
from agentd.api.tasks.errors import NotOfKind
from agentd.api.tasks.joint import Joint, is_joint
from agentd.api.tasks.plans import WRITES
from agentd.api.tasks.references import Path, Reference
from agentd.api.tasks.workplace import handed_in, unpack, write_file

if TYPE_CHECKING:
    from agentd.api.tasks.calls import Call
    from agentd.api.tasks.definition import Parameter
    from agentd.api.tasks.families import Family

Stamp = tuple[int, int, int, int]
"""What tells that a file was changed: device, number, size, time of the last change."""


class _File:
    """A path that tasks use."""

    __slots__ = ("datum", "is_folder", "joint", "stamp", "writers")

    def __init__(self, datum: Datum, *, is_folder: bool) -> None:
        self.datum = datum
        self.is_folder = is_folder
        self.stamp: Stamp | None = None
        """Of the file when it was what the version holds; None where it is not."""
        self.joint: Joint | None = None
        """Tasks that write it side by side, while nobody else has used it since."""
        self.writers: list[int] = []
        """Versions of the tasks that did so last."""


def stamp_of(path: str) -> Stamp | None:
    """Look at a file; None where there is none, and for what cannot be told by a look."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None


class Files:
    """The files and folders that the tasks of a family read and write, by absolute path."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._files: dict[str, _File] = {}
        self._shared: list[str] = []
        """Folders of files that tasks write side by side."""

    # --- arguments ----------------------------------------------------------------------------------------------

    def take(self, call: Call, value: Any, spec: Parameter) -> tuple[Any, Any]:
        """Take an argument that is a path.

        Raises:
            TypeError: it is no path.
            FileNotFoundError: it is to be read, is not there, and no task makes it.
        """
        if value is None:
            return None, None
        if not isinstance(value, (str, os.PathLike)):
            raise NotOfKind(f"is a file or a directory: it takes a path, not {value!r}")
        path = os.path.abspath(os.fspath(value))
        is_folder = spec.content is Content.DIRECTORY
        direction = spec.direction
        if is_joint(spec) and self._family.port.shared:
            return self._take_joint(call, path)
        file = self._files.get(path)
        if file is not None:
            self._complete(file)
        source = None if direction is Direction.OUT else self._read(call, path, file, is_folder=is_folder)
        file = self._files.get(path)
        is_written = direction in WRITES
        standing = Path(source, os.path.basename(path) or "file", is_written=is_written, is_folder=is_folder)
        if not is_written:
            if direction is Direction.IN_DELETE:
                call.later(lambda: self.delete(path))
            return standing, None
        if file is None:
            file = _File(Datum(self._family.home), is_folder=is_folder)
            fresh = file
            call.later(lambda: self._files.__setitem__(path, fresh))
        changed = file
        call.later(lambda: setattr(changed, "stamp", None))
        return standing, call.make(file.datum)

    def _read(self, call: Call, path: str, file: _File | None, *, is_folder: bool) -> Reference:
        if file is not None and file.datum.is_pending:
            self._family.check(file.datum)
            return Reference(call.refer(file.datum))
        there = os.path.isdir(path) if is_folder else os.path.isfile(path)
        if not there:
            kind = "directory" if is_folder else "file"
            words = f"there is no {kind} {path}, and no task that was called makes it"
            if (os.path.isfile if is_folder else os.path.isdir)(path):
                words = f"{path} is no {kind}: use {'FILE' if is_folder else 'DIRECTORY'}_IN, or _INOUT"
            raise FileNotFoundError(words)
        stamp = None if is_folder else stamp_of(path)
        if file is None or stamp is None or file.stamp != stamp or not file.datum.version:
            encoded = handed_in(self._family.port, path, is_folder=is_folder)
            version = self._family.new_version()
            self._family.put(version, encoded)
            file = self._files[path] = _File(Datum(self._family.home, version), is_folder=is_folder)
            file.datum.is_pending, file.datum.is_object = False, True
            file.stamp = stamp
        return Reference(call.refer(file.datum))

    # --- files that tasks write side by side ---------------------------------------------------------------------

    def _take_joint(self, call: Call, path: str) -> tuple[Path, int]:
        """Have a call write a file side by side with those before it that do."""
        file, version = self._files.get(path), self._family.new_version()
        joint = None if file is None else file.joint
        if file is None or joint is None:
            source = self._read(call, path, file, is_folder=False)
            file = self._files[path]
            joint = file.joint = Joint(f"{version:x}", os.path.basename(path))
        else:
            source = Reference(call.refer(file.datum))
        call.makes.append(version)
        call.later(partial(self._joined, joint, version))
        return Path(source, joint.name, is_written=True, is_folder=False, joint=joint.folder), len(call.makes) - 1

    def _joined(self, joint: Joint, version: int) -> None:
        """A call was sent that writes a joint file."""
        if not joint.members:
            self._shared.append(joint.folder)
        joint.members.append(version)
        joint.groups = tuple(dict.fromkeys((*joint.groups, *self._family.open_groups)))

    def _complete(self, file: _File) -> None:
        """Let what tasks so far write side by side be the next version of a file, once they have ended."""
        joint, file.joint = file.joint, None
        if joint is not None and joint.members:
            file.datum.renew(self._family.gather(joint))
            file.datum.groups = joint.groups
            file.stamp = None
            file.datum.home.released.extend(file.writers)
            file.writers = joint.members

    def complete_all(self) -> None:
        """As if somebody had read every file that tasks write side by side."""
        with self._family.lock:
            for file in self._files.values():
                self._complete(file)

    # --- what users ask -----------------------------------------------------------------------------------------

    def wait(self, paths: list[str], *, is_folder: bool) -> list[str]:
        """Bring files to their paths as the tasks so far leave them.

        Raises:
            BaseException: what the task raised that should have written one.
        """
        del is_folder
        for path in paths:
            file = self._files.get(os.path.abspath(path))
            if file is not None:
                with self._family.lock:
                    self._complete(file)
            if file is not None and file.datum.is_pending:
                self._bring(os.path.abspath(path), file)
            if file is not None and file.datum.error is not None:
                raise file.datum.error
        return paths

    def _bring(self, path: str, file: _File) -> None:
        received = self._family.await_file(file.datum, file.writers)
        file.datum.home.released.extend(file.writers)
        file.writers = []
        if received is None:
            return
        folder, name = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix=f".{name}.", dir=folder)
        try:
            new = os.path.join(fresh, name)
            if file.is_folder:
                unpack(self._family.port, received.parts, new)
                shutil.rmtree(path, ignore_errors=True)
            else:
                write_file(self._family.port, received.parts, new)
            os.replace(new, path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        file.stamp = None if file.is_folder else stamp_of(path)

    def open(self, path: str, mode: str, **options: Any) -> IO[Any]:
        """Wait for a file and open it; when it is written, what tasks knew of it does not count any more."""
        if not set(mode) & {"w", "x"}:
            self.wait([path], is_folder=False)
        if set(mode) & {"w", "x", "a", "+"}:
            file = self._files.pop(os.path.abspath(path), None)
            if file is not None:
                file.datum.drop()
        return open(path, mode, **options)

    def exists(self, path: str) -> bool:
        """Tell whether a file is there or will be."""
        file = self._files.get(os.path.abspath(path))
        return (file is not None and (file.datum.is_pending or file.joint is not None)) or os.path.exists(path)

    def delete(self, path: str) -> None:
        """Remove a file: tasks that were called and read it have it as it was."""
        file = self._files.pop(os.path.abspath(path), None)
        if file is not None:
            file.datum.drop()
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)

    # --- the end ------------------------------------------------------------------------------------------------

    def bring_back(self) -> None:
        """Bring every file that tasks write to its path; one whose task failed stays as it is."""
        self.complete_all()
        for path, file in list(self._files.items()):
            if file.datum.is_pending:
                self._bring(path, file)

    def clear(self) -> None:
        """Forget all."""
        self._files.clear()
        for folder in self._shared:
            shutil.rmtree(os.path.join(self._family.port.shared, folder), ignore_errors=True)
