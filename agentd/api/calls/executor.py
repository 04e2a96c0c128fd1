"""An agent as a `concurrent.futures.Executor`: functions of this program run on the cores of this device and beyond."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from concurrent.futures import Executor
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from agentd.api.calls.catalogue import Catalogue
from agentd.api.calls.future import CallFuture
from agentd.api.calls.line import Line
from agentd.api.calls.values import NAMED_BYTES, OUT_OF_BAND_BYTES, encode_call
from agentd.api.places import find
from agentd.model.errors import Unreachable
from agentd.model.task import Constraints, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agentd.api.calls.values import Share
    from agentd.api.places import Place
    from agentd.model.values import Payload

T = TypeVar("T")
RECONNECT_S = 10.0
"""An agent that restarts is back in a second or two; a device that reboots is not worth waiting for here. Chosen."""

ON_FAILURE = ("FAIL", "RETRY")

_open: weakref.WeakSet[Way] = weakref.WeakSet()
"""Ways that may still have calls under way; each lives as long as its threads do."""


class Way(Protocol):
    """How calls reach the agent."""

    has_chunks: bool
    """The agent runs a chunk of calls as one."""
    catalogue: Catalogue

    def call(self, template: int, payload: Payload) -> CallFuture[Any]:
        """Ask for one call."""
        ...

    @property
    def place(self) -> Share | None:
        """What puts large buffers of arguments to where the agent finds them, where it can."""
        ...

    def close(self, *, wait: bool) -> None:
        """Take no more calls; with `wait`, return when those that were taken have ended."""
        ...

    def unsettled(self) -> list[CallFuture[Any]]:
        """List the calls that have not ended."""
        ...

    def after_fork(self) -> None:
        """Forget, in a child process, what is the parent's."""
        ...


