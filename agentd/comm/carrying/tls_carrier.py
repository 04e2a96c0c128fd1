"""TLS over a TCP socket: a carrier that lets the library read and write the socket itself.

Law: records are made and opened one at a time, as the socket gives and takes them; nothing sealed waits here.

The event loops have TLS of their own, which works in memory: it copies each byte twice more on both ends, and seals a
chunk whole before the other end can open the first record of it (measured, 100 MB between two agents: 80 against 60 ms
of a core at the sender).
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import ssl
import termios
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from agentd.comm.carrying.carriers import JOIN_BYTES, KEEPALIVE, READ, way_s_of

if TYPE_CHECKING:
    from agentd.comm.carrying.carriers import Receiver
    from agentd.wire.framing import Buffer

_WRITE_BYTES = 64 * 1024
"""What is handed to the library at a time, and counts as waiting until all of it is gone (chosen: what an end that
reads slowly has to read within its patience)."""
_RECORD_BYTES = 16 * 1024
"""Largest record (RFC 8446, 5.1); one that is smaller was, most likely, the last of what was written."""
_TURN_BYTES = 512 * 1024
"""What is read in one turn of the loop at most (chosen: some 0.3 ms, then others have theirs)."""
_unread = array.array("i", [0])


class TlsCarrier:
    """A carrier over a connected TCP socket, which is its own from here on; for a link once both ends have `agreed`.

    `hostname` is told to the other end by who dials; None for who was dialled. `linger_s` is how long an end that was
    said may take to be answered.

    Attributes:
        is_full: the kernel has not taken all that was written.
        pending_bytes: what of it.
        certificate: DER of which the other end has proven to hold the key; None for none.
        peer: the socket address of the other end.

    Raises:
        OSError: the connection is gone.
    """

    is_secret = True
    unread_bytes = 0  # the kernel knows what was acknowledged, which is not what was read

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, hostname: str | None = None, *, linger_s: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._linger_s = linger_s
        sock.setblocking(False)
        self.peer: tuple[str | int, ...] = sock.getpeername()
        self._own: tuple[str | int, ...] = sock.getsockname()
        for level, option, value in ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *KEEPALIVE):
            sock.setsockopt(level, option, value)
        self._sock: ssl.SSLSocket | None = context.wrap_socket(
            sock,
            server_side=hostname is None,
            server_hostname=hostname,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )
        self._receiver: Receiver | None = None
        self._agreed: asyncio.Future[None] = self._loop.create_future()
        self._waiting: deque[Buffer] = deque()
        """What was written and is to be sealed; the first may be sealed in part, and is given again as it is."""
        self._is_landing = False
        """What was read last went to the receiver's room."""
        self._is_paused = False
        self._is_reading = self._is_writing = False
        """The loop tells when something has come, and when the kernel takes more."""
        self._is_ending = False
        """Nothing more is taken to be written, and nobody is told what comes."""
        self._deadline: asyncio.TimerHandle | None = None
        self._lost_for: str | None = None
        self.pending_bytes = 0
        self.certificate: bytes | None = None
        self._watch_reading(True)
        self._readable()

    def carry_for(self, receiver: Receiver) -> None:
        """Name who is told, once both ends have agreed; what has come already is told soon."""
        if self._lost_for is not None:
            self._loop.call_soon(receiver.lost, self._lost_for)
            return
        self._receiver = receiver
        self._loop.call_soon(self._read)

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Addresses of the other end and of this one."""
        peer, own = self.peer, self._own
        return (str(peer[0]), int(peer[1])), (str(own[0]), int(own[1]))

    @property
    def way_s(self) -> float | None:
        """Give the least time in which the other end's kernel has acknowledged bytes of late; None: nobody knows."""
        return way_s_of(self._sock)

    async def agreed(self) -> None:
        """Wait until both ends have agreed; whoever gives up waiting has to `abort`.

        Raises:
            ssl.SSLError: they cannot.
            OSError: the connection is gone.
        """
        await self._agreed

    def _shake_hands(self, sock: ssl.SSLSocket) -> None:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch_writing(False)
        except ssl.SSLWantWriteError:
            self._watch_writing(True)
        except OSError as error:
            self._lose(str(error), error)
        else:
            self._watch_writing(False)
            self.certificate = sock.getpeercert(binary_form=True)
            self._agreed.set_result(None)

    # --- reading ------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        if not self._agreed.done():
            self._shake_hands(sock)
        elif self._is_ending:
            self._read_into_void(sock)
        else:
            self._read()
            if self._waiting and not self._is_writing:
                self._write()

    def _read(self) -> None:
        """Read and tell what has come, for one turn."""
        left = _TURN_BYTES
        receiver = self._receiver
        while self._sock is not None and receiver is not None and not self._is_paused and not self._is_ending:
            room = receiver.landing
            into = READ if room is None else room
            count, is_all = self._read_to(self._sock, into, is_alone=room is None and self._is_landing)
            self._is_landing = room is not None
            if count and room is not None:
                receiver.landed(count)
            elif count:
                receiver.received(bytes(READ[:count]))
            left -= count
            if is_all:
                break
            if left <= 0:
                self._loop.call_soon(self._read)  # what the library holds would wake nobody
                break

    def _read_to(self, sock: ssl.SSLSocket, into: memoryview, *, is_alone: bool) -> tuple[int, bool]:
        """Fill memory with what has come, one record of it if it `is_alone`: tell how much, and whether that is all.

        Of what has no room yet, a record that is not full was mostly the last: to ask costs less than to read in vain.
        """
        count, size, is_roomy = 0, len(into), into is not READ
        # What `recv_into` calls, which takes as long again to find out the size; given memory, it gives a count.
        read = cast("Callable[[int, memoryview], int]", sock.read)
        try:
            while count < size:
                got = read(size - count, into[count:])
                if not got:
                    self._loop.call_soon(self.finish)
                    return count, True
                count += got
                if is_alone:
                    return count, False
                if not is_roomy and got < _RECORD_BYTES and not _has_more(sock):
                    return count, True
        except ssl.SSLWantReadError:
            return count, True
        except ssl.SSLWantWriteError:  # keys are changed: the answer to that has to go first
            self._watch_reading(False)
            self._watch_writing(True)
            return count, True
        except OSError as error:
            self._lose("closed by the other end" if isinstance(error, ssl.SSLEOFError) else str(error))
            return count, True
        return count, False

    def pause_reading(self) -> None:
        """Let the other end wait."""
        self._is_paused = True
        self._watch_reading(False)

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._is_paused:
            self._is_paused = False
            self._watch_reading(True)
            self._loop.call_soon(self._readable)  # what the library holds would wake nobody

    def _watch_reading(self, is_wanted: bool) -> None:
        if self._sock is None or is_wanted is self._is_reading:
            return
        self._is_reading = is_wanted
        if is_wanted:
            self._loop.add_reader(self._sock.fileno(), self._readable)
        else:
            self._loop.remove_reader(self._sock.fileno())

    # --- writing ------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Tell whether to wait for `writable`, which is told when all that was written is with the kernel."""
        return bool(self._waiting)

    def write(self, pieces: Sequence[Buffer], fds: Sequence[int] = ()) -> None:
        """Send pieces, as far as the kernel takes them; the rest must stay as it is while this is full.

        Raises:
            ValueError: descriptors, which do not travel over TCP.
        """
        if fds:
            raise ValueError("descriptors travel on Unix sockets only")
        if self._is_ending:
            return
        was_empty = not self._waiting
        size = sum(map(len, pieces))
        self.pending_bytes += size
        if len(pieces) > 1 and size <= JOIN_BYTES:
            pieces = (b"".join(pieces),)
        for piece in pieces:
            if len(piece) <= _WRITE_BYTES:
                self._waiting.append(piece)
                continue
            view = memoryview(piece)
            self._waiting.extend(view[at : at + _WRITE_BYTES] for at in range(0, len(view), _WRITE_BYTES))
        if was_empty:
            self._write()

    def _write(self) -> None:
        waiting = self._waiting
        sock = self._sock
        if sock is None:
            return
        try:
            while waiting:
                first = waiting[0]
                if len(first):
                    sock.send(first)
                waiting.popleft()
                self.pending_bytes -= len(first)
        except ssl.SSLWantWriteError:
            self._watch_writing(True)
        except ssl.SSLWantReadError:  # it goes on when something was read
            self._watch_writing(False)
        except OSError as error:
            self._lose(str(error))
        else:
            self._watch_writing(False)
            if self._is_ending:
                self._say_end(sock)

    def _writable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        if not self._agreed.done():
            self._shake_hands(sock)
            return
        self._write()
        if not self._waiting and self._receiver is not None and not self._is_ending:
            self._receiver.writable()
        if not self._is_reading and not self._is_paused:  # it waited for this
            self._watch_reading(True)
            self._readable()

    def _watch_writing(self, is_wanted: bool) -> None:
        if self._sock is None or is_wanted is self._is_writing:
            return
        self._is_writing = is_wanted
        if is_wanted:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def flush(self) -> None:
        """Do nothing: what the kernel takes is with it."""

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Say the end once all is written, and wait for the other end to say it too; what it says before is void."""
        if self._is_ending or self._sock is None:
            return
        self._is_ending = True
        self._deadline = self._loop.call_later(self._linger_s, self._lose, "closed here")
        self.resume_reading()
        if not self._waiting:
            self._say_end(self._sock)

    def _say_end(self, sock: ssl.SSLSocket) -> None:
        with suppress(OSError):  # what came and nobody will read included
            sock.unwrap()
        try:
            sock.shutdown(socket.SHUT_WR)  # which leaves the bare socket
        except OSError as error:
            self._lose(str(error))

    def _read_into_void(self, sock: socket.socket) -> None:
        """Read on, so that closing takes back nothing of what was said last."""
        try:
            while sock.recv_into(READ):
                pass
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except OSError:
            pass
        self._lose("closed by the other end")

    def abort(self) -> None:
        """End it at once."""
        self._lose("closed here")

    def _lose(self, reason: str, error: OSError | None = None) -> None:
        """Close the socket; who has to know is told in a turn of its own."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._lost_for = reason
        self._is_ending = True
        if self._is_reading:
            self._loop.remove_reader(sock.fileno())
        if self._is_writing:
            self._loop.remove_writer(sock.fileno())
        if self._deadline is not None:
            self._deadline.cancel()
        self._waiting.clear()
        self.pending_bytes = 0
        sock.close()
        if not self._agreed.done():
            self._agreed.set_exception(error or ConnectionResetError(reason))
            self._agreed.exception()  # whoever waited for it may have gone
        receiver, self._receiver = self._receiver, None  # or the two would wait for the search for circles
        if receiver is not None:
            self._loop.call_soon(receiver.lost, reason)


def _has_more(sock: ssl.SSLSocket) -> bool:
    """Tell whether there is more to read, of a record at least (tcp(7), SIOCINQ, which is FIONREAD)."""
    if sock.pending():
        return True
    fcntl.ioctl(sock.fileno(), termios.FIONREAD, _unread)
    return _unread[0] > 0
