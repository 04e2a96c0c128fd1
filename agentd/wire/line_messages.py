"""The messages about direct lines: to a worker of a neighbour, and of calls that are to be recorded."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from agentd.model.exchange import Submission
from agentd.wire.messages import MAX_ITEMS, Kind, Message, Reason


class LineOpen(Message, frozen=True):
    """Be ready for a connection of its own beside this one, for a line to a worker of yours, or make it.

    Sent only to who says `lines` in its capabilities.
    """

    kind: ClassVar[Kind] = Kind.LINE_OPEN
    number: int = 0
    """The asker's, for the answer."""
    ticket: Annotated[bytes, Meta(max_length=64)] = b""
    """By which the connection, and then the offer of the task that is to serve it, are known."""
    dial: bool = False
    """The receiver is to make the connection, as it dialled this one; else the sender does."""
    secret: Annotated[bytes, Meta(max_length=64)] = b""
    """Over TLS: what the session says first within the line's own TLS, so that the worker knows it."""


class LineAnswer(Message, frozen=True):
    """The answer to LINE_OPEN: the connection may be made, or is made."""

    kind: ClassVar[Kind] = Kind.LINE_ANSWER
    number: int = 0
    objection: Reason = ""
    """Why there is none; empty when there is."""
    certificate: Annotated[bytes, Meta(max_length=4_096)] = b""
    """Over TLS: that of the worker's end of the line (DER), the only one that the session is to believe."""


class LineGiven(Message, frozen=True):
    """The session's end of the line that it asked for: the descriptor travels with this frame.

    To be used when the worker has said on it that it serves.
    """

    kind: ClassVar[Kind] = Kind.LINE_GIVEN
    ref: int = 0
    """That of its DIRECT_LINE."""
    certificate: Annotated[bytes, Meta(max_length=4_096)] = b""
    """That of the worker (DER), where the line is TLS; empty where it is plain."""
    secret: Annotated[bytes, Meta(max_length=64)] = b""
    """To be said first, within TLS."""


class Announce(Message, frozen=True):
    """The sender makes these durable calls over its direct line: their worker tells the receiver how they end.

    They count as calls and are settled as such. What the worker has not ended when the line is over is a call like any
    other. Sent only to who says `announce` in its capabilities.
    """

    kind: ClassVar[Kind] = Kind.ANNOUNCE
    line: int = 0
    """The ref of its DIRECT_LINE."""
    calls: Annotated[list[Submission], Meta(max_length=MAX_ITEMS)] = []  # noqa: RUF012 - msgspec gives each its own
