"""Two honest agents with steady work between them, and a raw peer: what every attack on a port is measured by."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of

from agentd.comm.settings import CommSettings
from agentd.comm.trust import joining
from agentd.comm.trust.security import asking
from agentd.model.errors import PeerError
from agentd.store import identity, key_maker
from agentd.store.disk import LocalDisk
from agentd.wire import invitation
from agentd.wire import messages as m
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms
from tests.conftest import StartAgent

CALLS = 15
"""That must be done while an attack goes on."""
PATIENT = ("--lease-s", "60")
"""A raw peer sends no heartbeats: it is not to be lost for its silence, however slow the machine."""
SIP_BYTES = 1 << 20
"""What a reader takes that is slow and not gone: the kernel tells of room when a sixteenth of its buffer is free."""
MessageT = TypeVar("MessageT", bound=m.Message)


class Besieged:
    """A server with one core, and a phone without any that joined it: all work of the phone crosses their one link."""

    def __init__(self, start: StartAgent) -> None:
        self.start = start
        self.server = start(*WITH_APPS, "--hostname", "server", "--cpu", "1", *PATIENT)
        self.phone = start(*WITH_APPS, "--hostname", "phone", "--cpu", "0", *PATIENT)
        self.host, self.guest = door_of(self.server), door_of(self.phone)
        self.guest.client.post("/v1/peers", json={"invitation": self.invite()}).raise_for_status()
        self.guest.until_connected("server")

    @property
    def address(self) -> tuple[str, int]:
        """Where the server listens for agents."""
        host, _, port = self.server.comm.rpartition(":")
        return host, int(port)

    def invite(self) -> str:
        """Make an invitation for one more peer of the server."""
        made = self.host.client.post("/v1/invitations", json={"role": "peer"}).raise_for_status().json()
        return str(made["invitation"])

    def peer(self, name: str) -> dict[str, Any]:
        """Give what the server says of a peer."""
        found: dict[str, Any] = next(row for row in self.host.get("/v1/peers")["peers"] if row["name"] == name)
        return found

    def link(self, name: str) -> dict[str, Any]:
        """Give what the server says of a link."""
        found: dict[str, Any] = next(
            row for row in self.host.get("/v1/neighbours")["neighbours"] if row["name"] == name
        )
        return found

    def revoke(self, name: str, **more: str) -> None:
        """Let the server trust a peer no more."""
        self.host.client.delete(f"/v1/peers/{name}", params=more).raise_for_status()

    def figure(self, name: str) -> float:
        """Read one of the server's metrics."""
        return self.host.figure(name)

    def joined(self, name: str) -> Door:
        """Start one more agent and pair it with the server."""
        door = door_of(self.start(*WITH_APPS, "--hostname", name, "--cpu", "0"))
        door.client.post("/v1/peers", json={"invitation": self.invite()}).raise_for_status()
        door.until_connected("server")
        return door

    @contextmanager
    def working(self, folder: Path) -> Iterator[Callable[[], bool]]:
        """Have the phone's work done while the body attacks; gives what tells whether the attack is to go on.

        Afterwards: each task was done once, at the server, at the first attempt; both agents are the same processes as
        before and talk over the very same socket; neither has seen trouble with the other.
        """
        before, boots = self._sockets(), self._boots()
        log = Path(self.server.log).stat().st_size, Path(self.phone.log).stat().st_size
        assert len(before) == 1
        work = _Work(self.guest, folder / "done")
        work.start()
        try:
            yield work.goes_on
        finally:
            work.finish()
        work.check()
        assert self._sockets() == before
        assert self._boots() == boots
        assert self.guest.is_connected("server")
        assert self.peer("phone")["state"] == "connected"
        for agent, seen in zip((self.server, self.phone), log, strict=True):
            said = agent.log.read_bytes()[seen:].decode()
            assert "Traceback" not in said
            assert "never retrieved" not in said
            trouble = [line for line in said.splitlines() if "lost" in line and (" phone" in line or " server" in line)]
            assert trouble == []

    def _sockets(self) -> set[str]:
        """Find the sockets of the phone's process that are connected to the server's port: by the kernel's numbers."""
        port = f":{self.address[1]:04X}"
        rows = [line.split() for line in Path(f"/proc/{self.phone.pid}/net/tcp").read_text().splitlines()[1:]]
        connected = {row[9] for row in rows if row[2].endswith(port) and row[3] == "01"}
        own = set()
        for descriptor in Path(f"/proc/{self.phone.pid}/fd").iterdir():
            try:
                own.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue  # closed meanwhile
        return connected & own

    def _boots(self) -> list[str]:
        return [door.get("/v1/agent")["boot"] for door in (self.host, self.guest)]


