"""What carries the bytes of a link: a TCP transport, or a Unix socket; TLS is carried by `tls_carrier`."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast

from agentd.comm.carrying.unix import UnixConnection
from agentd.wire.framing import Buffer

CARRIER_BYTES = 256 * 1024
"""What is handed to a transport at most: behind it a heartbeat has to wait (chosen: two full socket buffers)."""

READ_BYTES = 256 * 1024
"""Largest read of what has no place yet (as on Unix sockets)."""
_FIRST_BYTES = 32 * 1024
"""Such a read behind bytes that had a place: more of them follow, of which little is to be copied (chosen)."""
JOIN_BYTES = 32 * 1024
"""Up to here a copy is cheaper than one more element of a gathering write (chosen, as for Unix sockets)."""
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A user owes no heartbeats: the kernel finds out within 25 s when its machine is gone (tcp(7))."""
_MIN_RTT = struct.Struct("=148xI")
"""Where TCP_INFO has the least round trip of the last minutes, in microseconds (linux/tcp.h, since Linux 4.6)."""


class Receiver(Protocol):
    """Who is told what a carrier received."""

    @property
    def landing(self) -> memoryview | None:
        """Where the next bytes may be read to; None: they are to be received."""
        ...

    def landed(self, count: int) -> None:
        """Take note that so many bytes were read to `landing`."""
        ...

    def received(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Take bytes, and the descriptors that came with them, which are the receiver's now."""
        ...

    def writable(self) -> None:
        """Go on writing: the carrier is no longer full."""
        ...

    def lost(self, reason: str) -> None:
        """Take note that the connection is gone; said once."""
        ...


class Carrier(Protocol):
    """Bytes both ways."""

    @property
    def is_secret(self) -> bool:
        """Tell whether TLS protects it."""
        ...

    @property
    def way_s(self) -> float | None:
        """How long bytes and the answer to them are on their way, at the least; None: nobody knows."""
        ...

    @property
    def pending_bytes(self) -> int:
        """What was written and the kernel has not taken."""
        ...

    @property
    def is_full(self) -> bool:
        """Tell whether to wait for `writable` before writing more."""
        ...

    @property
    def unread_bytes(self) -> int:
        """What the kernel took and the other end has not read yet, or a little more; 0 where nobody knows."""
        ...

    def write(self, pieces: Sequence[Buffer], fds: Sequence[int] = ()) -> None:
        """Write pieces in order; descriptors go with the first byte."""
        ...

    def flush(self) -> None:
        """Send now what was written."""
        ...

    def pause_reading(self) -> None:
        """Let the other end wait."""
        ...

    def resume_reading(self) -> None:
        """Go on reading."""
        ...

    def finish(self) -> None:
        """Say that nothing more will be written; what still arrives goes to the receiver. May be repeated."""
        ...

    def abort(self) -> None:
        """End it at once; `lost` is still told."""
        ...


_UNKNOWN = 0xFFFF_FFFF
"""What the kernel says before it has measured."""
READ = memoryview(bytearray(READ_BYTES))
"""What has no place yet is read to here by all carriers of this process, in turn: each empties it before the next."""


def way_s_of(sock: Any) -> float | None:
    """Give the least time, in seconds, in which the other end's kernel has acknowledged bytes of late (tcp(7))."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (way_us,) = _MIN_RTT.unpack_from(told)
    except (OSError, AttributeError, struct.error):
        return None
    return way_us / 1e6 if way_us != _UNKNOWN else None


class _Over(asyncio.Transport):
    """In the place of the transport of a connection that is over: takes everything, and has nothing."""

    def is_closing(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: Buffer) -> None:
        """Nobody reads it."""

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Nobody reads them."""

    def pause_reading(self) -> None:
        """Nothing comes."""

    def resume_reading(self) -> None:
        """Nothing comes."""

    def close(self) -> None:
        """It is."""

    def abort(self) -> None:
        """It is."""


_OVER = _Over()


class TcpCarrier(asyncio.BufferedProtocol):
    """A carrier over an asyncio transport; `on_made` is told when it is connected.

    Attributes:
        is_full: the transport has enough.
    """

    is_secret = False
    certificate: bytes | None = None

    def __init__(self, on_made: Callable[[TcpCarrier], None] = lambda _: None) -> None:
        self._on_made = on_made
        self._receiver: Receiver | None = None
        self._transport: asyncio.Transport | None = None
        self._is_landing = False
        """The read that is under way goes to the receiver's room."""
        self.is_full = False
        self.unread_bytes = 0  # the kernel knows what was acknowledged, which is not what was read

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; there is one from the moment the connection is made."""
        assert self._transport is not None
        return self._transport

    def carry_for(self, receiver: Receiver) -> None:
        """Name who is told; before the first byte can arrive."""
        self._receiver = receiver

    @property
    def pending_bytes(self) -> int:
        """What the kernel has not taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the transport up: small buffers, no waiting for more to send."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=CARRIER_BYTES, low=CARRIER_BYTES // 4)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for level, option, value in KEEPALIVE:
                sock.setsockopt(level, option, value)
        self._on_made(self)

    @property
    def way_s(self) -> float | None:
        """Give the least time in which the other end's kernel has acknowledged bytes of late; None: nobody knows."""
        return way_s_of(self.transport.get_extra_info("socket"))

    @property
    def peer(self) -> tuple[str | int, ...] | None:
        """The socket address of the other end."""
        peer: tuple[str | int, ...] | None = self.transport.get_extra_info("peername")
        return peer

    @property
    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Addresses of the other end and of this one."""
        peer, own = self.transport.get_extra_info("peername"), self.transport.get_extra_info("sockname")
        return (peer[0], peer[1]) if peer else ("", 0), (own[0], own[1]) if own else ("", 0)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Say where to read to, now."""
        room = self._receiver.landing if self._receiver is not None else None
        if room is not None:
            self._is_landing = True
            return room
        if self._is_landing:
            self._is_landing = False
            return READ[:_FIRST_BYTES]
        return READ

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was read."""
        if self._receiver is None:
            return
        if self._is_landing:
            self._receiver.landed(nbytes)
        else:
            self._receiver.received(bytes(READ[:nbytes]))

    def pause_writing(self) -> None:
        """Note that the transport has enough."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Go on with what waits."""
        self.is_full = False
        if self._receiver is not None:
            self._receiver.writable()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the end, and let go: what it holds would wait for the search for circles."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self._transport = _OVER
            receiver.lost(str(error) if error else "closed by the other end")

    def write(self, pieces: Sequence[Buffer], fds: Sequence[int] = ()) -> None:
        """Hand pieces to the transport, in one call.

        Raises:
            ValueError: descriptors, which do not travel over TCP.
        """
        if fds:
            raise ValueError("descriptors travel on Unix sockets only")
        if len(pieces) == 1:
            self.transport.write(pieces[0])
        elif sum(map(len, pieces)) <= JOIN_BYTES:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines(pieces)

    def flush(self) -> None:
        """Do nothing: the transport sends in the same turn of the loop."""

    def pause_reading(self) -> None:
        """Let the other end wait."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self.transport.resume_reading()

    def finish(self) -> None:
        """End our direction: closing at once would cut off what the other end has not read yet."""
        if self.transport.is_closing():
            return
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
                return
        except OSError:
            pass  # the other end was faster
        self.transport.close()

    def abort(self) -> None:
        """End it at once."""
        self.transport.abort()


class UnixCarrier:
    """A carrier over a Unix socket: full while the kernel has not taken what it holds, which is little."""

    is_secret = False
    way_s = 0.0

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, receiver: Receiver) -> None:
        self._connection = UnixConnection(loop, sock, receiver.received, receiver.lost, receiver.writable)

    @property
    def is_full(self) -> bool:
        """Tell whether to wait for `writable`, which is told when all that was written is with the kernel."""
        return self._connection.pending_bytes >= CARRIER_BYTES

    @property
    def unread_bytes(self) -> int:
        """Ask the kernel, which counts what lies in the other end's buffer as not sent (unix(7), SIOCOUTQ)."""
        return self._connection.unread_bytes

    @property
    def pending_bytes(self) -> int:
        """What the kernel has not taken."""
        return self._connection.pending_bytes

    def write(self, pieces: Sequence[Buffer], fds: Sequence[int] = ()) -> None:
        """Append pieces; descriptors go with the first."""
        for piece in pieces:
            self._connection.write(piece if type(piece) is bytes else memoryview(piece), fds)
            fds = ()

    def flush(self) -> None:
        """Send now what the kernel takes."""
        self._connection.flush()

    def pause_reading(self) -> None:
        """Let the other end wait."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._connection.resume_reading()

    def finish(self) -> None:
        """End it: what was written is with the kernel, which keeps it for the reader."""
        self._connection.close()

    def abort(self) -> None:
        """End it at once."""
        self._connection.close()
