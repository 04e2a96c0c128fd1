"""What has happened, as past participles; the engine's only input."""

from __future__ import annotations

from msgspec import Struct

from agentd.core.workers.results import TaskResult as TaskResult  # noqa: PLC0414 - an event's row, named with the events
from agentd.model.exchange import End, Offer, Refusal, Report, Submission
from agentd.model.graph import Put, Spawned
from agentd.model.task import Failure, Template
from agentd.model.values import ObjectKey, Payload
from schedulers.capacity import Capacity


class Event(Struct, frozen=True, gc=False):
    """Root of all events."""


# --- users ------------------------------------------------------------------------------------------------------


class TemplatesDeclared(Event, frozen=True, gc=False):
    """A caller will refer to these templates by these numbers."""

    caller: int
    templates: tuple[tuple[int, Template], ...]
    elsewhere: frozenset[int] = frozenset()
    """Those whose function is not on this agent, only on neighbours."""
    user: str = ""
    """Whose session it is, as at the user port; empty where nobody can tell."""
    only: str = ""
    """The neighbour on which alone their tasks may run; empty: wherever the scheduler says."""


class CallsSubmitted(Event, frozen=True, gc=False):
    """A caller's session asks for calls that end with it (not durable unless their template says so)."""

    caller: int
    calls: list[Submission]


class OperationSubmitted(Event, frozen=True, gc=False):
    """A caller asks for one operation that must survive; answered by `Reply` once it is committed, or refused."""

    caller: int
    template: Template
    payload: Payload
    key: str = ""
    """Idempotency key, scoped by the caller's identity; empty for none."""
    digest: bytes = b""
    """Hash of the request's body: the same key must come with the same digest."""
    name: str = ""
    callback: str = ""
    is_here: bool = True
    """False: this agent does not have the function, only neighbours do."""
    is_patient: bool = False
    """The caller waits for the end anyway: the reply may come with it, and their commits may be one."""
    user: str = ""
    """Who asks, by name; empty where nobody can tell."""


class OperationsSubmitted(Event, frozen=True, gc=False):
    """As `OperationSubmitted`, many at once in one commit; answered by one `Reply` with a list."""

    caller: int
    operations: list[OperationSubmitted]


class OperationWatched(Event, frozen=True, gc=False):
    """A caller wants one `Reply` with the operation's row when it is terminal (and committed)."""

    caller: int
    operation: int


class WatchAbandoned(Event, frozen=True, gc=False):
    """A caller waits no longer for an operation's end."""

    caller: int
    operation: int


class CallerLeft(Event, frozen=True, gc=False):
    """A caller went away: its watches are dropped, and what its session alone wanted is cancelled."""

    caller: int


class CancelRequested(Event, frozen=True, gc=False):
    """A user wants an operation stopped; answered by `Reply` with its row, or a `RequestError`."""

    caller: int
    operation: int


class CallsCancelled(Event, frozen=True, gc=False):
    """A session gives up some of its calls."""

    caller: int
    refs: tuple[int, ...]


class ResultRead(Event, frozen=True, gc=False):
    """A user has read an operation's result: it may expire."""

    operation: int


# --- workers ----------------------------------------------------------------------------------------------------


class WorkerStarted(Event, frozen=True, gc=False):
    """A worker is ready to run tasks."""

    worker: int
    pid: int


class TasksEnded(Event, frozen=True, gc=False):
    """A worker has finished tasks, in the order in which it was given them."""

    worker: int
    results: list[TaskResult]


class TasksRevoked(Event, frozen=True, gc=False):
    """So many tasks at the end of the worker's line were taken back before they started (possibly none)."""

    worker: int
    count: int


class RevokeSettled(Event, frozen=True, gc=False):
    """The worker knows which tasks were taken back: it may be given more."""

    worker: int


class TasksPassed(Event, frozen=True, gc=False):
    """The next tasks of a worker's line were not started: the worker does not have what tasks before them made."""

    worker: int
    tasks: list[int]


