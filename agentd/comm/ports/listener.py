"""The open doors of an agent: a TCP port, and a Unix socket for programs of the same user.

Law: a stranger has little memory and little time, and is told why it is sent away.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agentd.comm.carrying.carriers import TcpCarrier, UnixCarrier
from agentd.comm.carrying.tls_carrier import TlsCarrier
from agentd.comm.link import Link, OnClosed, OnMessage
from agentd.comm.ports.listening import TcpPort, refusal_frame, send_away
from agentd.comm.settings import CommSettings
from agentd.comm.trust.admission import Origin
from agentd.comm.trust.same_user import Address, owner_uid, peer_uid
from agentd.comm.trust.security import Security
from agentd.comm.trust.tickets import Tickets
from agentd.model.errors import ConfigError, StateInUse
from agentd.socket_path import fitting
from agentd.wire.messages import HelloAck
from agentd.wire.session import Session
from agentd.wire.terms import Phase, Side

_BACKLOG = 128
"""Connections that the kernel holds until they are taken (chosen: beyond it who dials waits)."""
_ACCEPTS_A_TURN = 16
"""Connections taken in one turn of the loop: a flood must not starve those that are open."""
OwnerOf = Callable[[Address, Address], int | None]


class Listener:
    """Accepts connections and makes a link of each.

    `number` gives unique link numbers. `on_message`, `on_closed` and `on_gone` become the links' own. Connections that
    come with one of the `tickets` are no links.
    """

    def __init__(
        self,
        settings: CommSettings,
        security: Security,
        *,
        number: Callable[[], int],
        on_message: OnMessage,
        on_closed: OnClosed,
        on_gone: Callable[[Link], None] = lambda _: None,
        owner_of: OwnerOf = owner_uid,
        tickets: Tickets,
    ) -> None:
        self._settings = settings
        self._tickets = tickets
        self._security = security
        self._number = number
        self._on_message = on_message
        self._on_closed = on_closed
        self._on_gone = on_gone
        self._owner_of = owner_of
        self._loop = asyncio.get_running_loop()
        self._tcp: TcpPort | None = None
        self._unix: socket.socket | None = None
        self._unix_file: tuple[Path, int] | None = None
        self._carried: dict[int, Link] = {}
        """All links whose sockets are still there, by number."""
        self._strangers: dict[int, asyncio.TimerHandle] = {}
        self._resting: asyncio.TimerHandle | None = None

    # --- opening and closing ------------------------------------------------------------------------------------

    async def open_tcp(self, host: str, port: int, tasks: asyncio.TaskGroup) -> Address:
        """Listen on a TCP port, 0 for any that is free, and give the address; `tasks` holds what comes in.

        Raises:
            ConfigError: the address is not this device's, or would need TLS.
            StateInUse: the port is taken.
        """
        self._tcp = TcpPort(
            self._settings,
            self._security,
            refusal=lambda: self._refusal,
            on_made=self._tcp_made,
            tickets=self._tickets,
            tasks=tasks,
        )
        return await self._tcp.open(host, port)

    def open_unix(self, path: Path) -> None:
        """Listen on a Unix socket that this user alone can reach; a file left over by a dead agent is replaced.

        Raises:
            ConfigError: the folder is not safe.
            StateInUse: another agent answers there.
        """
        _check_folder(path.parent)
        _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with fitting(path) as name:
                sock.bind(name)
            path.chmod(0o600)
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            raise ConfigError(f"cannot listen on {path}: {error.strerror or error}") from error
        self._unix = sock
        self._unix_file = (path, path.lstat().st_ino)
        self._loop.add_reader(sock, self._accept_unix)

    def close(self) -> None:
        """Accept no more; the links that there are go on."""
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None
        if self._resting is not None:
            self._resting.cancel()
        if self._unix is not None:
            self._loop.remove_reader(self._unix)
            self._unix.close()
            self._unix = None
        if self._unix_file is not None:
            path, inode = self._unix_file
            with suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()
            self._unix_file = None
        for timer in self._strangers.values():
            timer.cancel()

    def links(self) -> list[Link]:
        """Give all accepted links whose sockets are still there."""
        return list(self._carried.values())

    # --- strangers ----------------------------------------------------------------------------------------------

    @property
    def strangers(self) -> int:
        """How many connections have not been welcomed."""
        return len(self._strangers) + (self._tcp.strangers if self._tcp is not None else 0)

    def welcomed(self, link: Link) -> None:
        """Take note that a link is no stranger's any more."""
        timer = self._strangers.pop(link.number, None)
        if timer is not None:
            timer.cancel()

    def _link(self, where: str, origin_of: Callable[[], Origin], *, local: bool, until: float) -> Link:
        session = Session(Side.ACCEPTOR, self._settings.terms(local=local), self._loop.time())
        link = Link(
            self._number(),
            session,
            self._settings,
            where=where,
            on_message=self._on_message,
            on_closed=self._on_closed,
            on_gone=self._gone,
            origin_of=origin_of,
        )
        self._carried[link.number] = link
        self._strangers[link.number] = self._loop.call_at(until, self._time_is_up, link)
        return link

    def _time_is_up(self, link: Link) -> None:
        if link.session.phase is not Phase.OPEN:
            link.close("silent", f"no HELLO within {self._settings.hello_s:g} s")

    def _gone(self, link: Link) -> None:
        self._carried.pop(link.number, None)
        self.welcomed(link)
        self._on_gone(link)

    @property
    def _refusal(self) -> bytes:
        """The frame for whom there is no room; empty if there is."""
        if len(self._carried) >= self._settings.connections:
            words = f"{len(self._carried)} connections are open already"
        elif self.strangers >= self._settings.unauthenticated:
            words = f"{self.strangers} connections have not said who they are"
        else:
            return b""
        return refusal_frame(HelloAck(code="full", reason=words, remedy="try again later"))

    # --- accepting ----------------------------------------------------------------------------------------------

    def _tcp_made(self, carrier: TcpCarrier | TlsCarrier, until: float) -> None:
        peer, own = carrier.ends
        certificate = carrier.certificate

        def origin() -> Origin:
            return Origin(
                False, peer[0], self._owner_of(own, peer), is_secret=carrier.is_secret, certificate=certificate
            )

        link = self._link(f"{peer[0]}:{peer[1]}", origin, local=False, until=until)
        link.certificate = certificate
        link.carried_by(carrier)
        carrier.carry_for(link)

    def _accept_unix(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            if self._unix is None:
                return
            try:
                sock, _ = self._unix.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    self._rest()
                    return
                continue  # that one went away before we took it
            self._unix_made(sock)

    def _unix_made(self, sock: socket.socket) -> None:
        refusal = self._refusal
        if refusal:
            send_away(sock, refusal)
            return
        uid = peer_uid(sock)
        until = self._loop.time() + self._settings.hello_s
        link = self._link(f"unix uid {uid}", lambda: Origin(True, "", uid), local=True, until=until)
        link.carried_by(UnixCarrier(self._loop, sock, link))

    def _rest(self) -> None:
        """Out of descriptors: leave those who dial in the backlog for a second."""
        if self._unix is not None:
            self._loop.remove_reader(self._unix)
            self._resting = self._loop.call_later(1.0, self._loop.add_reader, self._unix, self._accept_unix)


def _check_folder(folder: Path) -> None:
    try:
        status = folder.lstat()
    except OSError as error:
        raise ConfigError(f"the state folder {folder} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ConfigError(f"the folder {folder} must be yours alone, and no link: chmod 700, or choose another --state")


def _remove_stale(path: Path) -> None:
    """Remove a socket file at which nobody answers.

    Raises:
        StateInUse: somebody does.
        ConfigError: it is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path} is in the way: it is not a socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            with fitting(path) as name:
                probe.connect(name)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody is there
        except OSError as error:
            raise ConfigError(f"{path} is in the way: {error.strerror}; remove it") from error
    raise StateInUse(f"another agent answers at {path}: stop it, or choose another --state folder")
