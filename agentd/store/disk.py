"""The one thin layer through which the store touches files and SQLite.

Law: nothing else in this package opens, writes, syncs, renames or removes. So a test that stands in for `Disk` sees,
and can spoil, every single step.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from agentd.model.errors import AgentdError, ConfigError, DiskError, StateInUse

FILE_MODE = 0o600
FOLDER_MODE = 0o700
LOCK_NAME = "lock"
MARKS = frozenset({LOCK_NAME, "agent-id", "agentd.toml"})
"""Files by one of which a folder is an agent's already."""
LEFT_BY_SYSTEM = frozenset({"lost+found"})
"""What the root of an empty file system has in it (mke2fs(8))."""


class Disk(Protocol):
    """What the store asks of a disk. Each method is one step that can fail by itself with `OSError`."""

    def make_folder(self, path: Path) -> None:
        """Make one folder for us alone; one that is there already is left as it is."""

    def names(self, folder: Path) -> list[str]:
        """List a folder."""
        ...

    def size(self, path: Path) -> int:
        """Give the size of a file in bytes, 0 for one that is not there."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Give how much a plain user may still write to the file system of `folder`."""
        ...

    def create(self, path: Path) -> int:
        """Make a file that was not there, for us alone, and give a descriptor to write it."""
        ...

    def open(self, path: Path) -> int:
        """Give a read-only descriptor of a plain file; a link is refused."""
        ...

    def read(self, fd: int, limit: int, at: int) -> bytes:
        """Read up to `limit` bytes from `at` on; none beyond the end."""
        ...

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> int:
        """Write what fits and give how many bytes that was: possibly fewer than asked."""
        ...

    def allocate(self, fd: int, size: int) -> None:
        """Make sure that `size` bytes of the file can be written without more space."""

    def sync(self, fd: int) -> None:
        """Wait until all of the file is on the disk. A failure is never to be retried."""

    def close(self, fd: int) -> None:
        """Let a descriptor go."""

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, atomically."""

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name."""

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is not there is no error."""

    def sync_folder(self, folder: Path) -> None:
        """Wait until what was made, renamed or removed in `folder` is on the disk."""

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open a database, in autocommit mode; usable from any one thread at a time."""
        ...


class LocalDisk:
    """The disk of this device."""

    def make_folder(self, path: Path) -> None:
        """See `Disk`."""
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """See `Disk`."""
        return [found.name for found in folder.iterdir()]

    def size(self, path: Path) -> int:
        """See `Disk`."""
        try:
            return os.lstat(path).st_size
        except FileNotFoundError:
            return 0

    def free_bytes(self, folder: Path) -> int:
        """See `Disk`."""
        figures = os.statvfs(folder)
        return figures.f_bavail * figures.f_frsize

    def create(self, path: Path) -> int:
        """See `Disk`."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)

    def open(self, path: Path) -> int:
        """See `Disk`."""
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def read(self, fd: int, limit: int, at: int) -> bytes:
        """See `Disk`."""
        return os.pread(fd, limit, at)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> int:
        """See `Disk`."""
        return os.write(fd, data)

    def allocate(self, fd: int, size: int) -> None:
        """See `Disk`."""
        os.posix_fallocate(fd, 0, size)

    def sync(self, fd: int) -> None:
        """See `Disk`."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """See `Disk`."""
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """See `Disk`."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """See `Disk`."""
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        """See `Disk`."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """See `Disk`."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def connect(self, path: Path) -> sqlite3.Connection:
        """See `Disk`."""
        return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


# --- made of those steps ----------------------------------------------------------------------------------------


