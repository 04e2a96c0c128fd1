"""An agent in memory behind the REST door: accepts, runs, records, cancels and forgets nothing until it ends.

It runs users' functions in the loop's own thread, one host, no journal. Whatever a test of the door may ask for to go
wrong can be set: `draining`, `disk_full`, `queue_cap`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import inspect
import pickle
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agentd.model.errors import RequestError
from agentd.model.task import Form
from agentd.model.values import Codec
from agentd.model.views import (
    TERMINAL,
    AgentView,
    ErrorView,
    NeighbourView,
    OperationView,
    Page,
    ProcessorView,
    ResourceView,
    TaskCounts,
    TaskView,
)
from agentd.rest.port import Change, Made, Pooled, Request, ResultView, Wanted
from schedulers.capacity import Capacity, Kind, Processor
from tests.fakes import sample
from tests.fakes.memory_pairing import MemoryPairing

INLINE_BYTES = 4096
REMEMBERED = 100
UNSET = object()


@dataclass
class Record:
    """One operation of the fake."""

    number: int
    request: Request
    state: str = "queued"
    reason: str = ""
    submitted_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None
    value: Any = UNSET
    error: ErrorView | None = None
    output: list[tuple[str, bytes]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


@dataclass
class Host:
    """One row of the fake's pool."""

    name: str
    adaptor: str
    state: str
    total: dict[str, int]
    owed: dict[str, int] = field(default_factory=dict)


HEARD: ContextVar[list[tuple[str, bytes]]] = ContextVar("HEARD")
"""The output of the operation whose task this is."""


def heard(*words: object, file: object = None) -> None:
    """Print for users' code, into its operation's output: the process's own streams are those of the test's thread."""
    HEARD.get().append(("stdout" if file is None else "stderr", (" ".join(map(str, words)) + "\n").encode()))


sample.print = heard


