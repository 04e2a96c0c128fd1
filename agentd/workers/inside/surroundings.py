"""What is set around users' code: limits, death signal, paths, standard streams, the units that it may use."""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import resource
import signal
import site
import sys
import types
from contextlib import suppress
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
"""prctl(2), linux/prctl.h."""

PYCOMPSS = ("agentd", "pycompss")
"""Where the package `pycompss` lies, for want of a real one: below the folder of our packages."""
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int | bytes) -> None:
    if _libc.prctl(option, ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value), 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also if the parent is dead already."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of what descendants leave behind."""
    with suppress(OSError):
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def name_process(name: str) -> None:
    """Show a name of at most 15 bytes in ps and top."""
    with suppress(OSError):
        _prctl(_PR_SET_NAME, name.encode()[:15])


def confine(config: dict[str, Any]) -> None:
    """Take away what users' code must not have: new privileges, core dumps, more than the operator's limits."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _limit(resource.RLIMIT_CORE, 0)
    for name, limit in (
        ("memory_bytes", resource.RLIMIT_AS),
        ("open_files", resource.RLIMIT_NOFILE),
        ("file_bytes", resource.RLIMIT_FSIZE),
    ):
        if config[name] is not None:
            _limit(limit, config[name])
    # A machine without memory shall lose a worker, never the daemon. Raising one's own score is always allowed.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")


def _limit(which: int, value: int) -> None:
    """Lower a limit, soft and hard; one that is lower already stays."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


class CpuLimit:
    """Seconds of CPU that one task may use, kept by the kernel: SIGXCPU ends the process."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def renew(self) -> None:
        """Count from now."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + self._seconds, hard))


def set_paths(roots: list[str], user_site: bool, own_folder: str) -> None:
    """Order the module path: users' folders, the interpreter's own, that of our packages, and PyCOMPSs' names last."""
    inherited = [entry for entry in sys.path if entry not in roots and entry != own_folder]
    sys.path[:] = [*roots, *inherited]
    if user_site:
        site.addsitedir(site.getusersitepackages())
    if own_folder not in roots:
        if own_folder in sys.path:
            sys.path.remove(own_folder)
        sys.path.append(own_folder)
    sys.path.append(os.path.join(own_folder, *PYCOMPSS))


def set_streams(out: int, err: int) -> None:
    """Put stdout and stderr into files, line by line; a crash writes where it was to stderr."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable(file=2)


def fresh_main() -> types.ModuleType:
    """Give users' code a `__main__` of its own."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.argv[:] = [""]
    return main


class TaskVariable:
    """COMPSS_TASK_ID, kept current for a tenth of what `os.environ` takes.

    putenv(3) makes the buffer itself part of the environment, so that writing into it is seen by C code and by
    processes that users' code starts.
    """

    _NAME = b"COMPSS_TASK_ID"

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(self._NAME + b"=" + bytes(21))
        self._value = (ctypes.c_char * 21).from_buffer(self._buffer, len(self._NAME) + 1)
        _libc.putenv(self._buffer)
        self._python: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined] # noqa: SLF001

    def set(self, task: int) -> None:
        """Name the task that runs."""
        self._python[b"COMPSS_TASK_ID"] = self._value.value = b"%d" % task


class Units:
    """The processing units that the tasks of this process may use."""

    _GPU_NAMES = ("COMPSS_BINDED_GPUS", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")

    def __init__(self, hostname: str, *, pins: bool) -> None:
        self._pins = pins
        self._cpus = sorted(os.sched_getaffinity(0))
        os.environ["COMPSS_NUM_NODES"] = "1"
        os.environ["COMPSS_NUM_PROCS"] = "1"
        os.environ["COMPSS_HOSTNAMES"] = os.environ["COMPSS_NODES"] = hostname

    def bind(self, cpus: list[int], gpus: list[int]) -> None:
        """Take these units: the variables that libraries read, and affinity if the operator wants that.

        Unit n is the n-th processor that this process was given. Nothing is pinned by default: several agents of one
        machine would each take its first processors.
        """
        count = str(max(1, len(cpus)))
        os.environ.update(
            {
                "COMPSS_BINDED_CPUS": ",".join(map(str, cpus)),
                "COMPSS_NUM_THREADS": count,
                "OMP_NUM_THREADS": count,
            }
        )
        for name in self._GPU_NAMES:
            if gpus:
                os.environ[name] = ",".join(map(str, gpus))
            else:
                os.environ.pop(name, None)
        fits = self._pins and bool(cpus) and all(0 <= unit < len(self._cpus) for unit in cpus)
        with suppress(OSError):
            os.sched_setaffinity(0, [self._cpus[unit] for unit in cpus] if fits else self._cpus)
