"""The shapes of the user port's JSON: what the OpenAPI shows and a generated client uses.

Law: fields and bounds are those of the values that travel; tests compare each model with the struct it stands for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from agentd.rest.bodies.constraints import Amount, Constraints, Flag, Size, Units, Word, Words
from schedulers.capacity import Capacity, Kind, Processor

Id = Annotated[
    str, Field(pattern=r"^[1-9][0-9]{0,18}$", description="A positive 63-bit number.", examples=["4611686018427387904"])
]
State = Literal["queued", "running", "forwarded", "done", "failed", "cancelled", "lost_unknown", "quarantined"]


class Asked(BaseModel):
    """Root of what users send: a field that nobody knows is an error."""

    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """Root of what users get; fields may be added in later versions."""


# --- what users send ------------------------------------------------------------------------------------------------


class Callback(Asked):
    """Whom to tell when the operation has ended; the operator says which hosts may be told."""

    url: Annotated[str, Field(min_length=1, max_length=2048, examples=["http://localhost:8080/ended"])]


class Submission(Asked):
    """One operation as it is asked for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"function": "shop.prices:total", "args": [[1, 2, 3]], "kwargs": {"tax": 0.2}},
                {"function": "shop.prices:train", "constraints": {"computing_units": 2}, "timeout_s": 60},
                {"function": "hello.py", "script": "print('hello')"},
            ]
        },
    )

    function: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            description="`package.module:function`, found on the agent's own path. With `code` a name for people, "
            "with `script` the program's file name.",
        ),
    ]
    args: Annotated[
        list[Any], Field(description='Positional arguments. `{"$blob": "ID"}` stands for what PUT /v1/blobs stored.')
    ] = []
    kwargs: Annotated[dict[str, Any], Field(description="Named arguments.")] = {}
    pickle: Annotated[
        Base64Bytes | None,
        Field(
            description="In place of `args` and `kwargs`: base64 of the pickle of `(args, kwargs)`. Needs scope code."
        ),
    ] = None
    code: Annotated[
        Base64Bytes | None,
        Field(description="The function by value: base64 of its cloudpickle. Needs scope code."),
    ] = None
    script: Annotated[str | None, Field(description="Source of a program to run as `__main__`. Needs scope code.")] = (
        None
    )
    constraints: Constraints | None = None
    timeout_s: Annotated[
        float | None, Field(strict=True, gt=0, le=1e9, description="Longest that one attempt may run.")
    ] = None
    max_attempts: Annotated[
        int, Field(strict=True, ge=1, le=100, description="How often losses of infrastructure may start it.")
    ] = 3
    idempotent: Annotated[
        Flag, Field(description="False: runs at most once, and ends `lost_unknown` when in doubt.")
    ] = True
    priority: Annotated[int, Field(strict=True, ge=-(1 << 31), lt=1 << 31, description="Higher runs earlier.")] = 0
    name: Annotated[str, Field(max_length=256, description="For people.")] = ""
    on_failure: Annotated[
        Literal["FAIL", "RETRY"],
        Field(description="Where users' code raises: FAIL, or RETRY, four times in all, if it is idempotent."),
    ] = "FAIL"
    on_orphan: Annotated[
        Literal["STOP", "KEEP"],
        Field(description="What becomes of it on an agent that has lost the one that gave it; STOP: after a while."),
    ] = "STOP"
    callback: Callback | None = None
    key: Annotated[
        str | None,
        Field(
            pattern=r"^[\x21-\x7e]{1,255}$",
            description="Idempotency key, as the header of that name; in a batch the only way to give one.",
        ),
    ] = None


class Batch(Asked):
    """Up to 1,000 operations, accepted in one commit, each with an answer of its own."""

    operations: Annotated[list[Submission], Field(min_length=1, max_length=1000)]


