"""A neighbour at the other end of a link: its messages to events, our commands to messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from agentd.comm.declarations import Declarations
from agentd.comm.link import Link
from agentd.comm.wiring import Wiring, send_fitting
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
from agentd.model.errors import PeerError
from agentd.model.exchange import End, Offer, Refusal, Report
from agentd.model.peers import NO_LIMITS
from agentd.model.task import Reason, Template
from agentd.model.values import ObjectKey
from agentd.wire.faults import Unsendable
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

NAMED_MOST = 32_768
"""Tasks named in one INVENTORY (chosen: a third of a megabyte, behind which a heartbeat may wait)."""
HEARD_S = 0.25
"""The engine is told of a sign of life at most so often."""
PATIENT_MOST = 64
"""Of what may be told later, so many at most wait (chosen: their frame costs as much as theirs alone by then)."""
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
    """

    def __init__(self, link: Link, neighbour: str, them: Hello | HelloAck, wiring: Wiring, *, is_dialled: bool) -> None:
        self.link = link
        self.neighbour = neighbour
        self.them = them
        self.is_dialled = is_dialled
        self.limits = NO_LIMITS
        self._wiring = wiring
        self._declarations = Declarations("peer", wiring)
        self._lends = bool(them.capabilities.get("lends", False))
        self._queued: deque[Offer] = deque()
        """Offers that wait for credits."""
        self._undeclared: dict[int, str] = {}
        """Our templates that could not be told, and why."""
        self._unanswered: set[tuple[int, int]] = set()
        """Its offers that the engine has not answered: (task, attempt)."""
        self._accepted: list[tuple[int, int, int]] = []
        """Offers of its that were accepted, of which it will be told with others."""
        self._recorded: list[tuple[int, int]] = []
        """Ends of our tasks that are recorded, of which it will be told with others."""
        self._is_patient = False
        """Somebody will see to it that it is told of those."""
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
            Credit: lambda _: self._pump(),
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
        for offer in message.offers:
            key = (offer.task, offer.attempt)
            if key in self._unanswered:
                raise PeerError(f"task {offer.task} was offered again before it was answered")
            self._unanswered.add(key)
        offers = message.offers
        if self._declarations.refused or not self._wiring.agent.lends or not self.limits.is_none:
            offers = self._admitted(offers)
        if offers:
            self._wiring.post(OffersReceived(self.neighbour, self.link.number, offers))

    def _admitted(self, offers: list[Offer]) -> list[Offer]:
        """Give the offers that may be considered, and refuse the others for good."""
        admitted: list[Offer] = []
        refused: list[Refusal] = []
        room = self._room_for(offers)
        for offer in offers:
            reason = self._objection(offer)
            if reason is not None:
                refused.append(Refusal(offer.task, offer.attempt, reason, final=True))
            elif len(admitted) >= room:
                refused.append(
                    Refusal(offer.task, offer.attempt, self._words(f"{self.limits.max_tasks} tasks at a time"))
                )
            else:
                admitted.append(offer)
        if refused:
            self.answer((), tuple(refused))
        return admitted

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
        named = {part.remote.key for value in (offer.payload, *offer.inputs) for part in value.parts if part.remote}
        if all(guard(key, self.neighbour) for guard in self._wiring.guards for key in named):
            return None
        return "the task reads a value that was not given to it"

    def _words(self, limit: str) -> str:
        return f"agent {self._wiring.agent.name} limits {self.neighbour}: {limit}"

    def _room_for(self, offers: list[Offer]) -> int:
        """Give how many of these offers there is room for, beside what it has here already."""
        if self.limits.max_tasks is None:
            return len(offers)
        if self._held is None:
            self._held = self._wiring.held(self.neighbour)
        return self.limits.max_tasks - len(self._held) - (len(self._unanswered) - len(offers))

    def _answered(self, message: Answers) -> None:
        self._wiring.post(OffersAnswered(self.neighbour, message.accepted, message.refused, message.returned))
        self._pump()

    def _check_told(self, said: str) -> None:
        if not self._has_told:
            raise PeerError(f"{said} before INVENTORY, which comes first")

    def _ended(self, message: Ends) -> None:
        self._check_told("ENDED")
        self._wiring.post(EndsReceived(self.neighbour, message.ends))

    def _acknowledged(self, message: EndsAck) -> None:
        self._wiring.post(EndsAcknowledged(self.neighbour, message.tasks))

    def _cancelled(self, message: CancelTasks) -> None:
        self._wiring.post(CancelReceived(self.neighbour, message.tasks))

    def _reported(self, message: Load) -> None:
        self._wiring.post(LoadReported(self.neighbour, message.report))

    def _objects_released(self, message: DataRelease) -> None:
        self._wiring.post(ObjectsReleased(self.neighbour, self.link.number, message.objects))

    def _objects_held(self, message: DataHeld) -> None:
        self._wiring.post(ObjectsHeld(self.neighbour, self.link.number, message.objects, message.last))

    # --- what we say --------------------------------------------------------------------------------------------

    def declare(self, templates: tuple[tuple[int, Template], ...]) -> None:
        """Tell it templates; of those that are too large offers are declined here, in its name."""
        for number, _ in templates:
            self._undeclared.pop(number, None)
        try:
            self._wiring.send(self.link, Declare(templates))
        except Unsendable as error:
            bad = {templates[position][0] for position in error.items}
            self._undeclared.update(dict.fromkeys(bad, f"its code cannot be sent: {error}"))
            self._wiring.send(self.link, Declare(tuple(each for each in templates if each[0] not in bad)))

    def offer(self, offers: list[Offer]) -> None:
        """Offer it tasks, as far as credits go; the rest follows when it has answered."""
        self._queued.extend(offers)
        self._pump()

    def _pump(self) -> None:
        room = min(self.link.session.room, len(self._queued))
        if room <= 0:
            return
        batch = [self._queued.popleft() for _ in range(room)]
        if self._undeclared or not self._lends:
            batch = [offer for offer in batch if not self._declined_here(offer)]
        send_fitting(
            lambda items: self._wiring.send(self.link, Offers(items)), batch, self._with_bytes, self._unsendable
        )

    def _declined_here(self, offer: Offer) -> bool:
        reason = self._undeclared.get(offer.template) if self._lends else f"{self.neighbour} lends nothing"
        if reason is not None:
            self._decline(offer, reason)
        return reason is not None

    def _decline(self, offer: Offer, reason: str) -> None:
        refusal = Refusal(offer.task, offer.attempt, reason, final=True)
        self._wiring.post(OffersAnswered(self.neighbour, (), (refusal,)))

    def _with_bytes(self, offer: Offer) -> Offer:
        inlined = self._wiring.inlined
        return replace(offer, payload=inlined(offer.payload), inputs=tuple(map(inlined, offer.inputs)))

    def _unsendable(self, offer: Offer, words: str) -> None:
        self._decline(offer, f"its arguments cannot be sent: {words}")

    def answer(
        self, accepted: tuple[tuple[int, int, int], ...], refused: tuple[Refusal, ...], *, may_wait: bool = False
    ) -> None:
        """Answer its offers; a refusal of what was accepted before gives the task back."""
        accepted = tuple(each for each in accepted if self._settles(each[0], each[1]))
        declined: list[Refusal] = []
        returned: list[Refusal] = []
        for refusal in refused:
            (declined if self._settles(refusal.task, refusal.attempt) else returned).append(refusal)
        if self._held is not None:
            self._held.update(task for task, _, _ in accepted)
            self._held.difference_update(refusal.task for refusal in returned)
        if may_wait:
            self._accepted += accepted
            self._be_patient()
        elif accepted or declined or returned:
            accepted, self._accepted = (*self._accepted, *accepted), []  # nothing is given back before it was accepted
            self._wiring.send(self.link, Answers(accepted, tuple(declined), tuple(returned)))

    def _settles(self, task: int, attempt: int) -> bool:
        """Tell whether an answer is the first one to that offer."""
        if (task, attempt) not in self._unanswered:
            return False
        self._unanswered.discard((task, attempt))
        return True

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

    def acknowledge(self, tasks: tuple[tuple[int, int], ...]) -> None:
        """Tell it that ends are recorded."""
        self._recorded += tasks
        self._be_patient()

    def _be_patient(self) -> None:
        """Let what nobody waits for wait for more of it: each frame of its own costs both ends a turn."""
        if len(self._accepted) + len(self._recorded) >= PATIENT_MOST:
            self.catch_up()
        elif not self._is_patient:
            self._is_patient = True
            self._wiring.later(self._patience_over)

    def _patience_over(self) -> None:
        self._is_patient = False
        self.catch_up()
        self.link.flush()

    def catch_up(self) -> None:
        """Tell it what was held back."""
        if self._accepted:
            accepted, self._accepted = self._accepted, []
            self._wiring.send(self.link, Answers(tuple(accepted)))
        if self._recorded:
            recorded, self._recorded = self._recorded, []
            self._wiring.send(self.link, EndsAck(tuple(recorded)))

    def cancel(self, tasks: tuple[tuple[int, int], ...]) -> None:
        """Ask it to stop tasks of ours; offers that have not left yet never will."""
        unwanted = set(tasks)
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
            self._wiring.send(self.link, CancelTasks(rest))

    def inventory(self, held: tuple[tuple[int, int], ...], finished: tuple[tuple[int, int], ...]) -> None:
        """Tell it what we hold of its tasks, in as many messages as that takes."""
        parts = [Inventory(held=held[at : at + NAMED_MOST]) for at in range(0, len(held), NAMED_MOST)]
        parts += [Inventory(finished=finished[at : at + NAMED_MOST]) for at in range(0, len(finished), NAMED_MOST)]
        for part in parts[:-1]:
            self._wiring.send(self.link, replace(part, is_complete=False))
        self._wiring.send(self.link, parts[-1] if parts else Inventory())

    def drain(self, grace_s: float, reason: str) -> None:
        """Tell it that we take nothing more of it and will leave."""
        self._wiring.send(self.link, Drain(grace_s, reason))

    def report(self, report: Report) -> None:
        """Tell it how we stand."""
        self._wiring.send(self.link, Load(report))
