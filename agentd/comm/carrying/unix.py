"""A Unix stream socket on the running loop, on which file descriptors travel with the bytes.

Law: bytes arrive in the order in which they were written, and so do descriptors, none later than the bytes that they
were written with; the end is told exactly once.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import termios
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

READ_BYTES = 256 * 1024
"""Largest read; chosen: above it a read costs as much per byte, and a burst of one peer would delay the others."""
_FIRST_BYTES = 64 * 1024
"""A read, until one was filled: below the size from which malloc(3) maps fresh pages for each (10 us, measured)."""
MAX_FDS = 253
"""Most descriptors in one message (SCM_MAX_FD in unix(7))."""
_GATHER = 64
"""Buffers per sendmsg; chosen: far below IOV_MAX (1024), and joining more of them pays no more."""
_SMALL_BYTES = 16 * 1024
"""Up to here a copy is cheaper than one more element of a gathering write (measured)."""
_ANCILLARY = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
_CLOEXEC, _TRUNCATED = int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_CTRUNC)
"""As plain numbers: an operation on one of `enum` takes 5 us (measured)."""


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Unpack the descriptors that came with a message."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with suppress(OSError):
            os.close(fd)


class UnixConnection:
    """One end of a connected AF_UNIX SOCK_STREAM, owned by this object from here on.

    `on_bytes(data, fds)` is called with what was read, at most 256 KiB, and with the descriptors that came with it, no
    later than the first byte that they were written with (the kernel may join bytes before them); they belong to the
    callee, who claims them in order. `on_closed(reason)` is called once, after all bytes that could be read.
    Both are called from the loop; `on_closed` also from within `close()`. `on_drained` is called from the loop when the
    kernel has taken all that had to wait for it.

    Attributes:
        pending_bytes: written here, and not taken by the kernel yet.

    Writing never fails and never blocks: what the kernel does not take waits in memory (`pending_bytes`). When the
    peer is gone, what was written is dropped, and the end is told as soon as all that it sent has been read.
    """

    __slots__ = (
        "_broken",
        "_loop",
        "_on_bytes",
        "_on_closed",
        "_on_drained",
        "_out",
        "_paused",
        "_read_bytes",
        "_sock",
        "_writing",
        "pending_bytes",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_bytes: Callable[[bytes, list[int]], None],
        on_closed: Callable[[str], None],
        on_drained: Callable[[], None] = lambda: None,
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._on_bytes = on_bytes
        self._on_closed = on_closed
        self._on_drained = on_drained
        self._out: deque[tuple[bytes | memoryview, tuple[int, ...]]] = deque()
        self.pending_bytes = 0
        self._writing = False
        self._broken = False
        self._paused = False
        self._read_bytes = _FIRST_BYTES
        loop.add_reader(sock.fileno(), self._read_once)

    @property
    def is_closed(self) -> bool:
        """Tell whether the end has come, from either side."""
        return self._sock is None

    def fileno(self) -> int:
        """Give the socket's descriptor, -1 when closed."""
        return -1 if self._sock is None else self._sock.fileno()

    @property
    def unread_bytes(self) -> int:
        """What the kernel has of ours and the other end has not read, with what the kernel needs to keep it."""
        if self._sock is None:
            return 0
        found = array.array("i", [0])
        fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, found)  # the same number as SIOCOUTQ
        return found[0]

    # --- writing ------------------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview, fds: Sequence[int] = ()) -> None:
        """Buffer bytes, with descriptors that arrive no later than they; the caller keeps and may close its own.

        Raises:
            ValueError: descriptors without a byte to travel with, or more than fit in one message.
        """
        if self._sock is None or self._broken:
            return
        if not fds:
            if data:
                self._out.append((data, ()))
                self.pending_bytes += len(data)
            return
        if not data or len(fds) > MAX_FDS:
            raise ValueError(f"{len(fds)} descriptors need at least one byte, and at most {MAX_FDS} travel with it")
        self._out.append((data, tuple([os.dup(fd) for fd in fds])))
        self.pending_bytes += len(data)

    def flush(self) -> None:
        """Send now what the kernel takes; the rest follows when it takes more."""
        out = self._out
        if not out or self._writing:
            return
        if len(out) == 1 and self._sock is not None:
            data, fds = out[0]
            if not fds:  # the only piece that waits: the common case, and all that it needs
                try:
                    count = self._sock.send(data)
                except OSError:
                    count = 0  # the long way meets it again, and sees to it
                if count == self.pending_bytes:
                    out.clear()
                    self.pending_bytes = 0
                    return
                self._sent(count)
        self._send()

    def _send(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            while self._out:
                self._sent(self._send_some(sock))
        except (BlockingIOError, InterruptedError):
            if not self._writing:
                self._writing = True
                self._loop.add_writer(sock.fileno(), self._send_more)
            return
        except OSError as error:
            # The peer is gone, but what it sent before may still be unread; and a caller that writes expects no end.
            self._broken = True
            self._drop_output()
            self._loop.call_soon(self._end, error.strerror or str(error))
        if self._writing:
            self._writing = False
            self._loop.remove_writer(sock.fileno())

    def _send_more(self) -> None:
        self._send()
        if not self._writing and not self._broken:
            self._on_drained()

    def _send_some(self, sock: socket.socket) -> int:
        """Hand the kernel the next buffers, up to the next that carries descriptors."""
        out = self._out
        data, fds = out[0]
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            count = sock.sendmsg([data], rights)
            _close_all(fds)
            out[0] = (data, ())
            return count
        if len(out) == 1:
            return sock.send(data)
        batch: list[bytes | memoryview] = []
        for data, fds in out:
            if fds or len(batch) == _GATHER:
                break
            batch.append(data)
        if sum(map(len, batch)) <= _SMALL_BYTES:
            return sock.send(b"".join(batch))
        return sock.sendmsg(batch)

    def _sent(self, count: int) -> None:
        """Forget the first `count` bytes of what waits."""
        out = self._out
        self.pending_bytes -= count
        if len(out) == 1 and count == len(out[0][0]):
            out.clear()
            return
        while count:
            data, fds = out.popleft()
            if len(data) > count:
                out.appendleft((memoryview(data)[count:], fds))
                return
            count -= len(data)

    def _drop_output(self) -> None:
        for _, fds in self._out:
            _close_all(fds)
        self._out.clear()
        self.pending_bytes = 0

    # --- reading ------------------------------------------------------------------------------------------------

    def _read_once(self) -> bool:
        """Read what one message gives; tell whether there may be more."""
        sock = self._sock
        if sock is None:
            return False
        size = self._read_bytes
        try:
            data, ancillary, flags, _ = sock.recvmsg(size, _ANCILLARY, _CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self.close(error.strerror or str(error))
            return False
        self._read_bytes = READ_BYTES if len(data) == size else _FIRST_BYTES
        fds = _descriptors(ancillary) if ancillary else []
        if flags & _TRUNCATED:
            _close_all(fds)
            self.close("descriptors were lost on the way: the limit of open files is reached")
            return False
        if not data:
            _close_all(fds)
            self.close("closed by the other end")
            return False
        self._on_bytes(data, fds)
        return True

    def drain(self) -> None:
        """Read all that has arrived, now: for who knows that the other end has died."""
        while self._read_once():
            pass

    def _end(self, reason: str) -> None:
        self.drain()
        self.close(reason)

    def pause_reading(self) -> None:
        """Leave what arrives in the kernel, so that the sender has to wait."""
        if self._sock is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._sock.fileno())

    def resume_reading(self) -> None:
        """Go on after `pause_reading`."""
        if self._sock is not None and self._paused:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._read_once)

    def close(self, reason: str = "closed here") -> None:
        """End it, dropping what waits; tells `on_closed` unless the end was told already."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if not self._paused:
            self._loop.remove_reader(sock.fileno())
        if self._writing:
            self._loop.remove_writer(sock.fileno())
        self._drop_output()
        sock.close()
        self._on_closed(reason)
