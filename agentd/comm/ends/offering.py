"""What a neighbour is asked to run: templates first, then offers, as far as it gives credits for them.

Law: what cannot be asked of it is declined here, in its name; what has not left yet can be taken back without it.
"""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from agentd.comm.ends.parts import cut
from agentd.comm.ends.wiring import Wiring, send_fitting
from agentd.comm.link import Link
from agentd.core.events import OffersAnswered
from agentd.model.exchange import Lot, Offer, Refusal
from agentd.model.task import Template
from agentd.wire.faults import Unsendable
from agentd.wire.lot_messages import OfferLot
from agentd.wire.messages import CancelTasks, Declare, Offers


class Offering:
    """Offers over one link."""

    def __init__(self, link: Link, neighbour: str, wiring: Wiring, *, lends: bool) -> None:
        self._link = link
        self._neighbour = neighbour
        self._wiring = wiring
        self._lends = lends
        self._queued: deque[Offer] = deque()
        """Offers that wait for credits."""
        self._lots: deque[Lot] = deque()
        """The same of tasks that are alike."""
        self._undeclared: dict[int, str] = {}
        """Our templates that could not be told, and why."""

    def declare(self, templates: tuple[tuple[int, Template], ...]) -> None:
        """Tell it templates; of those that are too large offers are declined here, in its name."""
        for number, _ in templates:
            self._undeclared.pop(number, None)
        try:
            self._wiring.send(self._link, Declare(templates))
        except Unsendable as error:
            bad = {templates[position][0] for position in error.items}
            self._undeclared.update(dict.fromkeys(bad, f"its code cannot be sent: {error}"))
            self._wiring.send(self._link, Declare(tuple(each for each in templates if each[0] not in bad)))

    def offer(self, offers: list[Offer]) -> None:
        """Offer it tasks, as far as credits go; the rest follows when it has answered."""
        self._queued.extend(offers)
        self.pump()

    def offer_lot(self, lot: Lot) -> None:
        """Offer it tasks that are alike, as far as credits go; the rest follows when it has answered."""
        if self._lends and lot.template not in self._undeclared:
            self._lots.append(lot)
            self.pump()
        else:
            self.offer(lot.offers)

    def pump(self) -> None:
        """Let what waits leave, as far as credits go."""
        lots = self._lots
        while lots and (room := self._link.session.room) > 0:
            lot = lots.popleft()
            if len(lot.tasks) > room:
                lot, rest = cut(lot, room)
                lots.appendleft(rest)
            self._wiring.send(self._link, OfferLot(lot))
        room = min(self._link.session.room, len(self._queued))
        if room <= 0:
            return
        batch = [self._queued.popleft() for _ in range(room)]
        if self._undeclared or not self._lends:
            batch = [offer for offer in batch if not self._declined_here(offer)]
        send_fitting(
            lambda items: self._wiring.send(self._link, Offers(items)), batch, self._with_bytes, self._unsendable
        )

    def _declined_here(self, offer: Offer) -> bool:
        reason = self._undeclared.get(offer.template) if self._lends else f"{self._neighbour} lends nothing"
        if reason is not None:
            self._decline(offer, reason)
        return reason is not None

    def _decline(self, offer: Offer, reason: str) -> None:
        refusal = Refusal(offer.task, offer.attempt, reason, final=True)
        self._wiring.post(OffersAnswered(self._neighbour, (), (refusal,)))

    def _with_bytes(self, offer: Offer) -> Offer:
        inlined = self._wiring.inlined
        return replace(offer, payload=inlined(offer.payload), inputs=tuple(map(inlined, offer.inputs)))

    def _unsendable(self, offer: Offer, words: str) -> None:
        self._decline(offer, f"its arguments cannot be sent: {words}")

    def cancel(self, tasks: tuple[tuple[int, int], ...]) -> None:
        """Ask it to stop tasks of ours; offers that have not left yet never will."""
        unwanted = set(tasks)
        lots, self._lots = self._lots, deque()
        for lot in lots:
            if unwanted.isdisjoint([(task, lot.attempt) for task in lot.tasks]):
                self._lots.append(lot)
            else:
                self._queued.extend(lot.offers)
        kept: deque[Offer] = deque()
        for offer in self._queued:
            key = (offer.task, offer.attempt)
            if key not in unwanted:
                kept.append(offer)
                continue
            unwanted.discard(key)
            self._decline(offer, "it was cancelled before it left")
        self._queued = kept
        rest = tuple(task for task in tasks if task in unwanted)
        if rest:
            self._wiring.send(self._link, CancelTasks(rest))
