"""What the two ends of a connection bring to it, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from agentd.wire.framing import MAX_FRAME_BYTES
from agentd.wire.messages import Hello, HelloAck

PROTOCOL_MIN = 1
PROTOCOL_MAX = 2
"""The newest version that is spoken; see docs/comm-protocol.md for what each brought."""
COMPARING = 2
"""From this version on both ends of a peer's connection begin with INVENTORY."""


class Side(Enum):
    """Who dialled."""

    DIALLER = "dialler"
    ACCEPTOR = "acceptor"


class Phase(IntEnum):
    """How far a connection has come."""

    OPENING = 0
    """The dialler says HELLO."""
    DECIDING = 1
    """HELLO was said; the acceptor answers it."""
    OPEN = 2
    CLOSED = 3
    """GOODBYE or a refusal was said, or the protocol was broken."""


class Life(Enum):
    """What the silence of the other end means."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one end brings to a connection."""

    protocol_min: int = PROTOCOL_MIN
    protocol_max: int = PROTOCOL_MAX
    frame_bytes: int = MAX_FRAME_BYTES
    opening_bytes: int = 65_536
    """Cap on HELLO and HELLO_ACK: a stranger makes us keep no more."""
    heartbeat_s: float = 1.0
    suspect_beats: int = 3
    lost_beats: float = 5
    local: bool = False
    """Both ends are on one device, on a Unix socket: shared memory may be named, and the kernel tells of a death."""


def unlike(own_python: tuple[int, int], them: Hello | HelloAck) -> str:
    """Say why code that this agent can read by value cannot be read there; empty when it can, or that is not known."""
    if (0, 0) in {own_python, them.python}:
        return ""
    if own_python != them.python:
        there, here = (".".join(map(str, version)) for version in (them.python, own_python))
        return f"it runs Python {there}, this agent {here}: code by value needs the same"
    if them.libraries and "cloudpickle" not in them.libraries:
        return "it has no cloudpickle, which code by value needs"
    return ""


def agreed_version(terms: Terms, hello: Hello) -> int | None:
    """Give the newest version that both ends speak; None if there is none."""
    version = min(terms.protocol_max, hello.protocol_max)
    return version if version >= max(terms.protocol_min, hello.protocol_min) else None
