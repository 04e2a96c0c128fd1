"""A neighbour behind its user port: offers become its operations, and their ends come back as a neighbour's.

Law: an attempt is one operation there, by an idempotency key made of who asks, the task and the attempt. So whatever is
repeated, after a cut or after a restart of either side, finds the same operation again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from agentd.adaptors.rest_operation import body_of, objection, outcome_of, value_of
from agentd.api.routes import requests
from agentd.api.routes.client_async import AsyncAgent
from agentd.api.routes.requests import JSON, PICKLE, Request
from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.errors import AgentdError, RequestError, Unreachable
from agentd.model.exchange import End, Offer, Refusal, Report
from agentd.model.values import NO_VALUE, Payload
from agentd.model.views import TERMINAL, OperationView
from schedulers.capacity import Capacity, Kind, Processor
from schedulers.view import Tier

if TYPE_CHECKING:
    from agentd.adaptors.couriers import Surroundings
    from agentd.api.places import Place
    from agentd.model.task import Template
    from agentd.model.views import AgentView, ResourceView

log = logging.getLogger("agentd")

FIRST_S, MOST_S = 0.5, 15.0
"""Between attempts to reach it, doubling (chosen)."""
SWEEP_S = 15.0
"""How often all that it holds is looked at, should news of an end have been missed (chosen)."""
EARLY_MOST = 10_000
"""Ends that were heard of before the answer to the submission (chosen)."""
TASKS_MOST = 10_000
"""Tasks of which what they printed can still be read (chosen)."""
AT_ONCE = 16
"""Requests under way at a time (chosen: half of the client's connections, so that its stream and beat get through)."""
EPOCH = 1
"""Of the lease under which it holds tasks: its operations outlive its restarts."""
UNKNOWN_S = 0.1
"""What a task that waits there is taken to run, in seconds (chosen, as for neighbours)."""
PASSING = frozenset({429, 503, 507})
"""Refusals that say nothing against the task itself."""

T = TypeVar("T")
Key = tuple[int, int]
"""(task, attempt)."""


class RestNeighbour:
    """The courier of one such neighbour."""

    def __init__(self, name: str, place: Place, surroundings: Surroundings) -> None:
        self._name = name
        self._place = place
        self._around = surroundings
        self._templates: dict[int, Template] = {}
        self._held: dict[Key, str] = {}
        """Operations there, by task and attempt."""
        self._asked: dict[str, tuple[Key, Template]] = {}
        self._tasks: OrderedDict[int, str] = OrderedDict()
        """The last operations by task, for who reads what they printed."""
        self._early: OrderedDict[str, None] = OrderedDict()
        self._unwanted: set[Key] = set()
        self._ending: set[str] = set()
        self._sequence = 0
        self._link = 0
        self._client: AsyncAgent | None = None
        self._group: asyncio.TaskGroup | None = None
        self._is_given_up = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)

    # --- what the engine wants done -----------------------------------------------------------------------------

    def performers(self) -> Mapping[type[c.Command], Callable[[Any], None]]:
        """Tell which method performs which command."""
        return {
            c.DeclareTemplates: self._declare,
            c.SendOffers: self._offer,
            c.CancelTasks: self._cancel,
            c.AcknowledgeEnds: self._forget,
        }

    def _declare(self, command: c.DeclareTemplates) -> None:
        self._templates.update(command.templates)

    def _offer(self, command: c.SendOffers) -> None:
        for offer in command.offers:
            self._sequence = max(self._sequence, offer.sequence)
            self._spawn(self._submit(offer))

    def _cancel(self, command: c.CancelTasks) -> None:
        for key in command.tasks:
            operation = self._held.get(key)
            if operation is None:
                self._unwanted.add(key)
            else:
                self._spawn(self._stop(operation))

    def _forget(self, command: c.AcknowledgeEnds) -> None:
        for key in command.tasks:
            self._unwanted.discard(key)
            self._asked.pop(self._held.pop(key, ""), None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something over the present connection; without one the engine will want it again over the next."""
        if self._group is None:
            work.close()
        else:
            self._group.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._slots:
            await work

    # --- connections --------------------------------------------------------------------------------------------

    def redial(self) -> None:
        """Give the present connection up and make a new one."""
        self._is_given_up.set()

    async def run(self) -> None:
        """Keep in touch, for ever."""
        pause = FIRST_S
        while True:
            reason = "it is not wanted any more"
            try:
                reason = await self._connection()
            finally:
                was_open = self._closed(reason)
            pause = FIRST_S if was_open else min(2 * pause, MOST_S)
            await asyncio.sleep(pause)

    def _closed(self, reason: str) -> bool:
        """Tell that there is no connection; gives whether there was one."""
        link, self._link, self._group, self._client = self._link, 0, None, None
        self._around.post(e.LinkClosed(self._name, link, reason))
        return bool(link)

    async def _connection(self) -> str:
        """Live through one connection; gives why it ended."""
        self._is_given_up.clear()
        try:
            async with AsyncAgent(self._place) as client:
                view, rows = await client.agent(), await client.resources()
                async with asyncio.TaskGroup() as group:
                    self._client, self._group, self._link = client, group, self._around.number()
                    self._around.post(e.LinkOpened(self._name, view.id, view.boot, self._link))
                    self._report(view, rows)
                    group.create_task(self._listen(client))
                    group.create_task(self._give_up())
                    await self._beat(client, rows)
        except* AgentdError as errors:
            reason = str(_first(errors))
        return reason

    async def _give_up(self) -> None:
        await self._is_given_up.wait()
        raise Unreachable("the connection was given up")

    async def _beat(self, client: AsyncAgent, rows: list[ResourceView]) -> None:
        """Ask now and then how it stands."""
        read_clock = self._around.now
        swept = looked = read_clock()
        cores = -1
        while True:
            await asyncio.sleep(self._around.heartbeat_s)
            asked = read_clock()
            view = await client.agent()
            now = read_clock()
            if view.cores != cores or now - looked > SWEEP_S:
                rows, cores, looked = await client.resources(), view.cores, now
            self._around.post(e.NeighbourHeard(self._name, (now - asked) / 2, 0.0, 0.0))
            self._report(view, rows)
            if now - swept > SWEEP_S:
                swept = now
                for operation in list(self._asked):
                    self._spawn(self._finish(operation))

    def _report(self, view: AgentView, rows: list[ResourceView]) -> None:
        """Tell of its load as it would itself."""
        cores = float(view.cores)
        tier = Tier(1.0, float(view.cores_free), cores, max(cores, 0.001), view.waiting * UNKNOWN_S)
        own = next((row for row in rows if row.state == "own"), None)
        report = Report(
            epoch=EPOCH,
            acknowledged=self._sequence,
            tiers=(tier,),
            capacity=_capacity(own) if own is not None else Capacity(),
            draining=view.draining,
            own=tier,
        )
        self._around.post(e.LoadReported(self._name, report))

    async def _listen(self, client: AsyncAgent) -> None:
        """Hear of ends."""
        async for event in client.events():
            if event.topic == "operation" and event.data.get("state") in TERMINAL:
                operation = str(event.data.get("subject"))
                if operation in self._asked:
                    self._spawn(self._finish(operation))
                else:
                    self._early[operation] = None
                    if len(self._early) > EARLY_MOST:
                        self._early.popitem(last=False)
        raise Unreachable(f"{self._name} ended its stream of events")

    # --- one task -----------------------------------------------------------------------------------------------

    async def _submit(self, offer: Offer) -> None:
        """Ask for an operation, and answer the offer."""
        key = (offer.task, offer.attempt)
        template, payload = self._templates.get(offer.template), self._around.inline(offer.payload)
        if template is None:
            return  # declared over a connection that is gone: it is offered again
        reason = objection(template, offer, payload)
        if reason is not None:
            self._refuse(key, reason, is_final=True)
            return
        try:
            view = await self._send(self._request(key, template, payload))
        except RequestError as error:
            self._refuse(key, str(error), is_final=error.status not in PASSING)
            return
        self._held[key] = view.id
        self._tasks[offer.task] = view.id
        if len(self._tasks) > TASKS_MOST:
            self._tasks.popitem(last=False)
        self._asked[view.id] = (key, template)
        self._around.post(e.OffersAnswered(self._name, ((*key, EPOCH),)))
        if key in self._unwanted:
            self._unwanted.discard(key)
            await self._stop(view.id)
        if view.state in TERMINAL or self._early.pop(view.id, view) is None:
            await self._finish(view.id)

    def _request(self, key: Key, template: Template, payload: Payload) -> Request[OperationView]:
        submission = requests.submit({})
        headers = {"content-type": JSON, "idempotency-key": f"{self._around.agent_id}.{key[0]}.{key[1]}"}
        return Request("POST", submission.path, submission.read, body_of(template, payload), headers)

    def _refuse(self, key: Key, reason: str, *, is_final: bool) -> None:
        self._unwanted.discard(key)
        self._around.post(e.OffersAnswered(self._name, (), (Refusal(*key, reason, is_final),)))

    async def _stop(self, operation: str) -> None:
        """Cancel an operation; its end is told as any other."""
        try:
            view = await self._send(requests.cancel(operation))
        except RequestError as error:
            log.info("%s does not stop %s: %s", self._name, operation, error)
            return
        if view.state in TERMINAL:
            await self._finish(operation)

    async def _finish(self, operation: str) -> None:
        """Tell the engine of an end, once, with the value that it brought."""
        asked = self._asked.get(operation)
        if asked is None or operation in self._ending:
            return
        self._ending.add(operation)
        try:
            view = await self._send(requests.operation(operation))
            if view.state not in TERMINAL:
                return
            key, template = asked
            value = await self._value(operation, template) if view.state == "done" else NO_VALUE
            end = End(*key, EPOCH, outcome_of(view, value, self._name))
            self._around.post(e.EndsReceived(self._name, [end]))
        except RequestError as error:
            log.warning("the end of %s at %s cannot be read: %s", operation, self._name, error)
        finally:
            self._ending.discard(operation)

    async def output(self, task: int, stream: str, offset: int, limit: int) -> bytes:
        """Read what a task wrote there, from its start up to what is wanted: the port knows no offsets."""
        operation, client = self._tasks.get(task), self._client
        if operation is None or client is None:
            return b""
        written = b""
        try:
            async for line in client.logs(operation):
                if line.stream == stream:
                    written += line.text.encode()
                    if len(written) >= offset + limit:
                        break
        except AgentdError as error:
            log.info("what %s printed at %s cannot be read: %s", operation, self._name, error)
        return written[offset : offset + limit]

    async def _value(self, operation: str, template: Template) -> Payload:
        """Read a value in all the forms in which it may be asked for here."""
        pickle = await self._read(operation, PICKLE)
        if not template.wants_json:
            return value_of(None, pickle, None)
        raw = await self._read(operation, requests.BYTES)
        return value_of(None if raw is not None else await self._read(operation, JSON), pickle, raw)

    async def _read(self, operation: str, kind: str) -> bytes | None:
        path = f"/v1/operations/{operation}/result"
        try:
            return await self._send(Request("GET", path, lambda answer: answer.body, headers={"accept": kind}))
        except RequestError as error:
            if error.status == 406:
                return None
            raise

    async def _send(self, request: Request[T]) -> T:
        if self._client is None:
            raise Unreachable(f"{self._name} is not connected")
        return await self._client.send(request)


def _first(errors: BaseExceptionGroup[AgentdError]) -> AgentdError:
    """Give one error of a group, which stands for all."""
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, AgentdError)
    return found


def _capacity(row: ResourceView) -> Capacity:
    """Read what an agent shows of its own device."""
    processors = tuple(
        Processor(units=entry.units, kind=Kind(entry.type), name=entry.name, architecture=entry.architecture)
        for entry in row.processors
    )
    return Capacity(processors=processors, memory_mib=row.memory_mib)
