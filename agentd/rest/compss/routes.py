"""The paths below `/COMPSs`: what COMPSs' scripts and programs ask, in their XML, answered in their words.

Law: a request does here what it would do at `/v1`, with the same scope and the same checks. Where a refusal is one of
the agent's, the status is 500 and the reason stands in the body as text, since that is what those clients print.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends
from starlette.responses import Response

from agentd.model.errors import RequestError
from agentd.model.task import Template
from agentd.model.values import Codec, Payload
from agentd.rest.answering.answers import TEXT, Answer
from agentd.rest.answering.problems import Problem
from agentd.rest.bodies.callbacks import check_callback
from agentd.rest.call import Call, current
from agentd.rest.compss.documents import (
    StartApplication,
    read_end,
    read_new,
    read_node,
    read_reduce,
    read_start,
)
from agentd.rest.compss.hooks import Hooks, written
from agentd.rest.compss.written import resources_dump, resources_json
from agentd.rest.port import Request
from agentd.rest.routes import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Current = Annotated[Call, Depends(current)]

XML: Final = b"application/xml"
LANGUAGE: Final = "PYTHON"
TOLD_AS_500: Final = frozenset({404, 409, 422})
"""Refusals of the agent that this door tells as the field does."""


def told(endpoint: Callable[[Call], Awaitable[Response]]) -> Callable[[Call], Awaitable[Response]]:
    """Answer what is refused with its reason as text."""

    @functools.wraps(endpoint)
    async def answered(call: Current) -> Response:
        try:
            return await endpoint(call)
        except RequestError as error:
            if error.status in TOLD_AS_500:
                return _text(str(error), 500)
            if error.status in {400, 406}:
                return _text(str(error), error.status)
            raise

    return answered


def _text(words: str, status: int = 200) -> Answer:
    return Answer(status, words.encode("utf-8", "replace"), TEXT)


def _now_ms(call: Call) -> int:
    return round(call.port.wall_s() * 1000)


# --- looking --------------------------------------------------------------------------------------------------------


async def compss_test(call: Current) -> Response:
    """Tell that the agent is there."""
    call.port.say("test invoked")
    return _text("")


async def compss_resources(call: Current) -> Response:
    """List the pool: each host with all that was granted of it."""
    call.port.say("Requested current resource configuraction")
    return Answer(200, resources_json(call.port.pool(), _now_ms(call)), b"text/plain")


async def compss_print_resources(call: Current) -> Response:
    """Print the pool on the agent's own stdout."""
    call.port.say(resources_dump(call.port.pool(), call.port.functions(), _now_ms(call)))
    return _text("")


# --- operations -----------------------------------------------------------------------------------------------------


@told
async def compss_start_application(call: Current) -> Response:
    """Start an operation: answers with its number once it is on the disk.

    Its result is read at `/v1/operations/{id}/result`, its output in the agent's folder of logs.
    """
    asked = read_start(call.body)
    language = asked.language or "JAVA"
    call.port.say(f"Received REST call to run a {language[:40]} method")
    if language != LANGUAGE:
        raise Problem(406, f"Unsupported language. {language[:40]} is not run here: this agent runs {LANGUAGE}")
    hooks = await _hooks(asked, call)
    payload = Payload(Codec.JSON, json.dumps({"args": asked.arguments, "kwargs": {}}).encode())
    made = await _submitted(call, _functions(asked), payload, hooks)
    return _text(made)


async def _submitted(call: Call, functions: list[str], payload: Payload, hooks: Hooks) -> str:
    """Submit the first of the functions that there is.

    Raises:
        RequestError: there is none of them; the reason is that of the first.
    """
    first: RequestError | None = None
    for function in functions:
        template = Template(function, codec=Codec.JSON, durable=True, wants_json=True)
        try:
            made = await call.port.submit(
                Request(template, payload, callback=written(hooks), identity=call.caller.identity)
            )
        except RequestError as error:
            if error.status != 422:
                raise
            first = first or error
        else:
            call.port.begin_job(int(made.operation.id))
            return made.operation.id
    assert first is not None
    raise first


def _functions(asked: StartApplication) -> list[str]:
    """Give the functions that a class name and a method may mean: of a module, or of a class in one."""
    module = asked.module.removesuffix(".py")
    found = [f"{module}:{asked.method}"]
    outer, dot, inner = module.rpartition(".")
    if dot:
        found.append(f"{outer}:{inner}.{asked.method}")
    return found


