"""The daemon's end of the spawner: the small process that forks workers, signals them and tells how they ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from agentd.comm.carrying.unix import UnixConnection
from agentd.model.errors import ConfigError
from agentd.workers.protocol import NUMBER, SIZED, SPAWNER_LIMIT, STATUS_ROW, FrameReader, Kind, ProtocolError, frame
from agentd.workers.settings import OWN_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agentd.workers.settings import WorkerSettings

CHILD = f"{OWN_FOLDER}/agentd/workers/child.py"
_TAIL_BYTES = 2000
"""Of what a spawner wrote before it failed, the end that is shown (chosen: a traceback)."""


class Spawner:
    """One spawner process after another: a new one is started when a worker is wanted and the last has died.

    `on_exit(worker, status)` is called for each process that it forked and that has ended, with the wait status.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: WorkerSettings, log: Path, on_exit: Callable[[int, int], None]
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._log = log
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: UnixConnection | None = None
        self._reader = FrameReader(SPAWNER_LIMIT)
        self._ready: asyncio.Future[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its pid, None when none runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it unless it runs. Must be called on the main thread: the kernel ends it with the calling thread.

        Raises:
            ConfigError: the interpreter cannot be started.
        """
        if self._process is not None:
            return
        here, there = socket.socketpair()
        command = [self._settings.interpreter, "-I", CHILD, str(there.fileno()), str(os.getpid())]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        errors = os.open(self._log, flags, 0o600)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=self._settings.environment(),
                pass_fds=(there.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            here.close()
            raise ConfigError(
                f"--python_interpreter {self._settings.interpreter} cannot be started: {error}"
            ) from error
        finally:
            there.close()
            os.close(errors)
        self._reader = FrameReader(SPAWNER_LIMIT)
        self._connection = UnixConnection(self._loop, here, self._on_bytes, self._on_closed)
        self._send(frame(Kind.CONFIG, json.dumps(self._settings.shared()).encode()))

    async def wait_ready(self) -> None:
        """Wait until it can fork.

        Raises:
            ConfigError: it died, or was not ready in time; the message has what it wrote to stderr.
        """
        self._ready = self._loop.create_future()
        try:
            async with asyncio.timeout(self._settings.start_s):
                await self._ready
        except (TimeoutError, EOFError) as error:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                words = log.read(_TAIL_BYTES).decode("utf-8", "replace").strip()
            name = self._settings.interpreter
            raise ConfigError(f"{name} does not become a worker: {words or 'it did not answer'}") from error
        finally:
            self._ready = None

    def fork(self, worker: int, fds: Sequence[int]) -> None:
        """Make a worker of these five descriptors, which stay the caller's.

        Raises:
            ConfigError: the interpreter cannot be started any more.
        """
        self.start()
        self._send(frame(Kind.FORK, NUMBER.pack(worker)), fds)

    def probe(self, number: int, function: str, fd: int) -> None:
        """Make a child that looks for a function and answers on `fd`, which stays the caller's.

        Raises:
            ConfigError: the interpreter cannot be started any more.
        """
        self.start()
        self._send(frame(Kind.PROBE, NUMBER.pack(number) + function.encode()), (fd,))

    def signal(self, worker: int, which: signal.Signals) -> None:
        """Send a signal to what was forked under this number; SIGKILL also to all processes of its session's group."""
        self._send(frame(Kind.SIGNAL, SIZED.pack(worker, which)))

    def _send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        if self._connection is not None:
            self._connection.write(data, fds)
            self._connection.flush()

    def _on_bytes(self, data: bytes, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        try:
            for kind, body in self._reader.feed(data):
                if kind == Kind.READY and self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
                elif kind == Kind.EXITED:
                    worker, _, status = STATUS_ROW.unpack(body)
                    self._on_exit(worker, status)
        except ProtocolError as error:
            if self._connection is not None:
                self._connection.close(str(error))

    def _on_closed(self, _reason: str) -> None:
        """It has died, or is being closed: nothing of it may stay."""
        self._connection = None
        process, self._process = self._process, None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(EOFError())
        if process is not None:
            process.kill()
            process.wait()

    async def close(self, grace_s: float) -> None:
        """Let it end its children and itself; kill it after the grace. Cancelled: it is killed at once."""
        connection, process = self._connection, self._process
        if connection is None or process is None:
            return
        self._process = None
        connection.close()
        try:
            await self._end_of(process.pid, grace_s)
        finally:
            process.kill()
            process.wait()

    async def _end_of(self, pid: int, grace_s: float) -> None:
        """Wait until a child of ours has ended, or the grace is over."""
        ended = asyncio.Event()
        fd = os.pidfd_open(pid)
        self._loop.add_reader(fd, ended.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await ended.wait()
        finally:
            self._loop.remove_reader(fd)
            os.close(fd)