class ProcessorAsked(Asked):
    """One entry of like processors."""

    units: Units
    kind: Literal["CPU", "GPU", "FPGA", "OTHER"] = "CPU"
    name: Word | None = None
    architecture: Word | None = None
    speed_ghz: Size | None = None
    internal_memory_gb: Size | None = None
    property_name: Word | None = None
    property_value: Word | None = None


class CapacityAsked(Asked):
    """An amount of compute; null is unknown, which satisfies any demand."""

    processors: Annotated[list[ProcessorAsked], Field(max_length=64)] = []
    memory_mib: Amount | None = None
    memory_type: Word | None = None
    storage_gb: Size | None = None
    storage_type: Word | None = None
    storage_bandwidth: Amount | None = None
    os_type: Word | None = None
    os_distribution: Word | None = None
    os_version: Word | None = None
    software: Words = []
    queues: Words = []
    labels: Words = []
    wall_clock_limit_s: Size | None = None

    def value(self) -> Capacity:
        """Make the capacity that this describes."""
        fields = self.model_dump(exclude={"processors", "software", "queues", "labels"})
        processors = tuple(
            Processor(**{**processor.model_dump(), "kind": Kind(processor.kind)}) for processor in self.processors
        )
        return Capacity(
            processors=processors,
            software=frozenset(name.upper() for name in self.software),
            queues=frozenset(name.upper() for name in self.queues),
            labels=frozenset(self.labels),
            **fields,
        )


ADDRESSED = r"^(https?://)?[A-Za-z0-9_.:\[\]%-]{1,247}$"
HostName = Annotated[str, Field(pattern=ADDRESSED, examples=["beta", "192.0.2.7", "http://192.0.2.7:46101"])]


class ResourceAdded(Asked):
    """A host that joins the pool, or grows if it is known."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "beta", "capacity": {"processors": [{"units": 4}]}, "properties": {"port": "46102"}}]
        },
    )

    name: HostName
    capacity: CapacityAsked
    adaptor: Annotated[str, Field(min_length=1, max_length=256, description="How it is reached.")] = "comm"
    properties: Annotated[
        dict[Word, Annotated[str, Field(max_length=4096)]],
        Field(max_length=64, description="What the adaptor needs to reach it."),
    ] = {}
    is_parent: Annotated[Flag, Field(description="It may be asked for what nobody below can do.")] = False


class ResourceReduced(Asked):
    """What is taken away from a host."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"capacity": {"processors": [{"units": 2}]}}]}
    )

    capacity: CapacityAsked


# --- what users get -------------------------------------------------------------------------------------------------


class TaskCounts(Shown):
    """Tasks of one operation, by what they are doing."""

    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0


class Failure(Shown):
    """Why an operation did not end well."""

    type: str
    message: str
    traceback: str = ""


class Operation(Shown):
    """An operation as its owner sees it. Times are seconds since 1970."""

    id: Id
    name: str
    function: str
    state: State
    reason: Annotated[str, Field(description="Why it waits, or why it ended as it did.")]
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    agent: Annotated[str, Field(description="The agent that was asked.")] = ""
    ran_on: Annotated[str | None, Field(description="The agent that ran it, or runs it.")] = None
    hops: int = 0
    attempts: int = 1
    tasks: TaskCounts = TaskCounts()
    result: Annotated[Any, Field(description="The value, when it is small and can be said in JSON.")] = None
    error: Failure | None = None
    assumed: Annotated[
        list[str], Field(description="Constraints that its host meets only because the figure is not known there.")
    ] = []
    links: dict[str, str] = {}


class Page(Shown):
    """One page of operations, newest first."""

    operations: list[Operation]
    next_cursor: Annotated[str | None, Field(description="What to give as `cursor` for the next page.")] = None


class ProcessorShown(Shown):
    """One processor entry."""

    name: str | None
    type: str
    architecture: str | None
    units: int


