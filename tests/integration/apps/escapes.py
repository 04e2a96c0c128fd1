"""Ways in which users' code may try to get at a file that is kept from it; each gives what it could read."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

PTRACE_SEIZE = 0x4206
"""Attaches without stopping."""
_libc = ctypes.CDLL(None, use_errno=True)


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _by_map(path: str) -> bytes:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return bytes(view)


def _by_link(path: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        os.link(path, f"{folder}/link")
        return _read(f"{folder}/link")


def _by_symbolic_link(path: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.dirname(path), f"{folder}/link")
        return _read(f"{folder}/link/{os.path.basename(path)}")


def _by_moving(path: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        os.rename(path, f"{folder}/moved")
        return _read(f"{folder}/moved")


def _by_moving_the_folder(path: str) -> bytes:
    folder, name = os.path.split(path)
    os.rename(folder, f"{folder}.moved")
    return _read(f"{folder}.moved/{name}")


def _by_program(path: str) -> bytes:
    return subprocess.run(["cat", path], capture_output=True, check=True).stdout


def _by_unmounting(path: str) -> bytes:
    if _libc.umount2(os.fsencode(os.path.dirname(path)), 2):
        raise OSError(ctypes.get_errno(), "umount2")
    return _read(path)


def _by_mounting(path: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        if _libc.mount(b"/", folder.encode(), None, 4096 | 16384, None):
            raise OSError(ctypes.get_errno(), "mount")
        return _read(folder + path)


def _by_namespace_of_its_own(path: str) -> bytes:
    """A namespace in which it is root, and may take mounts away."""
    script = f"umount -l {os.path.dirname(path)}; cat {path}"
    return subprocess.run(["unshare", "-Urm", "sh", "-c", script], capture_output=True, check=True).stdout


def _by_root_of(pid: int) -> Callable[[str], bytes]:
    return lambda path: _read(f"/proc/{pid}/root{path}")


def _by_entering(pid: int) -> Callable[[str], bytes]:
    program = ["nsenter", "-t", str(pid), "-m", "-U", "--preserve-credentials", "cat"]
    return lambda path: subprocess.run([*program, path], capture_output=True, check=True).stdout


def _by_descriptors_of(pid: int) -> Callable[[str], bytes]:
    def read(_path: str) -> bytes:
        found = b""
        for name in os.listdir(f"/proc/{pid}/fd"):
            if os.path.isfile(f"/proc/{pid}/fd/{name}"):
                found += _read(f"/proc/{pid}/fd/{name}")
        return found

    return read


def _by_memory_of(pid: int) -> Callable[[str], bytes]:
    def read(_path: str) -> bytes:
        with open(f"/proc/{pid}/mem", "rb") as file:
            return b"open: " + file.read(0)

    return read


def _by_tracing(pid: int) -> Callable[[str], bytes]:
    def read(_path: str) -> bytes:
        if _libc.ptrace(PTRACE_SEIZE, pid, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")
        return b"traced"

    return read


def size(path: str) -> int:
    """Read a file plainly."""
    return len(_read(path))


def by_path(path: str) -> dict[str, str]:
    """Try all ways that need nothing but the path; gives what each could read, nothing for those that failed."""
    ways = (
        _read, _by_map, _by_link, _by_symbolic_link, _by_program, _by_unmounting, _by_mounting,
        _by_namespace_of_its_own, _by_moving, _by_moving_the_folder,
    )  # fmt: skip
    return _tried({way.__name__: way for way in ways}, path)


def by_processes(path: str, outside: list[int]) -> dict[str, str]:
    """Try all ways that lead through processes that are not confined."""
    ways = (_by_root_of, _by_entering, _by_descriptors_of, _by_memory_of, _by_tracing)
    return _tried({f"{way.__name__} {pid}": way(pid) for way in ways for pid in outside}, path)


def _tried(ways: dict[str, Callable[[str], bytes]], path: str) -> dict[str, str]:
    found = {}
    for name, way in ways.items():
        try:
            found[name] = way(path).decode("ascii", "replace")[:80]
        except (OSError, subprocess.CalledProcessError):
            continue
    return {name: text for name, text in found.items() if text}


def work(folder: str) -> list[str]:
    """Do what programs do with files, memory and processes; gives what did not work."""
    wrong = []
    done = {
        "new file": lambda: Path(folder, "new").write_text("text"),
        "read back": lambda: Path(folder, "new").read_text(),
        "folder": lambda: Path(folder, "sub").mkdir(),
        "to another folder": lambda: os.rename(f"{folder}/new", f"{folder}/sub/new"),
        "to another place": lambda: shutil.move(f"{folder}/sub/new", tempfile.gettempdir() + f"/moved-{os.getpid()}"),
        "from there": lambda: os.unlink(tempfile.gettempdir() + f"/moved-{os.getpid()}"),
        "link": lambda: (Path(folder, "a").write_text("a"), os.link(f"{folder}/a", f"{folder}/sub/a")),
        "pipe": lambda: os.mkfifo(f"{folder}/pipe"),
        "shell": lambda: subprocess.run("ls / | cat > /dev/null", shell=True, check=True),
        "shared memory": _share,
        "library": lambda: ctypes.CDLL("libm.so.6").cos,
        "signal": lambda: os.kill(os.getpid(), 0),
        "devices": lambda: _read("/dev/null"),
        "kernel": lambda: _read("/proc/cpuinfo"),
        "list above": lambda: [os.listdir(place) for place in ("/", folder, os.path.dirname(folder))],
        "remove pipe": lambda: os.unlink(f"{folder}/pipe"),
        "remove": lambda: shutil.rmtree(f"{folder}/sub"),
    }
    for name, act in done.items():
        try:
            act()
        except (OSError, subprocess.SubprocessError, AssertionError) as error:
            wrong.append(f"{name}: {error!r}")
    return wrong


def program(python: str, root: str, code: str, *arguments: str) -> str:
    """Run a program with our packages on its path; gives what it prints."""
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [python, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    return done.stdout + done.stderr


def _share() -> None:
    """Share memory with a child, under a name and without one, as libraries and mpirun do."""
    path = f"/dev/shm/agentd-test-{os.getpid()}"
    named = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    nameless = os.memfd_create("test")
    for fd in (named, nameless):
        os.ftruncate(fd, 4096)
        with mmap.mmap(fd, 4096) as view:
            if (child := os.fork()) == 0:
                view[0] = 7
                os._exit(0)
            os.waitpid(child, 0)
            assert view[0] == 7
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))
        os.close(fd)
    os.unlink(path)
