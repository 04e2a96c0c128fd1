"""What `agentd doctor` looks at: each check is a row that says what was found and what to do about it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import shutil
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agentd.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentd.daemon.settings import Settings

OK, WARN, BAD = "ok", "warn", "bad"

NEEDED = ("cloudpickle", "cryptography", "fastapi", "httpx", "msgspec", "pydantic", "rich", "typer", "uvicorn")
HELPFUL = ("httptools", "uvloop")
LEAST_FREE_BYTES = 256 * 1024 * 1024
"""Journal, objects and logs need room; below it the agent refuses work soon. Chosen."""
WORKER_START_S = 60.0
"""Until a Python that has not started is reported; some start within seconds on the card of a small device. Chosen."""

_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_VERSION = 1
"""From linux/landlock.h: with this flag the call gives the ABI version."""
_PR_GET_SECCOMP = 21
_PR_GET_NO_NEW_PRIVS = 39


class Check(NamedTuple):
    """One row: `verdict` is ok, warn or bad."""

    name: str
    verdict: str
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Check:
    """Make a row with which nothing is wrong."""
    return Check(name, OK, found)


def warn(name: str, found: str, remedy: str) -> Check:
    """Make a row that costs something, but keeps no agent from running."""
    return Check(name, WARN, found, remedy)


def bad(name: str, found: str, remedy: str) -> Check:
    """Make a row that keeps an agent from running well."""
    return Check(name, BAD, found, remedy)


def all_checks(settings: Settings | None, folder: Path) -> list[Check]:
    """Check everything; a check that cannot be made says so."""
    rows: list[Check] = []
    for check in (system, python, packages):
        rows += _guarded(check)
    rows += _guarded(state_folder, folder) + _guarded(disk, folder)
    for check in (clock, *KERNEL):
        rows += _guarded(check)
    rows += _guarded(agent, folder) + _guarded(trust, folder)
    if settings is not None:
        rows += _guarded(ports, settings, folder)
        for look in (worker, confined, exposure):
            rows += _guarded(look, settings)
    return rows


def _guarded(check: Callable[..., Iterator[Check]], *subject: object) -> list[Check]:
    try:
        return list(check(*subject))
    except OSError as error:
        return [warn(check.__name__.replace("_", " "), f"could not be checked: {error}", "")]


def system() -> Iterator[Check]:
    """Look at the operating system and the processor."""
    found = f"{platform.system()} {platform.release()} on {platform.machine()}"
    if platform.system() != "Linux":
        yield bad("system", found, "agents run on Linux; here the client and `agentd.api` work")
    elif platform.machine() not in {"x86_64", "aarch64"}:
        yield warn("system", found, "x86-64 and aarch64 are tested")
    else:
        yield ok("system", found)
    if hasattr(os, "sched_getaffinity"):
        yield ok("cores", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} may be used")


def python() -> Iterator[Check]:
    """Look at the interpreter."""
    yield ok("python", f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}")


def packages() -> Iterator[Check]:
    """Look at the packages that are needed, and at those that make it faster."""
    versions = {name: _version(name) for name in (*NEEDED, *HELPFUL)}
    missing = [name for name in NEEDED if versions[name] is None]
    if missing:
        yield bad("packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield ok("packages", ", ".join(f"{name} {versions[name]}" for name in NEEDED))
    slow = [name for name in HELPFUL if versions[name] is None]
    if slow:
        yield warn("speed", f"missing: {', '.join(slow)}", f"pip install {' '.join(slow)}; it works without, slower")
    else:
        yield ok("speed", ", ".join(f"{name} {versions[name]}" for name in HELPFUL))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def state_folder(folder: Path) -> Iterator[Check]:
    """Look at the state folder, or at where it would be made."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        parent = next(path for path in folder.parents if path.exists())
        if os.access(parent, os.W_OK):
            yield ok("state folder", f"{folder} will be made at the first start")
        else:
            yield bad("state folder", f"{folder} cannot be made in {parent}", "choose another with --state")
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        yield bad("state folder", f"{folder} is no folder of yours", "choose another with --state")
    elif found.st_mode & 0o077:
        yield bad("state folder", f"others have access to {folder}", f"chmod 700 {folder}")
    elif os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield bad(
            "state folder",
            f"{folder} is on a file system that can only be read",
            "mount it for writing, or choose another with --state",
        )
    else:
        yield ok("state folder", f"{folder}, for this user only")


