"""The other end of a program's session, in a worker of its agent: asks for the program what the program asks.

What goes over the socket are pickles, between two processes of one user. Law: each question is answered once, in order;
the session ends with whichever end goes first.
"""

from __future__ import annotations

import itertools
import os
import pickle
import select
import socket
import struct
import sys
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from agentd import __version__
from agentd.api.tasks import storage
from agentd.api.tasks.messages import number
from agentd.api.tasks.port import DIRECTORY, FILE, THERE, Kind
from agentd.api.tasks.runtime import PORT, current
from agentd.model.errors import AgentdError
from agentd.socket_path import fitting

if TYPE_CHECKING:
    from collections.abc import Callable

TALK = 2
"""Version of what the two ends say: the program refuses a worker that says another. It is raised with any change of the
questions below, of their answers, of what `serve` tells first, or of the bodies that SEND passes on."""
SEND, WAIT, END, HOSTS, PLACE_FILE, POUR, DISCARD = range(7)
"""What is asked.

(SEND, kind, body) and (DISCARD, number) have no answer; (WAIT, token), (HOSTS,), (PLACE_FILE, size) and (POUR, number)
have; (END,) is the last. With PLACE_FILE comes the descriptor of the file, or memory, that the agent is to have, with
POUR that of the one to be written with what a file, or a large value, of the answer to WAIT holds, whose number the
program was told: neither passes through the socket. A program's memory is its own, whatever becomes of this worker.
"""
_FILES = frozenset({FILE, DIRECTORY})
HEAD = struct.Struct("<Q")
"""Length of a pickle in bytes."""
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)
CONNECT_S = 30.0
"""How long the program may take to take the connection."""


class Line:
    """Pickles over a stream socket, and descriptors with them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._descriptors: deque[int] = deque()

    def send(self, value: Any, *descriptors: int) -> None:
        """Send one; descriptors that go with it stay the caller's."""
        data = pickle.dumps(value, 5)
        head = HEAD.pack(len(data))
        if descriptors:
            head = head[socket.send_fds(self._sock, [head], descriptors) :]
        self._sock.sendall(head)
        self._sock.sendall(data)

    def claim(self) -> int:
        """Take a descriptor that came with what was received, which is the caller's from then on.

        Raises:
            EOFError: none came.
        """
        if not self._descriptors:
            raise EOFError("the other end of the session sent no descriptor where one belongs")
        return self._descriptors.popleft()

    def receive(self) -> Any:
        """Wait for one.

        Raises:
            EOFError: the other end is gone.
        """
        (length,) = HEAD.unpack(self._read(HEAD.size))
        return pickle.loads(self._read(length))

    def _read(self, length: int) -> bytearray:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count, ancillary, _, _ = self._sock.recvmsg_into([view], _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self._descriptors.extend(memoryview(raw[: len(raw) - len(raw) % 4]).cast("i"))
            if not count:
                raise EOFError("the other end of the session is gone")
            view = view[count:]
        return data

    def close(self) -> None:
        """Let it go."""
        self._sock.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())


def serve(path: str) -> None:
    """Ask for the program that listens at this path until it says that it is done."""
    port = sys.modules[PORT].port
    runtime: Any = current()
    runtime.family()
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(CONNECT_S)
    with fitting(path) as name:
        sock.connect(name)
    sock.settimeout(None)
    line = Line(sock)
    told = {"number": port.number, "task": port.task(), "threshold": port.threshold, "first": runtime.reserve()}
    told |= {"storage": storage.chosen(), "shared": port.shared, "folder": port.folder}
    line.send({"talk": TALK, "agentd": __version__} | told)
    over = os.eventfd(0, os.EFD_CLOEXEC)
    threading.Thread(target=_watch, args=(sock.fileno(), over, port, port.task()), daemon=True).start()
    try:
        _Answers(line, port).give()
    except (EOFError, ConnectionError):
        _give_up(port, port.task())
        raise AgentdError("the program has ended without closing its session: its tasks were cancelled") from None
    finally:
        os.eventfd_write(over, 1)
        line.close()


def _watch(sock: int, over: int, port: Any, task: int) -> None:
    """Cancel the tasks of a program that is gone: who answers it may be waiting for one of them.

    The socket, by its descriptor, is closed by who answers, at any time, but not before `over` is written to.
    """
    looks = select.poll()
    looks.register(sock, select.POLLRDHUP)
    looks.register(over, select.POLLIN)
    found = [fd for fd, _ in looks.poll()]
    if over not in found:
        _give_up(port, task)
        looks.unregister(sock)
        looks.poll()
    os.close(over)


def _give_up(port: Any, task: int) -> None:
    """Cancel all that a task has asked for."""
    with suppress(OSError):
        port.send(Kind.CANCEL, b"\x92" + number(task) + number(0))


class _Answers:
    """Answers the program, until it says that it is done."""

    def __init__(self, line: Line, port: Any) -> None:
        self._line = line
        self._port = port
        self._files: dict[int, Any] = {}
        """What the program was told of and has not fetched, by the number that it was told."""
        self._numbers = itertools.count(1)

    def give(self) -> None:
        """Answer what is asked.

        Raises:
            EOFError: the program is gone.
        """
        line, port = self._line, self._port
        while True:
            what, *rest = line.receive()
            if what == SEND:
                port.send(*rest)
            elif what == WAIT:
                rows = [self._carried(row) for row in port.wait(*rest)]
                line.send((rows, port.brought()))
            elif what == HOSTS:
                line.send(port.hosts())
            elif what == PLACE_FILE:
                line.send(self._with_file(partial(self._place_file, *rest)))
            elif what == POUR:
                line.send(self._with_file(partial(port.pour, self._files.pop(*rest))))
            elif what == DISCARD:
                port.discard(self._files.pop(rest[0]))
            else:
                return

    def _place_file(self, size: int, file: int) -> list[tuple[int, bytes, int, int]]:
        return _plain(self._port.place_file(file, size))

    def _with_file(self, act: Callable[[int], Any]) -> tuple[Any, str]:
        """Do something with the file whose descriptor came; gives what came of it, or what was in the way."""
        file = self._line.claim()
        try:
            return act(file), ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the program is to know
            return None, f"{type(error).__name__}: {error}"
        finally:
            os.close(file)

    def _carried(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """Turn a version that came into bytes; a file, or a large value, stays here until it is fetched.

        The program is told its number, of a value also the sizes of its parts.
        """
        version, standing, codec, data, parts = row
        if parts and standing == THERE:
            sizes = [] if codec in _FILES else [size for _, _, _, size, _ in parts]
            if codec in _FILES or sum(sizes) >= self._port.threshold:
                place = next(self._numbers)
                self._files[place] = parts
                return version, standing, codec, bytes(data), [place, *sizes]
        carried = [bytes(view) for view in self._port.buffers(parts, writable=False)] if parts else []
        return version, standing, codec, bytes(data), carried


def _plain(parts: Any) -> list[tuple[int, bytes, int, int]]:
    return [(size, bytes(data), *where) for size, data, *where in parts]
