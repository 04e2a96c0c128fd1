"""The shapes of what is shown of the tasks inside an operation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentd.rest.bodies.schemas import Shown

Versions = tuple[str, ...]


class Task(Shown):
    """One task of an operation. Times are seconds since 1970."""

    id: str
    function: str
    state: str
    host: Annotated[str, Field(description="The agent that it was placed on; empty while it waits.")]
    attempt: int
    reason: str
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    argument_bytes: int = 0
    result_bytes: int = 0
    parent: Annotated[str, Field(description="The task that asked for it; empty for the operation itself.")] = ""
    worker: Annotated[int, Field(description="Worker of this agent that runs it or ran it; 0: none did.")] = 0
    ready_at: Annotated[float | None, Field(description="When all that it needs was there.")] = None
    placed_at: Annotated[float | None, Field(description="When it was given to a worker or a neighbour.")] = None
    reads: Annotated[Versions, Field(description="Data versions that it reads: edges of the graph.")] = ()
    makes: Annotated[Versions, Field(description="Data versions that it makes.")] = ()
    after: Annotated[Versions, Field(description="Data versions that it waits for without reading them.")] = ()


class Tasks(Shown):
    """The tasks of an operation: itself, then the newest that have ended, then those that have not."""

    tasks: list[Task]
