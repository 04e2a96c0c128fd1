"""The systems that are measured side by side; each is a context with the same few verbs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Self

from benchmarks.agent import APPS, ROOT, Agent, cpu_seconds, family
from benchmarks.relay import Relay

sys.path.insert(0, str(APPS))
import bench_tasks


class Pool:
    """Any executor of the standard interface."""

    def __init__(self, make: Callable[[], Any], small: int = 1) -> None:
        self._make = make
        self.small = small
        """By how much the number of tasks is divided, for systems that would take minutes."""

    def __enter__(self) -> Self:
        self._context = self._make()
        self.executor: Executor = self._context.__enter__()
        for _ in range(20):
            self.call()
        self.many(100)
        return self

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)

    def call(self) -> None:
        """One no-op and its return."""
        self.executor.submit(bench_tasks.noop).result()

    def many(self, count: int) -> None:
        """Many no-ops submitted at once, all results gathered."""
        futures = [self.executor.submit(bench_tasks.noop) for _ in range(count)]
        for future in futures:
            future.result()

    def busy(self, count: int, loops: int) -> None:
        """Many tasks of a fixed amount of work."""
        futures = [self.executor.submit(bench_tasks.busy, loops) for _ in range(count)]
        for future in futures:
            future.result()

    def chunks(self, count: int) -> None:
        """Map in chunks."""
        done = sum(1 for _ in self.executor.map(bench_tasks.increment, range(count), chunksize=500))
        assert done == count

    def cpu(self) -> float | None:
        """CPU seconds of all its processes, this one not."""
        return None


class Agentd(Pool):
    """AgentExecutor against an agent on this device."""

    def __init__(self, agent: Agent, *, durable: bool = False) -> None:
        from agentd.api import AgentExecutor

        super().__init__(lambda: AgentExecutor(str(agent.state), durable=durable))
        self._agent = agent

    def cpu(self) -> float | None:
        return cpu_seconds(self._agent.pids)


class RawRelay:
    """The floor; see `benchmarks.relay`."""

    small = 1

    def __enter__(self) -> Self:
        self._relay = Relay().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._relay.__exit__(*error)

    def call(self) -> None:
        """One frame there and back."""
        self._relay.call()

    def many(self, count: int) -> None:
        """Many frames."""
        self._relay.many(count)

    def cpu(self) -> float | None:
        """CPU seconds of daemon and workers."""
        return cpu_seconds([pid for main in self._relay.pids for pid in family(main)])


def process_pool() -> Pool:
    """Give the standard library's pool."""
    return Pool(lambda: ProcessPoolExecutor(2))


def loky_pool(workers: int = 2) -> Pool | None:
    """Give loky's pool, if it is installed."""
    try:
        from loky import ProcessPoolExecutor as Loky
    except ImportError:
        return None
    return Pool(lambda: Loky(workers))


def dask_pool() -> Pool | None:
    """Give Dask on two worker processes, if it is installed."""
    return Pool(lambda: dask(2), small=10) if find_spec("distributed") else None


class Dask:
    """Dask as an executor: the same call again is another call."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Ask for one call."""
        return self._client.submit(function, *args, pure=False)


@contextmanager
def dask(cores: int) -> Iterator[Dask]:
    """Start Dask on so many worker processes of one thread each, which find what the benchmarks call."""
    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(n_workers=cores, **options) as cluster, Client(cluster) as client:
        paths = [str(ROOT), str(APPS)]
        client.run(lambda: sys.path.extend(paths))
        yield Dask(client)