def disk(folder: Path) -> Iterator[Check]:
    """Look at the room on the disk, and at what kind of disk it is."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free >> 20} MiB free at {place}"
    if free < LEAST_FREE_BYTES:
        yield bad("disk", found, f"free at least {LEAST_FREE_BYTES >> 20} MiB")
    else:
        yield ok("disk", found)
    kind = _file_system(place)
    if kind in {"tmpfs", "ramfs"}:
        yield warn("journal", f"{place} is on {kind}", "what was accepted is lost at a power cut: use a real disk")
    elif kind.startswith(("nfs", "cifs", "9p", "fuse")):
        yield warn("journal", f"{place} is on {kind}", "use a local disk: a network's may lie about what is written")
    elif kind:
        yield ok("journal", f"{place} is on {kind}")


def _file_system(place: Path) -> str:
    """Give the type of the file system that holds a path (proc(5), /proc/self/mounts)."""
    best, kind = "", ""
    with suppress(OSError):
        for row in Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines():
            _, point, type_, *_ = row.split(" ")
            prefix = point.replace("\\040", " ").rstrip("/") + "/"
            if f"{place.resolve()}/".startswith(prefix) and len(prefix) >= len(best):
                best, kind = prefix, type_
    return kind


def clock() -> Iterator[Check]:
    """Look at the clocks: intervals are measured by the monotonic one, the other is for people."""
    resolution = time.get_clock_info("monotonic").resolution
    if time.time() < 1_700_000_000:
        yield warn("clock", time.strftime("it says %Y-%m-%d", time.gmtime()), "set the date: it is shown to people")
    elif resolution > 0.001:
        yield warn("clock", f"its steps are {resolution:g} s", "short times cannot be measured well here")
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


# --- the kernel ---------------------------------------------------------------------------------------------------


def memfd() -> Iterator[Check]:
    """Try shared memory that no other user can open."""
    try:
        os.close(os.memfd_create("agentd-doctor"))
    except (AttributeError, OSError) as error:
        yield bad("memfd", f"not available: {error}", "a Linux kernel from 3.17 is needed")
    else:
        yield ok("memfd", "large values go through shared memory")


def eventfd() -> Iterator[Check]:
    """Try the counters with which tasks are started."""
    try:
        os.close(os.eventfd(0))
    except (AttributeError, OSError) as error:
        yield bad("eventfd", f"not available: {error}", "a Linux kernel from 2.6.30 and Python 3.10 are needed")
    else:
        yield ok("eventfd", "available")


def pidfd() -> Iterator[Check]:
    """Try the handles by which the end of a worker is noticed."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        yield warn("pidfd", f"not available: {error}", "ends of workers are noticed by their sockets instead")
    else:
        yield ok("pidfd", "available")


def landlock() -> Iterator[Check]:
    """Ask the kernel how well it can bar a process from files (landlock(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    if version > 0:
        yield ok("landlock", f"ABI {version}")
    else:
        why = os.strerror(ctypes.get_errno())
        yield warn("landlock", f"not available: {why}", "users' code is confined less well; Linux 5.19 has it")


def seccomp() -> Iterator[Check]:
    """Ask the kernel whether it can filter system calls, and whether privileges can be given up (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        yield warn("seccomp", "not built into this kernel", "workers can make any system call")
    else:
        yield ok("seccomp", "available")
    if libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) < 0:
        yield warn("no-new-privs", "not available", "a worker may gain rights through setuid programs")
    else:
        yield ok("no-new-privs", "available")


