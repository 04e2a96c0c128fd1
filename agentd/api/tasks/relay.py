"""The other end of a program's session, in a worker of its agent: asks for the program what the program asks.

What goes over the socket are pickles, between two processes of one user. Law: each question is answered once, in order;
the session ends with whichever end goes first.
"""

from __future__ import annotations

import pickle
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

from agentd.api.tasks import storage
from agentd.api.tasks.runtime import PORT, current
from agentd.socket_path import fitting

SEND, WAIT, PLACE, END, HOSTS = range(5)
"""What is asked: (SEND, kind, body) has no answer; (WAIT, token), (PLACE, bytes), (HOSTS,) have; (END,) is the last."""
HEAD = struct.Struct("<Q")
"""Length of a pickle in bytes."""
CONNECT_S = 30.0
"""How long the program may take to take the connection."""


class Line:
    """Pickles over a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, value: Any) -> None:
        """Send one."""
        data = pickle.dumps(value, 5)
        self._sock.sendall(HEAD.pack(len(data)))
        self._sock.sendall(data)

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
            count = self._sock.recv_into(view)
            if not count:
                raise EOFError("the other end of the session is gone")
            view = view[count:]
        return data

    def close(self) -> None:
        """Let it go."""
        self._sock.close()


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
    line.send(told | {"storage": storage.chosen(), "shared": port.shared})
    try:
        with suppress(EOFError, ConnectionError):
            _answer_all(line, port)
    finally:
        line.close()


def _answer_all(line: Line, port: Any) -> None:
    while True:
        what, *rest = line.receive()
        if what == SEND:
            port.send(*rest)
        elif what == WAIT:
            line.send([_carried(port, row) for row in port.wait(*rest)])
        elif what == PLACE:
            line.send([(size, bytes(data), *where) for size, data, *where in port.place(memoryview(rest[0]))])
        elif what == HOSTS:
            line.send(port.hosts())
        else:
            return


def _carried(port: Any, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn a version that came into bytes."""
    version, standing, codec, data, parts = row
    carried = [bytes(view) for view in port.buffers(parts, writable=False)] if parts else []
    return version, standing, codec, bytes(data), carried
