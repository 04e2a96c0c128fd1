"""What users' code writes to stdout and stderr: found while it runs, kept per task when it has ended.

Law: a byte belongs to the task during which it was written, and a task without output costs nothing here.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agentd.model.errors import ConfigError

if TYPE_CHECKING:
    import asyncio

STREAMS = ("out", "err")
_STEP_BYTES = 1024 * 1024
"""Copied in one turn of the loop; chosen: about a millisecond."""
_PUNCH_BYTES = 4 * 1024 * 1024
"""So much is consumed before the disk gets it back; chosen: one syscall for many tasks."""
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
"""fallocate(2)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def own_folder(path: Path) -> Path:
    """Make a folder that nobody else can write into, or check that it is one.

    Raises:
        ConfigError: it is a link, somebody else's, or open to others.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ConfigError(f"{path} must be a folder of our own that others cannot write into: move it or chmod go-w it")
    return path


class Stream:
    """One file to which a worker appends, read from behind."""

    __slots__ = ("_path", "_punched", "consumed", "early", "fd")

    def __init__(self, path: Path) -> None:
        self._path = path
        with suppress(FileNotFoundError):
            path.unlink()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(path, flags, 0o600)
        self.consumed = 0
        """Up to here it was handed out to tasks, in bytes from the start."""
        self.early = 0
        """How much of that was handed to the running task before it ended."""
        self._punched = 0

    @property
    def end(self) -> int:
        """How much was written to it, in bytes."""
        return os.fstat(self.fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Read up to so many bytes."""
        return os.pread(self.fd, size, offset)

    def give_back(self, upto: int) -> None:
        """Return the disk what nobody needs."""
        if upto - self._punched >= _PUNCH_BYTES:
            self.punch(self._punched, upto)
            self._punched = upto

    def punch(self, start: int, end: int) -> None:
        """Make a hole, where the file system can."""
        _libc.fallocate(self.fd, _PUNCH_HOLE | _KEEP_SIZE, start, end - start)

    def close(self) -> None:
        """Forget it, and the file."""
        os.close(self.fd)
        with suppress(OSError):
            self._path.unlink()


class WorkerOutput:
    """The two streams of one worker."""

    __slots__ = ("_copies", "_is_over", "streams")

    def __init__(self, folder: Path, worker: int) -> None:
        self.streams = tuple([Stream(folder / f"{worker}.{name}") for name in STREAMS])
        self._copies = 0
        self._is_over = False

    def begin_copy(self) -> None:
        """Keep the files until `end_copy`."""
        self._copies += 1

    def end_copy(self) -> None:
        """One copy less that needs the files."""
        self._copies -= 1
        self._close_if_done()

    def close(self) -> None:
        """The worker is gone."""
        self._is_over = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_over and not self._copies:
            for stream in self.streams:
                stream.close()


class Brought:
    """Bytes that were written elsewhere, to be copied as those of a worker's streams are."""

    __slots__ = ("_data", "streams")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.streams = (self,) * len(STREAMS)

    def read(self, offset: int, size: int) -> bytes:
        """Read up to so many bytes."""
        return self._data[offset : offset + size]

    def give_back(self, upto: int) -> None:
        """Nothing is on the disk."""

    def end_copy(self) -> None:
        """Nothing is to be closed."""


class _Copy(NamedTuple):
    task: int
    which: int
    owner: WorkerOutput | Brought
    start: int
    end: int