class WorkerLost(Event, frozen=True, gc=False):
    """A worker's process has ended, wanted or not. What it had finished was reported before."""

    worker: int
    failure: Failure
    running: int = 0
    """Task that had really started and did not finish; 0 for none."""


# --- tasks that ask for tasks ---------------------------------------------------------------------------------------


class TasksSpawned(Event, frozen=True, gc=False):
    """A running task asks for tasks. Their templates were declared before, under `caller = -worker`."""

    worker: int
    parent: int
    tasks: list[Spawned]


class VersionsPut(Event, frozen=True, gc=False):
    """A running task gives values that its tasks will read."""

    worker: int
    parent: int
    values: list[Put]


class VersionsAwaited(Event, frozen=True, gc=False):
    """A running task waits until each of these is there or failed; answered by `Resume` with the same token."""

    worker: int
    parent: int
    token: int
    versions: list[int]
    wants_values: bool = True


class TasksAwaited(Event, frozen=True, gc=False):
    """A running task waits for the tasks that it asked for so far, or for those of a group; answered by `Resume`."""

    worker: int
    parent: int
    token: int
    group: int = 0


class VersionsReleased(Event, frozen=True, gc=False):
    """A running task needs these versions no longer itself."""

    worker: int
    parent: int
    versions: list[int]


class GroupCancelled(Event, frozen=True, gc=False):
    """A running task gives up the tasks of a group; 0: all that it asked for."""

    worker: int
    parent: int
    group: int = 0


class LimitSet(Event, frozen=True, gc=False):
    """The tasks that a running task asks for may take so many seconds from now on, all together."""

    worker: int
    parent: int
    seconds: float


class CallbackEnded(Event, frozen=True, gc=False):
    """Whoever wanted to be called back was told, or could not be told for a day."""

    operation: int
    is_given_up: bool = False


# --- journal ----------------------------------------------------------------------------------------------------


class Committed(Event, frozen=True, gc=False):
    """All journal entries up to this number are on the disk."""

    up_to: int


class DiskFilled(Event, frozen=True, gc=False):
    """The journal cannot take more: new work is refused until `DiskFreed`."""

    message: str


class DiskFreed(Event, frozen=True, gc=False):
    """The journal takes entries again."""


# --- neighbours -------------------------------------------------------------------------------------------------


class LinkOpened(Event, frozen=True, gc=False):
    """A neighbour is connected and has said who it is."""

    neighbour: str
    agent_id: str
    boot: str
    link: int
    """Number of this connection; the caller number of the frames that come over it."""
    compares: bool = False
    """Both ends tell first what they hold of each other's tasks (version 2 of the protocol)."""
    unlike: str = ""
    """Why code by value cannot be read there; empty when it can."""
    fetches: bool = True
    """It understands references to objects, and gives those that it has."""
    python: tuple[int, int] = (0, 0)
    libraries: tuple[tuple[str, str], ...] = ()
    """Minor version of the Python that runs users' code there, zeros when it has not said; and of libraries there."""
    takes_lots: bool = False
    """Both ends understand lots: tasks that are alike, of which what they share is said once."""


class LinkClosed(Event, frozen=True, gc=False):
    """The connection of a neighbour is gone; its lease goes on."""

    neighbour: str
    link: int
    reason: str
    code: str = ""
    """The same for programs; `slow`: it did not take what was sent to it."""


class InventoryReceived(Event, frozen=True, gc=False):
    """A neighbour says, over a new link and before anything else, what it holds of our tasks: (task, attempt)."""

    neighbour: str
    link: int
    held: tuple[tuple[int, int], ...]
    """Waiting or running there."""
    finished: tuple[tuple[int, int], ...]
    """Ended there; the end is still to be told, or told and not acknowledged."""
    is_complete: bool = True


class NeighbourDraining(Event, frozen=True, gc=False):
    """A neighbour takes no new work and will leave."""

    neighbour: str
    link: int
    reason: str