class _Work(threading.Thread):
    """One call after the other, each of which leaves a line in a file when it runs."""

    def __init__(self, door: Door, file: Path) -> None:
        super().__init__()
        self._door = door
        self._file = file
        self._is_over = threading.Event()
        self._ended: list[dict[str, Any]] = []
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._is_over.is_set() or len(self._ended) < CALLS:
                self._ended.append(self._door.submit("sums:note", str(self._file), 0.0, wait_s=PATIENCE_S))
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            self._error = error

    def goes_on(self) -> bool:
        """Tell whether fewer calls have been done than must be."""
        return len(self._ended) < CALLS and self.is_alive()

    def finish(self) -> None:
        self._is_over.set()
        self.join()

    def check(self) -> None:
        assert self._error is None, self._error
        found = {(one["state"], one["ran_on"], one["attempts"]) for one in self._ended}
        assert found == {("done", "server", 1)}
        assert self._file.read_text().count("begin") == len(self._ended) >= CALLS


class Key:
    """A key and a certificate of somebody who is no agent of ours, and its contexts."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        kept = identity.keep_identity(LocalDisk(), folder, key_maker.make(name, 2026))
        self.path, self.certificate = kept.path, kept.certificate

    @property
    def context(self) -> ssl.SSLContext:
        """Shows the certificate, and believes whoever answers."""
        context = asking()
        context.load_cert_chain(self.path)
        return context

    def join(self, text: str) -> None:
        """Come with an invitation."""
        read = invitation.read(text)
        hello = m.Hello(
            role="guest",
            agent_id=f"id-{self.name}",
            name=self.name,
            boot="b",
            secret=read.secret,
            certificate=self.certificate,
        )
        asyncio.run(joining.join(read, lambda _own, _other: hello, CommSettings()))


class Raw:
    """A connection that says what it likes, in the protocol or not; a context that ends it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.session = Session(Side.DIALLER, Terms(), 0.0)
        self._heard: list[m.Message] = []
        sock.settimeout(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def say(self, message: m.Message) -> None:
        """Say it as the protocol has it."""
        for pieces in self.session.send(message, 0.0):
            self.sock.sendall(b"".join(pieces))

    def hear(self, kind: type[MessageT]) -> MessageT:
        """Read on to the next message of a kind."""
        while True:
            for message in list(self._heard):
                self._heard.remove(message)
                if isinstance(message, kind):
                    return message
            data = self.sock.recv(65_536)
            assert data, f"closed before {kind.__name__}"
            self._heard += self.session.receive(data, 0.0)

    def sip(self) -> None:
        """Take just so much that the other end does not give it up for reading nothing at all."""
        data = b""
        while len(data) < SIP_BYTES:
            more = self.sock.recv(SIP_BYTES - len(data))
            assert more, "closed"
            data += more
        self._heard += self.session.receive(data, 0.0)

    def last_words(self) -> tuple[str, str]:
        """Read to the end: the code and the reason with which the other end closed; both empty where it gave none."""
        said = ("", "")
        try:
            while data := self.sock.recv(65_536):
                self._heard += self.session.receive(data, 0.0)
        except (OSError, PeerError):
            pass
        for message in self._heard:
            if isinstance(message, (m.Goodbye, m.HelloAck)) and message.code:
                said = message.code, message.reason
        return said


def plain(address: tuple[str, int]) -> Raw:
    """Come without TLS."""
    return Raw(socket.create_connection(address, PATIENCE_S))


def secret(address: tuple[str, int], context: ssl.SSLContext) -> Raw:
    """Come over TLS."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection(address, PATIENCE_S))
        made = context.wrap_socket(sock)
        stack.pop_all()
    return Raw(made)


class RawPeer:
    """A peer of the server's that is no agent: it has the server's trust, and does as it likes."""

    def __init__(self, besieged: Besieged, folder: Path, name: str = "mallory") -> None:
        self._besieged = besieged
        folder.mkdir(mode=0o700)
        self.key = Key(name, folder)
        self.key.join(besieged.invite())

    def linked(self, credits_: int = 100) -> Raw:
        """Come as the peer that it is, and say what comes first."""
        raw = secret(self._besieged.address, self.key.context)
        name = self.key.name
        raw.say(
            m.Hello(
                role="peer",
                protocol_max=2,
                agent_id=f"id-{name}",
                name=name,
                boot="b",
                credits=credits_,
                capabilities={"lends": True},
            )
        )
        ack = raw.hear(m.HelloAck)
        assert ack.ok, ack
        raw.say(m.Inventory())
        return raw


def call(*args: object) -> bytes:
    """Encode the arguments of a call as JSON."""
    return json.dumps({"args": list(args)}).encode()
