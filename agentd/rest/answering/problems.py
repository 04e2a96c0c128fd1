"""Errors as the user sees them: problem details (RFC 9457) whose `detail` says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from agentd.model.errors import RequestError
from agentd.rest.answering.answers import PROBLEM, Answer

KINDS = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "too-slow",
    409: "still-running",
    413: "too-large",
    415: "unsupported-media-type",
    421: "unknown-host",
    422: "invalid",
    424: "operation-failed",
    429: "queue-full",
    431: "headers-too-large",
    500: "internal",
    503: "unavailable",
    507: "disk-full",
}
"""What a status means at this door; a problem's `type` is `urn:agentd:problem:` and one of these."""


class Problem(RequestError):
    """A refusal by the door itself.

    Attributes:
        kind: last part of the problem's `type`; by default what `KINDS` says of the status.
        headers: further response headers.
        members: further members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
        members: Mapping[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail, status=status, retry_after_s=retry_after_s)
        self.kind = kind
        self.headers = tuple(headers)
        self.members = dict(members or {})


SHOWN_CHARS = 60
"""Of what a caller sent, in a refusal; chosen: it stays one readable line."""


def shown(text: str, limit: int = SHOWN_CHARS) -> str:
    """Repeat what a caller sent: cut when it is long, and without what a terminal would obey."""
    if len(text) > limit:
        text = f"{text[:limit]}…"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def invalid(detail: str, pointer: str = "") -> Problem:
    """Refuse a field: `pointer` is its JSON pointer (RFC 6901) in the body, or `?name` for a query parameter."""
    return Problem(422, detail, members={"errors": [{"pointer": pointer, "detail": detail}]} if pointer else None)


def broken() -> Problem:
    """Answer what nobody expected, saying nothing of it."""
    return Problem(500, "this is a fault of the agent, not of the request: its log has the traceback")


def document(error: RequestError) -> dict[str, Any]:
    """Say an error as a problem document."""
    kind = (error.kind if isinstance(error, Problem) else "") or KINDS.get(error.status, "error")
    members = error.members if isinstance(error, Problem) else {}
    return {
        "type": f"urn:agentd:problem:{kind}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": str(error),
        **members,
    }


def refusal(error: RequestError) -> Answer:
    """Answer a request with an error."""
    headers = list(error.headers) if isinstance(error, Problem) else []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return Answer(error.status, msgspec.json.encode(document(error)), PROBLEM, headers)
