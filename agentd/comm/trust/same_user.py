"""Whose process is at the other end of a connection on this device, as the kernel tells it.

Loopback is no trust boundary: every user of the device reaches it. The kernel knows who owns each end: it is asked for
the one connection through sock_diag(7) in 5 us, or, where that is not allowed, through the table of all connections
(proc(5), /proc/net/tcp), which takes it a millisecond to write (both measured).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from contextlib import suppress
from pathlib import Path

from agentd.model.addresses import is_loopback

Address = tuple[str, int]
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = 1
"""TCP_ESTABLISHED in include/net/tcp_states.h; in the states after it the owner may be shown as 0."""
_UID, _INODE = 7, 9
"""Columns of a row of the table."""

_NETLINK_SOCK_DIAG = 4
"""NETLINK_SOCK_DIAG in include/uapi/linux/netlink.h."""
_SOCK_DIAG_BY_FAMILY = 20
"""As in include/uapi/linux/sock_diag.h."""
_NLM_F_REQUEST = 1
"""As in include/uapi/linux/netlink.h."""
_NO_COOKIE = 0xFFFFFFFF
"""INET_DIAG_NOCOOKIE in include/uapi/linux/inet_diag.h: whichever socket has these addresses."""
_MESSAGE = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_QUESTION = struct.Struct("=BBBBI")
"""Head of struct inet_diag_req_v2: family, protocol, extensions, padding, states; a sockid follows."""
_SOCKID = struct.Struct("!HH16s16s")
"""Head of struct inet_diag_sockid: ports and addresses, in network order; interface and cookie follow."""
_ANSWER = struct.Struct("=BBBB")
"""Head of struct inet_diag_msg: family, state, timer, retransmissions; a sockid of 48 bytes follows."""
_FIGURES = struct.Struct("=IIIII")
"""Its tail: expires, receive queue, send queue, user id, inode."""


def owner_uid(local: Address, peer: Address) -> int | None:
    """Give the user id of the process that holds the `peer` end of a TCP connection to our `local` end.

    None when it is not a loopback connection, is not established, or the kernel does not tell.
    """
    if not (is_loopback(local[0]) and is_loopback(peer[0])):
        return None
    try:
        return uid_by_netlink(local, peer)
    except OSError:
        return uid_by_table(local, peer)


def peer_uid(sock: socket.socket) -> int:
    """Give the user id of the process that connected to, or made, the other end of a Unix socket (SO_PEERCRED)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def uid_by_netlink(local: Address, peer: Address) -> int | None:
    """Ask the kernel for the one socket whose own end is the peer's.

    Raises:
        OSError: the kernel does not answer such questions here.
    """
    near, far = _parsed(peer[0]), _parsed(local[0])
    narrow_near, narrow_far = _narrowed(near), _narrowed(far)
    family = socket.AF_INET6
    if narrow_near is not None and narrow_far is not None:
        near, far, family = narrow_near, narrow_far, socket.AF_INET
    sockid = _SOCKID.pack(peer[1], local[1], near.packed, far.packed) + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED) + sockid
    head = _MESSAGE.pack(_MESSAGE.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        netlink.send(head + question)
        return _answered(netlink.recv(8_192), peer[1], local[1])


def _answered(answer: bytes, peer_port: int, local_port: int) -> int | None:
    """Read an answer: an error is None when there is no such socket.

    Raises:
        OSError: any other error, or an answer of another form.
    """
    _, kind, _, _, _ = _MESSAGE.unpack_from(answer)
    position = _MESSAGE.size
    if kind != _SOCK_DIAG_BY_FAMILY:
        (error,) = struct.unpack_from("=i", answer, position)
        with suppress(FileNotFoundError):
            raise OSError(-error, "sock_diag")
        return None
    _, state, _, _ = _ANSWER.unpack_from(answer, position)
    position += _ANSWER.size
    ports = _SOCKID.unpack_from(answer, position)[:2]
    _, _, _, uid, inode = _FIGURES.unpack_from(answer, position + 48)
    if state != _ESTABLISHED or ports != (peer_port, local_port) or not inode:
        return None
    return int(uid)


def uid_by_table(local: Address, peer: Address, tables: tuple[Path, ...] = TABLES) -> int | None:
    """Look the peer's end up in the tables of all connections."""
    for table, wanted in zip(tables, _keys(local, peer), strict=True):
        if wanted is not None and (uid := _found(table, wanted)) is not None:
            return uid
    return None


def _found(table: Path, wanted: bytes) -> int | None:
    try:
        rows = table.read_bytes()
    except OSError:
        return None
    position = rows.find(wanted)
    if position < 0:
        return None
    row = rows[rows.rfind(b"\n", 0, position) + 1 : rows.find(b"\n", position)].split()
    if len(row) <= _INODE or row[_INODE] == b"0":
        return None
    return int(row[_UID])


def _keys(local: Address, peer: Address) -> tuple[bytes | None, bytes]:
    """Give the text that the wanted row contains, in the table of IPv4 and in that of IPv6."""
    ends = [(_parsed(host), port) for host, port in (peer, local)]
    state = f" {_ESTABLISHED:02X} ".encode()
    v6 = b" ".join(_hex(_widened(address), port) for address, port in ends) + state
    narrow = [(_narrowed(address), port) for address, port in ends]
    if any(address is None for address, _ in narrow):
        return None, v6
    return b" ".join(_hex(address, port) for address, port in narrow if address is not None) + state, v6


def _parsed(host: str) -> Ip:
    return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.partition("%")[0])


def _narrowed(address: Ip) -> ipaddress.IPv4Address | None:
    return address if isinstance(address, ipaddress.IPv4Address) else address.ipv4_mapped


def _widened(address: Ip) -> ipaddress.IPv6Address:
    return address if isinstance(address, ipaddress.IPv6Address) else ipaddress.IPv6Address(f"::ffff:{address}")


def _hex(address: Ip, port: int) -> bytes:
    """Write an end as the kernel does: 32-bit words in the machine's byte order, then the port."""
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}".encode()
