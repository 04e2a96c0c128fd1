"""A task as an operation of another agent's user port: what is asked there, and what its end is here; pure.

Law: nothing is lost or guessed on the way: a task that the port cannot express is declined with the reason.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from agentd.model.task import Failure, Form, Outcome, Reason, Status
from agentd.model.values import NO_VALUE, Codec, Payload

if TYPE_CHECKING:
    from agentd.model.exchange import Offer
    from agentd.model.task import Template
    from agentd.model.views import OperationView

FORMS = frozenset({Form.NAME, Form.VALUE, Form.SCRIPT})
STATUS = {
    "done": Status.DONE,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "lost_unknown": Status.LOST_UNKNOWN,
    "quarantined": Status.QUARANTINED,
}


def objection(template: Template, offer: Offer, payload: Payload) -> str | None:
    """Say why a task cannot be asked for over REST; None when it can."""
    if template.form not in FORMS:
        return "a neighbour behind its user port takes no batches of calls"
    if template.holds:
        return "a neighbour behind its user port holds no cores for tasks elsewhere"
    if offer.inputs or offer.makes:
        return "a neighbour behind its user port takes no tasks that share data"
    if payload.codec not in {Codec.NONE, Codec.JSON, Codec.PICKLE} or payload.parts:
        return "a neighbour behind its user port takes arguments in one piece"
    return None


def body_of(template: Template, payload: Payload) -> bytes:
    """Write the submission of one attempt, to be run by the agent that is asked and by no other.

    Its own neighbours are not used, since the way of a task is not told over REST and it might come back. What becomes
    of tasks that read what this one does not make is decided here.
    """
    fields: dict[str, Any] = {
        "function": template.function,
        "constraints": {**msgspec.to_builtins(template.constraints), "is_local": True},
        "max_attempts": 1,
        "idempotent": template.idempotent,
        "priority": template.priority,
        "on_failure": "RETRY" if template.on_failure == "RETRY" else "FAIL",
        "name": template.name,
    }
    if template.timeout_s is not None:
        fields["timeout_s"] = template.timeout_s
    if template.form is Form.VALUE:
        fields["code"] = _base64(template.code)
    elif template.form is Form.SCRIPT:
        fields["script"] = template.code.decode("utf-8", "replace")
    if payload.codec == Codec.PICKLE:
        fields["pickle"] = _base64(payload.data)
    text = msgspec.json.encode(fields)
    if payload.codec == Codec.JSON:
        return text[:-1] + b"," + payload.data[1:]  # both are objects, and share no names
    return text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def value_of(json: bytes | None, pickle: bytes | None, raw: bytes | None) -> Payload:
    """Put the forms of a value that were had together: both where there are both, so that neither is guessed."""
    if raw is not None:
        return Payload(Codec.BYTES, raw)
    if json == b"null" and pickle is not None:
        return NO_VALUE
    if json is not None and pickle is not None:
        return Payload(Codec.BOTH, len(json).to_bytes(4, "big") + json + pickle)
    if pickle is not None:
        return Payload(Codec.PICKLE, pickle)
    return Payload(Codec.JSON, json or b"null")


def outcome_of(view: OperationView, value: Payload, neighbour: str) -> Outcome:
    """Say how an operation ended as the end of one attempt."""
    status = STATUS[view.state]
    took = (view.ended_at or 0.0) - (view.started_at or view.ended_at or 0.0)
    ran_on = view.ran_on or neighbour
    failure = None
    if status != Status.DONE:
        said = view.error
        failure = Failure(
            Reason.EXCEPTION if status == Status.FAILED else Reason.NONE,
            said.type if said is not None else view.state,
            said.message if said is not None else view.reason,
            said.traceback if said is not None else "",
            agent=ran_on,
        )
    return Outcome(status, value, failure, max(took, 0.0), ran_on, 1, 1)
