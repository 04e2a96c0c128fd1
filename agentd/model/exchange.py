"""What agents and users exchange: calls and how they settled, offers and how they ended, load reports.

The same values travel in Comm frames and in the engine's events and commands.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from agentd.model.task import Outcome
from agentd.model.values import NO_VALUE, PARTS_MOST, Payload
from schedulers.capacity import Capacity
from schedulers.view import Tier

VISITED_MOST = 256
"""Agents on the way of one task, beyond which nobody reads on; chosen: far above any limit of hops."""
TaskNumber = Annotated[int, Meta(ge=0)]
AgentId = Annotated[str, Meta(max_length=256)]
"""Kept with each task that waits: as long as an identifier may be (specified: as everywhere in the protocol)."""


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
    own: Tier | None = None
    """How the sender's own cores stand, which `tiers` add up with those beyond it; None: it does not say."""


class Offer(Struct, frozen=True, array_like=True, gc=False):
    """A task on its way to a neighbour."""

    task: TaskNumber
    template: int
    payload: Payload
    attempt: int = 1
    epoch: int = 0
    origin: AgentId = ""
    hops: int = 0
    visited: Annotated[tuple[AgentId, ...], Meta(max_length=VISITED_MOST)] = ()
    sequence: int = 0
    inputs: Annotated[tuple[Payload, ...], Meta(max_length=PARTS_MOST)] = ()
    """The values of the versions that the task reads, in order, where another task asked for it."""
    makes: Annotated[int, Meta(ge=0, le=PARTS_MOST)] = 0
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


LOT_MOST = 65_536
"""Tasks of one lot (specified: as the items of any batch)."""
Numbers = Annotated[list[TaskNumber], Meta(max_length=LOT_MOST)]
Texts = Annotated[list[bytes], Meta(max_length=LOT_MOST)]


class Lot(Struct, frozen=True, array_like=True, gc=False):
    """Plain tasks that are alike, on their way to a neighbour: what they share is said once.

    They read nothing but their arguments, which are bytes of one codec.
    """

    template: int
    attempt: int = 1
    epoch: int = 0
    origin: AgentId = ""
    hops: int = 0
    visited: Annotated[tuple[AgentId, ...], Meta(max_length=VISITED_MOST)] = ()
    sequence: int = 0
    """Of the last of them."""
    codec: Annotated[int, Meta(ge=0, le=255)] = 0
    makes: int = 0
    """How many versions each of them makes: none, or one."""
    tasks: Numbers = []
    arguments: Texts = []

    @property
    def offers(self) -> list[Offer]:
        """The same, one by one."""
        template, attempt, epoch, codec, last = self.template, self.attempt, self.epoch, self.codec, self.sequence
        origin, hops, visited, makes = self.origin, self.hops, self.visited, self.makes
        return [
            Offer(task, template, Payload(codec, data), attempt, epoch, origin, hops, visited, last, (), makes)
            for task, data in zip(self.tasks, self.arguments, strict=True)
        ]


class EndedLot(Struct, frozen=True, array_like=True, gc=False):
    """Tasks that went well at a neighbour and brought a few bytes of one codec each: what they share is said once."""

    attempt: int = 1
    epoch: int = 0
    agent: AgentId = ""
    """Which ran them."""
    hops: int = 0
    codec: Annotated[int, Meta(ge=0, le=255)] = 0
    makes: int = 0
    """1: the values are those of the one version that each of them makes; 0: their results."""
    tasks: Numbers = []
    seconds: Annotated[list[float], Meta(max_length=LOT_MOST)] = []
    values: Texts = []

    @property
    def outcomes(self) -> list[Outcome]:
        """How they ended, in order."""
        codec, agent, hops, attempt = self.codec, self.agent, self.hops, self.attempt
        if self.makes:
            return [
                Outcome(0, NO_VALUE, None, each, agent, hops, attempt, (Payload(codec, data),))
                for each, data in zip(self.seconds, self.values, strict=True)
            ]
        return [
            Outcome(0, Payload(codec, data), None, each, agent, hops, attempt)
            for each, data in zip(self.seconds, self.values, strict=True)
        ]

    @property
    def ends(self) -> list[End]:
        """The same, one by one."""
        attempt, epoch = self.attempt, self.epoch
        return [End(task, attempt, epoch, one) for task, one in zip(self.tasks, self.outcomes, strict=True)]
