"""The user port put together: the table of routes, FastAPI behind it, and the guard before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from agentd import __version__
from agentd.model.errors import RequestError
from agentd.rest.answering.problems import Problem, broken, refusal, shown
from agentd.rest.bodies.openapi import described, schema_of
from agentd.rest.bodies.submission import check_json
from agentd.rest.call import call_of
from agentd.rest.gate.guard import Guard
from agentd.rest.nouns import (
    agents,
    blobs,
    events,
    health,
    invitations,
    logs,
    neighbours,
    operations,
    pages,
    peers,
    resources,
    results,
)
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route, RouteTable
from agentd.rest.serving.served import TableRoute
from agentd.rest.settings import RestSettings

NOUNS = (operations, results, logs, blobs, agents, resources, neighbours, peers, invitations, events, health, pages)
ROUTES: tuple[Route, ...] = tuple(route for noun in NOUNS for route in noun.ROUTES)


def create_app(port: AgentPort, settings: RestSettings, more: Iterable[Route] = ()) -> Guard:
    """Make the ASGI application of the user port; `more` are the routes of further doors, such as `/COMPSs`."""
    table = RouteTable((*ROUTES, *more))
    app = FastAPI(
        title="agentd",
        version=__version__,
        description="Submit operations to this agent, look at them, and reshape its pool.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.schema = schema_of(app, table)
    for route in table.routes:
        app.router.add_api_route(
            route.path,
            route.endpoint,
            methods=[route.method],
            operation_id=route.endpoint.__name__,
            tags=[route.tag],
            response_model=None,
            route_class_override=TableRoute,
            **described(route),
        )
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, table, port, settings)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return refusal(error)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(Problem(error.status_code, str(error.detail)))


async def _broken(_: Request, __: Exception) -> Response:
    return refusal(broken())


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    call = call_of(request.scope)
    try:
        if call.route.takes_json:
            check_json(call.body)
    except Problem as problem:
        return refusal(problem)
    wrong = [_field(entry) for entry in error.errors()[:20]]
    detail = "; ".join(f"{entry['pointer'] or 'the body'}: {entry['detail']}" for entry in wrong)
    return refusal(Problem(422, detail, members={"errors": wrong}))


def _field(entry: Any) -> dict[str, str]:
    """Say a pydantic error with a JSON pointer, or the parameter's name; never with the value that was sent."""
    where, *path = entry["loc"]
    if where == "body":
        pointer = "".join("/" + shown(str(part)).replace("~", "~0").replace("/", "~1") for part in path)
    else:
        pointer = "?" + shown(str(path[0])) if path else ""
    return {"pointer": pointer, "detail": str(entry["msg"])}
