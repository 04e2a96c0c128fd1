"""Invitations: made for agents and users of other devices, and exchanged for a token by the latter."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from agentd.rest.answering.answers import JSON, Answer, json_of
from agentd.rest.bodies import peer_schemas as schemas
from agentd.rest.call import agent
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route

Agent = Annotated[AgentPort, Depends(agent)]


async def invite(port: Agent, body: Annotated[schemas.InvitationAsked, Body()]) -> Response:
    """Make an invitation; its string is shown this once, and lets in whoever has it, once."""
    made = port.pairing.invite(body.role, body.name, body.scope, body.expires_s, body.addresses)
    return json_of(made, 201)


async def list_invitations(port: Agent) -> Response:
    """List the invitations that are open, without their strings."""
    return json_of({"invitations": port.pairing.invitations()})


async def cancel_invitation(port: Agent, identifier: Annotated[str, Path(max_length=64)]) -> Response:
    """Void an invitation."""
    port.pairing.cancel_invitation(identifier)
    return Answer(204)


async def log_in(request: Request, port: Agent, body: Annotated[schemas.LoginAsked, Body()]) -> Response:
    """Exchange an invitation for a token."""
    where = request.client.host if request.client else ""
    return json_of(await port.pairing.login(bytes.fromhex(body.secret), where), 201)


ROUTES = (
    Route(
        method="POST",
        path="/v1/invitations",
        scope="admin",
        endpoint=invite,
        tag="peers",
        accepts=(JSON,),
        answers={201: schemas.InvitationShown},
        problems=(422,),
        example="""-H 'Content-Type: application/json' -d '{"role": "peer"}'""",
    ),
    Route(
        method="GET",
        path="/v1/invitations",
        scope="read",
        endpoint=list_invitations,
        tag="peers",
        answers={200: schemas.InvitationsShown},
    ),
    Route(
        method="DELETE",
        path="/v1/invitations/{identifier}",
        scope="admin",
        endpoint=cancel_invitation,
        tag="peers",
        answers={204: None},
        problems=(404, 422),
    ),
    Route(
        method="POST",
        path="/v1/login",
        scope="none",
        endpoint=log_in,
        tag="peers",
        accepts=(JSON,),
        answers={201: schemas.LoginShown},
        problems=(403, 422),
        example="""-H 'Content-Type: application/json' -d '{"secret": "…"}'""",
    ),
)