def write_all(disk: Disk, fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data`, however little the disk takes at a time.

    Raises:
        OSError: the disk's own, or ENOSPC when it takes nothing at all.
    """
    rest = memoryview(data)
    while rest:
        count = disk.write(fd, rest)
        if count <= 0:
            raise OSError(errno.ENOSPC, "the disk takes nothing more")
        rest = rest[count:]


def write_file(disk: Disk, path: Path, data: bytes) -> None:
    """Put `data` under `path` so that after any crash there is either all of it or what was there before.

    Raises:
        OSError: it was not done; what was there before still is.
    """
    draft = path.with_name(f".{path.name}.new")
    disk.unlink(draft)
    fd = disk.create(draft)
    try:
        write_all(disk, fd, data)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(draft, path)
    disk.sync_folder(path.parent)


def read_file(disk: Disk, path: Path, *, limit: int) -> bytes | None:
    """Read a small file of ours; None when it is not there.

    Raises:
        ConfigError: it is larger than `limit` bytes, which no file of ours is, or it is a link.
    """
    fd = _opened(disk, path)
    if fd is None:
        return None
    try:
        data = bytearray()
        while len(data) <= limit:
            chunk = disk.read(fd, limit + 1 - len(data), len(data))
            if not chunk:
                return bytes(data)
            data += chunk
    finally:
        disk.close(fd)
    raise ConfigError(f"{path} is larger than {limit} bytes, so it is not what agentd wrote: remove it")


def _opened(disk: Disk, path: Path) -> int | None:
    try:
        return disk.open(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(f"{path} is a link, and links are not followed here: remove it") from error
        raise


def refuse_link(disk: Disk, path: Path) -> None:
    """See that there is a plain file, or nothing; only while nobody has the file open.

    Raises:
        ConfigError: there is a link.
    """
    fd = _opened(disk, path)
    if fd is not None:
        disk.close(fd)  # closing drops the locks that this process holds on the file, hence the condition


def preallocate(disk: Disk, path: Path, size: int) -> None:
    """Take `size` bytes of the disk under `path`, or leave nothing behind.

    Raises:
        OSError: there is not so much space.
    """
    disk.unlink(path)
    fd = disk.create(path)
    try:
        disk.allocate(fd, size)
        disk.sync(fd)
    except OSError:
        with suppress(OSError):
            disk.unlink(path)
        raise
    finally:
        disk.close(fd)


def is_full(error: BaseException) -> bool:
    """Tell whether an error says that there is no space left, which may pass; all others do not."""
    if isinstance(error, sqlite3.Error):
        # The primary code is the low byte: https://www.sqlite.org/rescode.html#primary_result_codes_versus_extended
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


# --- the state folder -------------------------------------------------------------------------------------------


class StateFolder:
    """The agent's folder, ours alone and locked for as long as this object is open."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    def close(self) -> None:
        """Let another daemon have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_state(path: Path) -> StateFolder:
    """Make the state folder if need be, see that it is ours alone, and lock it.

    Raises:
        ConfigError: it is a link, not a folder, not ours, or writable by others; the message says what to do.
        StateInUse: another daemon holds it.
        DiskError: the disk failed.
    """
    path = Path(os.path.abspath(path))
    try:
        fd = _open_folder(path)
    except OSError as error:
        raise DiskError(f"the state folder {path} cannot be opened: {error.strerror}") from error
    try:
        found = os.fstat(fd)
        _check_ours(path, found)
        if stat.S_IMODE(found.st_mode) != FOLDER_MODE:
            _check_unused(path, fd)
            os.fchmod(fd, FOLDER_MODE)
        return StateFolder(path, _lock(path, fd))
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        os.close(fd)


def _open_folder(path: Path) -> int:
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=FOLDER_MODE)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            message = f"the state folder {path} is a link, which is not followed: give the folder itself as --state"
        elif error.errno in {errno.ENOTDIR, errno.EEXIST}:
            message = f"the state folder {path} cannot be: a file is in its way; remove it, or give another --state"
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            message = f"the state folder {path} cannot be made or opened ({error.strerror}): give another --state"
        else:
            raise
        raise ConfigError(message) from error


def _unwritable(path: Path, error: OSError) -> AgentdError:
    """Say why nothing can be kept in a folder that is ours and can be opened."""
    if error.errno == errno.EROFS:
        return ConfigError(
            f"the state folder {path} is on a file system that can only be read: mount it for writing "
            "(after a fault of the disk the kernel makes it so), or give another --state"
        )
    return DiskError(f"the state folder {path} cannot be used: {error.strerror}")


def _check_ours(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"the state folder {path} belongs to user {found.st_uid}, and this is user {os.geteuid()}: "
            "run as its owner, or give another --state"
        )
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise ConfigError(
            f"the state folder {path} is writable by others (mode {stat.S_IMODE(found.st_mode):o}), so its content "
            f"cannot be trusted: look at what is in it, then chmod 700 {path}, or give another --state"
        )


def _check_unused(path: Path, folder: int) -> None:
    """Refuse a folder that others may look into and that holds something of theirs: closing it would take it away."""
    content = set(os.listdir(folder)) - LEFT_BY_SYSTEM
    if content and not content & MARKS:
        raise ConfigError(
            f"the folder {path} has other things in it, and a state folder is closed to other users: give another "
            f"--state, or chmod 700 {path} if an agent is to have it"
        )


def _lock(path: Path, folder: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        lock = os.open(LOCK_NAME, flags, FILE_MODE, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES}:
            raise ConfigError(f"{path / LOCK_NAME} is not a plain file of ours: remove it") from error
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        holder = holder if holder.isdecimal() else "unknown"
        raise StateInUse(
            f"another daemon (pid {holder}) holds the state folder {path}: stop it, or give another --state"
        ) from error
    except OSError as error:
        if not is_full(error):  # a lock is as good without the pid in it, and a full disk must not bar a start
            os.close(lock)
            raise DiskError(f"{path / LOCK_NAME} cannot be locked: {error.strerror}") from error
    return lock
