"""What happens to lots: plain tasks that are alike, offered, accepted, ended and acknowledged together."""

from __future__ import annotations

from agentd.core.events import Event
from agentd.model.exchange import EndedLot, Lot


class LotOffered(Event, frozen=True, gc=False):
    """A neighbour asks us to run tasks that are alike, none of them named twice; answered as offers are."""

    neighbour: str
    link: int
    lot: Lot


class LotAccepted(Event, frozen=True, gc=False):
    """A neighbour accepted tasks under one attempt and one lease epoch of its."""

    neighbour: str
    attempt: int
    epoch: int
    tasks: list[int]


class LotEnded(Event, frozen=True, gc=False):
    """Tasks that a neighbour held have ended well, none of them named twice."""

    neighbour: str
    lot: EndedLot


class LotAcknowledged(Event, frozen=True, gc=False):
    """A neighbour has recorded ends of one attempt: we may forget them."""

    neighbour: str
    attempt: int
    tasks: list[int]
