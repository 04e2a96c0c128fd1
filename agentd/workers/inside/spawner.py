"""The small process that forks workers: it has loaded what they need, and nothing of the daemon.

Forking takes a few milliseconds and shares the memory of what is loaded. It is single-threaded, reaps what it forked,
and dies with the daemon; its workers die with it.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..page import Page
from ..protocol import NUMBER, SIZED, SPAWNER_LIMIT, STATUS_ROW, TO_WORKER_LIMIT, Kind, frame
from . import surroundings
from .failures import failure_of
from .functions import Finder
from .link import Link
from .seclusion import seclude
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

_FORK_FDS = 5
"""The worker's socket, its tokens, its page, its stdout, its stderr."""


class Spawner:
    """Obeys the daemon over one socket until that is closed."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pid = os.getpid()
        self._config: dict[str, Any] = {}
        self._workers: dict[int, int] = {}
        """Number of a worker to its pid."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._on_frame: dict[int, Callable[[memoryview], None]] = {
            Kind.CONFIG: self._on_config,
            Kind.FORK: self._on_fork,
            Kind.SIGNAL: self._on_signal,
            Kind.PROBE: self._on_probe,
        }

    def serve(self) -> None:
        """Fork, signal and reap until the daemon closes the socket; then end everything."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the daemon's business
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        with suppress(EOFError, ConnectionError):
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if self._wake_read in ready:
                    with suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                    self._reap()
                if self._link.fileno() in ready:
                    for kind, body in self._link.receive():
                        self._on_frame[kind](body)
        for pid in self._workers.values():
            _kill_group(pid, signal.SIGKILL)

    # --- frames -------------------------------------------------------------------------------------------------

    def _on_config(self, body: memoryview) -> None:
        self._config = json.loads(bytes(body))
        surroundings.set_paths(self._config["roots"], self._config["user_site"], self._config["own_folder"])
        if self._config["folder"]:
            os.chdir(self._config["folder"])
        if self._config["secret"]:
            try:
                seclude(self._config["secret"], self._config["shown"], self._config["confine"])
            except OSError as error:
                sys.exit(str(error))
        gc.collect()
        gc.freeze()  # pages of what was loaded stay shared when a worker collects
        self._link.send(frame(Kind.READY))

    def _on_fork(self, body: memoryview) -> None:
        (number,) = NUMBER.unpack(body)
        fds = [self._link.claim() for _ in range(_FORK_FDS)]
        try:
            self._fork(number, lambda: self._become_worker(number, fds))
        finally:
            for fd in fds:
                os.close(fd)

    def _on_probe(self, body: memoryview) -> None:
        (number,) = NUMBER.unpack_from(body)
        function = bytes(body[NUMBER.size :]).decode()
        fd = self._link.claim()
        try:
            self._fork(number, lambda: self._become_probe(fd, function))
        finally:
            os.close(fd)

    def _on_signal(self, body: memoryview) -> None:
        number, which = SIZED.unpack(body)
        pid = self._workers.get(number)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, which)
        if which == signal.SIGKILL:
            _kill_group(pid, which)

    # --- children -----------------------------------------------------------------------------------------------

    def _fork(self, number: int, become: Callable[[], None]) -> None:
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes: as if it had died at once
            sys.stderr.write(f"cannot fork a worker: {error}\n")
            self._link.send(frame(Kind.EXITED, STATUS_ROW.pack(number, 0, 71 << 8)))
            return
        if pid:
            self._workers[number] = pid
            return
        code = 70
        try:
            become()
            code = 0
        except (EOFError, ConnectionError):
            code = 0  # the daemon is gone or has let go: nobody is there to be told
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - the outermost door of a process: it is told and ends
            traceback.print_exc()
        finally:
            _leave(code)

    def _detach(self) -> None:
        """Turn from the spawner into a child of it."""
        os.setsid()
        surroundings.die_with(self._pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._link.close()
        surroundings.confine(self._config)

    def _become_worker(self, number: int, fds: list[int]) -> None:
        self._detach()
        sock, tokens, page, out, err = fds
        surroundings.name_process(f"agentd-w{number}")
        surroundings.set_streams(out, err)
        surroundings.fresh_main()
        link = Link(socket.socket(fileno=sock), TO_WORKER_LIMIT)
        shared = Page(page)
        os.close(page)
        Worker(number, link, tokens, shared, self._config).serve()

    def _become_probe(self, fd: int, function: str) -> None:
        self._detach()
        surroundings.fresh_main()
        link = Link(socket.socket(fileno=fd), TO_WORKER_LIMIT)
        try:
            Finder(self._config["roots"], self._config["allow"], self._config["own_folder"]).find(function)
            answer = ""
        except BaseException as error:  # noqa: BLE001 - users' code runs here
            failure = failure_of(error)
            answer = f"{failure.type}: {failure.message}" if failure.exception else failure.message
        link.send(frame(Kind.ANSWER, answer.encode("utf-8", "replace")))

    def _reap(self) -> None:
        """Collect what has ended, and end what it left behind in its group."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            number = next((number for number, known in self._workers.items() if known == pid), None)
            if number is not None:
                _kill_group(pid, signal.SIGKILL)  # before it is reaped: until then nobody else can have its number
            _, status = os.waitpid(pid, 0)
            if number is not None:
                del self._workers[number]
                self._link.send(frame(Kind.EXITED, STATUS_ROW.pack(number, pid, status)))
                self._clear(number)

    def _clear(self, number: int) -> None:
        """Remove what is left of a worker's tasks in their folder."""
        folder = os.path.join(self._config["task_folder"], str(number))
        if self._config["task_folder"] and os.path.isdir(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _kill_group(group: int, which: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, which)


def _leave(code: int) -> None:
    """End this process as an interpreter does, without going back up the stack that was forked."""
    with suppress(BaseException):
        import atexit
        import threading

        if code == 0:
            threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - what the interpreter calls at its end
            atexit._run_exitfuncs()  # noqa: SLF001 - as above
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Run a spawner: arguments are the number of the socket's descriptor and the daemon's pid."""
    surroundings.die_with(int(sys.argv[2]))
    surroundings.name_process("agentd-spawner")
    surroundings.adopt_orphans()
    link = Link(socket.socket(fileno=int(sys.argv[1])), SPAWNER_LIMIT)
    Spawner(link).serve()
