"""The agent as its user port sees it: requests become events, replies become answers."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from agentd.comm.trust.same_user import owner_uid
from agentd.core import events as e
from agentd.daemon.showing.feed import Feed
from agentd.daemon.showing.forms import json_of, pickle_of
from agentd.daemon.showing.metrics import render
from agentd.daemon.showing.pages import page
from agentd.daemon.users.direct_lines import is_core_wanted
from agentd.daemon.users.reshaping import Reshaping
from agentd.model.errors import RequestError
from agentd.model.task import Form, Status
from agentd.model.values import Codec, Part, Payload
from agentd.model.views import TERMINAL, AgentView, OperationView, Page, TaskView
from agentd.rest.compss import hooks
from agentd.rest.port import Change, Made, Request, ResultView, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sized

    from agentd.core.engine import Engine
    from agentd.core.events import TaskResult
    from agentd.core.journal.ledger import Operation
    from agentd.daemon.clock import Clock
    from agentd.daemon.data.transfers import Transfers
    from agentd.daemon.lane import Lane
    from agentd.daemon.settings import Settings
    from agentd.daemon.showing.gathering import Gathering
    from agentd.daemon.showing.output import RemoteOutput
    from agentd.daemon.trust.pairing import Pairing
    from agentd.daemon.trust.tokens import TokenBook
    from agentd.daemon.users.functions import Functions
    from agentd.daemon.users.jobs import Jobs
    from agentd.daemon.users.results import Results
    from agentd.daemon.users.stopping import Stopping
    from agentd.model.task import Template
    from agentd.store.journal import Journal
    from agentd.store.objects import Objects
    from agentd.workers.supervisor import Supervisor

FOLLOW_S = 0.25
"""How often the output of a running task is looked at for somebody who follows it (chosen: feels live)."""
CHUNK_BYTES = 64 << 10
"""Output that is read at a time for somebody who follows it (chosen)."""


class Agent(Reshaping):
    """One running agent, for its doors; everything that is decided goes through the lane."""

    def __init__(
        self,
        *,
        engine: Engine,
        clock: Clock,
        settings: Settings,
        functions: Functions,
        supervisor: Supervisor,
        journal: Journal,
        objects: Objects,
        results: Results,
        tokens: TokenBook,
        pairing: Pairing,
        uid: int,
        warnings: list[str],
        jobs: Jobs,
    ) -> None:
        super().__init__(engine, clock)
        self._settings = settings
        self._functions = functions
        self._supervisor = supervisor
        self._journal = journal
        self._objects = objects
        self._results = results
        self._tokens = tokens
        self.pairing = pairing
        self._uid = uid
        self.warnings = warnings
        self._jobs = jobs
        self.over = asyncio.Event()
        """Set when all has ended that ends before the doors close."""
        self.rest: str | None = None
        self.rest_bound: str | None = None
        self.comm: str | None = None
        self.feed = Feed(self._snapshot)

    def join(
        self, lane: Lane, output: RemoteOutput, gathering: Gathering, transfers: Transfers, stopping: Stopping
    ) -> None:
        """Take the lane, and the ways to output, bytes and ends elsewhere; called once, before anybody asks."""
        self._gathering = gathering
        self._lane = lane
        rows = self._state.neighbourhood
        self._supervisor.hosts = lambda: 1 + len(rows.rows)
        self._supervisor.lines.is_waited = lambda: is_core_wanted(self._state)
        self.stopping = stopping
        self._transfers = transfers
        self.showing.progress = transfers.progress
        self._output = output
        output.holder_of, output.may_read = self._holder, self._may_read

    def unended(self) -> Sized:
        """Give all tasks that have not ended, as they come and go."""
        return self._state.tasks

    def is_nearly_full(self) -> bool:
        """Tell whether who submits much had better wait."""
        return self._state.is_nearly_full

    # --- asking the engine --------------------------------------------------------------------------------------

    def _operation(self, number: int) -> Operation:
        found = self._state.ledger.get(number)
        if found is None:
            raise RequestError(f"no operation {number} is known here; it may have expired", status=404)
        return found

    # --- who ------------------------------------------------------------------------------------------------------

    def identify(self, token: str) -> tuple[str, str] | None:
        """Give the name and scope of a bearer token."""
        return self._tokens.identify(token)

    def is_same_user(self, client: tuple[str, int], server: tuple[str, int]) -> bool:
        """Tell whether the client end of this loopback TCP connection is held by the agent's own user."""
        return owner_uid(server, client) == self._uid

    # --- submitting -----------------------------------------------------------------------------------------------

    async def submit(self, request: Request, *, is_patient: bool = False) -> Made:
        """Accept one operation: returns when it is committed; if the caller is going to wait anyway, a little later."""
        event = await self._event(request, is_patient=is_patient)
        caller, waiter = self._ask()
        self._lane.post(_with_caller(event, caller))
        number, is_new = await self._answer(caller, waiter)
        made = Made(self._made(number), is_new)
        if is_patient and made.operation.result is not None:  # who waits has it with this
            self._lane.post(e.ResultRead(number))
        return made

    def _made(self, number: int) -> OperationView:
        """Show an operation that was just asked for, with its result if that is at hand."""
        return self.showing.operation(self._operation(number), self._results.at_hand(number))

    async def submit_all(self, requests: list[Request]) -> list[Made | Exception]:
        """Accept many in one commit, each with an answer of its own."""
        prepared: list[e.OperationSubmitted | Exception] = []
        for request in requests:
            try:
                prepared.append(await self._event(request))
            except RequestError as error:
                prepared.append(error.with_traceback(None))  # which would lead back to this list, and keep it all
        caller, waiter = self._ask()
        self._lane.post(e.OperationsSubmitted(caller, [one for one in prepared if not isinstance(one, Exception)]))
        answers = iter(await self._answer(caller, waiter))
        made: list[Made | Exception] = []
        for one in prepared:
            answer = one if isinstance(one, Exception) else next(answers)
            if isinstance(answer, Exception):
                made.append(answer)
            else:
                made.append(Made(self._made(answer[0]), answer[1]))
        return made

    async def _event(self, request: Request, *, is_patient: bool = False) -> e.OperationSubmitted:
        template = request.template
        objection = self._functions.objection(template)
        if objection is None and template.form is Form.NAME:
            module = template.function.partition(":")[0]
            if self._functions.is_allowed(module):
                objection = await self._supervisor.probe(template.function)
        is_here = objection is None
        if objection is not None and not self.is_elsewhere(template):
            raise RequestError(self._nobody_has(objection), status=422)
        key = f"{request.identity}/{request.key}" if request.key else ""
        payload = self._with_blobs(request) if request.blobs else request.payload
        return e.OperationSubmitted(
            caller=0,
            template=template,
            payload=payload,
            key=key,
            digest=request.digest,
            callback=request.callback,
            is_here=is_here,
            is_patient=is_patient,
            user=request.identity,
        )

    def is_elsewhere(self, template: Template) -> bool:
        """Tell whether a neighbour says that it, or somebody beyond it, has the function."""
        if (
            template.form is not Form.NAME
            or self._functions.malformed(template)
            or self._functions.has_module(template)
        ):
            return False
        module = template.function.partition(":")[0]
        return any(module in row.report.functions for row in self._state.neighbourhood.rows)

    def _nobody_has(self, objection: str) -> str:
        asked = ", ".join(row.name for row in self._state.neighbourhood.rows)
        return f"{objection}; asked as well: {asked}" if asked else objection

    def _with_blobs(self, request: Request) -> Payload:
        parts = []
        for blob in request.blobs:
            try:
                fd, size = self._objects.open(blob)
            except RequestError as error:
                raise RequestError(f"blob {blob} is not here: PUT it to /v1/blobs first", status=422) from error
            os.close(fd)
            parts.append(Part(size=size, stored=blob))
        payload = request.payload
        return Payload(payload.codec, payload.data, (*payload.parts, *parts))

    # --- looking --------------------------------------------------------------------------------------------------

    async def operation(self, operation: int, wait_s: float = 0.0) -> OperationView:
        """Give the operation, waiting up to `wait_s` for its end."""
        found = self._operation(operation)
        if wait_s > 0 and not found.is_terminal:
            await self._wait(operation, wait_s)
            found = self._operation(operation)
        outcome = None
        if found.is_terminal and not (found.status == Status.DONE and found.result_bytes > CHUNK_BYTES):
            outcome = await self._results.read(operation)
        row = self.showing.operation(found, outcome)
        if row.result is not None and found.read_at is None:
            self._lane.post(e.ResultRead(operation))
        return row

    async def _wait(self, operation: int, wait_s: float) -> None:
        caller, waiter = self._ask()
        self._lane.post(e.OperationWatched(caller, operation))
        try:
            async with asyncio.timeout(wait_s):
                await waiter
        except TimeoutError:
            pass
        finally:
            if self._waiters.pop(caller, None) is not None:
                self._lane.post(e.WatchAbandoned(caller, operation))

    async def operations(self, wanted: Wanted, limit: int, cursor: str | None) -> Page:
        """List operations, newest first."""
        return await page(self._state.ledger, self.showing, wanted, limit, cursor)

    async def result(self, operation: int) -> ResultView:
        """Give the recorded result."""
        found = self._operation(operation)
        if not found.is_terminal:
            state = self.showing.operation(found).state
            raise RequestError(f"operation {operation} is {state}: ask again later, or with ?wait_s=30", status=409)
        outcome = await self._results.read(operation)
        if outcome is None:
            raise RequestError(f"the result of {operation} is damaged on the disk", status=410)
        if found.read_at is None:
            self._lane.post(e.ResultRead(operation))
        outcome = await self._results.whole(outcome)
        value = outcome.value
        raw = value.data if value.codec == Codec.BYTES else None
        return ResultView(self.showing.operation(found, outcome), json_of(value), pickle_of(value), raw)

    async def tasks(self, operation: int) -> list[TaskView]:
        """List the tasks of an operation."""
        return self.showing.tasks(self._operation(operation))

    async def logs(self, operation: int, follow: bool) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what users' code wrote; with `follow`, until the operation is terminal."""
        self._operation(operation)
        offsets = {"stdout": 0, "stderr": 0}
        while True:
            found = self._state.ledger.get(operation)
            is_last = found is None or found.is_terminal or not follow
            if is_last:
                await self._gathering.settled(operation)
            for stream, seen in list(offsets.items()):
                offset = seen
                while data := await self._written(operation, stream, offset):
                    offset += len(data)
                    yield stream, data
                offsets[stream] = offset
            if is_last:
                return
            await self._wait(operation, FOLLOW_S)

    def keep_job(self, result: TaskResult, out: bytes, err: bytes) -> None:
        """Keep what a task that ran here wrote in the files of its job."""
        task = self._state.tasks.get(result.task)
        if task is not None:
            found = self._state.ledger.get(task.id)
            is_operation = found is not None and hooks.read(found.callback) is not None
            self._jobs.task_ended(task, result.failure, out, err, is_operation=is_operation)

    def trim_output(self) -> None:
        """Forget output that nobody can ask for any more."""
        state = self._state
        self._supervisor.output.trim(lambda task: task in state.tasks or task in state.ledger.operations)

    async def _written(self, operation: int, stream: str, offset: int) -> bytes:
        """Read output from where the task is or was: here, or at the neighbour that holds it."""
        return await self._output.read(self._holder(operation), operation, stream, offset, CHUNK_BYTES)

    def _holder(self, operation: int) -> str:
        """Name the neighbour that holds, or held, a task; empty for this agent."""
        task = self._state.tasks.get(operation)
        if task is not None:
            return task.host
        found = self._state.ledger.get(operation)
        return found.host if found is not None else ""

    def _may_read(self, neighbour: str, task: int) -> bool:
        """Tell whether a neighbour gave us a task; of what is not known any more nothing is kept for long."""
        found = self._state.ledger.get(task) or self._state.tasks.get(task)
        return found is None or found.path.sender == neighbour

    async def cancel(self, operation: int) -> OperationView:
        """Stop an operation."""
        caller, waiter = self._ask()
        self._lane.post(e.CancelRequested(caller, operation))
        await self._answer(caller, waiter)
        return self.showing.operation(self._operation(operation))

    # --- the agent itself -----------------------------------------------------------------------------------------

    def agent(self) -> AgentView:
        """Say who the agent is."""
        return self.showing.agent(
            rest=self.rest,
            comm=self.comm,
            scheduler=self._settings.scheduler,
            state_folder=str(self._settings.state),
            started_at=self._clock.started_wall,
            not_ready_reason=self.readiness(),
            journal_bytes=self._journal.size_bytes,
            objects_bytes=self._objects.total_bytes,
            warnings=list(self.warnings),
        )

    def changes(self, after: int | None) -> AsyncIterator[Change]:
        """Yield a snapshot and then every change."""
        return self.feed.follow(after)

    def _snapshot(self) -> dict[str, object]:
        live = [
            self.showing.operation(operation)
            for operation in self._state.ledger.operations.values()
            if not operation.is_terminal
        ]
        return {
            "agent": self.agent(),
            "operations": [row for row in live[-1000:] if row.state not in TERMINAL],
            "resources": self.resources(),
        }

    async def store_blob(self, chunks: AsyncIterator[bytes], length: int | None) -> int:
        """Stream a large value into the object store and give its id."""
        async with await self._objects.create() as upload:
            async for chunk in chunks:
                await upload.write(chunk)
            stored = await upload.finish(size=length)
        return stored.id

    async def shutdown(self, drain_s: float | None) -> None:
        """Begin to drain and stop."""
        self._lane.post(e.DrainRequested(self._settings.grace_s if drain_s is None else drain_s))

    async def neighbour_at(self, url: str) -> str:
        """Name the neighbour that is connected and has its port for users at an URL; empty when it is nobody's."""
        return await self.stopping.neighbour_at(url)

    async def until_stopped(self) -> None:
        """Wait until all has ended that ends before the doors close."""
        await self.over.wait()

    def say(self, text: str) -> None:
        """Print on the agent's own stdout."""
        self._jobs.say(text)

    def wall_s(self) -> float:
        """Say what the wall clock shows."""
        return self._state.wall(self._clock.now())

    def begin_job(self, operation: int) -> None:
        """Give an operation the next number of a job."""
        self._jobs.begin(operation)

    def functions(self) -> list[str]:
        """Name the functions that were asked for lately."""
        return self._state.shapes.functions()

    def readiness(self) -> str:
        """Say why no work can be taken; empty when it can."""
        state = self._state
        if state.draining:
            return "this agent is stopping"
        return state.disk_full or state.not_starting

    def metrics(self) -> str:
        """Give Prometheus text."""
        extra = {"journal_bytes": float(self._journal.size_bytes), "objects_bytes": float(self._objects.total_bytes)}
        extra["shared_bytes"] = float(self._supervisor.segments.total_bytes)
        counted = {"direct_calls": self._supervisor.lines.calls()}
        extra |= {**self._transfers.figures, "objects": len(self._state.objects)}
        return render(self._engine, extra, counted)

    async def ending(self, operation: int) -> bytes | None:
        """Give an ended operation as JSON, for whoever is called back; None when it has expired."""
        view = await self.ended(operation)
        return None if view is None else msgspec.json.encode(view)

    async def ended(self, operation: int) -> OperationView | None:
        """Give an ended operation; None when it has expired."""
        found = self._state.ledger.get(operation)
        return None if found is None else self.showing.operation(found, await self._results.read(operation))

    def admit(self, template: Template) -> str | None:
        """Say why a template of the Comm door may not be called; None when it may."""
        objection = self._functions.objection(template)
        if objection is None or self.is_elsewhere(template):
            return None
        return self._nobody_has(objection)

    def declared(self, event: e.TemplatesDeclared) -> e.TemplatesDeclared:
        """Note which of the templates that came in name functions that only neighbours have."""
        elsewhere = frozenset(number for number, one in event.templates if self._functions.objection(one) is not None)
        return replace(event, elsewhere=elsewhere) if elsewhere else event


def _with_caller(event: e.OperationSubmitted, caller: int) -> e.OperationSubmitted:
    return msgspec.structs.replace(event, caller=caller)