class MemoryAgent:
    """One agent, for tests of the door and of its clients.

    `tokens` maps a token to its name and scope. `same_user` answers for every loopback peer.
    """

    def __init__(self, tokens: dict[str, tuple[str, str]] | None = None, *, same_user: bool = True) -> None:
        self.tokens = dict(tokens or {})
        self.same_user = same_user
        self.draining = False
        self.disk_full = False
        self.queue_cap = 10_000
        self.blob_cap = 1 << 30
        self.pairing = MemoryPairing()
        self.warnings: list[str] = []
        self.stopped: list[float | None] = []
        self.asked: list[Request] = []
        self.said: list[str] = []
        """Lines on stdout."""
        self.jobs: list[int] = []
        """Operations that were given a number of a job."""
        self.watchers = 0
        """Change streams that are open."""
        self._records: dict[int, Record] = {}
        self._keys: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._blobs: dict[int, bytes] = {}
        self._hosts = {"here": Host("here", "own", "own", {"CPU": 4})}
        self._next = 1 << 62
        self._changes: deque[Change] = deque(maxlen=REMEMBERED)
        self._change = 0
        self._moved = asyncio.Event()

    # --- who asks -----------------------------------------------------------------------------------------------

    def identify(self, token: str) -> tuple[str, str] | None:
        return self.tokens.get(token)

    def is_same_user(self, client: tuple[str, int], server: tuple[str, int]) -> bool:
        return self.same_user

    # --- operations ---------------------------------------------------------------------------------------------

    async def submit(self, request: Request, *, is_patient: bool = False) -> Made:
        self._check(request)
        if request.key and (known := self._keys.get((request.identity, request.key))):
            digest, number = known
            if digest != request.digest:
                raise RequestError("this idempotency key was used with another body: take a new key")
            return Made(self._view(self._records[number]), False)
        record = Record(self._number(), request)
        self.asked.append(request)
        self._records[record.number] = record
        if request.key:
            self._keys[request.identity, request.key] = (request.digest, record.number)
        view = self._view(record)
        record.task = asyncio.get_running_loop().create_task(self._run(record))
        self._publish("operation", {"id": view.id, "state": "queued"})
        return Made(view, True)

    async def submit_all(self, requests: list[Request]) -> list[Made | Exception]:
        made: list[Made | Exception] = []
        for request in requests:
            try:
                made.append(await self.submit(request))
            except RequestError as error:
                made.append(error)
        return made

    def _check(self, request: Request) -> None:
        if self.draining:
            raise RequestError("this agent is stopping: ask another", status=503, retry_after_s=30)
        if self.disk_full:
            raise RequestError("the disk is full: free some space", status=507)
        if sum(record.state not in TERMINAL for record in self._records.values()) >= self.queue_cap:
            raise RequestError("the queue is full: come back", status=429, retry_after_s=2)
        for blob in request.blobs:
            if blob not in self._blobs:
                raise RequestError(f"there is no blob {blob}: PUT /v1/blobs stores one")
        if request.template.form is Form.NAME:
            self._function(request)

    def _function(self, request: Request) -> Callable[..., Any]:
        module, _, name = request.template.function.partition(":")
        if module != "sample" or name.startswith("_"):
            raise RequestError(f"{request.template.function} may not be called: its module is not on the path")
        function = getattr(sample, name, None)
        if function is None:
            raise RequestError(f"nobody has {request.template.function}; asked: here")
        return function

    def _number(self) -> int:
        self._next += 1
        return self._next

    async def _run(self, record: Record) -> None:
        record.state, record.started_at = "running", time.time()
        HEARD.set(record.output)
        self._move()
        try:
            record.value = await self._value(record)
            record.state = "done"
        except asyncio.CancelledError:
            record.state, record.reason = "cancelled", "cancelled by a user"
        except Exception as error:  # noqa: BLE001 - users' code runs here
            record.state = "failed"
            record.error = ErrorView(type(error).__name__, str(error), traceback.format_exc())
        record.ended_at = time.time()
        self._publish("operation", {"id": str(record.number), "state": record.state})

    async def _value(self, record: Record) -> Any:
        template, payload = record.request.template, record.request.payload
        if template.form is Form.SCRIPT:
            exec(template.code, {"__name__": "__main__", "print": heard})
            return None
        function = pickle.loads(template.code) if template.form is Form.VALUE else self._function(record.request)
        args, kwargs = self._arguments(payload)
        value = function(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    def _arguments(self, payload: Any) -> tuple[list[Any], dict[str, Any]]:
        if payload.codec == Codec.PICKLE:
            return pickle.loads(payload.data)
        decoded = msgspec.json.decode(payload.data)
        return self._filled(decoded["args"]), self._filled(decoded["kwargs"])

    def _filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, dict):
            if value.keys() == {"$blob"}:
                return self._blobs[int(value["$blob"])]
            return {name: self._filled(item) for name, item in value.items()}
        return value

    def _record(self, number: int) -> Record:
        record = self._records.get(number)
        if record is None:
            raise RequestError(f"there is no operation {number}, or it has expired", status=404)
        return record

    def _view(self, record: Record) -> OperationView:
        template = record.request.template
        data = self._json(record)
        return OperationView(
            id=str(record.number),
            name=template.name,
            function=template.function,
            state=record.state,
            reason=record.reason,
            submitted_at=record.submitted_at,
            started_at=record.started_at,
            ended_at=record.ended_at,
            agent="here",
            ran_on="here" if record.started_at else None,
            tasks=TaskCounts(done=int(record.state == "done"), running=int(record.state == "running")),
            result=msgspec.Raw(data) if data is not None and len(data) <= INLINE_BYTES else None,
            error=record.error,
        )

    def _json(self, record: Record) -> bytes | None:
        if record.value is UNSET or isinstance(record.value, bytes):
            return None
        try:
            return msgspec.json.encode(record.value) if not isinstance(record.value, set) else None
        except TypeError:
            return None

    async def operation(self, operation: int, wait_s: float = 0.0) -> OperationView:
        record = self._record(operation)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while wait_s and record.state not in TERMINAL:
                    await self._moved.wait()
        return self._view(record)

    async def operations(self, wanted: Wanted, limit: int, cursor: str | None) -> Page:
        before = int(cursor) if cursor else 1 << 63
        if cursor and before not in self._records:
            raise RequestError("?cursor: its operation is not kept any more: leave it out to begin anew")
        rows = [
            record
            for number, record in sorted(self._records.items(), reverse=True)
            if number < before
            and (not wanted.states or record.state in wanted.states)
            and fnmatch.fnmatchcase(record.request.template.function, wanted.function or "*")
            and fnmatch.fnmatchcase(record.request.template.name, wanted.name or "*")
        ]
        more = str(rows[limit - 1].number) if len(rows) > limit else None
        return Page([self._view(record) for record in rows[:limit]], more)

    async def result(self, operation: int) -> ResultView:
        record = self._record(operation)
        if record.state not in TERMINAL:
            raise RequestError(f"operation {operation} is {record.state}: wait with ?wait_s=", status=409)
        if record.value is UNSET:
            return ResultView(self._view(record), None, None, None)
        raw = record.value if isinstance(record.value, bytes) else None
        return ResultView(self._view(record), self._json(record), partial(pickle.dumps, record.value), raw)

    async def tasks(self, operation: int) -> list[TaskView]:
        record = self._record(operation)
        return [
            TaskView(
                id=str(record.number),
                function=record.request.template.function,
                state=record.state,
                host="here",
                attempt=1,
                reason=record.reason,
                submitted_at=record.submitted_at,
            )
        ]

    async def logs(self, operation: int, follow: bool) -> AsyncIterator[tuple[str, bytes]]:
        record = self._record(operation)
        given = 0
        while True:
            is_last = not follow or record.state in TERMINAL
            for piece in record.output[given:]:
                given += 1
                yield piece
            if is_last:
                return
            await self._moved.wait()

    async def cancel(self, operation: int) -> OperationView:
        record = self._record(operation)
        if record.task is not None and record.state not in TERMINAL:
            if record.state == "queued":
                await asyncio.sleep(0)
            record.task.cancel()
            await asyncio.wait([record.task])
        return self._view(record)

    # --- the agent and its pool ---------------------------------------------------------------------------------

    def agent(self) -> AgentView:
        return AgentView(
            name="here",
            id="a1",
            boot="b1",
            version="0",
            protocol=1,
            python="3.11",
            pid=1,
            rest=None,
            comm=None,
            scheduler="fifo",
            state_folder="/tmp",
            started_at=0.0,
            draining=self.draining,
            ready=not self.readiness(),
            not_ready_reason=self.readiness(),
            cores=4,
            cores_free=4,
            workers=0,
            operations={},
            waiting=0,
            running=0,
            journal_bytes=0,
            objects_bytes=sum(map(len, self._blobs.values())),
            warnings=self.warnings,
        )

    def resources(self) -> list[ResourceView]:
        return [self._row(host) for host in self._hosts.values()]

    def _row(self, host: Host) -> ResourceView:
        processors = [ProcessorView(None, kind, None, units) for kind, units in host.total.items()]
        return ResourceView(
            host.name, host.adaptor, host.state, dict(host.total), dict(host.total), host.owed, processors
        )

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            raise RequestError(f"there is no host {name}: GET /v1/resources lists them", status=404)
        return host

    async def add_resource(
        self, name: str, capacity: Capacity, adaptor: str, properties: dict[str, str], is_parent: bool
    ) -> ResourceView:
        if adaptor not in {"", "comm", "own", "es.bsc.compss.agent.comm.CommAgentAdaptor"}:
            raise RequestError(f"there is no adaptor {adaptor}: there is comm")
        host = self._hosts.setdefault(name, Host(name, "comm", "connecting", {}))
        for kind in Kind:
            if units := capacity.units(kind):
                host.total[kind.value] = host.total.get(kind.value, 0) + units
        self._publish("resource", {"name": name})
        return self._row(host)

    async def reduce_resource(self, name: str, capacity: Capacity) -> ResourceView:
        host = self._host(name)
        running = sum(record.state == "running" for record in self._records.values()) if name == "here" else 0
        left = host.total.get("CPU", 0) - capacity.units()
        if left < 0:
            raise RequestError(f"{name} has {host.total.get('CPU', 0)} CPU units: take fewer")
        host.total["CPU"], host.owed = left, {"CPU": running - left} if running > left else {}
        return self._row(host)

    async def remove_resource(self, name: str, lost: bool) -> ResourceView:
        host = self._hosts.pop(self._host(name).name)
        host.state = "lost" if lost else "draining"
        return self._row(host)

    def pool(self) -> list[Pooled]:
        return [
            Pooled(
                host.name,
                "" if host.adaptor == "own" else host.adaptor,
                Capacity(processors=tuple(Processor(units=n, kind=Kind(kind)) for kind, n in host.total.items() if n)),
            )
            for host in self._hosts.values()
        ]

    def say(self, text: str) -> None:
        self.said.append(text)

    def wall_s(self) -> float:
        return time.time()

    def begin_job(self, operation: int) -> None:
        self.jobs.append(operation)

    def functions(self) -> list[str]:
        return [record.request.template.function for record in self._records.values()]

    async def neighbour_at(self, url: str) -> str:
        return next((name for name in self._hosts if urlsplit(url).hostname == name), "")

    async def until_stopped(self) -> None:
        assert self.stopped

    def neighbours(self) -> list[NeighbourView]:
        return [
            NeighbourView(host.name, host.state, False, host.name, None, None, {}, None, 0.0, 0)
            for host in self._hosts.values()
            if host.adaptor != "own"
        ]

    # --- the rest -----------------------------------------------------------------------------------------------

    def _publish(self, topic: str, said: dict[str, Any]) -> None:
        self._change += 1
        self._changes.append(Change(self._change, topic, msgspec.json.encode(said)))
        self._move()

    def publish(self, topic: str, said: dict[str, Any]) -> None:
        """Let a change happen. Call it on the agent's loop."""
        self._publish(topic, said)

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def changes(self, after: int | None) -> AsyncIterator[Change]:
        self.watchers += 1
        try:
            oldest = self._changes[0].id if self._changes else self._change + 1
            if after is None or not oldest - 1 <= after <= self._change:
                after = self._change
                yield self._snapshot()
            while True:
                moved = self._moved
                if self._changes and after < self._changes[0].id - 1:
                    after = self._change
                    yield self._snapshot()
                for change in [change for change in self._changes if change.id > after]:
                    after = change.id
                    yield change
                await moved.wait()
        finally:
            self.watchers -= 1

    def _snapshot(self) -> Change:
        said = {"agent": self.agent(), "pool": self.resources()}
        return Change(self._change, "snapshot", msgspec.json.encode(said))

    async def store_blob(self, chunks: AsyncIterator[bytes], length: int | None) -> int:
        if self.disk_full:
            raise RequestError("the disk is full: free some space", status=507)
        kept = bytearray()
        async for chunk in chunks:
            kept += chunk
            if len(kept) > self.blob_cap:
                raise RequestError(f"a blob may have {self.blob_cap} bytes", status=413)
        number = self._number()
        self._blobs[number] = bytes(kept)
        return number

    async def shutdown(self, drain_s: float | None) -> None:
        self.draining = True
        self.stopped.append(drain_s)

    def readiness(self) -> str:
        return "it is stopping" if self.draining else ""

    def metrics(self) -> str:
        return f"# TYPE agentd_operations gauge\nagentd_operations {len(self._records)}\n"