def limits() -> Iterator[Check]:
    """Look at how many files may be open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1024:
        yield warn("open files", f"at most {soft} (could be {hard})", "ulimit -n 4096 before the start")
    else:
        yield ok("open files", f"at most {soft}")


KERNEL = (memfd, eventfd, pidfd, landlock, seccomp, limits)


# --- what is set --------------------------------------------------------------------------------------------------


def agent(folder: Path) -> Iterator[Check]:
    """Tell whether an agent runs on the state folder; if it does not, whether it stopped in order."""
    from agentd.api.places import is_running, read_ready

    ready = read_ready(folder) or {}
    name, pid = ready.get("name"), ready.get("pid")
    if is_running(ready):
        yield ok("agent", f"{name} runs here, as process {pid}")
    elif ready and (folder / "agent.sock").exists():  # it takes that away when it stops in order
        words = f"{name} ran here as process {pid}, and was killed, or the device went down"
        yield warn("agent", words, "start it again: what it had accepted goes on")
    else:
        yield ok("agent", "none runs here")


def ports(settings: Settings, folder: Path) -> Iterator[Check]:
    """See whether the ports are free; where an agent runs on the state folder, which ones it holds."""
    from agentd.api.places import is_running, read_ready

    ready = read_ready(folder) or {}
    for name, key, host, port in (
        ("rest port", "rest", settings.rest_host, settings.rest_port),
        ("comm port", "comm", settings.comm_host, settings.comm_port),
    ):
        if is_running(ready):  # it may have been started with others than are set here
            held = _port_of(ready.get(key))
            yield ok(
                name, f"{held}, held by the agent that runs here" if held else "closed by the agent that runs here"
            )
        elif port <= 0:
            yield ok(name, "any free one" if port == 0 else "closed")
        else:
            yield _port_row(name, host, port)


def _port_row(name: str, host: str, port: int) -> Check:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        option = name.replace(" ", "-")
        return bad(name, f"{host}:{port}: {error.strerror}", f"choose another with --{option}, or `--{option} auto`")
    return ok(name, f"{host}:{port} is free")


def _port_of(address: object) -> int | None:
    text = str(address or "").rpartition(":")[2]
    return int(text) if text.isdigit() else None


def worker(settings: Settings) -> Iterator[Check]:
    """Start the Python that is to run users' code, as a worker is started."""
    begin = time.monotonic()
    command = [settings.python_interpreter, "-c", "import msgspec, sys; print(*sys.version_info[:3], sep='.')"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WORKER_START_S, check=False)
    except subprocess.TimeoutExpired:
        found = f"{settings.python_interpreter} has not started within {WORKER_START_S:g} s"
        yield warn("worker", found, "this device is slow or busy: look again when it is idle")
        return
    except OSError as error:
        yield bad("worker", f"{settings.python_interpreter}: {error}", "choose another with --python-interpreter")
        return
    took_ms = (time.monotonic() - begin) * 1000
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield bad("worker", f"{settings.python_interpreter}: {last}", "install agentd for that interpreter too")
    else:
        yield ok("worker", f"Python {done.stdout.strip()} starts in {took_ms:.0f} ms")
    for path in settings.pythonpath:
        if not path.is_dir():
            yield bad("pythonpath", f"{path} is no folder", "correct --pythonpath")


def confined(settings: Settings) -> Iterator[Check]:
    """Try whether users' code can be kept from the state folder, as it is now."""
    from agentd.daemon.confinement import OFF, confinement, tried

    name, advice = "confinement", "users' code can read the keys: see docs/security.md, Users' code"
    try:
        asked = confinement(settings)
    except ConfigError as error:
        yield bad(name, str(error), "correct it where the message says")
        return
    if asked.mode == OFF:
        yield warn(name, asked.why_not, advice)
    elif not settings.state.is_dir():
        yield ok(name, f"{asked.mode}: to be tried when there is a state folder")
    else:
        trial = tried(settings)
        if trial.readable:
            yield warn(name, trial.why, advice)
        else:
            yield ok(name, f"users' code cannot read {settings.state}: {trial.why}")


def trust(folder: Path) -> Iterator[Check]:
    """Look at the key of this device, at whom it trusts, and at who trusts this person."""
    from agentd.api.logins import logins
    from agentd.daemon.trust.setup import identity_of, known_to

    try:
        identity = identity_of(folder)
        if identity is None:
            yield ok("identity", "a key and a certificate are made at the first start")
        else:
            yield ok("identity", f"certificate sha256 {identity.fingerprint}")
            yield from _private(identity.path)
        book = known_to(folder)
        trusted = [peer.name for peer in book.peers if peer.is_trusted]
        revoked = len(book.peers) - len(trusted)
        yield ok("peers", f"{', '.join(trusted) or 'none'}{f'; {revoked} revoked' if revoked else ''}")
    except ConfigError as error:
        yield bad("identity", str(error), "correct it where the message says")
    try:
        known = logins()
        if known:
            yield ok("logins", ", ".join(f"{login.user} at {login.url}" for login in known))
    except ConfigError as error:
        yield bad("logins", str(error), "correct it where the message says")


def _private(path: Path) -> Iterator[Check]:
    if path.stat().st_mode & 0o077:
        yield bad("identity", f"others have access to {path}", "remove it, start again, and pair all devices anew")


def exposure(settings: Settings) -> Iterator[Check]:
    """Say who can reach the agent, and what protects each port."""
    from agentd.daemon.readings import OFF
    from agentd.model.addresses import is_loopback

    if settings.insecure:
        hosts = sorted({settings.rest_host, settings.comm_host})
        yield bad("exposure", f"{', '.join(hosts)} without TLS and tokens", "leave out --insecure")
        return
    yield ok("local access", f"this user's programs need no token for: {settings.local_access}")
    for name, host, port, guard in (
        ("users", settings.rest_host, settings.rest_port, "TLS 1.3, and a token with every request"),
        ("agents", settings.comm_host, settings.comm_port, "TLS 1.3 with agents that were paired"),
    ):
        if port == OFF:
            yield ok(name, "closed")
        elif is_loopback(host):
            yield ok(name, f"{host}: this device alone")
        else:
            yield ok(name, f"{host}: other devices too; {guard}")