class AgentExecutor(Executor):
    """Runs calls on an agent: `submit`, `map`, `wait`, `as_completed` as with any executor.

    On the same device calls go over the agent's Unix socket, many in a frame, large arrays through shared memory; to an
    agent that gave us a login (`agentd login`) the same way over its Comm port and TLS, where that is open to us, and
    it fetches what is large; to any other address they go over HTTP in batches. Functions go by name where the agent
    can import them and by value (cloudpickle) where it cannot, so that those of a script or a notebook work too.

    The calls end with their client, unless `durable`: then each is in the agent's journal before it is settled.
    When the agent goes away, unfinished calls are sent again as soon as it is back within `reconnect_s`; they fail
    with `Unreachable` if it is not, as do those at once that are not `idempotent`.

    Args:
        address: None for the agent on this device; a state folder, `host:port`, or `http(s)://host:port`.
        token: for an agent elsewhere; the one on this device needs none.
        durable: settle calls only when the journal has them.
        constraints: what each call needs, as `Constraints` or a dict of its fields.
        timeout_s: seconds that a call may run.
        max_attempts: how often a call is started at most when workers or agents are lost.
        idempotent: whether a call may run again after such a loss.
        priority: higher goes before lower.
        name: of the operations, for people.
        on_failure: `FAIL`, or `RETRY`: a call that raises runs again, four times in all, if it is `idempotent`.
        reconnect_s: how long to wait for an agent that went away.

    Raises:
        Unreachable: no agent answers there.
        RequestError: the agent refuses this client.
        ConfigError: `address` is none.
        ValueError: `on_failure` is none.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        token: str | None = None,
        durable: bool = False,
        constraints: Constraints | dict[str, Any] | None = None,
        timeout_s: float | None = None,
        max_attempts: int = 3,
        idempotent: bool = True,
        priority: int = 0,
        name: str = "",
        on_failure: str = "FAIL",
        reconnect_s: float = RECONNECT_S,
    ) -> None:
        if on_failure not in ON_FAILURE:
            raise ValueError(f"on_failure is {on_failure!r}: give one of {', '.join(ON_FAILURE)}")
        options = Template(
            function="",
            constraints=_constraints(constraints),
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            idempotent=idempotent,
            priority=priority,
            name=name,
            on_failure=on_failure,
            durable=durable,
        )
        self._where = find(address, token)
        self._way = _way(self._where, options, reconnect_s)
        self._catalogue = self._way.catalogue
        self._place = self._way.place
        self._apart_bytes = OUT_OF_BAND_BYTES if self._where.socket is not None else NAMED_BYTES
        _open.add(self._way)
        # An executor that is dropped takes no more calls; those that it took come to their end.
        weakref.finalize(self, self._way.close, wait=False).atexit = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> CallFuture[T]:
        """Ask for one call of `fn`; it leaves with the next batch, at the latest when somebody waits for it.

        Raises:
            RuntimeError: the executor was shut down.
            TypeError: `fn` cannot be called.
            Exception: whatever pickling the function or its arguments raises.
        """
        number, is_carried, by_value = self._catalogue.entry(fn)
        if is_carried:
            args = (fn, *args)
        payload = encode_call(args, kwargs, self._place, by_value=by_value, apart_bytes=self._apart_bytes)
        return self._way.call(number, payload)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Call `fn` for each tuple of items and yield the results in order; all calls are submitted at once.

        With a `chunksize` above 1 so many calls travel and run as one: right for many short ones.

        Raises:
            TimeoutError: while iterating, a result is not there `timeout` seconds after the call of `map`.
            Exception: while iterating, what a call raised; the calls after it are cancelled.
        """
        if chunksize < 1:
            raise ValueError(f"a chunk of {chunksize} calls cannot be: give 1 or more")
        rows = zip(*iterables, strict=False)
        if chunksize == 1:
            return _results([self.submit(fn, *row) for row in rows], timeout)
        return _flattened(_results(list(self._chunks(fn, rows, chunksize)), timeout))

    def _chunks(
        self, fn: Callable[..., T], rows: Iterator[tuple[Any, ...]], chunksize: int
    ) -> Iterator[CallFuture[list[T]]]:
        if not self._way.has_chunks:
            starred = _starred(fn)
            while chunk := list(islice(rows, chunksize)):
                yield self.submit(starred, chunk)
            return
        number, is_carried, by_value = self._catalogue.entry(fn, is_chunk=True)
        while chunk := list(islice(rows, chunksize)):
            calls = [(fn, *row) for row in chunk] if is_carried else chunk
            payload = encode_call(calls, None, self._place, by_value=by_value, apart_bytes=self._apart_bytes)
            yield self._way.call(number, payload)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, return when all have ended, having cancelled them if so asked."""
        if cancel_futures:
            for future in self._way.unsettled():
                future.cancel()
        self._way.close(wait=wait)
        if wait:
            _open.discard(self._way)

    def __repr__(self) -> str:
        who = f"{self._where.name} at " if self._where.name else ""
        return f"<AgentExecutor {who}{self._where.where}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an executor is a connection of this process and cannot be pickled: make one where it is used")


def _way(place: Place, options: Template, reconnect_s: float) -> Way:
    if place.socket is not None:
        return Line(place, options, name=_own_name(), reconnect_s=reconnect_s)
    from agentd.api.calls import secret  # loads TLS
    from agentd.api.calls.remote import RemoteLine  # loads an HTTP client

    dial = secret.dialler(place)
    if dial is not None:
        with suppress(Unreachable):  # a firewall lets the user port through alone, say
            return Line(place, options, name=_own_name(), reconnect_s=reconnect_s, dial=dial)
    return RemoteLine(place, options, reconnect_s)


def _own_name() -> str:
    return f"{os.path.basename(sys.argv[0] or 'python')}-{os.getpid()}"


def _constraints(given: Constraints | dict[str, Any] | None) -> Constraints:
    if given is None:
        return Constraints()
    if isinstance(given, Constraints):
        return given
    unknown = given.keys() - set(Constraints.__struct_fields__)
    if unknown:
        raise TypeError(
            f"unknown constraint {', '.join(sorted(unknown))}: there are {', '.join(Constraints.__struct_fields__)}"
        )
    return Constraints(**given)


@lru_cache(256)  # one function for all chunks of all maps, so that it is declared once
def _starred(fn: Callable[..., T]) -> Callable[[list[tuple[Any, ...]]], list[T]]:
    return lambda rows: [fn(*row) for row in rows]


def _results(futures: list[CallFuture[T]], timeout: float | None) -> Iterator[T]:
    from time import monotonic

    end_s = None if timeout is None else monotonic() + timeout

    def results() -> Iterator[T]:
        futures.reverse()
        try:
            while futures:
                future = futures.pop()
                left_s = None if end_s is None else max(0.0, end_s - monotonic())
                yield future.result(left_s)
                del future  # a large result is its reader's alone
        finally:
            for rest in futures:
                rest.cancel()

    return results()


def _flattened(chunks: Iterator[list[T]]) -> Iterator[T]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


def _shut_down_all() -> None:
    """Wait for what is outstanding when the interpreter ends, as the executors of the standard library do."""
    for way in list(_open):
        way.close(wait=True)


def _after_fork() -> None:
    CallFuture.renew_lock()
    for way in list(_open):
        way.after_fork()


atexit.register(_shut_down_all)
os.register_at_fork(after_in_child=_after_fork)
