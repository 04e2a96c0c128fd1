"""Whether the agent lives, whether it takes work, and its figures."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from agentd.rest.answering.answers import Answer, json_of
from agentd.rest.answering.problems import Problem
from agentd.rest.bodies import schemas
from agentd.rest.call import agent
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route

Agent = Annotated[AgentPort, Depends(agent)]

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def show_health(port: Agent) -> Response:
    """Say that the agent is alive, and what its operator should know."""
    return json_of({"status": "alive", "warnings": port.agent().warnings})


async def show_readiness(port: Agent) -> Response:
    """Say whether work can be taken; 503 says why not."""
    reason = port.readiness()
    if reason:
        raise Problem(503, f"no work can be taken now: {reason}", kind="not-ready", retry_after_s=5)
    return json_of({"status": "ready"})


async def show_metrics(port: Agent) -> Response:
    """Give the agent's figures to Prometheus."""
    return Answer(200, port.metrics().encode(), PROMETHEUS.encode())


ROUTES = (
    Route(
        method="GET",
        path="/health",
        scope="none",
        endpoint=show_health,
        tag="health",
        answers={200: schemas.Health},
    ),
    Route(
        method="GET",
        path="/ready",
        scope="none",
        endpoint=show_readiness,
        tag="health",
        answers={200: schemas.Ready},
        problems=(503,),
    ),
    Route(
        method="GET",
        path="/metrics",
        scope="read",
        endpoint=show_metrics,
        tag="health",
        answers={200: None},
        media=("text/plain",),
    ),
)
