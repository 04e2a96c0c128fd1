"""One task's record and the states that it may go through."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from agentd.model.task import Template
from agentd.model.values import Payload
from schedulers.capacity import Capacity
from schedulers.view import Held


class State(IntEnum):
    """Where a task is. `MOVES` says which state may follow which."""

    HELD = 0
    """Not idempotent, and its acceptance is not committed yet: it may not start."""
    WAITING = 1
    """In a queue: no host has been chosen."""
    ASSIGNED = 2
    """Handed to a worker behind others; it has not started and can be taken back."""
    RUNNING = 3
    """First in its worker's line: it runs."""
    OFFERED = 4
    """Sent to a neighbour that has not answered."""
    FORWARDED = 5
    """Accepted by a neighbour."""
    BLOCKED = 6
    """It runs and waits for tasks that it asked for: its cores are others' meanwhile."""
    STOPPING = 7
    """Cancelled or out of time while it ran: its cores are free when it has really ended."""
    JOINING = 8
    """Its code has ended, and some of the tasks that it asked for have not."""
    ENDED = 9
    """It has its one outcome."""
    FETCHING = 10
    """It is to run here, and its arguments are on their way; it has no cores yet."""
    COLLECTING = 11
    """It has ended at a neighbour, and its value is on its way."""
    LACKING = 12
    """It left the line of a worker before what it reads was made, or that was lost: it waits for it, in no queue."""
    HOLDING = 13
    """It runs nothing: cores of this agent are held for a task of several nodes, until it is stopped."""
    RIDING = 14
    """Its session makes it over a direct line: it runs in the worker, and on the core, of the task that serves that."""


WAITING, ASSIGNED, RUNNING, ENDED = State.WAITING, State.ASSIGNED, State.RUNNING, State.ENDED
"""For what each task passes: a member looked up in its class takes 0.13 us in Python 3.11 (measured)."""

MOVES: dict[State, frozenset[State]] = {
    State.HELD: frozenset({State.WAITING, State.ENDED}),
    State.WAITING: frozenset(
        {State.ASSIGNED, State.RUNNING, State.OFFERED, State.ENDED, State.HELD, State.FETCHING, State.LACKING}
        | {State.HOLDING}
    ),
    State.ASSIGNED: frozenset({State.RUNNING, State.WAITING, State.ENDED, State.LACKING}),
    State.RUNNING: frozenset({State.ENDED, State.STOPPING, State.WAITING, State.BLOCKED, State.JOINING, State.LACKING}),
    State.OFFERED: frozenset({State.FORWARDED, State.WAITING, State.STOPPING, State.ENDED, State.COLLECTING}),
    State.FORWARDED: frozenset({State.WAITING, State.STOPPING, State.ENDED, State.COLLECTING}),
    State.BLOCKED: frozenset({State.RUNNING, State.STOPPING, State.WAITING, State.JOINING, State.ENDED}),
    State.STOPPING: frozenset({State.ENDED, State.JOINING, State.WAITING, State.LACKING}),
    State.JOINING: frozenset({State.ENDED, State.WAITING}),
    State.ENDED: frozenset(),
    State.FETCHING: frozenset({State.WAITING, State.ENDED, State.LACKING}),
    State.COLLECTING: frozenset({State.WAITING, State.ENDED}),
    State.LACKING: frozenset({State.WAITING, State.ASSIGNED, State.ENDED}),
    State.HOLDING: frozenset({State.ENDED}),
    State.RIDING: frozenset({State.WAITING, State.ENDED}),
}
"""Row: from; entries: to. A task that had started goes back to WAITING when its host was lost, or its code raised."""


class Shape(Struct, eq=False):
    """A template as the engine keeps it: interned and numbered, its demand worked out, and what was learned of it.

    Tasks of one shape are alike in all that a placement looks at, except their age and their path.
    """

    number: int
    template: Template
    demand: Capacity
    estimate_s: float | None = None
    """Moving mean of the run time on a core of speed 1; None until the first one ended."""
    result_bytes: float = 0.0
    """Moving mean of the size of a result."""
    made_bytes: float = 0.0
    """Moving mean of the size of the versions that a run makes."""
    runs: int = 0
    is_here: bool = True
    """False: this agent does not have the function, so that only neighbours may run it."""
    ways: tuple[Shape, ...] = ()
    """Where there are several ways to do it: all of them, the most specific first; one is taken where it is placed."""
    of: Shape | None = None
    """The shape that this one is a way of, or that it binds to a host."""
    only: str | None = None
    """The one host that may run it: a neighbour, empty for this agent; None: any."""
    turn: int = 0
    """How many of its tasks were given to one host after the other."""
    units: int = 0
    """Cores that it is charged for; 0: not worked out yet."""

    def weigh(self) -> int:
        """Work out for how many cores each of its tasks is charged: one at least, as it keeps a worker."""
        self.units = max(self.demand.units(), 1)
        return self.units


