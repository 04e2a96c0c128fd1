"""Large values: on one device, and between two agents, each beside bare sockets that carry the same bytes.

The references pickle an array out of band and carry its buffer over a Unix socket (one device), TCP on loopback (two
agents) or TLS 1.3 of the same library (two agents that were paired) to another process, which reads it into memory that
it keeps, looks at both ends of it, and answers. What is returned lies ready in the memory of who returns it, on both
sides: making it is no part of moving it.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Self

from agentd.api import AgentExecutor
from agentd.comm.trust import security
from benchmarks.agent import ROOT, Agent

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.workloads import Recorder

VALUES = ("W4", "W10", "W10 TLS")
LARGE = 100_000_000
MANY, MEDIUM = 1000, 100_000
CALLS = 10_000
WARMING, TIMES = 4, 5
"""Transfers of one round that do not count, since memory is made and mapped, and those of which the median does."""
GB = 1e9


def look(array: Any) -> tuple[int, int]:
    """Touch both ends of an array."""
    return int(array[0]), int(array[-1])


def make(size: int) -> Any:
    """Give an array that nobody has seen before."""
    import numpy as np

    return np.ones(size, dtype=np.uint8)


_ready: dict[int, Any] = {}


def ready(size: int) -> Any:
    """Give an array that lies ready in this process."""
    if size not in _ready:
        _ready[size] = make(size)
    return _ready[size]


def nothing(_: Any = None) -> None:
    """Do nothing."""


class RawSocket:
    """Another process that takes buffers over a socket, or gives them; with the key of an agent over TLS."""

    def __init__(self, family: socket.AddressFamily, identity: Path | None = None) -> None:
        self._identity = identity
        self._listener = socket.socket(family)
        self._listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
        self._listener.listen()
        self._process = get_context("fork").Process(target=self._serve, daemon=True)
        self._process.start()
        self._sock = socket.socket(family)
        self._sock.connect(self._listener.getsockname())
        if family == socket.AF_INET:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if identity is not None:
            self._sock = security.asking().wrap_socket(self._sock)
        self._kept = bytearray(LARGE)

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        if self._identity is not None:
            sock = security.serving(self._identity).wrap_socket(sock, server_side=True)
        kept, given = bytearray(LARGE), bytes(1) * LARGE
        while True:
            head = receive(sock, memoryview(bytearray(9)))
            if head is None:
                os._exit(0)
            size = int.from_bytes(head[1:], "big")
            if head[0]:
                sock.sendall(memoryview(given)[:size])
            else:
                receive(sock, memoryview(kept)[:size])
                sock.sendall(kept[:1] + kept[size - 1 : size])

    def send(self, array: Any) -> None:
        """Let the other process look at an array."""
        buffers: list[pickle.PickleBuffer] = []
        pickle.dumps(array, 5, buffer_callback=buffers.append)
        view = buffers[0].raw()
        self._sock.sendall(b"\0" + len(view).to_bytes(8, "big"))
        self._sock.sendall(view)
        receive(self._sock, memoryview(bytearray(2)))

    def take(self, size: int) -> None:
        """Take an array from the other process."""
        self._sock.sendall(b"\1" + size.to_bytes(8, "big"))
        receive(self._sock, memoryview(self._kept)[:size])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        self._process.join(5)


def receive(sock: socket.socket, into: memoryview) -> memoryview | None:
    """Fill a buffer from a socket; None: the other end is gone."""
    at = 0
    while at < len(into):
        count = sock.recv_into(into[at:])  # of TLS no more than a record at a time
        if not count:
            return None
        at += count
    return into


class Values:
    """Agents and bare sockets for one workload, W4, W10 or W10 over TLS; a context."""

    def __init__(self, workload: str) -> None:
        self._workload = workload

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        begin = self._stack.enter_context
        self.local = begin(AgentExecutor(begin(Agent()).state))
        if self._workload == "W4":
            self.raw = begin(RawSocket(socket.AF_UNIX))
            return self
        far = begin(Agent("--hostname", "far"))
        if self._workload == "W10":
            near = begin(Agent("--hostname", "near", "--cpu", "0", "--neighbour", far.comm))
            self.raw = begin(RawSocket(socket.AF_INET))
        else:
            near = begin(Agent("--hostname", "near", "--cpu", "0"))
            pair(far, near)
            self.raw = begin(RawSocket(socket.AF_INET, far.state / "identity.pem"))
        self.hop = begin(AgentExecutor(near.state))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, recorder: Recorder) -> None:
        """Measure one round."""
        if self._workload == "W4":
            self.on_one_device(recorder)
            return
        self.latency(recorder)
        if self._workload == "W10":
            self.throughput(recorder)
        self.between_agents(recorder)

    # --- one device ---------------------------------------------------------------------------------------------

    def on_one_device(self, recorder: Recorder) -> None:
        """W4: a large array as argument and as return, and many of a middle size."""
        array = make(LARGE)
        recorder.note("W4 argument GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.send(array)))
        recorder.note("W4 argument GB/s, agentd", LARGE / GB / median_s(lambda: done(self.local, look, array)))
        recorder.note("W4 return GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.take(LARGE)))
        recorder.note("W4 return GB/s, agentd", LARGE / GB / median_s(lambda: done(self.local, ready, LARGE)))
        arrays = [make(MEDIUM) for _ in range(MANY)]
        recorder.note("W4 100 KB per s, raw socket", MANY / median_s(lambda: [self.raw.send(one) for one in arrays]))
        recorder.note("W4 100 KB per s, agentd", MANY / median_s(lambda: list(self.local.map(look, arrays))))

    # --- two agents ---------------------------------------------------------------------------------------------

    def latency(self, recorder: Recorder) -> None:
        """W10, plain or over TLS: one hop, as W1 with the function run at the neighbour."""
        for name, executor in (("local", self.local), ("one hop", self.hop)):
            times = sorted(timed(lambda one=executor: done(one, nothing)) for _ in range(500))
            recorder.note(f"{self._workload} p50 us, {name}", times[len(times) // 2] * 1e6)

    def throughput(self, recorder: Recorder) -> None:
        """W10: one hop, as W2 with the function run at the neighbour."""
        for name, executor in (("local", self.local), ("one hop", self.hop)):
            spent = median_s(lambda one=executor: finish([one.submit(nothing) for _ in range(CALLS)]))
            recorder.note(f"W10 per s, {name}", CALLS / spent)

    def between_agents(self, recorder: Recorder) -> None:
        """W10, plain or over TLS: a large array moved to the neighbour and back."""
        name, array = self._workload, make(LARGE)
        recorder.note(f"{name} argument GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.send(array)))
        recorder.note(f"{name} argument GB/s, one hop", LARGE / GB / median_s(lambda: done(self.hop, look, array)))
        recorder.note(f"{name} return GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.take(LARGE)))
        recorder.note(f"{name} return GB/s, one hop", LARGE / GB / median_s(lambda: done(self.hop, ready, LARGE)))


def pair(far: Agent, near: Agent) -> None:
    """Pair two agents as people do, so that the one asks the other over TLS from then on."""

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "agentd", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    invitation = said("invite", "--state", str(far.state)).split()[0]
    said("join", invitation, "--state", str(near.state))


def done(executor: AgentExecutor, function: Any, *args: Any) -> Any:
    """Call and wait."""
    return executor.submit(function, *args).result(120)


def finish(futures: list[Any]) -> None:
    """Wait for all."""
    for future in futures:
        future.result(120)


def timed(act: Any) -> float:
    """Say how long something takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def median_s(act: Any) -> float:
    """Give the median of some times, after those that do not count."""
    for _ in range(WARMING):
        act()
    return sorted(timed(act) for _ in range(TIMES))[TIMES // 2]
