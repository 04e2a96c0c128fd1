"""W5, W8 and W11: tasks inside operations, beside what a socket and the pools of others do with as many calls."""

from __future__ import annotations

import multiprocessing
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import bench_nested

from agentd.api import AgentExecutor
from benchmarks import systems  # puts the benchmarks' functions on the path
from benchmarks.agent import Agent
from benchmarks.peers import CHAIN, FAMILY, LEAVES, NESTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workloads import Recorder


def _echo(sock: socket.socket) -> None:
    while data := sock.recv(64):
        sock.sendall(data)


class RawSocket:
    """Two processes and a socket between them: the floor for anything that calls another process."""

    def __enter__(self) -> Self:
        self._sock, there = socket.socketpair()
        self._process = multiprocessing.get_context("fork").Process(target=_echo, args=(there,), daemon=True)
        self._process.start()
        there.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        self._process.kill()

    def chain(self, count: int) -> None:
        """Send a number there and back so many times."""
        for number in range(count):
            self._sock.sendall(number.to_bytes(32, "little"))
            self._sock.recv(64)


class Nested:
    """The systems of these workloads; a context."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            enter = stack.enter_context
            self._two = enter(AgentExecutor(enter(Agent()).state))
            self._one = enter(AgentExecutor(enter(Agent("--cpu", "1")).state))
            far = enter(Agent("--hostname", "far", "--memory-mib", "8192"))
            self._near = enter(AgentExecutor(enter(Agent("--memory-mib", "512", "--neighbour", far.comm)).state))
            self._socket = enter(RawSocket())
            loky = systems.loky_pool(1)
            self._loky = enter(loky) if loky is not None else None
            self._stack = stack.pop_all()
        for _ in range(3):
            self._run(self._two, bench_nested.many, 200)
            self._run(self._one, bench_nested.many, 200)
            self._run(self._near, bench_nested.many_far, 200)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    @staticmethod
    def _run(agents: AgentExecutor, function: Callable[[int], Any], count: int) -> Any:
        return agents.submit(function, count).result(60)

    def measure(self, recorder: Recorder, wanted: Callable[[str], bool]) -> None:
        """Measure what is wanted of it."""
        for name, act in (("W5", self.graphs), ("W8", self.on_one_core), ("W11", self.many)):
            if wanted(name):
                act(recorder)

    def graphs(self, recorder: Recorder) -> None:
        """W5."""
        begin = time.perf_counter()
        self._socket.chain(CHAIN)
        recorder.note("W5 chain per s, raw socket", CHAIN / (time.perf_counter() - begin))
        begin = time.perf_counter()
        assert self._run(self._two, bench_nested.chain, CHAIN) == CHAIN
        recorder.note("W5 chain per s, agentd", CHAIN / (time.perf_counter() - begin))
        begin = time.perf_counter()
        assert self._run(self._two, bench_nested.tree, LEAVES) == LEAVES * (LEAVES + 1) // 2
        recorder.note("W5 tree per s, agentd", (2 * LEAVES - 1) / (time.perf_counter() - begin))

    def on_one_core(self, recorder: Recorder) -> None:
        """W8."""
        if self._loky is not None:
            begin = time.perf_counter()
            self._loky.many(FAMILY)
            recorder.note("W8 per s, loky", FAMILY / (time.perf_counter() - begin))
        begin = time.perf_counter()
        assert self._run(self._one, bench_nested.many, FAMILY) == FAMILY
        recorder.note("W8 per s, agentd", FAMILY / (time.perf_counter() - begin))

    def many(self, recorder: Recorder) -> None:
        """W11."""
        recorder.note("W11 limit", 5000.0)
        begin = time.perf_counter()
        assert self._run(self._two, bench_nested.many, NESTED) == NESTED
        recorder.note("W11 per s, agentd", NESTED / (time.perf_counter() - begin))
        begin = time.perf_counter()
        assert self._run(self._near, bench_nested.many_far, NESTED) == NESTED
        recorder.note("W11 per s, offloaded", NESTED / (time.perf_counter() - begin))