class Path(Struct, frozen=True):
    """How a task came here: who gave it, and whom it has visited. One object for all tasks of the same way."""

    origin: str = ""
    """Agent that was asked first; empty for our own users' tasks."""
    sender: str | None = None
    """Neighbour that handed it to us; None for our own users."""
    hops: int = 0
    visited: tuple[str, ...] = ()
    """Agents that accepted it on the current path, oldest first, without us."""


HERE = Path()


class Task(Struct, eq=False, gc=False):
    """The unit that is placed on one host. Refers to others by number, never by reference, so no cycle can form."""

    id: int
    shape: Shape
    payload: Payload
    path: Path
    order: int
    """Age: smaller is older; kept when the task has to wait again."""
    caller: int = 0
    """Session that asked for it and alone wants it; 0: an operation of the ledger, under the task's own number."""
    ref: int = 0
    """The session's number for it."""
    submitted_at: float = 0.0
    """Agent time in seconds."""
    state: State = State.WAITING
    attempt: int = 1
    """Which execution this is; counts losses of infrastructure."""
    retries: int = 0
    """Executions repeated because users' code raised under on_failure=RETRY."""
    blames: int = 0
    """How often a worker died while this very task ran."""
    host: str = ""
    """Neighbour that holds it; empty: this agent."""
    worker: int = 0
    """Of this agent's workers the one that has it, or had it last; 0: none."""
    booked: int = 0
    """Where a neighbour holds it: how many like it the neighbour could hold, when it was sent; otherwise 0."""
    epoch: int = 0
    """Lease epoch under which a neighbour holds it."""
    placed_at: float = 0.0
    """When it was last given to a host, agent time in seconds."""
    kept: str = ""
    """Why the scheduler said that it keeps the task, when it last said so."""
    places: tuple[Held, ...] = ()
    """Its large inputs by where they lie, as known when it began to wait; changed only while it is in no queue."""
    dropped: bool = False
    """Cancelled while in a queue: to be skipped by whoever meets it there."""
    family: int = 0
    """Task that asked for it; 0: it was asked for by a user or a neighbour."""
    inputs: tuple[Payload, ...] = ()
    """Values of the versions that it reads, in order; `Kept` where it stands behind the task that makes one."""
    lacks: bool = False
    """Some of the versions that it reads are yet to be made, by tasks before it in its line."""
    makes: int = 0
    """How many versions it makes."""
    share: int = 0
    """Number of the user or neighbour that it was asked for by; a session's call has its `caller` for it."""

    @property
    def function(self) -> str:
        """What it calls."""
        return self.shape.template.function

    @property
    def estimate_s(self) -> float | None:
        """Mean run time learned for its function, in seconds on a core of speed 1; None while unknown."""
        return self.shape.estimate_s

    @property
    def demand(self) -> Capacity:
        """What it needs on one host."""
        return self.shape.demand

    @property
    def priority(self) -> int:
        """Higher goes before lower."""
        return self.shape.template.priority

    @property
    def sender(self) -> str | None:
        """The neighbour that handed it to us; None for our own users' tasks."""
        return self.path.sender

    @property
    def hops(self) -> int:
        """How many links it has crossed on its present path."""
        return self.path.hops

    @property
    def transfer_bytes(self) -> int:
        """How many bytes travel with it to any host: what it carries itself, and the result expected of it."""
        elsewhere = sum([held.size_bytes for held in self.places]) if self.places else 0
        return self.size_bytes - elsewhere + int(self.shape.result_bytes)

    @property
    def size_bytes(self) -> int:
        """How many bytes its arguments weigh, the versions that it reads among them."""
        if not self.inputs:
            return self.payload.size_bytes
        return self.payload.size_bytes + sum([value.size_bytes for value in self.inputs])

    @property
    def values(self) -> tuple[Payload, ...]:
        """All values that it needs where it runs: its arguments, then its inputs."""
        return (self.payload, *self.inputs) if self.inputs else (self.payload,)

    @property
    def missing_bytes(self) -> int:
        """How many bytes of its values were not on this agent when it was last looked for them."""
        if not self.payload.parts and not self.inputs:
            return 0
        return sum([part.size for value in self.values for part in value.parts if not part.is_here])
