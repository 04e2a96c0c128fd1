"""The figures of the Comm interface that an operator or a test may set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentd.wire.framing import MAX_FRAME_BYTES
from agentd.wire.terms import PROTOCOL_MAX, PROTOCOL_MIN, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class CommSettings:
    """Limits and periods; the defaults are the product's."""

    protocol_min: int = PROTOCOL_MIN
    protocol_max: int = PROTOCOL_MAX
    frame_bytes: int = MAX_FRAME_BYTES
    heartbeat_s: float = 1.0
    suspect_beats: int = 3
    lost_beats: float = 5
    hello_s: float = 2.0
    """Time to say HELLO, and to answer it."""
    unauthenticated: int = 64
    """Connections that have not been welcomed yet."""
    connections: int = 1_024
    """Connections in all."""
    call_credits: int = 65_536
    """Calls that one user may have unsettled."""
    offer_credits: int = 4_096
    """Offers that one peer may have unanswered."""
    templates: int = 16_384
    """Templates that one connection may declare."""
    templates_bytes: int = 256 * 1024 * 1024
    """Code that one connection may declare."""
    write_buffer_bytes: int = 8 * 1024 * 1024
    """What may wait in memory for an end that does not keep up; more of it waits on the disk (chosen)."""
    overflow_folder: Path | None = None
    """Where on the disk; None: where the system has its temporary files."""
    write_cap_bytes: int = 512 * 1024 * 1024
    """Above this it is dropped at once: a user's largest burst of inline results stays below (chosen)."""
    lent_cap_bytes: int = 4 * 1024 * 1024 * 1024
    """The same for shared memory, and files in its place, that a program of this device has not read of."""
    stalled_s: float = 30.0
    """How long an end may go without reading `progress_bytes` while there are more for it."""
    progress_bytes: int = 65_536
    patience_s: float = 0.005
    """How long what nobody waits for may be held back for a frame in common (chosen: ten calls over one hop, and a
    quarter of the least time between two reports)."""
    linger_s: float = 2.0
    """How long a closing connection may take to deliver its last words."""
    dial_s: float = 5.0
    backoff_first_s: float = 0.2
    backoff_most_s: float = 10.0

    def terms(self, *, local: bool) -> Terms:
        """Give what this end brings to a connection."""
        return Terms(
            protocol_min=self.protocol_min,
            protocol_max=self.protocol_max,
            frame_bytes=self.frame_bytes,
            heartbeat_s=self.heartbeat_s,
            suspect_beats=self.suspect_beats,
            lost_beats=self.lost_beats,
            local=local,
        )
