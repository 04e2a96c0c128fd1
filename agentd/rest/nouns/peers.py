"""The agents that this one was paired with: join, list, name, limit, revoke."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, Path, Query
from starlette.responses import Response

from agentd.rest.answering.answers import JSON, Answer, json_of
from agentd.rest.bodies import peer_schemas as schemas
from agentd.rest.call import agent
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route

Agent = Annotated[AgentPort, Depends(agent)]
Name = Annotated[str, Path(max_length=255, description="The peer's name here.")]


async def list_peers(port: Agent) -> Response:
    """List the agents that this one was paired with, revoked ones included."""
    return json_of({"peers": port.pairing.peers()})


async def join(port: Agent, body: Annotated[schemas.Joining, Body()]) -> Response:
    """Use another agent's invitation: both trust each other from then on."""
    joined = await port.pairing.join(body.invitation, body.name, link=body.link, is_parent=body.is_parent)
    return json_of(joined, 201)


async def change_peer(port: Agent, name: Name, body: Annotated[schemas.PeerChanged, Body()]) -> Response:
    """Call a peer something else, or limit what it may ask for, from this moment on."""
    change = None if body.limits is None else body.limits.of
    return json_of(await port.pairing.change(name, body.name, change))


async def revoke_peer(
    port: Agent,
    name: Name,
    reason: Annotated[str, Query(max_length=512, description="What the peer is told.")] = "",
    forget: Annotated[bool, Query(description="Strike out what was revoked before.")] = False,
) -> Response:
    """Trust a peer no more: its connection ends at once, and it is told why."""
    if forget:
        await port.pairing.forget(name)
        return Answer(204)
    return json_of(await port.pairing.revoke(name, reason))


ROUTES = (
    Route(
        method="GET",
        path="/v1/peers",
        scope="read",
        endpoint=list_peers,
        tag="peers",
        answers={200: schemas.PeersShown},
    ),
    Route(
        method="POST",
        path="/v1/peers",
        scope="admin",
        endpoint=join,
        tag="peers",
        accepts=(JSON,),
        answers={201: schemas.PeerShown},
        problems=(403, 422, 507),
        example="""-H 'Content-Type: application/json' -d '{"invitation": "agentd1_…"}'""",
    ),
    Route(
        method="POST",
        path="/v1/peers/{name}",
        scope="admin",
        endpoint=change_peer,
        tag="peers",
        accepts=(JSON,),
        answers={200: schemas.PeerShown},
        problems=(404, 422, 507),
        example="""-H 'Content-Type: application/json' -d '{"limits": {"max_tasks": 2}}'""",
    ),
    Route(
        method="DELETE",
        path="/v1/peers/{name}",
        scope="admin",
        endpoint=revoke_peer,
        tag="peers",
        answers={200: schemas.PeerShown, 204: None},
        problems=(404, 422, 507),
    ),
)
