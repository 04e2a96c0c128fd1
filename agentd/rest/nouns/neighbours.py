"""The links to other agents."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from agentd.rest.answering.answers import json_of
from agentd.rest.bodies import schemas
from agentd.rest.call import agent
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route


async def list_neighbours(port: Annotated[AgentPort, Depends(agent)]) -> Response:
    """List the links: how they stand, what lies beyond them, and how long they are still believed alive."""
    return json_of({"neighbours": port.neighbours()})


ROUTES = (
    Route(
        method="GET",
        path="/v1/neighbours",
        scope="read",
        endpoint=list_neighbours,
        tag="neighbours",
        answers={200: schemas.Neighbours},
    ),
)
