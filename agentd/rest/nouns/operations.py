"""Operations: submit, look at, wait for, list, cancel."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query
from starlette.responses import Response

from agentd.model.errors import RequestError
from agentd.model.views import STATES, OperationView, Page
from agentd.rest import port as ports
from agentd.rest.answering.answers import JSON, Answer, json_of
from agentd.rest.answering.problems import Problem, document, invalid
from agentd.rest.bodies import schemas, task_schemas
from agentd.rest.bodies.submission import check_key, operation_number, read_batch, read_submission
from agentd.rest.call import Call, agent, current
from agentd.rest.port import AgentPort, Made, Wanted
from agentd.rest.routes import Route

Agent = Annotated[AgentPort, Depends(agent)]
Current = Annotated[Call, Depends(current)]

LISTED = ("state", "function", "name", "limit", "cursor")
PATTERN = "Only those whose {} is this; `*` stands for any signs, `?` for one."

_encoder = msgspec.json.Encoder()
_NO_LINKS = b'"links":{}}'


def encoded(view: OperationView) -> bytes:
    """Encode an operation; the door gives it its links where the agent has none."""
    data = _encoder.encode(view)
    if not data.endswith(_NO_LINKS):
        return data
    at = b"/v1/operations/" + view.id.encode()
    return b'%b"links":{"self":"%b","result":"%b/result","tasks":"%b/tasks","logs":"%b/logs"}}' % (
        data[: -len(_NO_LINKS)],
        at,
        at,
        at,
        at,
    )


def wanted(identifier: str) -> int:
    """Read the id of a path.

    Raises:
        Problem: 404, no operation can have it.
    """
    number = operation_number(identifier)
    if number is None:
        raise Problem(404, f"{identifier[:40]!r} is no operation's id: those are positive decimal numbers of 63 bits")
    return number


def wait_of(call: Call) -> float:
    """Read how long to wait, in seconds: `?wait_s=`, else the header `Prefer: wait=`; 0 when neither is there.

    Raises:
        Problem: 422, not a number from 0.
    """
    text, name = call.wish("wait_s"), "?wait_s"
    if text is None:
        prefer = call.headers.get(b"prefer")
        if prefer is None:
            return 0.0
        wishes = (wish.strip().partition("=") for wish in prefer.decode("latin-1").split(","))
        text = next((value.strip(' "') for wish, _, value in wishes if wish.strip().lower() == "wait"), "0")
        name = "Prefer"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise invalid(f"{name}: expected seconds from 0, at most {call.settings.wait_cap_s:g} are waited", name)
    return min(seconds, call.settings.wait_cap_s)


async def submit_operation(call: Current) -> Response:
    """Submit one operation: it is on the disk before this answers.

    The same idempotency key and body give the same operation (200). `wait_s` waits for the end and gives the result
    in the same answer; look at `state` to see whether it has ended.
    """
    wait_s = wait_of(call)
    header = call.headers.get(b"idempotency-key")
    key = None if header is None else check_key(header.decode("latin-1"))
    request = read_submission(call.body, call.caller, call.settings.callback_hosts, key)
    made = await call.port.submit(request, is_patient=wait_s > 0)
    view = made.operation
    if wait_s and view.result is None and view.error is None:  # an end that came with the answer needs no more
        # From here on the operation is safe, and only this client waits: when it leaves, so does the wait.
        call.connection.task = asyncio.current_task()
        view = await call.port.operation(int(view.id), wait_s)
    location = (b"location", b"/v1/operations/" + view.id.encode())
    return Answer(202 if made.is_new else 200, encoded(view), JSON, (location,))


async def show_operation(call: Current) -> Response:
    """Show one operation, waiting up to `wait_s` for its end."""
    view = await call.port.operation(wanted(call.params["id"]), wait_of(call))
    return Answer(200, encoded(view))


async def submit_operations(call: Current) -> Response:
    """Submit up to 1,000 operations in one commit; each has an answer of its own, in the order of the batch.

    An operation that cannot be taken does not keep the others from being taken. Idempotency keys go into the
    operations, as `key`.
    """
    if b"idempotency-key" in call.headers:
        raise invalid("a batch has no key of its own: give each operation one, as `key`", "Idempotency-Key")
    items = read_batch(call.body, call.settings.batch_cap)
    read = [_read(item, call, index) for index, item in enumerate(items)]
    asked = [item for item in read if isinstance(item, ports.Request)]
    answers = iter(await call.port.submit_all(asked) if asked else ())
    outcomes = [next(answers) if isinstance(item, ports.Request) else item for item in read]
    return Answer(200, b'{"operations":[' + b",".join(map(_item, outcomes)) + b"]}")


def _read(item: bytes, call: Call, index: int) -> ports.Request | RequestError:
    try:
        return read_submission(item, call.caller, call.settings.callback_hosts)
    except Problem as problem:
        for error in problem.members.get("errors", ()):
            error["pointer"] = f"/operations/{index}{error['pointer']}"
        return problem


def _item(outcome: Made | Exception) -> bytes:
    if isinstance(outcome, Made):
        return b'{"status":%d,"operation":%b}' % (202 if outcome.is_new else 200, encoded(outcome.operation))
    if isinstance(outcome, RequestError):
        return b'{"status":%d,"problem":%b}' % (outcome.status, _encoder.encode(document(outcome)))
    raise outcome


async def list_operations(
    call: Current,
    state: Annotated[str | None, Query(description=f"Only these, with commas between: {', '.join(STATES)}.")] = None,
    function: Annotated[str | None, Query(max_length=256, description=PATTERN.format("function"))] = None,
    name: Annotated[str | None, Query(max_length=256, description=PATTERN.format("name"))] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[str | None, Query(max_length=512, description="`next_cursor` of the page before.")] = None,
) -> Response:
    """List operations, newest first, page by page."""
    states = frozenset(filter(None, (state or "").split(",")))
    unknown = next(iter(sorted(states - set(STATES))), None)
    if unknown is not None:
        raise invalid(f"?state: {unknown[:40]!r} is none of {', '.join(STATES)}", "?state")
    stray = next((wish for wish in call.wishes() if wish not in LISTED), None)
    if stray is not None:  # a filter that is misspelt would list, and let be cancelled, what nobody meant
        raise invalid(f"?{stray[:40]}: there is no such parameter; there are {', '.join(LISTED)}", f"?{stray[:40]}")
    if cursor is not None and operation_number(cursor) is None:
        raise invalid(f"?cursor: {cursor[:40]!r} is no `next_cursor`: leave it out to begin anew", "?cursor")
    wanted = Wanted(states, function or "", name or "")
    try:
        return _paged(await call.port.operations(wanted, limit, cursor))
    except RequestError as error:
        raise invalid(str(error), "?cursor") from error  # the one thing here that only the agent can judge


def _paged(page: Page) -> Answer:
    rows = b",".join(map(encoded, page.operations))
    return Answer(200, b'{"operations":[%b],"next_cursor":%b}' % (rows, _encoder.encode(page.next_cursor)))


async def list_tasks(port: Agent, id: str) -> Response:  # noqa: A002 - the parameter's public name
    """List the tasks of an operation: where they run, and why they wait."""
    return json_of({"tasks": await port.tasks(wanted(id))})


async def cancel_operation(port: Agent, id: str) -> Response:  # noqa: A002 - the parameter's public name
    """Cancel: what waits is dropped, what runs is stopped. Shows the operation, which may still be ending."""
    return Answer(202, encoded(await port.cancel(wanted(id))))


def parameter(name: str, where: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Describe a parameter for the OpenAPI."""
    return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": description}


