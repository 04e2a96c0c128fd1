"""What a scheduler is asked and what it may answer: the view, its rows, and the decisions.

Law: a policy reads the view and yields decisions; each is checked and applied before the next is asked for, so the
view that a policy reads after a `yield` already shows what that decision did.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from schedulers.capacity import Capacity


class Change(Enum):
    """What may have happened since the last question."""

    __hash__ = object.__hash__  # each is one object: as equality, and without a call of Python
    READY = "tasks became ready"
    ROOM = "a host has room again"
    PROFILE = "a neighbour's load or capacity changed"
    LOST = "a neighbour was lost"


class Tier(NamedTuple):
    """Cores of like speed on one side of a link, corrected for what is still in flight.

    `free` is never negative; `backlog_s` is in seconds of one core of that speed; `capacity` is cores times speed, so
    `backlog_s / capacity` is the wait for a core; `delay_s` is the mean path delay beyond the link.
    """

    speed: float
    free: float
    cores: float
    capacity: float
    backlog_s: float
    delay_s: float = 0.0
    seconds_per_byte: float = 0.0


class Held(NamedTuple):
    """Bytes of a task's large inputs that lie in one place."""

    where: str | None
    """The neighbour at which, or beyond which, the nearest copy lies; None: on this agent."""
    size_bytes: int


class TaskRow(Protocol):
    """A task that waits for a host."""

    @property
    def id(self) -> int:
        """Its number, unique at this agent."""
        ...

    @property
    def function(self) -> str:
        """What it calls."""
        ...

    @property
    def estimate_s(self) -> float | None:
        """Mean run time learned for its function, in seconds on a core of speed 1; None while unknown."""
        ...

    @property
    def demand(self) -> Capacity:
        """What it needs on one host."""
        ...

    @property
    def priority(self) -> int:
        """Higher goes before lower, among the tasks of one sender."""
        ...

    @property
    def transfer_bytes(self) -> int:
        """How many bytes travel with it to any host: what it carries itself, and the result expected of it."""
        ...

    @property
    def places(self) -> Sequence[Held]:
        """Its large inputs by where they lie, which only move to a host that has no copy; mostly none."""
        ...

    @property
    def sender(self) -> str | None:
        """The neighbour that handed it to us; None for our own users' tasks."""
        ...

    @property
    def hops(self) -> int:
        """How many links it has crossed on its present path."""
        ...


class OwnRow(Protocol):
    """This agent's own cores."""

    @property
    def speed(self) -> float:
        """Speed of one core, 1 being the reference."""
        ...

    def is_idle(self, task: TaskRow) -> bool:
        """Tell whether cores for `task` are free this moment."""
        ...

    def has_room(self, task: TaskRow) -> bool:
        """Tell whether `task` may be handed to a worker now: on free cores, or just behind a short task."""
        ...

    def could_host(self, task: TaskRow) -> bool:
        """Tell whether `task` would fit if all own cores were free."""
        ...

    def wait_s(self, task: TaskRow) -> float:
        """Estimate how long `task` waits for an own core, in seconds; infinite if it never fits."""
        ...


class NeighbourRow(Protocol):
    """A neighbour as this agent knows it, `age_s` seconds ago."""

    @property
    def name(self) -> str:
        """Its name, by which `Forward` names it."""
        ...

    @property
    def is_parent(self) -> bool:
        """Tell whether it stands above this agent in the hierarchy."""
        ...

    @property
    def tiers(self) -> Sequence[Tier]:
        """What lies beyond the link, one row per class of speed."""
        ...

    @property
    def latency_s(self) -> float:
        """Half of the link's round trip."""
        ...

    @property
    def seconds_per_byte(self) -> float:
        """Cost of one byte on the link."""
        ...

    @property
    def link_wait_s(self) -> float:
        """How long bytes queued on the link already will take."""
        ...

    @property
    def age_s(self) -> float:
        """Time since its last load report."""
        ...

    def admits(self, task: TaskRow) -> bool:
        """Tell whether `task` may go there at all: link up, not visited, hops left, it fits, the function is known."""
        ...

    def has_room(self, task: TaskRow) -> bool:
        """Tell whether `task` may be handed over now, without exceeding what was granted or what may be under way."""
        ...


class View(Protocol):
    """One agent and its neighbours at one moment; every member costs O(log n) or less in the tasks waiting."""

    @property
    def now_s(self) -> float:
        """The agent's monotonic time."""
        ...

    @property
    def changes(self) -> frozenset[Change]:
        """What happened since the last question."""
        ...

    @property
    def own(self) -> OwnRow:
        """This agent."""
        ...

    @property
    def neighbours(self) -> Sequence[NeighbourRow]:
        """Its neighbours, in the order in which they were added."""
        ...

    def candidates(self, task: TaskRow) -> Sequence[NeighbourRow]:
        """Those neighbours that are worth a look for `task`: all when they are few.

        Of many: the parents, those that hold its inputs, the fastest with idle cores, and some others in turn.
        """
        ...

    def oldest(self) -> Iterator[TaskRow]:
        """Yield waiting tasks: of the senders in turn, of each by priority, then oldest first.

        A task that is not placed when the next is asked for is passed over together with all that are alike (same
        function, demand, path, and place of inputs), since the answer would be the same for them.
        """
        ...

    def newest(self) -> Iterator[TaskRow]:
        """As `oldest`, but of each sender newest first within a priority."""
        ...


ALL = 1 << 31
"""More tasks than ever wait: for `Run.most`."""


class Run(NamedTuple):
    """Run the task here, and with it those that `oldest` would yield next, as far as they are alike and there is room.

    One decision for many that are alike costs a fraction of as many decisions. It is for who would decide alike for
    each of them, however the view changes meanwhile; `most` says for how many, the task itself included.
    """

    task: TaskRow
    most: int = 1


class Forward(NamedTuple):
    """Hand the task to a neighbour, and with it those next to it that are alike, as in `Run`."""

    task: TaskRow
    to: str
    most: int = 1


class Keep(NamedTuple):
    """Leave the task in the queue, for a reason that its owner is told."""

    task: TaskRow
    reason: str


Decision = Run | Forward | Keep


class Scheduler(Protocol):
    """A policy. Pure: no clock, no I/O, no state that a restart would miss."""

    def plan(self, view: View) -> Iterable[Decision]:
        """Answer where waiting tasks go now; what is not named keeps waiting."""
        ...
