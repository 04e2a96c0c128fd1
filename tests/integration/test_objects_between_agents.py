"""Large values between real agents: fetched once, in pieces, through others, over cuts, within bounded memory."""

from __future__ import annotations

import re
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of, until

from agentd.api import AgentExecutor

MIB = 1 << 20
SIZE = 24 * MIB


def ends_of(value: bytes) -> tuple[int, bytes, bytes]:
    """Look at a value where it is."""
    return len(value), bytes(value[:4]), bytes(value[-4:])


def filled(size: int, first: bytes, last: bytes) -> bytearray:
    """Make a large value."""
    value = bytearray(size)
    value[:4], value[-4:] = first, last
    return value


def peak_bytes(pid: int) -> int:
    """Read the most memory that a process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def metric(agent: Any, name: str) -> float:
    """Read one figure of an agent."""
    return door_of(agent).figure(name)


class Wire(threading.Thread):
    """A TCP connection's way, which breaks once after so many bytes and is well again."""

    def __init__(self, target: str, breaks_after: int) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._left = breaks_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.breaks = 0
        self._is_over = False

    def run(self) -> None:
        """Carry one connection after the other."""
        while not self._is_over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            host, _, port = self._target.rpartition(":")
            with near, suppress(OSError), socket.create_connection((host, int(port))) as far:
                self._carry(near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in ready.select():
                    source: Any = key.fileobj
                    data = source.recv(65_536)
                    if not data:
                        return
                    key.data.sendall(data)
                    self._left -= len(data)
                    if self._left < 0 and not self.breaks:
                        self.breaks += 1
                        return

    def close(self) -> None:
        """Carry no more."""
        self._is_over = True
        self._listener.close()


@pytest.fixture
def wires() -> Iterator[Callable[[str, int], Wire]]:
    """Give wires that end with the test."""
    made: list[Wire] = []

    def make(target: str, breaks_after: int) -> Wire:
        wire = Wire(target, breaks_after)
        made.append(wire)
        wire.start()
        return wire

    yield make
    for wire in made:
        wire.close()


def pair(start_agent: Callable[..., Any], *options: str, via: Callable[[str], str] = str) -> tuple[Any, Any]:
    """Start an agent with two cores, and one without any that asks it."""
    far = start_agent(*WITH_APPS, "--hostname", "far", "--cpu", "2", *options)
    near = start_agent(*WITH_APPS, "--hostname", "near", "--cpu", "0", *options)
    door_of(near).lend_from("far", via(far.comm), 2)
    return near, far


def test_values_far_above_a_frame_go_there_and_back(start_agent: Callable[..., Any]) -> None:
    """Neither the arguments nor the result fit into a message; both daemons stay small, and nothing is kept."""
    near, far = pair(start_agent)
    size = 192 * MIB
    with AgentExecutor(near.state) as executor:
        assert executor.submit(ends_of, filled(size, b"head", b"tail")).result(PATIENCE_S) == (size, b"head", b"tail")
        value = executor.submit(filled, size, b"back", b"here").result(PATIENCE_S)
        assert ends_of(value) == (size, b"back", b"here")
        del value
        assert executor.submit(len, b"").result(PATIENCE_S) == 0
    for agent in (near, far):
        assert metric(agent, "fetched_bytes") >= 0.99 * size
        assert peak_bytes(agent.pid) < size
        until(lambda agent=agent: metric(agent, "objects") == 0)


def test_an_agent_between_passes_bytes_on_and_keeps_none(start_agent: Callable[..., Any]) -> None:
    """The two ends do not know each other: the bytes go through the one that does, which fetches nothing itself."""
    agents = {
        name: start_agent(*WITH_APPS, "--hostname", name, "--cpu", cores)
        for name, cores in (("phone", "0"), ("rpi", "0"), ("server", "2"))
    }
    doors = {name: Door(agent.rest, agent.state) for name, agent in agents.items()}
    doors["rpi"].lend_from("server", agents["server"].comm, 2)
    doors["phone"].lend_from("rpi", agents["rpi"].comm, 2)
    with AgentExecutor(agents["phone"].state) as executor:
        value = executor.submit(filled, SIZE, b"over", b"here").result(PATIENCE_S)
        assert ends_of(value) == (SIZE, b"over", b"here")
        assert executor.submit(ends_of, filled(SIZE, b"head", b"tail")).result(PATIENCE_S) == (SIZE, b"head", b"tail")
    assert metric(agents["rpi"], "relayed_bytes") >= 1.99 * SIZE
    assert metric(agents["rpi"], "fetched_bytes") == 0
    assert metric(agents["phone"], "fetched_bytes") >= 0.99 * SIZE


def test_what_does_not_fit_into_shared_memory_goes_to_the_disk(start_agent: Callable[..., Any]) -> None:
    """The value is right, the agent says that it spilled it, and lets it go."""
    near, far = pair(start_agent, "--shared-memory-mib", "8")
    with AgentExecutor(near.state) as executor:
        assert executor.submit(ends_of, filled(SIZE, b"head", b"tail")).result(PATIENCE_S) == (SIZE, b"head", b"tail")
        value = executor.submit(filled, SIZE, b"back", b"here").result(PATIENCE_S)
        assert ends_of(value) == (SIZE, b"back", b"here")
    assert metric(far, "spilled_values") == 1
    assert metric(near, "spilled_values") == 1
    until(lambda: not list((far.state / "objects").iterdir()))


def test_a_durable_result_that_was_made_elsewhere_survives(start_agent: Callable[..., Any]) -> None:
    """It is on the disk of the agent that was asked before its end is told."""
    near, _ = pair(start_agent)
    with AgentExecutor(near.state, durable=True) as executor:
        value = executor.submit(filled, SIZE, b"back", b"here").result(PATIENCE_S)
        assert ends_of(value) == (SIZE, b"back", b"here")
    assert sum(path.stat().st_size for path in (near.state / "objects").iterdir()) >= SIZE


def test_a_cut_transfer_goes_on_where_it_stopped(
    start_agent: Callable[..., Any], wires: Callable[[str, int], Wire]
) -> None:
    """The connection breaks in the middle of the arguments: what had come is not fetched again."""
    made: list[Wire] = []

    def through(target: str) -> str:
        made.append(wires(target, SIZE // 2))
        return made[0].address

    near, far = pair(start_agent, via=through)
    with AgentExecutor(near.state) as executor:
        assert executor.submit(ends_of, filled(SIZE, b"head", b"tail")).result(PATIENCE_S) == (SIZE, b"head", b"tail")
    assert made[0].breaks == 1
    assert 0.99 * SIZE <= metric(far, "fetched_bytes") < SIZE + MIB
