"""What is shown of an agent to its users: rows made for reading, never for deciding.

Times are seconds since 1970 (wall clock), for people only; identifiers are decimal text, as JSON cannot hold 63 bits.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

STATES = ("queued", "running", "forwarded", "done", "failed", "cancelled", "lost_unknown", "quarantined")
TERMINAL = frozenset(STATES[3:])


class TaskCounts(Struct, frozen=True):
    """Tasks of one operation, by what they are doing."""

    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0


class ErrorView(Struct, frozen=True):
    """Why an operation did not end well."""

    type: str
    message: str
    traceback: str = ""


class OperationView(Struct, frozen=True, omit_defaults=False):
    """An operation as its owner sees it."""

    id: str
    name: str
    function: str
    state: str
    reason: str
    """Why it waits, or why it ended as it did; empty when there is nothing to say."""
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    agent: str = ""
    """The agent that was asked."""
    ran_on: str | None = None
    """The agent that ran it (or runs it)."""
    hops: int = 0
    attempts: int = 1
    tasks: TaskCounts = TaskCounts()
    result: Any = None
    """Inline when it is small JSON; a `msgspec.Raw`."""
    error: ErrorView | None = None
    assumed: list[str] = []
    """Constraints that its host meets only because the figure is not known there."""
    links: dict[str, str] = {}


class TaskView(Struct, frozen=True):
    """One task of an operation."""

    id: str
    function: str
    state: str
    host: str
    """Agent that it was placed on; empty while it waits."""
    attempt: int
    reason: str
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    argument_bytes: int = 0
    result_bytes: int = 0
    parent: str = ""
    """Task that asked for it; empty for what a user asked for."""
    worker: int = 0
    """Worker of this agent that runs it or ran it; 0: none did."""
    ready_at: float | None = None
    """When all that it needs was there."""
    placed_at: float | None = None
    """When it was given to a worker or a neighbour."""
    reads: tuple[str, ...] = ()
    """Data versions that it reads, makes, and waits for without reading them: the edges of the graph."""
    makes: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class ProcessorView(Struct, frozen=True):
    """One processor entry."""

    name: str | None
    type: str
    architecture: str | None
    units: int


class ResourceView(Struct, frozen=True):
    """One host of the pool."""

    name: str
    adaptor: str
    state: str
    """own, connected, connecting, lost, draining; in the answer to who took it out of the pool lost or removed."""
    total: dict[str, int]
    """Units by kind: CPU, GPU, FPGA, OTHER; what is configured."""
    free: dict[str, int]
    owed: dict[str, int]
    """Units that will leave as soon as the tasks that hold them end."""
    processors: list[ProcessorView]
    memory_mib: int | None = None
    rtt_s: float | None = None
    limit_of_tasks: int | None = None
    """Most tasks of ours that it may hold at a time."""
    declared: bool = True
    """The operator said what it grants; else that is what it reports of itself."""
    warnings: list[str] = []
    """What the operator should know, such as more units than the machine has."""


class NeighbourView(Struct, frozen=True):
    """A link to another agent."""

    name: str
    state: str
    is_parent: bool
    address: str
    rtt_s: float | None
    bytes_per_s: float | None
    advertised: dict[str, float]
    """cores, free and backlog_s, as last reported, of it and all beyond it; own_cores and own_free of it alone."""
    report_age_s: float | None
    lease_s: float
    """What is left of its lease."""
    running: int
    """Tasks of ours that it holds."""
    refusal: str = ""
    """The last reason for which it declined a task."""
    why_not: str = ""
    """Why there is no connection."""
    python: str = ""
    """Minor version of the Python that runs users' code there; empty when it has not said."""
    libraries: dict[str, str] = {}
    """Versions of libraries there whose pickles other versions may not read."""
    under_way_bytes: int = 0
    """What offers carry that it has not answered."""
    unread_bytes: int = 0
    """What results of its tasks carry that it has not confirmed."""


class AgentView(Struct, frozen=True):
    """Who this agent is and how it stands."""

    name: str
    id: str
    boot: str
    version: str
    protocol: int
    python: str
    pid: int
    rest: str | None
    comm: str | None
    scheduler: str
    state_folder: str
    started_at: float
    draining: bool
    ready: bool
    not_ready_reason: str
    cores: int
    cores_free: int
    workers: int
    operations: dict[str, int]
    """How many there are in each state, terminal ones included while they are kept."""
    waiting: int
    running: int
    journal_bytes: int
    objects_bytes: int
    warnings: list[str] = []
    """What an operator should know, such as an insecure bind."""
    ended: int = 0
    """Tasks that have ended here since the start, those of neighbours and of clients too."""
    waiting_for: dict[str, int] = {}
    """Of the waiting tasks: whose they are, those with most first, while several are served in turn."""
    why_waiting: dict[str, str] = {}
    """By function, of calls of executors, which are no operations: why the first of them waits; a few at most."""


class Page(Struct, frozen=True):
    """One page of operations, newest first."""

    operations: list[OperationView]
    next_cursor: str | None = None


class PeerView(Struct, frozen=True, kw_only=True):
    """An agent that this one was paired with."""

    name: str
    agent_id: str
    fingerprint: str
    """sha256 of its certificate, in hexadecimal."""
    state: str
    """revoked, not linked, or the state of the link."""
    addresses: list[str]
    paired_at: float
    functions: list[str]
    """The only ones that it may have run here; empty: any."""
    max_tasks: int | None
    """Tasks of its that may wait or run here at a time."""
    submit_upward: bool
    """It may give this agent work."""
    may_stop: bool = False
    """It may make this agent stop."""
    revoked: str = ""
    """Why it is trusted no more."""
    why_not: str = ""
    """Why there is no connection; empty where there is one, or none is wanted."""


class InvitationView(Struct, frozen=True):
    """An invitation to this agent."""

    id: str
    role: str
    """peer or user."""
    name: str
    scope: str
    expires_s: float
    """How long it is good."""
    addresses: list[str] = []
    invitation: str = ""
    """The string; shown once, when it is made."""
    notes: list[str] = []
    """What the operator should know."""


class LoginView(Struct, frozen=True):
    """What a user gets for an invitation."""

    name: str
    scope: str
    token: str
    """Shown this once."""
    agent: str
