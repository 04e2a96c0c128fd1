"""What agents and users exchange: calls and how they settled, offers and how they ended, load reports.

The same values travel in Comm frames and in the engine's events and commands.
"""

from __future__ import annotations

from msgspec import Struct

from agentd.model.task import Outcome
from agentd.model.values import Payload
from schedulers.capacity import Capacity
from schedulers.view import Tier


class Submission(Struct, frozen=True, array_like=True, gc=False):
    """One call that a user asks for."""

    ref: int
    """The caller's own number for it, unique within the caller."""
    template: int
    """Number under which the caller declared the template."""
    payload: Payload
    parent: int = 0
    """Task that asks, when it is one of ours; 0 for a user."""


class Settled(Struct, frozen=True, array_like=True, gc=False):
    """A call's end, for the session that asked for it."""

    ref: int
    outcome: Outcome


class Report(Struct, frozen=True, array_like=True):
    """A neighbour's load: absolute, the last one wins."""

    epoch: int = 0
    """Sender's lease epoch: grows with each of its boots."""
    sequence: int = 0
    acknowledged: int = 0
    """Sequence number of the last offer that the sender had received from us."""
    tiers: tuple[Tier, ...] = ()
    capacity: Capacity = Capacity()
    """The largest single host beyond the link, for matching."""
    draining: bool = False
    functions: tuple[str, ...] = ()
    """Modules that it can import, for functions that are not here; empty: not told."""
    root: str = ""
    """Smallest agent id that the sender knows of: the root of the tree along which loads are added up."""
    distance: int = 0
    """Links between the sender and the root."""
    is_way: bool = False
    """The receiver is the sender's next towards the root."""


class Offer(Struct, frozen=True, array_like=True, gc=False):
    """A task on its way to a neighbour."""

    task: int
    template: int
    payload: Payload
    attempt: int = 1
    epoch: int = 0
    origin: str = ""
    hops: int = 0
    visited: tuple[str, ...] = ()
    sequence: int = 0
    inputs: tuple[Payload, ...] = ()
    """The values of the versions that the task reads, in order, where another task asked for it."""
    makes: int = 0
    """How many versions it makes."""


class Refusal(Struct, frozen=True, array_like=True, gc=False):
    """A declined offer: a value, not an error."""

    task: int
    attempt: int
    reason: str
    final: bool = False
    """It would be declined again: unknown function, does not fit."""
    lacks: bool = False
    """What it reads could not be fetched."""


class End(Struct, frozen=True, array_like=True, gc=False):
    """The outcome of a task that a neighbour holds."""

    task: int
    attempt: int
    epoch: int
    outcome: Outcome
