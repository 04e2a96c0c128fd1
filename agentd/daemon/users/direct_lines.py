"""Direct lines: a session that calls one at a time gets a worker for a while, as a task like any other.

What the engine is told is one call of a function that is none: the worker that gets it serves the session's socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.events import CallsSubmitted, TemplatesDeclared
from agentd.core.placing.ways import could_fit
from agentd.model.exchange import Submission
from agentd.model.task import Constraints, Form, Template
from agentd.model.values import Codec, Part, Payload

if TYPE_CHECKING:
    from agentd.core.events import Event
    from agentd.core.state import AgentState
    from agentd.wire.messages import DirectLine

TEMPLATE = Template(
    function="direct line",
    form=Form.DIRECT,
    codec=Codec.NONE,
    constraints=Constraints(is_local=True),
    max_attempts=1,
    idempotent=False,
)
"""One core of this agent. It runs once, since its calls are its session's to repeat; nothing stands behind it."""
_NUMBER = -1
"""By which the template is named among those of the session, which count from 1."""


def asked_for(caller: int, message: DirectLine, segment: int) -> tuple[Event, Event]:
    """Give what the engine is told when a session asks for a line; its socket is that segment."""
    template = replace(TEMPLATE, name=f"direct line: {message.name}", priority=message.priority)
    payload = Payload(Codec.NONE, b"", (Part(0, None, segment),))
    call = Submission(message.ref, _NUMBER, payload)
    return TemplatesDeclared(caller, ((_NUMBER, template),)), CallsSubmitted(caller, [call])


def is_core_wanted(state: AgentState) -> bool:
    """Tell whether a task waits that a core of this agent would let run."""
    if state.crew.is_promised:
        return True
    if not state.queue.size:
        return False
    waiting = (bucket.shape for bucket in state.queue.buckets())
    return any(shape.is_here and could_fit(state.pool, shape) for shape in waiting)