PATH_ID = parameter("id", "path", {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"}, "The operation's id.")
WAIT = parameter("wait_s", "query", {"type": "number", "minimum": 0}, "Seconds to wait for the end, at most 300.")
PREFER = parameter("Prefer", "header", {"type": "string", "examples": ["wait=10"]}, "`wait=N` is the same as `wait_s`.")
KEY = parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
    "Makes a repeated request harmless: same key and body, same operation.",
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/operations",
        scope="submit",
        endpoint=submit_operation,
        tag="operations",
        accepts=(JSON,),
        is_hot=True,
        answers={202: schemas.Operation, 200: schemas.Operation},
        problems=(422, 429, 507),
        parameters=(WAIT, PREFER, KEY),
        body=schemas.Submission,
        example="""-H 'Content-Type: application/json' -d '{"function": "shop.prices:total", "args": [[1, 2, 3]]}'""",
    ),
    Route(
        method="GET",
        path="/v1/operations/{id}",
        scope="read",
        endpoint=show_operation,
        tag="operations",
        is_hot=True,
        answers={200: schemas.Operation},
        problems=(404, 422),
        parameters=(PATH_ID, WAIT, PREFER),
    ),
    Route(
        method="POST",
        path="/v1/operations:batch",
        scope="submit",
        endpoint=submit_operations,
        tag="operations",
        accepts=(JSON,),
        is_hot=True,
        answers={200: schemas.BatchAnswer},
        problems=(422, 429, 507),
        body=schemas.Batch,
        example="""-H 'Content-Type: application/json' -d '{"operations": [{"function": "shop.prices:total"}]}'""",
    ),
    Route(
        method="GET",
        path="/v1/operations",
        scope="read",
        endpoint=list_operations,
        tag="operations",
        answers={200: schemas.Page},
        problems=(422,),
    ),
    Route(
        method="GET",
        path="/v1/operations/{id}/tasks",
        scope="read",
        endpoint=list_tasks,
        tag="operations",
        answers={200: task_schemas.Tasks},
        problems=(404,),
    ),
    Route(
        method="DELETE",
        path="/v1/operations/{id}",
        scope="submit",
        endpoint=cancel_operation,
        tag="operations",
        answers={202: schemas.Operation},
        problems=(404,),
    ),
)
