"""What an operator may set of the user port, and the limits that hold where nothing is set."""

from __future__ import annotations

from msgspec import Struct

from agentd.model.errors import ConfigError
from agentd.rest.port import SCOPES

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


class RestSettings(Struct, frozen=True, kw_only=True):
    """Limits and names of the user port; the figures were chosen, and are no contract unless they say so."""

    names: tuple[str, ...] = ()
    """Names and addresses of this agent that a Host header may bear, beside loopback."""
    rest_names: tuple[str, ...] = ()
    """Further names (`--rest-name`): of a proxy, or of a container's host."""
    local_access: str = "code"
    """The largest scope that a process of the same user on loopback has without a token (`--local-access`)."""
    callback_hosts: tuple[str, ...] = ()
    """Hosts (`name` or `name:port`) that may be called back (`--callback-host`)."""

    body_cap_bytes: int = MIB
    """Largest JSON or XML body; part of the contract."""
    blob_cap_bytes: int = 16 * GIB
    depth_cap: int = 64
    """Deepest nesting of a JSON body."""
    batch_cap: int = 1000
    """Most operations in one batch; part of the contract."""
    wait_cap_s: float = 300.0
    """Longest that one request waits for an operation; longer wishes are shortened to it."""

    header_cap_bytes: int = 32 * KIB
    header_deadline_s: float = 10.0
    """From the connection, or from a request's first byte, to the end of its headers."""
    body_deadline_s: float = 30.0
    """For the whole body; a streamed one must bring `progress_bytes` in each such period."""
    progress_bytes: int = 64 * KIB
    keep_alive_s: float = 15.0
    """How long an idle connection is kept for its next request."""
    linger_s: float = 5.0
    """How long the rest of a refused body is read and thrown away, so that its sender can read the refusal."""
    connections: int = 512
    """Most open connections; the next one gets a 503."""

    streams: int = 64
    """Most open event and log streams."""
    heartbeat_s: float = 15.0
    """Longest silence of an event stream; part of the contract."""
    stream_queue: int = 1000
    """Most changes that wait for one slow reader."""
    stream_queue_bytes: int = 4 * MIB
    stream_patience_s: float = 1.0
    """How long a full queue waits for its reader, before the reader is told to come again."""
    send_deadline_s: float = 30.0
    """How long a stream waits for a reader that takes nothing."""

    def __post_init__(self) -> None:
        """Refuse a scope that does not exist.

        Raises:
            ConfigError: `local_access` is none of the scopes.
        """
        if self.local_access not in SCOPES:
            raise ConfigError(f"--local-access {self.local_access!r} is none of {', '.join(SCOPES)}")
