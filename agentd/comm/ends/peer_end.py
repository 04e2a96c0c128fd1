"""A neighbour at the other end of a link: its messages to events, our commands to messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import Any

from msgspec.structs import replace

from agentd.comm.ends.answering import Answering
from agentd.comm.ends.declarations import Declarations
from agentd.comm.ends.hearsay import believed, named, shortened
from agentd.comm.ends.offering import Offering
from agentd.comm.ends.parts import check_lot, in_parts, inventories
from agentd.comm.ends.wiring import Wiring, send_fitting
from agentd.comm.link import Link
from agentd.core.events import (
    CancelReceived,
    EndsAcknowledged,
    EndsReceived,
    InventoryReceived,
    LoadReported,
    NeighbourDraining,
    NeighbourHeard,
    ObjectsHeld,
    ObjectsReleased,
    OffersAnswered,
    OffersReceived,
    TemplatesDeclared,
)
from agentd.core.lot_events import LotAccepted, LotAcknowledged, LotEnded, LotOffered
from agentd.model.errors import PeerError
from agentd.model.exchange import End, EndedLot, Offer, Refusal, Report
from agentd.model.figures import counted
from agentd.model.peers import NO_LIMITS
from agentd.model.task import Reason
from agentd.model.values import ObjectKey, Remote
from agentd.wire.lot_messages import AcceptLot, EndedLotAck, EndedLotTold, OfferLot
from agentd.wire.messages import (
    Answers,
    CancelTasks,
    Credit,
    DataHeld,
    DataRelease,
    Declare,
    Drain,
    Ends,
    EndsAck,
    Hello,
    HelloAck,
    Inventory,
    Load,
    Message,
    Offers,
    ResourceChange,
)
from agentd.wire.terms import COMPARING

HEARD_S = 0.25
"""The engine is told of a sign of life at most so often."""
DEFAULT_LATENCY_S = 0.0005
"""Half of a round trip until one was measured (a quiet local network)."""


class PeerEnd:
    """One neighbour's connection.

    Attributes:
        link: the connection.
        neighbour: the name by which the engine knows it.
        them: its HELLO or HELLO_ACK.
        is_dialled: tells whether this agent dialled.
        limits: what it may ask for, as the book says now.
        offering: what we ask of it.
    """

    def __init__(self, link: Link, neighbour: str, them: Hello | HelloAck, wiring: Wiring, *, is_dialled: bool) -> None:
        self.link = link
        self.neighbour = neighbour
        self.them = them
        self.is_dialled = is_dialled
        self.limits = NO_LIMITS
        self._wiring = wiring
        self._declarations = Declarations("peer", wiring)
        self.offering = Offering(link, neighbour, wiring, lends=bool(them.capabilities.get("lends", False)))
        self._answering = Answering(link, wiring)
        self._held: set[int] | None = None
        """Tasks of its that have not ended here; None until somebody wants to know."""
        self._heard_s = -HEARD_S
        self.compares = link.session.version >= COMPARING
        """Both ends begin with what they hold of each other's tasks."""
        self._has_told = not self.compares
        for land in wiring.lands:
            link.session.land_chunks(partial(land, link))
        self._taken: dict[type[Message], Callable[[Any], None]] = {
            Declare: self._declared,
            Offers: self._offered,
            Answers: self._answered,
            Ends: self._ended,
            EndsAck: self._acknowledged,
            CancelTasks: self._cancelled,
            Load: self._reported,
            Inventory: self._told,
            Drain: self._draining,
            ResourceChange: self._changed,
            OfferLot: self._lot_offered,
            AcceptLot: self._lot_accepted,
            EndedLotTold: self._lot_ended,
            EndedLotAck: self._lot_acknowledged,
            Credit: lambda _: self.offering.pump(),
            DataRelease: self._objects_released,
            DataHeld: self._objects_held,
        }

    # --- what it says -------------------------------------------------------------------------------------------

    def take(self, link: Link, message: Message) -> None:
        """Take one message of the neighbour."""
        if link.session.heard_s - self._heard_s >= HEARD_S:
            self.tell_heard(link.session.heard_s)
        taken = self._taken.get(type(message))
        if taken is not None:
            taken(message)
        else:
            self._wiring.route(link, message)

    def _changed(self, message: ResourceChange) -> None:
        """It speaks of what it grants, by whatever name it is known here."""
        if message.name not in {"", self.them.name, self.neighbour}:
            raise PeerError(f"{self.neighbour} speaks of the resources of {message.name}: each agent speaks of its own")
        if message.change not in {"added", "reduced", "removed"}:
            raise PeerError(f"{self.neighbour} says that its resources are {message.change!r}")
        changed = replace(message, name=self.neighbour, adaptor="", properties={})
        self._wiring.route(self.link, changed)

    def tell_heard(self, now: float) -> None:
        """Tell the engine of a sign of life since the last time, if there was one."""
        session = self.link.session
        if session.heard_s <= self._heard_s:
            return
        self._heard_s = session.heard_s
        round_trip_s = session.round_trip.seconds
        latency_s = DEFAULT_LATENCY_S if round_trip_s is None else round_trip_s / 2
        self._wiring.post(
            NeighbourHeard(
                self.neighbour,
                latency_s,
                self.link.bandwidth.seconds_per_byte,
                self.link.link_wait_s,
                max(now - session.heard_s, 0.0),
            )
        )

    def _declared(self, message: Declare) -> None:
        admitted = self._declarations.declare(message.templates)
        if admitted:
            self._wiring.post(TemplatesDeclared(self.link.number, admitted))

    def _told(self, message: Inventory) -> None:
        if not self.compares:
            return  # in version 1 it was for information only
        self._has_told = True
        self._wiring.post(
            InventoryReceived(self.neighbour, self.link.number, message.held, message.finished, message.is_complete)
        )

    def _draining(self, message: Drain) -> None:
        self._wiring.post(NeighbourDraining(self.neighbour, self.link.number, message.reason or "it will leave"))

    def _offered(self, message: Offers) -> None:
        self._check_told("OFFER")
        self._answering.expect([(offer.task, offer.attempt) for offer in message.offers])
        is_plain = self._admits_all({offer.template for offer in message.offers})
        offers = message.offers if is_plain else self._admitted(message.offers)
        if offers:
            self._wiring.post(OffersReceived(self.neighbour, self.link.number, offers))

    def _lot_offered(self, message: OfferLot) -> None:
        self._check_told("OFFER_LOT")
        lot = message.lot
        check_lot(lot.makes, lot.tasks, lot.arguments)
        self._answering.expect([*zip(lot.tasks, repeat(lot.attempt))])
        if self._admits_all({lot.template}):
            self._wiring.post(LotOffered(self.neighbour, self.link.number, lot))
        elif offers := self._admitted(lot.offers):
            self._wiring.post(OffersReceived(self.neighbour, self.link.number, offers))

    def _admits_all(self, templates: set[int]) -> bool:
        """Tell whether no offer of these templates needs to be looked at, before the engine looks at it."""
        told = self._declarations
        return told.are_plain(templates) and self._wiring.agent.lends and self.limits.is_none

    def _admitted(self, offers: list[Offer]) -> list[Offer]:
        """Give the offers that may be considered, and refuse the others for good."""
        admitted: list[Offer] = []
        refused: list[Refusal] = []
        room = self._room_for(offers)
        for offer in offers:
            considered = self._considered(offer)
            if isinstance(considered, str):
                refused.append(Refusal(offer.task, offer.attempt, considered, final=True))
            elif len(admitted) >= room:
                words = self._words(f"{counted(self.limits.max_tasks or 0, 'task')} at a time")
                refused.append(Refusal(offer.task, offer.attempt, words))
            else:
                admitted.append(considered)
        if refused:
            self.answer((), tuple(refused))
        return admitted

    def _considered(self, offer: Offer) -> Offer | str:
        """Give an offer, that of a line's task with its connection; or say why it is refused."""
        reason = self._objection(offer)
        if reason is not None:
            return reason
        return self._with_socket(offer) if offer.template in self._declarations.lines else offer

    def _with_socket(self, offer: Offer) -> Offer | str:
        if not self.limits.is_none:
            return self._words("no worker is called directly")
        if offer.inputs or offer.makes or offer.payload.parts:
            return "a direct line reads nothing but its connection"
        return next((put(self.link, offer) for put in self._wiring.sockets), "this agent gives no direct lines")

    def _objection(self, offer: Offer) -> str | None:
        if not self._wiring.agent.lends:
            return f"agent {self._wiring.agent.name} lends nothing"
        reason = self._declarations.refused.get(offer.template)
        if reason is None and not self.limits.is_none:
            reason = self._declarations.beyond(self.limits, offer.template) or self._beyond(offer)
            return None if reason is None else self._words(reason)
        return reason

    def _beyond(self, offer: Offer) -> str | None:
        """Tell why a task may not read what its offer names: it would learn from its end what was never given to it."""
        if not self.limits.is_confined:
            return None
        if any(self._object_to(remote) for remote in named((offer.payload, *offer.inputs))):
            return "the task reads a value that was not given to it"
        return None

    def _words(self, limit: str) -> str:
        return f"agent {self._wiring.agent.name} limits {self.neighbour}: {limit}"

    def _room_for(self, offers: list[Offer]) -> int:
        """Give how many of these offers there is room for, beside what it has here already."""
        if self.limits.max_tasks is None:
            return len(offers)
        if self._held is None:
            self._held = self._wiring.held(self.neighbour)
        return self.limits.max_tasks - len(self._held) - (self._answering.unanswered - len(offers))

    def _answered(self, message: Answers) -> None:
        refused, returned = shortened(message.refused), shortened(message.returned)
        self._wiring.post(OffersAnswered(self.neighbour, message.accepted, refused, returned))
        self.offering.pump()

    def _lot_accepted(self, message: AcceptLot) -> None:
        self._wiring.post(LotAccepted(self.neighbour, message.attempt, message.epoch, message.tasks))
        self.offering.pump()

    def _check_told(self, said: str) -> None:
        if not self._has_told:
            raise PeerError(f"{said} before INVENTORY, which comes first")

    def _ended(self, message: Ends) -> None:
        self._check_told("ENDED")
        self._wiring.post(EndsReceived(self.neighbour, believed(message.ends, self._object_to)))

    def _lot_ended(self, message: EndedLotTold) -> None:
        self._check_told("ENDED_LOT")
        lot = message.lot
        check_lot(lot.makes, lot.tasks, lot.values, lot.seconds)
        if len({*lot.tasks}) < len(lot.tasks):
            raise PeerError("a lot names a task twice")
        self._wiring.post(LotEnded(self.neighbour, lot))

    def _object_to(self, remote: Remote) -> str | None:
        """Say why an object cannot be the one that is named, or may not be named by this neighbour."""
        for judge in self._wiring.judges:
            words = judge(remote, self.neighbour, self.limits.is_confined)
            if words is not None:
                return words
        return None

    def _acknowledged(self, message: EndsAck) -> None:
        self._wiring.post(EndsAcknowledged(self.neighbour, message.tasks))

    def _lot_acknowledged(self, message: EndedLotAck) -> None:
        self._wiring.post(LotAcknowledged(self.neighbour, message.attempt, message.tasks))

    def _cancelled(self, message: CancelTasks) -> None:
        self._wiring.post(CancelReceived(self.neighbour, message.tasks))

    def _reported(self, message: Load) -> None:
        self._wiring.post(LoadReported(self.neighbour, message.report))

    def _objects_released(self, message: DataRelease) -> None:
        self._wiring.post(ObjectsReleased(self.neighbour, self.link.number, message.objects))

    def _objects_held(self, message: DataHeld) -> None:
        self._wiring.post(ObjectsHeld(self.neighbour, self.link.number, message.objects, message.last))

    # --- what we say --------------------------------------------------------------------------------------------

    def answer(
        self, accepted: tuple[tuple[int, int, int], ...], refused: tuple[Refusal, ...], *, may_wait: bool = False
    ) -> None:
        """Answer its offers; a refusal of what was accepted before gives the task back."""
        accepted, returned = self._answering.answer(accepted, refused, may_wait=may_wait)
        if self._held is not None:
            self._held.update(task for task, _, _ in accepted)
            self._held.difference_update(refusal.task for refusal in returned)

    def accept_lot(self, attempt: int, epoch: int, tasks: list[int], *, may_wait: bool = False) -> None:
        """Accept offers of tasks that are alike."""
        self._answering.accept_lot(attempt, epoch, tasks, may_wait=may_wait)
        if self._held is not None:
            self._held.update(tasks)

    def end(self, ends: list[End]) -> None:
        """Tell it how its tasks ended; a result that cannot travel becomes a failure that says so."""
        if self._held is not None:
            self._held.difference_update(end.task for end in ends)
        send_fitting(
            lambda items: self._wiring.send(self.link, Ends(items)), ends, self._end_with_bytes, self._end_unsendable
        )

    def _end_with_bytes(self, end: End) -> End:
        inlined, outcome = self._wiring.inlined, end.outcome
        made = tuple(map(inlined, outcome.made))
        return replace(end, outcome=replace(outcome, value=inlined(outcome.value), made=made))

    def _end_unsendable(self, end: End, words: str) -> End:
        return replace(end, outcome=self._wiring.failed("ResultTooLarge", Reason.NOT_ENCODABLE, words))

    def release_objects(self, objects: tuple[tuple[ObjectKey, int], ...]) -> None:
        """Tell it which objects are needed no more."""
        self._wiring.send(self.link, DataRelease(objects))

    def tell_held(self, objects: tuple[ObjectKey, ...], *, is_last: bool) -> None:
        """Tell it which objects are still needed."""
        self._wiring.send(self.link, DataHeld(objects, is_last))

    def end_lot(self, lot: EndedLot) -> None:
        """Tell it how tasks of its ended that went well and brought little."""
        if self._held is not None:
            self._held.difference_update(lot.tasks)
        for part in in_parts(lot):
            self._wiring.send(self.link, EndedLotTold(part))

    def acknowledge(self, tasks: tuple[tuple[int, int], ...], *, may_wait: bool = True) -> None:
        """Tell it that ends are recorded."""
        self._answering.acknowledge(tasks, may_wait=may_wait)

    def acknowledge_lot(self, attempt: int, tasks: list[int]) -> None:
        """Tell it that ends of one attempt are recorded."""
        self._answering.acknowledge_lot(attempt, tasks)

    def catch_up(self) -> None:
        """Tell it what was held back."""
        self._answering.catch_up()

    def inventory(self, held: tuple[tuple[int, int], ...], finished: tuple[tuple[int, int], ...]) -> None:
        """Tell it what we hold of its tasks, in as many messages as that takes."""
        for part in inventories(held, finished):
            self._wiring.send(self.link, part)

    def drain(self, grace_s: float, reason: str) -> None:
        """Tell it that we take nothing more of it and will leave."""
        self._wiring.send(self.link, Drain(grace_s, reason))

    def report(self, report: Report) -> None:
        """Tell it how we stand."""
        self._wiring.send(self.link, Load(report))
