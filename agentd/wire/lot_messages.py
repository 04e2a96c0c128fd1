"""The messages about lots: plain tasks that are alike, of which what they share is said once.

Sent only to who says `lots` in its capabilities; each says what a message about single tasks says, for many.
"""

from __future__ import annotations

from typing import ClassVar

from agentd.model.exchange import EndedLot, Lot, Numbers
from agentd.wire.messages import Kind, Message


class OfferLot(Message, frozen=True):
    """As OFFER: an agent asks its neighbour to run tasks that are alike."""

    kind: ClassVar[Kind] = Kind.OFFER_LOT
    lot: Lot = Lot(0)


class AcceptLot(Message, frozen=True):
    """As ANSWER, of offers that were accepted, by whichever message they came."""

    kind: ClassVar[Kind] = Kind.ACCEPT_LOT
    attempt: int = 1
    epoch: int = 0
    """Lease epoch of the holder."""
    tasks: Numbers = []  # noqa: RUF012 - msgspec gives each its own


class EndedLotTold(Message, frozen=True):
    """As ENDED, of tasks that went well and brought a few bytes each."""

    kind: ClassVar[Kind] = Kind.ENDED_LOT
    lot: EndedLot = EndedLot()


class EndedLotAck(Message, frozen=True):
    """As ENDED_ACK: these ends are recorded."""

    kind: ClassVar[Kind] = Kind.ENDED_LOT_ACK
    attempt: int = 1
    tasks: Numbers = []  # noqa: RUF012
