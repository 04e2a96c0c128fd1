"""A disk in memory that can fail at any step and lose power at any moment; SQLite runs on it through a VFS of its own.

Every step is written to a log. `after_power_loss` makes the disks that may be found when the power goes after any
number of steps: what was synced is there, each later write is there, or not, or torn, and the names are those of some
moment since the last sync of their folder.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_int, c_int64, c_void_p, memmove, memset
from pathlib import Path, PurePosixPath
from random import Random

SECTOR = 512


class Step:
    """One entry of the log: what was done to which file."""

    def __init__(self, what: str, file: int = 0, at: int = 0, data: bytes = b"", names: dict[str, int] | None = None):
        self.what, self.file, self.at, self.data, self.names = what, file, at, data, names


class MemoryDisk:
    """Satisfies `agentd.store.disk.Disk`.

    Attributes:
        log: all steps that changed anything.
        fail: called before each step with its name and its running number; may raise `OSError`, or return how many
            bytes a write takes.
        capacity: bytes of data that fit; None for no limit.
    """

    def __init__(self, capacity: int | None = None):
        self.root = Path(f"/memory-disk-{next(_serial)}")
        self.files: dict[int, bytearray] = {}
        self.names_: dict[str, int] = {}
        self.log: list[Step] = []
        self.calls = 0
        self.fail: Callable[[str, int], int | None] = lambda what, number: None
        self.capacity = capacity
        self._inode = itertools.count(1)
        self._open: dict[int, list[int]] = {}
        self._fds = itertools.count(100)
        self._as_synced: dict[tuple[int, int], bytes] = {}
        """Of a file, and a step of the log that synced it: what is safe in it then. (A log only grows.)"""
        _disks[self.root.name] = self

    # --- steps

    def _step(self, what: str) -> int | None:
        self.calls += 1
        return self.fail(what, self.calls)

    def _used(self) -> int:
        return sum(len(self.files[file]) for file in self.names_.values())

    def _grow(self, file: int, end: int) -> None:
        data = self.files[file]
        more = end - len(data)
        if more <= 0:
            return
        if self.capacity is not None and self._used() + more > self.capacity:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data.extend(bytes(more))

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        most = self._step("write")
        if most is not None:
            data = data[:most]
        self._grow(file, at + len(data))
        self.files[file][at : at + len(data)] = data
        self.log.append(Step("write", file, at, data))
        return len(data)

    def pread(self, file: int, at: int, count: int) -> bytes:
        self._step("read")
        return bytes(self.files[file][at : at + count])

    def truncate(self, file: int, size: int) -> None:
        self._step("truncate")
        self._grow(file, size)
        del self.files[file][size:]
        self.log.append(Step("truncate", file, size))

    def sync_file(self, file: int) -> None:
        self._step("fsync")
        self.log.append(Step("sync", file))

    def _named(self) -> None:
        self.log.append(Step("names", names=dict(self.names_)))

    def make(self, path: str) -> int:
        self._step("create")
        file = self.names_[path] = next(self._inode)
        self.files[file] = bytearray()
        self._named()
        return file

    def find(self, path: str) -> int:
        self._step("open")
        if path not in self.names_:
            raise FileNotFoundError(errno.ENOENT, "not here", path)
        return self.names_[path]

    # --- Disk

    def make_folder(self, path: Path) -> None:
        self._step("mkdir")

    def names(self, folder: Path) -> list[str]:
        self._step("list")
        return [PurePosixPath(name).name for name in self.names_ if PurePosixPath(name).parent == PurePosixPath(folder)]

    def size(self, path: Path) -> int:
        file = self.names_.get(str(path))
        return 0 if file is None else len(self.files[file])

    def free_bytes(self, folder: Path) -> int:
        return 1 << 40 if self.capacity is None else max(0, self.capacity - self._used())

    def create(self, path: Path) -> int:
        if str(path) in self.names_:
            raise FileExistsError(errno.EEXIST, "is here", str(path))
        return self._descriptor(self.make(str(path)))

    def open(self, path: Path) -> int:
        return self._descriptor(self.find(str(path)))

    def _descriptor(self, file: int) -> int:
        fd = next(self._fds)
        self._open[fd] = [file, 0]
        return fd

    def read(self, fd: int, limit: int, at: int) -> bytes:
        return self.pread(self._open[fd][0], at, limit)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> int:
        file, at = self._open[fd]
        count = self.pwrite(file, bytes(data), at)
        self._open[fd][1] = at + count
        return count

    def allocate(self, fd: int, size: int) -> None:
        self._step("allocate")
        file, _ = self._open[fd]
        self._grow(file, size)
        self.log.append(Step("truncate", file, size))

    def sync(self, fd: int) -> None:
        self.sync_file(self._open[fd][0])

    def close(self, fd: int) -> None:
        del self._open[fd]

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        self.names_[str(target)] = self.names_.pop(str(source))
        self._named()

    def link(self, source: Path, target: Path) -> None:
        self._step("link")
        self.names_[str(target)] = self.names_[str(source)]
        self._named()

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        if self.names_.pop(str(path), None) is not None:
            self._named()

    def sync_folder(self, folder: Path) -> None:
        self._step("fsync folder")
        self.log.append(Step("sync names"))

    def connect(self, path: Path) -> sqlite3.Connection:
        self._step("connect")
        _disks[self.root.name] = self
        uri = f"file:{path}?vfs=memory-disk"
        return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)

    # --- crashes

    def copy(self) -> MemoryDisk:
        """Give a disk with the same content, under the same root: as a process that was killed leaves it."""
        return self._with({file: bytearray(data) for file, data in self.files.items()}, dict(self.names_))

    def _with(self, files: dict[int, bytearray], names: dict[str, int]) -> MemoryDisk:
        other = MemoryDisk(self.capacity)
        del _disks[other.root.name]
        other.root = self.root
        other.files, other.names_ = files, names
        other._inode = itertools.count(max(files, default=0) + 1)
        _disks[self.root.name] = other
        return other

    def after_power_loss(self, steps: int, chance: Random) -> MemoryDisk:
        """Give a disk as it may be when the power goes after so many steps of the log."""
        synced: dict[int, int] = {}
        # A file system writes its names in order: those of some moment since they were last synced are found.
        moments: list[dict[str, int]] = [{}]
        for at, step in enumerate(self.log[:steps]):
            if step.what == "sync":
                synced[step.file] = at
            elif step.what == "sync names":
                del moments[:-1]
            elif step.names is not None:
                moments.append(step.names)
        names = chance.choice(moments)
        fate = chance.random()
        files = {file: bytearray(self._synced(file, synced.get(file, 0))) for file in names.values()}
        first = min((synced.get(file, 0) for file in files), default=steps)
        for at, step in enumerate(self.log[first:steps], first):
            data = files.get(step.file)
            if data is None or at < synced.get(step.file, 0) or chance.random() > fate:
                continue
            _do(data, step, _torn(step.data, chance) if step.what == "write" else b"")
        return self._with(files, dict(names))

    def _synced(self, file: int, by: int) -> bytes:
        """Give what is in a file after all that was done to it before a step of the log."""
        if (file, by) not in self._as_synced:
            data = bytearray()
            for step in self.log[:by]:
                if step.file == file:
                    _do(data, step, step.data)
            self._as_synced[file, by] = bytes(data)
        return self._as_synced[file, by]


def _do(data: bytearray, step: Step, written: bytes) -> None:
    """Change a file by a step, which wrote so much."""
    if step.what == "write":
        _put(data, step.at, written)
    elif step.what == "truncate":
        del data[step.at :]
        data.extend(bytes(max(0, step.at - len(data))))


def _put(data: bytearray, at: int, new: bytes) -> None:
    data.extend(bytes(max(0, at - len(data))))
    data[at : at + len(new)] = new


def _torn(data: bytes, chance: Random) -> bytes:
    """Give all of a write, or only its first sectors."""
    if chance.random() < 0.7:
        return data
    return data[: chance.randrange(0, len(data) + 1, SECTOR)]


_disks: dict[str, MemoryDisk] = {}
_serial = itertools.count(1)


# --- the VFS: https://www.sqlite.org/vfs.html, structures from sqlite3.h ------------------------------------------

_OK, _FULL, _CANTOPEN, _NOTFOUND = 0, 13, 14, 12
_IOERR_READ, _IOERR_SHORT_READ, _IOERR_WRITE, _IOERR_FSYNC, _IOERR_TRUNCATE, _IOERR_DELETE = (
    10 | n << 8 for n in (1, 2, 3, 4, 6, 10)
)
_OPEN_CREATE, _OPEN_WAL, _OPEN_MAIN_JOURNAL = 0x4, 0x80000, 0x800


class _File(Structure):
    _fields_ = [("methods", c_void_p), ("handle", c_int64)]


_F = POINTER(_File)
_IO = [
    ("close", CFUNCTYPE(c_int, _F)),
    ("read", CFUNCTYPE(c_int, _F, c_void_p, c_int, c_int64)),
    ("write", CFUNCTYPE(c_int, _F, c_void_p, c_int, c_int64)),
    ("truncate", CFUNCTYPE(c_int, _F, c_int64)),
    ("sync", CFUNCTYPE(c_int, _F, c_int)),
    ("file_size", CFUNCTYPE(c_int, _F, POINTER(c_int64))),
    ("lock", CFUNCTYPE(c_int, _F, c_int)),
    ("unlock", CFUNCTYPE(c_int, _F, c_int)),
    ("check_reserved", CFUNCTYPE(c_int, _F, POINTER(c_int))),
    ("control", CFUNCTYPE(c_int, _F, c_int, c_void_p)),
    ("sector_size", CFUNCTYPE(c_int, _F)),
    ("characteristics", CFUNCTYPE(c_int, _F)),
]


class _Methods(Structure):
    _fields_ = [("version", c_int), *_IO]


_VFS = [
    ("open", CFUNCTYPE(c_int, c_void_p, c_char_p, _F, c_int, POINTER(c_int))),
    ("delete", CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)),
    ("access", CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, POINTER(c_int))),
    ("full_path", CFUNCTYPE(c_int, c_void_p, c_char_p, c_int, c_void_p)),
    ("dl_open", c_void_p),
    ("dl_error", c_void_p),
    ("dl_sym", c_void_p),
    ("dl_close", c_void_p),
    ("randomness", CFUNCTYPE(c_int, c_void_p, c_int, c_void_p)),
    ("sleep", CFUNCTYPE(c_int, c_void_p, c_int)),
    ("current_time", CFUNCTYPE(c_int, c_void_p, POINTER(c_double))),
    ("last_error", CFUNCTYPE(c_int, c_void_p, c_int, c_char_p)),
]


class _Vfs(Structure):
    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        *_VFS,
    ]


class _Handle:
    def __init__(self, disk: MemoryDisk, path: str, file: int, syncs_folder: bool):
        self.disk, self.path, self.file, self.syncs_folder = disk, path, file, syncs_folder


_handles: dict[int, _Handle] = {}
_numbers = itertools.count(1)


def _disk_of(name: bytes) -> tuple[MemoryDisk, str]:
    path = name.decode()
    return _disks[path.split("/")[1]], path


def _at(file: object) -> _Handle:
    return _handles[file.contents.handle]


def _open(vfs, name, file, flags, out):
    disk, path = _disk_of(name)
    file.contents.methods = None
    try:
        found = disk.names_.get(path)
        inode = disk.find(path) if found is not None or not flags & _OPEN_CREATE else disk.make(path)
    except OSError:
        return _CANTOPEN
    number = next(_numbers)
    # As the unix VFS: a new log's name is synced with its first sync.
    _handles[number] = _Handle(disk, path, inode, found is None and bool(flags & (_OPEN_WAL | _OPEN_MAIN_JOURNAL)))
    file.contents.handle = number
    file.contents.methods = ctypes.addressof(_methods)
    if out:
        out[0] = flags
    return _OK


def _close(file):
    del _handles[file.contents.handle]
    return _OK


def _read(file, buffer, count, at):
    handle = _at(file)
    try:
        data = handle.disk.pread(handle.file, at, count)
    except OSError:
        return _IOERR_READ
    memmove(buffer, data, len(data))
    if len(data) < count:
        memset(buffer + len(data), 0, count - len(data))
        return _IOERR_SHORT_READ
    return _OK


def _write(file, buffer, count, at):
    handle = _at(file)
    try:
        done = handle.disk.pwrite(handle.file, ctypes.string_at(buffer, count), at)
    except OSError as error:
        return _FULL if error.errno == errno.ENOSPC else _IOERR_WRITE
    return _OK if done == count else _FULL


def _truncate(file, size):
    try:
        _at(file).disk.truncate(_at(file).file, size)
    except OSError:
        return _IOERR_TRUNCATE
    return _OK


def _sync(file, flags):
    handle = _at(file)
    try:
        handle.disk.sync_file(handle.file)
        if handle.syncs_folder:
            handle.disk.sync_folder(Path(handle.path).parent)
            handle.syncs_folder = False
    except OSError:
        return _IOERR_FSYNC
    return _OK


def _file_size(file, out):
    out[0] = len(_at(file).disk.files[_at(file).file])
    return _OK


def _check_reserved(file, out):
    out[0] = 0
    return _OK


def _delete(vfs, name, sync_folder):
    disk, path = _disk_of(name)
    try:
        disk.unlink(Path(path))
        if sync_folder:
            disk.sync_folder(Path(path).parent)
    except OSError:
        return _IOERR_DELETE
    return _OK


def _access(vfs, name, flags, out):
    disk, path = _disk_of(name)
    out[0] = int(path in disk.names_)
    return _OK


def _full_path(vfs, name, count, out):
    memmove(out, name + b"\0", len(name) + 1)
    return _OK


def _randomness(vfs, count, out):
    memmove(out, os.urandom(count), count)
    return count


def _current_time(vfs, out):
    out[0] = 2460000.5
    return _OK


def _callbacks(fields, **functions):
    return {name: dict(fields)[name](function) for name, function in functions.items()}


_methods = _Methods(
    version=1,
    **_callbacks(
        _IO,
        close=_close,
        read=_read,
        write=_write,
        truncate=_truncate,
        sync=_sync,
        file_size=_file_size,
        lock=lambda file, level: _OK,
        unlock=lambda file, level: _OK,
        check_reserved=_check_reserved,
        control=lambda file, op, argument: _NOTFOUND,
        sector_size=lambda file: 4096,
        characteristics=lambda file: 0,
    ),
)
_vfs = _Vfs(
    version=1,
    file_bytes=ctypes.sizeof(_File),
    path_bytes=512,
    name=b"memory-disk",
    **_callbacks(
        _VFS,
        open=_open,
        delete=_delete,
        access=_access,
        full_path=_full_path,
        randomness=_randomness,
        sleep=lambda vfs, microseconds: microseconds,
        current_time=_current_time,
        last_error=lambda vfs, count, out: 0,
    ),
)


def _registered() -> str:
    """Register the VFS with the very library that Python's sqlite3 uses; give the reason when that cannot be."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
        return "" if library.sqlite3_vfs_register(ctypes.addressof(_vfs), 0) == _OK else "SQLite refused the VFS"
    return "Python's sqlite3 does not show sqlite3_vfs_register"


REASON = _registered()
"""Why SQLite cannot run on a `MemoryDisk` here; empty when it can."""