async def _hooks(asked: StartApplication, call: Call) -> Hooks:
    """Say what is to be done at the end.

    Raises:
        Problem: 403, the caller may not ask for it; 422, an address that may not be called.
    """
    if asked.action is None and asked.orchestrator is None:
        return Hooks()
    call.caller.demand("admin", "an action or an orchestrator")
    if asked.orchestrator is not None:
        address = asked.orchestrator.host.rstrip("/") + "/" + asked.orchestrator.operation.lstrip("/")
        return Hooks(notify=_allowed(address, call))
    assert asked.action is not None
    if asked.action.name.lower() != "stop":
        raise Problem(422, f"the action {asked.action.name[:60]!r} is not known: there is only stop")
    agents = dict.fromkeys(agent.rstrip("/") for agent in asked.action.agents)
    for agent in agents:
        if not await call.port.neighbour_at(agent):
            _allowed(agent, call)
    return Hooks(stops=True, agents=tuple(agents))


def _allowed(address: str, call: Call) -> str:
    return check_callback(address, call.settings.callback_hosts)


@told
async def compss_end_application(call: Current) -> Response:
    """Take the notice that an operation has ended: of none, since this agent asks others over its own protocol."""
    job = read_end(call.body)
    raise Problem(422, f"Job {job[:40]} was not submitted by this agent. Ignoring request.")


# --- the pool -------------------------------------------------------------------------------------------------------


@told
async def compss_add_resources(call: Current) -> Response:
    """Add a host, or let a known one grow."""
    asked = read_new(call.body)
    await call.port.add_resource(asked.name, asked.capacity, asked.adaptor, dict(asked.properties), False)
    return _text("")


async def _reshaped(name: str, change: Awaitable[object]) -> Response:
    try:
        await change
    except RequestError as error:
        if error.status != 404:
            raise
        return _text(f"Resource {name} was not set up for this agent. Ignoring request.", 500)
    return _text("")


@told
async def compss_remove_resources(call: Current) -> Response:
    """Take capacity away from a host; what is in use is owed until it is free."""
    asked = read_reduce(call.body)
    return await _reshaped(asked.name, call.port.reduce_resource(asked.name, asked.capacity))


@told
async def compss_remove_node(call: Current) -> Response:
    """Remove a host once what it runs has ended."""
    name = read_node(call.body, "removeNode")
    return await _reshaped(name, call.port.remove_resource(name, False))


@told
async def compss_lost_node(call: Current) -> Response:
    """Remove a host that is gone; what ran there runs again elsewhere."""
    name = read_node(call.body, "lostNode")
    return await _reshaped(name, call.port.remove_resource(name, True))


async def compss_stop(call: Current) -> Response:
    """Stop the agent: no new work, what runs gets its grace; answers when all has ended."""
    await call.port.shutdown(None)
    await call.port.until_stopped()
    return _text("")


def _route(method: str, path: str, scope: str, endpoint: Callable[..., Awaitable[Response]], **more: object) -> Route:
    return Route(
        method=method,
        path=f"/COMPSs{path}",
        scope=scope,
        endpoint=endpoint,
        tag="compss",
        accepts=(XML,) if method == "PUT" else (),
        is_hot=True,
        answers={200: None},
        media=("text/plain",),
        problems=(500,) if method == "PUT" else (),
        told_as_text=(400, 406, 500),
        **more,  # type: ignore[arg-type]
    )


ROUTES: tuple[Route, ...] = (
    _route("GET", "/test", "none", compss_test),
    _route("GET", "/resources", "read", compss_resources),
    _route("GET", "/printResources", "read", compss_print_resources),
    _route("PUT", "/startApplication", "submit", compss_start_application),
    _route("PUT", "/endApplication", "submit", compss_end_application),
    _route("PUT", "/addResources", "admin", compss_add_resources),
    _route("PUT", "/removeResources", "admin", compss_remove_resources),
    _route("PUT", "/removeNode", "admin", compss_remove_node),
    _route("PUT", "/lostNode", "admin", compss_lost_node),
    _route("DELETE", "", "admin", compss_stop),
)
