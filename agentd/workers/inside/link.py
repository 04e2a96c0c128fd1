"""A process's blocking end of the socket to the daemon."""

from __future__ import annotations

import array
import select
import socket
import threading
from collections import deque

from ..protocol import FrameReader

READ_BYTES = 64 * 1024
"""Of a read, at first: below the size from which malloc(3) maps fresh pages for each buffer (10 us, measured)."""
BULK_BYTES = 1024 * 1024
"""Of a read while more comes than fits into the small one."""
_FDS = 16
_ANCILLARY = socket.CMSG_SPACE(_FDS * array.array("i").itemsize)
_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)


class Link:
    """Frames in, frames out, with descriptors; everything blocks, but for `poll`."""

    __slots__ = ("_lock", "_poll", "_read_bytes", "_reader", "fds", "socket")

    def __init__(self, sock: socket.socket, limit: int) -> None:
        self.socket = sock
        self._lock = threading.Lock()
        self._reader = FrameReader(limit)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._read_bytes = READ_BYTES
        self.fds: deque[int] = deque()
        """Descriptors that came and that no frame has claimed yet, in order."""

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self.socket.fileno()

    def close(self) -> None:
        """Let the socket go."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send it all, also where several threads send."""
        with self._lock:
            self.socket.sendall(data)

    def send_with(self, data: bytes, fds: list[int]) -> None:
        """Send it all, with descriptors, which stay the caller's."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        with self._lock:
            sent = self.socket.sendmsg([data], rights)
            if sent < len(data):
                self.socket.sendall(memoryview(data)[sent:])

    def receive(self) -> list[tuple[int, memoryview]]:
        """Wait for bytes and give the frames that they complete, possibly none.

        Raises:
            EOFError: the daemon is gone.
        """
        # Who sleeps in recvmsg itself is woken for nothing each time that the other end has read what it was sent,
        # at 10 us for each of the two (measured); who sleeps in poll is not.
        self._poll.poll()
        return self.take()

    def take(self) -> list[tuple[int, memoryview]]:
        """Give the frames that the bytes complete which are there, possibly none; as `receive`.

        Raises:
            EOFError: the other end is gone.
        """
        size = self._read_bytes
        data, ancillary, _, _ = self.socket.recvmsg(size, _ANCILLARY, _CLOEXEC)
        self._read_bytes = BULK_BYTES if len(data) == size else READ_BYTES
        for level, kind, packed in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(packed[: len(packed) - len(packed) % fds.itemsize])
                self.fds.extend(fds)
        if not data:
            raise EOFError("the daemon closed the connection")
        return self._reader.feed(data)

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Tell whether something can be read within so many seconds."""
        return bool(self._poll.poll(timeout_s * 1000))

    def claim(self) -> int:
        """Take the descriptor that belongs to the frame at hand.

        Raises:
            EOFError: it did not come: this process has no room for more open files.
        """
        if not self.fds:
            raise EOFError("a descriptor was lost on the way: the limit of open files is reached")
        return self.fds.popleft()
