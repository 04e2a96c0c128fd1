"""What the journal keeps, and what is left of it when the entries are folded into a state.

Law: folding all entries of a journal, in order, gives the operations, keys and pool of the moment of the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from agentd.core.tasks.task import Path
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload


class Entry(Struct, frozen=True, array_like=True, gc=False, tag_field="t"):
    """Root of all entries. Fields are only ever appended, so that older journals can be read."""


class Booted(Entry, frozen=True, array_like=True, gc=False, tag=1):
    """The daemon started. `agent_time_s` goes on where the last boot ended."""

    boot: str
    epoch: int
    agent_time_s: float
    version: str


class Accepted(Entry, frozen=True, array_like=True, gc=False, tag=2):
    """An operation, or a task of a neighbour, is ours now."""

    operation: int
    template: Template
    payload: Payload
    at_s: float
    """Agent time."""
    wall_s: float
    """Seconds since 1970, for people only."""
    key: str = ""
    digest: bytes = b""
    name: str = ""
    callback: str = ""
    path: Path = Path()
    attempt: int = 1
    """The sender's attempt number, for a neighbour's task."""
    user: str = ""
    """Which user of this agent asked for it."""


class Started(Entry, frozen=True, array_like=True, gc=False, tag=3):
    """These operations were handed to a host: a crash from now on costs them an attempt."""

    operations: tuple[int, ...]
    host: str = ""
    epoch: int = 0


class Returned(Entry, frozen=True, array_like=True, gc=False, tag=4):
    """These came back unstarted: the attempt is not used up."""

    operations: tuple[int, ...]


class Asked(Struct, frozen=True, array_like=True, gc=False):
    """What is kept of how an operation was asked for, once it has ended."""

    function: str
    at_s: float
    """Agent time."""
    wall_s: float
    key: str = ""
    digest: bytes = b""
    name: str = ""


class Ended(Entry, frozen=True, array_like=True, gc=False, tag=5):
    """The one terminal write of an operation; of one whose acceptance was not written before, the only one."""

    operation: int
    outcome: Outcome
    at_s: float
    wall_s: float
    started_wall_s: float = 0.0
    asked: Asked | None = None
    """None where there is an `Accepted` before it."""


class EndedAlike(Entry, frozen=True, array_like=True, gc=False, tag=13):
    """As an `Ended` of each of some operations that went alike, with small results: what they share is said once."""

    operations: Sequence[int]
    values: Sequence[bytes]
    """The bytes of each result."""
    seconds: Sequence[float]
    outcome: Outcome
    """What they share; of the results that is the codec."""
    at_s: float
    wall_s: float
    started_wall_s: float = 0.0
    asked: Asked | None = None

    def __post_init__(self) -> None:
        """See that there is one of each for each.

        Raises:
            ValueError: there is not.
        """
        if not len(self.operations) == len(self.values) == len(self.seconds) > 0:
            raise ValueError("ends that are told together need a value and a duration each")

    def each(self) -> Iterator[Ended]:
        """Yield what it stands for, in order."""
        shared, codec = self.outcome, self.outcome.value.codec
        for operation, value, seconds in zip(self.operations, self.values, self.seconds, strict=True):
            outcome = replace(shared, value=Payload(codec, value), seconds=seconds)
            yield Ended(operation, outcome, self.at_s, self.wall_s, self.started_wall_s, self.asked)


class Cancelling(Entry, frozen=True, array_like=True, gc=False, tag=6):
    """A user wants it stopped: it must not run again after a restart."""

    operation: int


class WasRead(Entry, frozen=True, array_like=True, gc=False, tag=7):
    """A user has read these results."""

    operations: tuple[int, ...]
    at_s: float


class Delivered(Entry, frozen=True, array_like=True, gc=False, tag=8):
    """The neighbour that gave us these has recorded their ends."""

    operations: tuple[int, ...]


class Forgotten(Entry, frozen=True, array_like=True, gc=False, tag=9):
    """These expired: nothing of them is kept."""

    operations: tuple[int, ...]


class CalledBack(Entry, frozen=True, array_like=True, gc=False, tag=12):
    """The callbacks of these were delivered, or given up: they are not tried again."""

    operations: tuple[int, ...]
    is_given_up: bool = False


class HostAdded(Entry, frozen=True, array_like=True, gc=False, tag=10):
    """The operator's pool: a host was added, or reshaped. `capacity` is JSON of the whole of it."""

    name: str
    capacity: bytes
    adaptor: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    is_parent: bool = False
    declared: bool = True
    limit_of_tasks: int | None = None
    instead_of: bytes = b""
    """Of this device: JSON of the capacity that its settings gave, which counts again once they give another."""


class HostRemoved(Entry, frozen=True, array_like=True, gc=False, tag=11):
    """The operator's pool: a host is gone."""

    name: str
