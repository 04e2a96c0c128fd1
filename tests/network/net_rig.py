"""A network of its own for each test: one namespace per device, and between them a switch that can fail in every way.

    with Net("a", "b") as net:
        net.between("a", "b", delay_s=0.1, loss=0.05)
        net.cut("a", "b", only="a")         nothing from a gets through; nobody is told
        net.heal("a", "b")
        net.cut("a", "b", for_s=3.0)        heals by itself
        net.unplug("b"); net.plug("b")      the cable of b: its kernel knows
        start_agent(..., space=net.space("a"))

Needs root, `ip` and /dev/net/tun; `why_not()` says what is missing. Nothing of it is seen outside of the namespaces, so
that any number of tests may run side by side. Unix sockets are files and pass through; `Inside(net, "a")` is a
transport for httpx that connects within a namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx

CLONE_NEWNET = 0x40000000
MTU = 1500
_numbers = itertools.count(1)


@functools.cache
def why_not() -> str:
    """Say why there can be no such network here; empty when there can."""
    if shutil.which("ip") is None:
        return "there is no command ip (package iproute2)"
    if os.geteuid() != 0:
        return "network namespaces and TAP devices need root"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
        with Net("a", "b") as net:
            net.ip("a", "link", "show", "eth0")
    except (OSError, RuntimeError) as error:
        return f"the kernel refuses: {error}"
    return ""


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Net:
    """Devices by name, each with an address in 10.77.0.0/24, all on one switch."""

    def __init__(self, *names: str, seed: int = 1, mtu: int = MTU) -> None:
        self.names = names
        self._seed = seed
        self._mtu = mtu
        prefix = f"agentd-{os.getpid()}-{next(_numbers)}"
        self._hub = f"{prefix}-hub"
        self._spaces = {name: f"{prefix}-{number}" for number, name in enumerate(names)}
        self._addresses = {name: f"10.77.0.{number + 1}" for number, name in enumerate(names)}
        self._made: list[str] = []
        self._relay: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._unmake()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unmake()

    def _make(self) -> None:
        for space in (self._hub, *self._spaces.values()):
            _run("ip", "netns", "add", space)
            self._made.append(space)
        program = [sys.executable, str(Path(__file__).with_name("relay.py")), str(len(self.names)), str(self._seed)]
        self._relay = subprocess.Popen(
            ["ip", "netns", "exec", self._hub, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._answer() != "ready":
            raise RuntimeError("the relay does not start: are there TAP devices?")
        for number, (name, space) in enumerate(self._spaces.items()):
            _run("ip", "-n", self._hub, "link", "set", f"t{number}", "netns", space, "name", "eth0")
            self.ip(name, "link", "set", "eth0", "address", f"02:00:00:00:00:{number + 1:02x}", "mtu", str(self._mtu))
            self.ip(name, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            self.ip(name, "link", "set", "lo", "up")
            self.ip(name, "link", "set", "eth0", "up")

    def _unmake(self) -> None:
        if self._relay is not None:
            assert self._relay.stdin is not None
            assert self._relay.stdout is not None
            with contextlib.suppress(OSError):
                self._relay.stdin.close()
            self._relay.wait(60)
            self._relay.stdout.close()
        for space in self._made:
            _run("ip", "netns", "delete", space)
        self._made.clear()

    # --- who is there -----------------------------------------------------------------------------------------

    def address(self, name: str) -> str:
        """Give a device's address."""
        return self._addresses[name]

    def space(self, name: str) -> str:
        """Give the file of a device's namespace."""
        return f"/run/netns/{self._spaces[name]}"

    def inside(self, name: str) -> tuple[str, ...]:
        """Give the words that run a command on a device: put before it, they become the command's own process."""
        return ("ip", "netns", "exec", self._spaces[name])

    def ip(self, name: str, *words: str) -> str:
        """Run `ip` on a device."""
        return _run("ip", "-n", self._spaces[name], *words)

    @contextlib.contextmanager
    def entered(self, name: str) -> Iterator[None]:
        """Let sockets that this thread makes meanwhile be of a device; they stay so."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as home, open(self.space(name)) as there:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(home.fileno(), CLONE_NEWNET):
                    os._exit(99)  # a thread that is lost in a namespace must not go on

    # --- what happens to the network -----------------------------------------------------------------------------

    def between(self, one: str, other: str, **conditions: Any) -> None:
        """Set conditions both ways: those of a `Way` in relay.py."""
        self.one_way(one, other, **conditions)
        self.one_way(other, one, **conditions)

    def one_way(self, sender: str, receiver: str, **conditions: Any) -> None:
        """Set conditions of what goes from one to the other."""
        order = {"from": self.names.index(sender), "to": self.names.index(receiver), **conditions}
        answer = json.loads(self._ask(order))
        if answer:
            raise ValueError(answer["error"])

    def cut(self, one: str, other: str, *, only: str = "", for_s: float | None = None) -> None:
        """Let nothing through between two, or nothing that one of them sends; with `for_s` it heals by itself."""
        change = {"is_cut": True} if for_s is None else {"cuts": [(0.0, for_s)]}
        for sender, receiver in ((one, other), (other, one)):
            if only in {"", sender}:
                self.one_way(sender, receiver, **change)

    def heal(self, one: str, other: str) -> None:
        """Let everything through again that conditions allow."""
        self.between(one, other, is_cut=False, cuts=())

    def flap(self, one: str, other: str, times: int, cut_s: float, whole_s: float) -> float:
        """Cut and heal again and again from now on; gives how long that goes on."""
        period_s = cut_s + whole_s
        self.between(one, other, cuts=[(number * period_s, number * period_s + cut_s) for number in range(times)])
        return times * period_s

    def move(self, name: str, address: str) -> None:
        """Give a device another address in place of its own: what it had open there is dead, without a word."""
        self.ip(name, "addr", "flush", "dev", "eth0")
        self.ip(name, "addr", "add", f"{address}/24", "dev", "eth0")
        self._addresses[name] = address

    def unplug(self, name: str) -> None:
        """Pull a device's cable: unlike with a cut, its kernel knows."""
        self.ip(name, "link", "set", "eth0", "down")

    def plug(self, name: str) -> None:
        """Put the cable back."""
        self.ip(name, "link", "set", "eth0", "up")

    def counts(self, sender: str, receiver: str) -> tuple[int, int]:
        """Count the frames carried and dropped on a way."""
        found = json.loads(self._ask({"counts": True}))
        carried, dropped = found[f"{self.names.index(sender)} {self.names.index(receiver)}"]
        return carried, dropped

    def _ask(self, order: dict[str, Any]) -> str:
        assert self._relay is not None
        assert self._relay.stdin is not None
        self._relay.stdin.write(json.dumps(order) + "\n")
        self._relay.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._relay is not None
        assert self._relay.stdout is not None
        return self._relay.stdout.readline().strip()


class _Backend(httpcore.SyncBackend):
    """Connects from within a namespace."""

    def __init__(self, net: Net, name: str) -> None:
        self._net = net
        self._name = name

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        with self._net.entered(self._name):
            return super().connect_tcp(host, port, timeout, local_address, socket_options)


class Inside(httpx.HTTPTransport):
    """A transport of httpx whose connections are made on a device of a network."""

    def __init__(self, net: Net, name: str) -> None:
        super().__init__()
        self._pool = httpcore.ConnectionPool(network_backend=_Backend(net, name))


def connect(net: Net, name: str, address: tuple[str, int], timeout_s: float = 10.0) -> socket.socket:
    """Make a TCP connection on a device."""
    with net.entered(name):
        return socket.create_connection(address, timeout_s)


def listen(net: Net, name: str, port: int = 0) -> socket.socket:
    """Listen on a device's address."""
    with net.entered(name):
        return socket.create_server((net.address(name), port))
