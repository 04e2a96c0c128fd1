"""Large values: on one device, and between two agents, each beside bare sockets that carry the same bytes.

The references pickle an array out of band and carry its buffer over a Unix socket (one device) or TCP on loopback (two
agents) to another process, which reads it into memory that it keeps, looks at both ends of it, and answers.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from contextlib import ExitStack
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Self

from agentd.api import AgentExecutor
from benchmarks.agent import Agent

if TYPE_CHECKING:
    from benchmarks.workloads import Recorder

LARGE = 100_000_000
MANY, MEDIUM = 1000, 100_000
CALLS = 10_000
TIMES = 3
"""Transfers of one round, of which the median counts; one before them warms both ends up."""
GB = 1e9


def look(array: Any) -> tuple[int, int]:
    """Touch both ends of an array."""
    return int(array[0]), int(array[-1])


def make(size: int) -> Any:
    """Give an array that nobody has seen before."""
    import numpy as np

    return np.ones(size, dtype=np.uint8)


def nothing(_: Any = None) -> None:
    """Do nothing."""


class RawSocket:
    """Another process that takes buffers over a socket, or gives them."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self._listener = socket.socket(family)
        self._listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
        self._listener.listen()
        self._process = get_context("fork").Process(target=self._serve, daemon=True)
        self._process.start()
        self._sock = socket.socket(family)
        self._sock.connect(self._listener.getsockname())
        if family == socket.AF_INET:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept = bytearray(LARGE)

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
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
        count = sock.recv_into(into[at:])
        if not count:
            return None
        at += count
    return into


class Values:
    """Agents and bare sockets for one workload, W4 or W10; a context."""

    def __init__(self, workload: str) -> None:
        self._is_between = workload == "W10"

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.local = self._stack.enter_context(AgentExecutor(self._stack.enter_context(Agent()).state))
        if self._is_between:
            far = self._stack.enter_context(Agent("--hostname", "far"))
            near = self._stack.enter_context(Agent("--hostname", "near", "--cpu", "0", "--neighbour", far.comm))
            self.hop = self._stack.enter_context(AgentExecutor(near.state))
        self.raw = self._stack.enter_context(RawSocket(socket.AF_INET if self._is_between else socket.AF_UNIX))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, recorder: Recorder) -> None:
        """Measure one round."""
        if self._is_between:
            self.between_agents(recorder)
        else:
            self.on_one_device(recorder)

    # --- one device ---------------------------------------------------------------------------------------------

    def on_one_device(self, recorder: Recorder) -> None:
        """W4: a large array as argument and as return, and many of a middle size."""
        array = make(LARGE)
        recorder.note("W4 argument GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.send(array)))
        recorder.note("W4 argument GB/s, agentd", LARGE / GB / median_s(lambda: done(self.local, look, array)))
        recorder.note("W4 return GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.take(LARGE)))
        recorder.note("W4 return GB/s, agentd", LARGE / GB / median_s(lambda: done(self.local, make, LARGE)))
        arrays = [make(MEDIUM) for _ in range(MANY)]
        recorder.note("W4 100 KB per s, raw socket", MANY / median_s(lambda: [self.raw.send(one) for one in arrays]))
        recorder.note("W4 100 KB per s, agentd", MANY / median_s(lambda: list(self.local.map(look, arrays))))

    # --- two agents ---------------------------------------------------------------------------------------------

    def between_agents(self, recorder: Recorder) -> None:
        """W10: one hop, as W1 and W2 with the function run at the neighbour, and a large array moved there and back."""
        for name, executor in (("local", self.local), ("one hop", self.hop)):
            times = sorted(timed(lambda one=executor: done(one, nothing)) for _ in range(500))
            recorder.note(f"W10 p50 us, {name}", times[len(times) // 2] * 1e6)
            spent = median_s(lambda one=executor: finish([one.submit(nothing) for _ in range(CALLS)]))
            recorder.note(f"W10 per s, {name}", CALLS / spent)
        array = make(LARGE)
        recorder.note("W10 argument GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.send(array)))
        recorder.note("W10 argument GB/s, one hop", LARGE / GB / median_s(lambda: done(self.hop, look, array)))
        recorder.note("W10 return GB/s, raw socket", LARGE / GB / median_s(lambda: self.raw.take(LARGE)))
        recorder.note("W10 return GB/s, one hop", LARGE / GB / median_s(lambda: done(self.hop, make, LARGE)))


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
    """Give the median of some times, after one that does not count."""
    act()
    return sorted(timed(act) for _ in range(TIMES))[TIMES // 2]
