"""The agent itself: who it is, and its end."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query
from starlette.responses import Response

from agentd.rest.answering.answers import json_of
from agentd.rest.bodies import schemas
from agentd.rest.call import agent
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route

Agent = Annotated[AgentPort, Depends(agent)]


async def show_agent(port: Agent) -> Response:
    """Show who the agent is and how it stands."""
    return json_of(port.agent())


async def shut_down(
    port: Agent,
    drain_s: Annotated[float | None, Query(ge=0, le=86400, description="Grace for what runs.")] = None,
) -> Response:
    """Drain and stop: what waits goes back or stays in the journal, what runs gets a grace."""
    await port.shutdown(drain_s)
    return json_of({"status": "stopping"}, 202)


ROUTES = (
    Route(
        method="GET",
        path="/v1/agent",
        scope="read",
        endpoint=show_agent,
        tag="agent",
        answers={200: schemas.Agent},
    ),
    Route(
        method="POST",
        path="/v1/shutdown",
        scope="admin",
        endpoint=shut_down,
        tag="agent",
        answers={202: schemas.Stopping},
        problems=(422,),
    ),
)
