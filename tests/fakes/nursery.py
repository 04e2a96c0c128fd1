"""A process that has loaded an agent's code and splits off agents: loading it takes nine tenths of a start.

What is split off is a process of its own that runs `agentd.__main__.main` with the arguments, environment, folder and
outputs it was given, as `python -m agentd` would. Only what Python itself reads as it starts cannot be set. Its keys
are made by another process that has loaded what that needs, instead of one that must load it first.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
MOST_DESCRIPTORS = 1 << 16
CLONE_NEWNET = 0x40000000
PATIENCE_S = 60.0
"""Until who asked for a key has said its name; chosen: far above what that takes on a busy machine."""
LOADED = (
    *("agentd.daemon.main", "agentd.daemon.profile", "agentd.rest.app", "agentd.rest.serving.server"),
    *("agentd.rest.compss.routes", "cli.app", "cli.start", "resources_xml", "schedulers.load_balancing"),
    *("encodings.idna", "pydantic.v1", "uvloop"),
)
"""Who is imported has the rest imported."""
BY_COMMANDS = (
    *("agentd.api", "cli.help", "cli.call", "cli.commands", "cli.operations", "cli.pairing", "cli.peers"),
    *("cli.resources", "cli.status", "cli.doctor", "cli.top", "httpx"),
)
"""What commands load besides."""


class Split:
    """A process that the nursery has split off, as `subprocess.Popen` shows one: a pid, signals, and how it ended."""

    def __init__(self, pid: int, ends: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ends = ends
        """Says how it ended, once."""
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._pidfd = -1

    def poll(self) -> int | None:
        """Tell how it ended; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: it goes on.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"agent {self.pid}", timeout or 0.0)
        return code

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._ends], [], [], timeout)[0]:
            said = os.read(self._ends, 64)
            self.returncode = int(said) if said else -signal.SIGKILL
            os.close(self._ends)
            if self._pidfd >= 0:
                os.close(self._pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None and self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a word."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that splits off others; ends with this one, or when it is closed."""

    def __init__(self, environment: dict[str, str], more: Sequence[str] = ()) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *more],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdout=subprocess.DEVNULL,
            )

    def start(
        self,
        words: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        out: int,
        err: int,
        given: int | None = None,
        space: str = "",
    ) -> Split:
        """Start `agentd` with these words there; its outputs go to the descriptors, and `given` is what it reads.

        `space` is the file of a network namespace, which then is its own.
        """
        ends, told = os.pipe()
        try:
            request = json.dumps([list(words), str(folder), environment, space]).encode()
            fds = [out, err, told, *([] if given is None else [given])]
            socket.send_fds(self._socket, [len(request).to_bytes(4, "big")], fds)
            self._socket.sendall(request)
        finally:
            os.close(told)
        said = self._socket.recv(64)
        if not said:
            raise ChildProcessError("the nursery has ended")
        return Split(int(said), ends)

    def run(
        self, words: Sequence[str], folder: Path, environment: dict[str, str], *, given: str | None = "", timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `agentd` with these words there, which may read what is given, and wait for its end.

        Raises:
            TimeoutExpired: it does not end.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as reads:
            reads.write((given or "").encode())
            reads.seek(0)
            process = self.start(words, folder, environment, out.fileno(), err.fileno(), reads.fileno())
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(words), code, out.read().decode(), err.read().decode())

    def close(self) -> None:
        """Let it end."""
        self._socket.close()
        self._process.wait()


# --- inside -------------------------------------------------------------------------------------------------------


def serve(connection: socket.socket) -> None:
    """Split off what is asked for until nobody can ask any more. Returns in the processes that were split off, too."""
    while True:
        head, fds, _, _ = socket.recv_fds(connection, 4, 4)
        if not head:
            os._exit(0)
        request = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        told, tells = os.pipe()
        if os.fork() == 0:
            os.close(told)
            if _split_off(tells, fds[2]):
                _become(json.loads(request), fds)
                return
        os.close(tells)
        connection.sendall(os.read(told, 64))
        for fd in (told, *fds):
            os.close(fd)


class Keys:
    """A process that makes keys of devices, until nobody is left who could ask."""

    def __init__(self) -> None:
        self._address = tempfile.mktemp(prefix="agentd-keys-")  # an abstract one would not be there in other networks
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self._address)
        listening.listen()
        ends, self._asks = os.pipe()
        if os.fork() == 0:
            with contextlib.suppress(BaseException):
                _make_keys(listening, ends)
            os.unlink(self._address)
            os._exit(0)
        os.close(ends)
        listening.close()

    async def made(self, name: str) -> bytes:
        """Give a key and its certificate, as `agentd.daemon.trust.identity.made` does."""
        loop, made = asyncio.get_running_loop(), b""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(self._address)
            asking.setblocking(False)
            await loop.sock_sendall(asking, name.encode())
            asking.shutdown(socket.SHUT_WR)
            while said := await loop.sock_recv(asking, 65_536):
                made += said
        return made


def _make_keys(listening: socket.socket, ends: int) -> None:
    """Make a key for each who connects and says its name, until the other end of the pipe is closed everywhere."""
    from agentd.daemon.clock import this_year
    from agentd.store.key_maker import make

    first, last = sorted((ends, listening.fileno()))
    for begin, end in ((3, first), (first + 1, last), (last + 1, MOST_DESCRIPTORS)):
        os.closerange(begin, end)
    while ends not in select.select([listening, ends], [], [])[0]:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError, ValueError):  # who asked has gone
            connection.settimeout(PATIENCE_S)
            name = b""
            while said := connection.recv(4096):
                name += said
            connection.sendall(make(name.decode(), this_year()))


def _split_off(tells: int, end: int) -> bool:
    """Go on as the new process, which gets True; this one stays beside it, and says at `end` how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        return True
    os.write(tells, b"%d" % pid)
    os.close(tells)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(end, b"%d" % code)
    os._exit(0)


def _become(request: tuple[list[str], str, dict[str, str], str], fds: list[int]) -> None:
    words, folder, environment, space = request
    if space:
        with open(space, "rb") as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
    for given in fds[3:]:
        os.dup2(given, 0)
    os.dup2(fds[0], 1)
    os.dup2(fds[1], 2)
    os.closerange(3, MOST_DESCRIPTORS)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [str(ROOT / "agentd" / "__main__.py"), *words]


def main() -> int:
    """Load, and serve; in what is split off, run the agent, or the command."""
    by_commands = sys.argv[2:]
    for name in (*LOADED, *by_commands):
        with contextlib.suppress(ImportError):  # what others bring is not everywhere
            import_module(name)
    from agentd.__main__ import main as run
    from agentd.daemon.trust import identity, line_key

    identity.made = line_key.made = Keys().made
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    serve(connection)
    connection.detach()
    code = run()
    if by_commands:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End a command after all that it does at its end: to take apart what was loaded takes longer than all else."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # instead of the folder of this file
    sys.exit(main())