class NeighbourHeard(Event, frozen=True, gc=False):
    """Any sign of life, `age_s` ago, with the link's figures as measured."""

    neighbour: str
    latency_s: float
    seconds_per_byte: float
    link_wait_s: float
    age_s: float = 0.0


class LoadReported(Event, frozen=True, gc=False):
    """A neighbour says how it stands."""

    neighbour: str
    report: Report


class OffersReceived(Event, frozen=True, gc=False):
    """A neighbour asks us to run tasks; each is answered by accept or refuse."""

    neighbour: str
    link: int
    offers: list[Offer]


class OffersAnswered(Event, frozen=True, gc=False):
    """A neighbour accepted, with its epoch, or declined, or gives back unstarted what it had accepted before."""

    neighbour: str
    accepted: tuple[tuple[int, int, int], ...]
    """(task, attempt, lease epoch of the holder)."""
    refused: tuple[Refusal, ...] = ()
    returned: tuple[Refusal, ...] = ()
    """No answers to offers of this link."""


class EndsReceived(Event, frozen=True, gc=False):
    """Tasks that a neighbour held have ended."""

    neighbour: str
    ends: list[End]


class EndsAcknowledged(Event, frozen=True, gc=False):
    """A neighbour has recorded these ends: we may forget them. (task, attempt)."""

    neighbour: str
    tasks: tuple[tuple[int, int], ...]


class CancelReceived(Event, frozen=True, gc=False):
    """A neighbour wants tasks stopped that it gave us. (task, attempt)."""

    neighbour: str
    tasks: tuple[tuple[int, int], ...]


# --- objects ----------------------------------------------------------------------------------------------------


class ObjectFetched(Event, frozen=True, gc=False):
    """All bytes of an object are here, and whole, in a segment that is held once for the engine."""

    key: ObjectKey
    segment: int


class FetchFailed(Event, frozen=True, gc=False):
    """A neighbour that was asked for an object did not give it."""

    key: ObjectKey
    neighbour: str
    reason: str
    is_gone: bool = False
    """It does not have it, and will not."""
    is_no_room: bool = False
    """There is no room for it on this agent."""


class ObjectsReleased(Event, frozen=True, gc=False):
    """A neighbour needs these objects no more; with each, how many leases over this link it gives back."""

    neighbour: str
    link: int
    objects: tuple[tuple[ObjectKey, int], ...]


class ObjectsHeld(Event, frozen=True, gc=False):
    """A neighbour says, over a new link, which objects it needs from before; after the last message the rest go."""

    neighbour: str
    link: int
    objects: tuple[ObjectKey, ...]
    is_last: bool = True


# --- resources --------------------------------------------------------------------------------------------------


class ResourceAdded(Event, frozen=True, gc=False):
    """The operator adds capacity: to this device (its own name), a known neighbour, or a new one."""

    caller: int
    name: str
    capacity: Capacity
    adaptor: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    is_parent: bool = False
    declared: bool = True
    """False: its capacity is what it reports of itself, not what the operator granted."""
    limit_of_tasks: int | None = None
    """Most tasks that a new neighbour may hold at a time."""


class ResourceReduced(Event, frozen=True, gc=False):
    """The operator takes capacity away; what is in use is owed until it is free."""

    caller: int
    name: str
    capacity: Capacity


class ResourceRemoved(Event, frozen=True, gc=False):
    """The operator removes a host: drained, or lost at once."""

    caller: int
    name: str
    lost: bool = False


# --- the agent itself -------------------------------------------------------------------------------------------


class ModulesListed(Event, frozen=True, gc=False):
    """These modules with users' functions are on this agent now."""

    modules: frozenset[str]


class ClockRead(Event, frozen=True, gc=False):
    """The wall clock is so many seconds ahead of the agent's monotonic time."""

    wall_offset_s: float


class Ticked(Event, frozen=True, gc=False):
    """The time that the engine asked to be woken at has come."""


class DrainRequested(Event, frozen=True, gc=False):
    """No new work; end what runs within the grace, hand back the rest."""

    grace_s: float
