"""Whose process is at the other end, as the kernel tells it: real connections, and tables as the kernel writes them."""

from __future__ import annotations

import os
import socket
from contextlib import closing

import pytest

from agentd.comm.trust.same_user import owner_uid, peer_uid, uid_by_netlink, uid_by_table

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5d}        0 {inode} 1 0 100 0\n"
OWN, THEIRS = ("127.0.0.1", 0xB416), ("127.0.0.1", 0x8ABC)


def connection(family: int, host: str) -> tuple[socket.socket, socket.socket]:
    with closing(socket.socket(family)) as listener:
        listener.bind((host, 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname()[:2])
        return listener.accept()[0], client


def by_netlink(local: tuple[str, int], peer: tuple[str, int]) -> int | None:
    try:
        return uid_by_netlink(local, peer)
    except OSError as error:
        pytest.skip(f"the kernel answers no sock_diag questions here: {error}")


@pytest.mark.parametrize("ask", [owner_uid, uid_by_table, by_netlink])
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_owner_of_a_loopback_connection_is_found(ask, family, host):
    """Both ways of asking give this process's user, for its real connection, and nobody once it is closed."""
    try:
        server, client = connection(family, host)
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    ends = server.getsockname()[:2], server.getpeername()[:2]
    assert ask(*ends) == os.getuid()
    client.close()
    assert ask(*ends) is None
    server.close()


@pytest.mark.parametrize("ask", [uid_by_table, by_netlink])
def test_a_port_that_merely_listens_owns_no_connection(ask):
    """The kernel falls back to a listener when it is asked for a connection that is not there; we do not."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert ask(("127.0.0.1", 9), listener.getsockname()) is None


@pytest.mark.parametrize("ends", [(("192.0.2.1", 1), ("127.0.0.1", 2)), (("127.0.0.1", 1), ("192.0.2.1", 2))])
def test_beyond_loopback_nobody_is_known(ends):
    """An address of another device proves nothing."""
    assert owner_uid(*ends) is None


def table(tmp_path, **row: object):
    fields = {"local": "0100007F:8ABC", "remote": "0100007F:B416", "state": "01", "uid": 1234, "inode": 5} | row
    path = tmp_path / "tcp"
    reverse = ROW.format(**fields | {"local": "0100007F:B416", "remote": "0100007F:8ABC", "uid": 7})
    path.write_text(HEAD + reverse + ROW.format(**fields))
    return path, tmp_path / "none"


def test_the_row_of_the_peers_own_end_counts(tmp_path):
    """Not that of our end, which is in the same table."""
    assert uid_by_table(OWN, THEIRS, table(tmp_path)) == 1234


@pytest.mark.parametrize("row", [{"state": "06"}, {"state": "0A"}, {"inode": 0}, {"local": "0100007F:8ABD"}])
def test_other_rows_do_not(tmp_path, row):
    """TIME_WAIT, a listener, a socket without owner, another port."""
    assert uid_by_table(OWN, THEIRS, table(tmp_path, **row)) is None


def test_a_client_of_the_wide_family_is_found(tmp_path):
    """A connection through ::ffff:127.0.0.1 stands in the table of IPv6."""
    wide = "0000000000000000FFFF00000100007F"
    path, none = table(tmp_path, local=f"{wide}:8ABC", remote=f"{wide}:B416")
    assert uid_by_table(OWN, THEIRS, (none, path)) == 1234
    assert uid_by_table(("::ffff:127.0.0.1", OWN[1]), ("::ffff:127.0.0.1", THEIRS[1]), (none, path)) == 1234


def test_unix_sockets_know_their_peer():
    """SO_PEERCRED."""
    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one) == os.getuid()