class Resource(Shown):
    """One host of the pool; units by kind (CPU, GPU, FPGA, OTHER)."""

    name: str
    adaptor: str
    state: Annotated[str, Field(description="own, connected, connecting, lost, draining.")]
    total: dict[str, int]
    free: dict[str, int]
    owed: Annotated[dict[str, int], Field(description="Units that leave when the tasks that hold them end.")]
    processors: list[ProcessorShown]
    memory_mib: int | None = None
    rtt_s: float | None = None
    limit_of_tasks: int | None = None
    declared: Annotated[bool, Field(description="The operator said what it grants; else it is what it reports.")] = True
    warnings: list[str] = []


class Resources(Shown):
    """The pool."""

    resources: list[Resource]


class Neighbour(Shown):
    """A link to another agent."""

    name: str
    state: str
    is_parent: bool
    address: str
    rtt_s: float | None
    bytes_per_s: float | None
    advertised: Annotated[
        dict[str, float],
        Field(
            description="As last reported: cores, free and backlog_s of it and of all agents beyond it; own_cores and "
            "own_free of it alone, where it says so."
        ),
    ]
    report_age_s: float | None
    lease_s: Annotated[float, Field(description="What is left of its lease.")]
    running: Annotated[int, Field(description="Tasks of ours that it holds.")]
    refusal: Annotated[str, Field(description="The last reason for which it declined a task.")] = ""
    why_not: Annotated[str, Field(description="Why there is no connection.")] = ""
    python: Annotated[str, Field(description="Minor version of the Python that runs users' code there.")] = ""
    libraries: Annotated[dict[str, str], Field(description="Versions of libraries there.")] = {}
    under_way_bytes: Annotated[int, Field(description="What offers carry that it has not answered.")] = 0
    unread_bytes: Annotated[int, Field(description="What results of its tasks carry that it has not confirmed.")] = 0


class Neighbours(Shown):
    """All links."""

    neighbours: list[Neighbour]


class Agent(Shown):
    """Who the agent is and how it stands."""

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
    waiting: int
    running: int
    journal_bytes: int
    objects_bytes: int
    warnings: list[str] = []
    ended: Annotated[int, Field(description="Tasks that have ended here since the start.")] = 0
    waiting_for: Annotated[
        dict[str, int], Field(description="Of the waiting tasks: whose they are, while several are served in turn.")
    ] = {}
    why_waiting: Annotated[
        dict[str, str], Field(description="By function, of calls of executors: why the first of them waits.")
    ] = {}


class Blob(Shown):
    """A stored value."""

    id: Id
    bytes: int


class Health(Shown):
    """The agent is alive."""

    status: Literal["alive"]
    warnings: list[str] = []


class Ready(Shown):
    """The agent takes work."""

    status: Literal["ready"]


class Stopping(Shown):
    """The agent drains and will stop."""

    status: Literal["stopping"]


class FieldError(Shown):
    """One wrong field."""

    pointer: Annotated[str, Field(description="JSON pointer in the body, or `?name` for a query parameter.")]
    detail: str


class ProblemDocument(Shown):
    """What went wrong and what to do (RFC 9457)."""

    type: Annotated[str, Field(examples=["urn:agentd:problem:invalid"])]
    title: str
    status: int
    detail: Annotated[str, Field(description="What to do.")]
    errors: list[FieldError] = []
    error: Annotated[Failure | None, Field(description="With 424: why the operation did not end well.")] = None
    state: Annotated[State | None, Field(description="With 424: how it ended.")] = None


class BatchItem(Shown):
    """The answer to one operation of a batch: its status, and the operation or the problem."""

    status: int
    operation: Operation | None = None
    problem: ProblemDocument | None = None


class BatchAnswer(Shown):
    """The answers to a batch, in its order."""

    operations: list[BatchItem]


class Index(Shown):
    """What there is and how to call it."""

    name: str
    version: str
    documentation: str
    openapi: str
    routes: list[str]
    call: str
    authorization: str
