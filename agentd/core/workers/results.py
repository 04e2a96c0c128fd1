"""How one task ended on a worker, as the worker says it."""

from __future__ import annotations

from msgspec import Struct

from agentd.model.task import Failure
from agentd.model.values import NO_VALUE, Payload


class TaskResult(Struct, frozen=True, gc=False):
    """How one task ended on a worker."""

    task: int
    status: int
    value: Payload = NO_VALUE
    failure: Failure | None = None
    started_s: float = 0.0
    """Monotonic time of this machine at which users' code began."""
    seconds: float = 0.0
    """How long users' code took."""
    output_bytes: int = 0
    """How much it wrote to stdout and stderr."""
    made: tuple[Payload, ...] = ()
    """The values of the versions that it makes, in order."""
