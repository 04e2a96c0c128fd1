"""The pool: list it, let it grow, shrink and lose hosts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, Path, Query
from starlette.responses import Response

from agentd.rest.answering.answers import JSON, json_of
from agentd.rest.bodies import schemas
from agentd.rest.call import agent
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route

Agent = Annotated[AgentPort, Depends(agent)]
Name = Annotated[str, Path(max_length=255, description="The host's name.")]


async def list_resources(port: Agent) -> Response:
    """List the hosts of the pool, with what each has, what is free, and what is still owed."""
    return json_of({"resources": port.resources()})


async def add_resource(port: Agent, body: Annotated[schemas.ResourceAdded, Body()]) -> Response:
    """Add a host, or let a known one grow."""
    added = await port.add_resource(
        body.name, body.capacity.value(), body.adaptor, dict(body.properties), body.is_parent
    )
    return json_of(added)


async def reduce_resource(port: Agent, name: Name, body: Annotated[schemas.ResourceReduced, Body()]) -> Response:
    """Take capacity away; what is in use is owed until the tasks that hold it end."""
    return json_of(await port.reduce_resource(name, body.capacity.value()), 202)


async def remove_resource(
    port: Agent,
    name: Name,
    lost: Annotated[bool, Query(description="It is gone already: what ran there runs again elsewhere.")] = False,
) -> Response:
    """Remove a host: drained, or at once when it is lost."""
    return json_of(await port.remove_resource(name, lost), 202)


ROUTES = (
    Route(
        method="GET",
        path="/v1/resources",
        scope="read",
        endpoint=list_resources,
        tag="resources",
        answers={200: schemas.Resources},
    ),
    Route(
        method="POST",
        path="/v1/resources",
        scope="admin",
        endpoint=add_resource,
        tag="resources",
        accepts=(JSON,),
        answers={200: schemas.Resource},
        problems=(422,),
        example="""-H 'Content-Type: application/json' """
        """-d '{"name": "beta", "capacity": {"processors": [{"units": 4}]}, "properties": {"port": "46102"}}'""",
    ),
    Route(
        method="POST",
        path="/v1/resources/{name}/reduce",
        scope="admin",
        endpoint=reduce_resource,
        tag="resources",
        accepts=(JSON,),
        answers={202: schemas.Resource},
        problems=(404, 409, 422),
        example="""-H 'Content-Type: application/json' -d '{"capacity": {"processors": [{"units": 2}]}}'""",
    ),
    Route(
        method="DELETE",
        path="/v1/resources/{name}",
        scope="admin",
        endpoint=remove_resource,
        tag="resources",
        answers={202: schemas.Resource},
        problems=(404, 422),
    ),
)