class Outputs:
    """All output of this agent's tasks: `operations/<task>.out` and `.err` below the log folder."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log_folder: Path, limit_bytes: int) -> None:
        self._loop = loop
        self._workers = own_folder(log_folder / "workers")
        self._operations = own_folder(log_folder / "operations")
        self.limit_bytes = limit_bytes
        self.kept = {int(name) for name in (path.stem for path in self._operations.iterdir()) if name.isdecimal()}
        """Tasks of which there are files: most have none, and are forgotten without asking the disk."""
        self._copies: deque[_Copy] = deque()
        self._is_copying = False

    def open(self, worker: int) -> WorkerOutput:
        """Make the files of a worker.

        Raises:
            OSError: the disk or the limit of open files is full.
        """
        return WorkerOutput(self._workers, worker)

    def take(self, owner: WorkerOutput, task: int, sizes: tuple[int, int]) -> None:
        """Hand a task that ended the next so many bytes of each stream."""
        for which, (stream, size) in enumerate(zip(owner.streams, sizes, strict=True)):
            early, stream.early = stream.early, 0
            self._take(owner, task, which, stream.consumed + size - early)
        self.go_on()

    def written(self, owner: WorkerOutput, sizes: tuple[int, int]) -> tuple[bytes, bytes]:
        """Read what a task that ended wrote, before it is handed out."""
        streams = zip(owner.streams, sizes, strict=True)
        out, err = (
            stream.read(stream.consumed - stream.early, min(size, self.limit_bytes)) for stream, size in streams
        )
        return out, err

    def take_early(self, owner: WorkerOutput, task: int, starts: tuple[int, int]) -> None:
        """Hand a task that runs what it has written by now, so that what is added to its output comes behind that."""
        for which, (stream, start) in enumerate(zip(owner.streams, starts, strict=True)):
            if stream.consumed >= start:  # else what lies before it has yet to be handed out
                before = stream.consumed
                self._take(owner, task, which, stream.end)
                stream.early += stream.consumed - before

    def go_on(self) -> None:
        """Begin to copy what was handed out, unless that is under way."""
        if not self._is_copying:
            self._step()

    def _take(self, owner: WorkerOutput, task: int, which: int, upto: int) -> None:
        stream = owner.streams[which]
        start = stream.consumed
        stream.consumed = max(start, min(upto, stream.end))
        if stream.consumed > start:
            owner.begin_copy()
            self._copies.append(_Copy(task, which, owner, start, stream.consumed))

    def add(self, task: int, which: int, data: bytes) -> None:
        """Append to a task's output what was written for it elsewhere, behind what is being copied."""
        self._copies.append(_Copy(task, which, Brought(data), 0, len(data)))
        self.go_on()

    def take_rest(self, owner: WorkerOutput, task: int, starts: tuple[int, int]) -> str:
        """Hand the task during which its worker died (0 for none) what is left; gives the end of its stderr.

        `starts` is where its part begins; what lies before is of tasks whose results died too, and that run again.
        """
        rest = []
        for stream, start in zip(owner.streams, starts, strict=True):
            end = stream.end
            stream.consumed = min(max(stream.consumed, start), end)
            rest.append((stream.consumed, end))
        start, end = rest[1]
        words = owner.streams[1].read(max(start, end - 4096), 4096).decode("utf-8", "replace")
        if task:
            self.take(owner, task, (rest[0][1] - rest[0][0], end - start))
        return words

    def cut(self, owner: WorkerOutput, starts: tuple[int, int]) -> None:
        """Return the disk what a task that still runs has written above its limit."""
        for stream, start in zip(owner.streams, starts, strict=True):
            kept = max(start, stream.consumed) + self.limit_bytes
            end = stream.end
            if end > kept + _PUNCH_BYTES:
                stream.punch(kept, end)

    # --- copying ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Copy up to a step's worth now, the rest in the next turns of the loop."""
        budget = _STEP_BYTES
        while self._copies and budget > 0:
            copy = self._copies.popleft()
            done = self._copy_some(copy, budget)
            budget -= done
            if copy.start + done < copy.end:
                self._copies.appendleft(copy._replace(start=copy.start + done))
            else:
                copy.owner.streams[copy.which].give_back(copy.end)
                copy.owner.end_copy()
        self._is_copying = bool(self._copies)
        if self._is_copying:
            self._loop.call_soon(self._step)

    def _copy_some(self, copy: _Copy, budget: int) -> int:
        """Append up to `budget` bytes to the task's file; gives how many are dealt with."""
        left = copy.end - copy.start
        try:
            data = copy.owner.streams[copy.which].read(copy.start, min(left, budget))
        except OSError:
            return left
        return self._append(copy.task, copy.which, data) or left

    def _append(self, task: int, which: int, data: bytes) -> int:
        """Append to a task's file as much as it may have; gives how many bytes are written.

        Where the disk is full, or something lies in the way, output is lost; the task is not.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self.kept.add(task)
        try:
            target = os.open(self._file(task, which), flags, 0o600)
        except OSError:
            return 0
        try:
            room = self.limit_bytes - os.fstat(target).st_size
            if room == 0 and data:
                note = f"\n[the rest was cut off: {self.limit_bytes} bytes of output are kept]\n"
                os.write(target, note.encode())
            return os.write(target, data[:room]) if room > 0 and data else 0
        except OSError:
            return 0
        finally:
            os.close(target)

    # --- reading ------------------------------------------------------------------------------------------------

    def _file(self, task: int, which: int) -> Path:
        return self._operations / f"{task}.{STREAMS[which]}"

    def read(self, task: int, which: int, offset: int, size: int, live: tuple[WorkerOutput, int] | None) -> bytes:
        """Read a task's output: what was kept, what is being copied, and `live` what it has written so far.

        `live` is its worker's output and where the task's part of this stream begins.
        """
        try:
            fd = os.open(self._file(task, which), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            kept, data = 0, b""
        else:
            kept = os.fstat(fd).st_size
            data = os.pread(fd, size, offset) if offset < kept else b""
            os.close(fd)
        position = kept
        for source, start, end in self._later(task, which, live):
            end = min(end, start + self.limit_bytes - position)  # noqa: PLW2901 - what is kept of it
            if len(data) < size and end > start:
                skip = max(0, offset + len(data) - position)
                data += source.read(start + skip, min(size - len(data), max(0, end - start - skip)))
            position += max(0, end - start)
        return data

    def _later(
        self, task: int, which: int, live: tuple[WorkerOutput, int] | None
    ) -> list[tuple[Stream | Brought, int, int]]:
        """Give the pieces behind what was kept, in order: (stream, start, end)."""
        pieces: list[tuple[Stream | Brought, int, int]] = [
            (copy.owner.streams[which], copy.start, copy.end)
            for copy in self._copies
            if copy.task == task and copy.which == which
        ]
        if live is not None:
            stream = live[0].streams[which]
            pieces.append((stream, max(live[1], stream.consumed), stream.end))
        return pieces

    def forget(self, task: int) -> None:
        """Remove what was kept of a task."""
        if task not in self.kept:
            return
        self.kept.discard(task)
        for which in range(len(STREAMS)):
            with suppress(OSError):
                self._file(task, which).unlink()

    def close(self) -> None:
        """Finish what is being copied."""
        while self._copies:
            self._step()
