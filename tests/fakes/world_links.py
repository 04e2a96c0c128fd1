"""Wires of the fake world: a pair of agents, one connection at a time, in order; cut both ways, one way, or slow.

As over TCP, what is under way when a wire is cut arrives late if the wire heals before an end gives up, and never
otherwise. Reports pass other messages, as they do on real links.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core import lot_events as le

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.model.exchange import Lot, Refusal
    from tests.fakes.world import World
    from tests.fakes.world_agent import Host

Attempts = tuple[tuple[int, int], ...]
BEAT_S = 1.0
SILENCE_S = 5.0
"""An end that has heard nothing for so long gives the connection up."""
DIAL_S = 0.3
PATIENCE_S = 0.1
"""Acceptances and acknowledgements that nobody waits for are told after so long at most, far behind their subjects."""


class End:
    """One end of a connection."""

    def __init__(self, connection: Connection, host: Host, boot: str) -> None:
        self.connection = connection
        self.host = host
        self.boot = boot
        self.other: End
        self.number = next(host.numbers)
        self.heard_at = host.world.now
        self.is_open = False
        self.is_gone = False
        self._has_heard = False
        self.on_gone: list[Callable[[], None]] = []
        """What its host does when the connection is given up."""
        self.unanswered: set[tuple[int, int]] = set()
        """Offers that came in and were not answered."""
        self.accepted: list[tuple[int, int, int]] = []
        """Of the offers, what was accepted and will be told later."""
        self.lots: list[le.LotAccepted] = []
        """The same of tasks that are alike."""

    @property
    def is_alive(self) -> bool:
        return self.is_open and not self.is_gone and self.host.boot == self.boot and not self.host.is_down

    def open(self) -> None:
        """Be the host's connection to the other, in place of an older one."""
        if self.is_gone or self.host.boot != self.boot or self.host.is_down:
            return
        other = self.other.host
        old = self.host.ends.get(other.name)
        if old is not None and old is not self:
            old.close("replaced by a new connection")
        self.is_open = True
        self.heard_at = self.host.world.now
        self.host.ends[other.name] = self
        compares = self.connection.wire.compares
        takes_lots = self.connection.wire.takes_lots
        opened = e.LinkOpened(other.name, other.agent_id, self.other.boot, self.number, compares, takes_lots=takes_lots)
        self.host.post(opened)
        self._beat()

    def close(self, reason: str) -> None:
        """Give the connection up, and let the other end know if the wire carries that."""
        if self.is_gone:
            return
        self.is_gone = True
        other = self.other
        if self.host.ends.get(other.host.name) is self:
            del self.host.ends[other.host.name]
        if self.is_open and self.host.boot == self.boot:
            self.host.post(e.LinkClosed(other.host.name, self.number, reason))
            for act in self.on_gone:
                act()
        self.connection.wire.carry(self, lambda: other.close("the other end closed"))

    def _beat(self) -> None:
        if not self.is_alive:
            return
        if not self.host.is_paused:
            if self.host.world.now - self.heard_at >= SILENCE_S:
                self.close("silent")
                return
            if self._has_heard:
                self._has_heard = False
                self.host.post(e.NeighbourHeard(self.other.host.name, self.connection.wire.delay_s, 1e-8, 0.0))
            self.send(self.other.hear, urgent=True)
        self.host.world.after(BEAT_S, self._beat)

    def hear(self) -> None:
        """A sign of life has come."""
        self.heard_at, self._has_heard = self.host.world.now, True

    def send(self, deliver: Callable[[], None], *, urgent: bool = False) -> None:
        """Let something happen at the other end, if it still is the same connection when that comes there."""
        other = self.other

        def arrive() -> None:
            if other.is_alive:
                other.hear()
                deliver()

        if self.is_alive:
            self.connection.wire.carry(self, arrive, urgent=urgent)


class Connection:
    """Two ends."""

    def __init__(self, wire: Wire, one: Host, other: Host) -> None:
        self.wire = wire
        self.ends = (End(self, one, one.boot), End(self, other, other.boot))
        first, second = self.ends
        first.other, second.other = second, first


class Wire:
    """What lies between two agents."""

    def __init__(self, world: World, one: Host, other: Host, delay_s: float) -> None:
        self.world = world
        self.hosts = (one, other)
        self.delay_s = delay_s
        self._blocked: set[str] = set()
        """Names of the agents from which nothing gets through."""
        self._stuck: dict[str, list[tuple[int, bool, Callable[[], None]]]] = {one.name: [], other.name: []}
        """What waits for the wire to heal: when it was sent, whether it passes other messages, its coming."""
        self._sent = count()
        self._last: dict[str, float] = {}
        self._opens_at: dict[str, float] = {}
        """When the acceptor's answer is at the dialler: nothing passes that."""
        self.compares = True
        """Both ends speak the version of the protocol in which they begin with what they hold."""
        self.takes_lots = True
        """Both ends understand lots."""
        self.is_wanted = True
        world.after(0.0, self._dial)

    def _dial(self) -> None:
        one, other = self.hosts
        is_free = not self._blocked and not one.is_down and not other.is_down and not one.is_paused
        if self.is_wanted and is_free and other.name not in one.ends and not other.is_paused:
            connection = Connection(self, one, other)
            first, second = connection.ends
            second.open()
            if second.is_open:
                self._opens_at[other.name] = self.carry(second, first.open)
        self.world.after(self.world.jitter(DIAL_S, 2 * DIAL_S), self._dial)

    def carry(self, sender: End, arrive: Callable[[], None], *, urgent: bool = False) -> float:
        """Bring something to the other end: in order, unless it is urgent; not while the wire is cut.

        Returns:
            When it will be there.
        """
        name = sender.host.name
        number = next(self._sent)

        def come() -> None:
            if name in self._blocked:
                self._stuck[name].append((number, urgent, come))
            else:
                arrive()

        if name in self._blocked:
            come()
            return 0.0
        delay_s = self.delay_s if self.world.is_exact else self.delay_s * (1.0 + 2.0 * self.world.random.random())
        at = max(self.world.now + delay_s, self._opens_at.get(name, 0.0))
        if not urgent:
            at = self._last[name] = max(at, self._last.get(name, 0.0))

        self.world.after(at - self.world.now, come)
        return at

    def cut(self, *senders: str) -> None:
        """Let nothing through from these, or from both."""
        self._blocked |= set(senders or (host.name for host in self.hosts))

    def heal(self) -> None:
        """Carry again: first what was stuck, in the order in which it was sent, behind what is still on its way."""
        self._blocked.clear()
        for name, stuck in self._stuck.items():
            waiting, stuck[:] = sorted(stuck, key=lambda one: one[0]), []
            late_s = self._last.get(name, 0.0) - self.world.now
            for _, urgent, come in waiting:
                if urgent or late_s <= 0:
                    come()
                else:
                    self.world.after(late_s, come)


class Comm:
    """Performs the commands of one engine that concern neighbours."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.performers: dict[type[c.Command], Callable[[Any], None]] = {
            c.DeclareTemplates: self._declare,
            c.SendOffers: self._offer,
            c.AnswerOffers: self._answer,
            c.SendEnds: self._end,
            c.OfferLot: self._offer_lot,
            c.AcceptLot: self._accept_lot,
            c.EndLot: self._end_lot,
            c.AcknowledgeLot: self._acknowledge_lot,
            c.AcknowledgeEnds: self._acknowledge,
            c.CancelTasks: self._cancel,
            c.SendReport: self._report,
            c.SendInventory: self._tell,
            c.SendDrain: self._drain,
            c.OpenLink: lambda _: None,
            c.CloseLink: self._close,
        }

    def _to(
        self, name: str, make: Callable[[Host, End], e.Event], *, urgent: bool = False, again: bool = False
    ) -> None:
        mine = self._host.ends.get(name)
        if mine is None:
            return
        there = mine.other

        def deliver() -> None:
            there.host.post(make(there.host, there))

        mine.send(deliver, urgent=urgent)
        world = self._host.world
        if again and not world.is_exact and world.random.random() < 0.05:
            mine.send(deliver, urgent=urgent)

    def _declare(self, command: c.DeclareTemplates) -> None:
        self._to(command.neighbour, lambda _, end: e.TemplatesDeclared(end.number, command.templates))

    def _offer(self, command: c.SendOffers, lot: Lot | None = None) -> None:
        mine, history = self._host.ends.get(command.neighbour), self._host.world.history

        def make(host: Host, end: End) -> e.Event:
            for offer in command.offers:
                if (offer.task, offer.attempt) in end.unanswered:
                    history.broken(f"{self._host.name} offered task {offer.task} twice over one connection")
                end.unanswered.add((offer.task, offer.attempt))
                history.offered(host, offer)
            if lot is not None:
                return le.LotOffered(self._host.name, end.number, lot)
            return e.OffersReceived(self._host.name, end.number, command.offers)

        if mine is not None:
            self._to(command.neighbour, make)

    def _answer(self, command: c.AnswerOffers) -> None:
        mine = self._host.ends.get(command.neighbour)
        if mine is None or mine.number != command.link:
            return
        accepted = tuple(one for one in command.accepted if (one[0], one[1]) in mine.unanswered)
        for task, attempt, *_ in accepted:
            mine.unanswered.discard((task, attempt))
        answers = [(one.task, one.attempt) in mine.unanswered for one in command.refused]
        refused = tuple(one for one, is_answer in zip(command.refused, answers, strict=True) if is_answer)
        returned = tuple(one for one, is_answer in zip(command.refused, answers, strict=True) if not is_answer)
        for refusal in refused:
            mine.unanswered.discard((refusal.task, refusal.attempt))
        mine.accepted += accepted
        if command.may_wait and not self._host.world.is_exact:
            self._later(mine, lambda: self._tell_answers(command.neighbour, mine))
        else:
            self._tell_answers(command.neighbour, mine, refused, returned)

    def _tell_answers(
        self, neighbour: str, mine: End, refused: tuple[Refusal, ...] = (), returned: tuple[Refusal, ...] = ()
    ) -> None:
        self._tell_lots(neighbour, mine)
        accepted, mine.accepted = tuple(mine.accepted), []
        if accepted or refused or returned:
            self._to(neighbour, lambda *_: e.OffersAnswered(self._host.name, accepted, refused, returned))

    def _later(self, mine: End, act: Callable[[], None]) -> None:
        """Do something after a while, over the same connection if that is still there."""
        world, host = self._host.world, self._host
        world.after(
            world.jitter(0.0, PATIENCE_S), lambda: act() if mine.is_alive and mine in host.ends.values() else None
        )

    def _end(self, command: c.SendEnds) -> None:
        # A connection doubles nothing; ends are said again over the next one, and each time grants leases anew.
        grants = any(
            part.remote is not None for end in command.ends for one in end.outcome.values for part in one.parts
        )
        self._to(command.neighbour, lambda *_: e.EndsReceived(self._host.name, command.ends), again=not grants)

    def _acknowledge(self, command: c.AcknowledgeEnds) -> None:
        mine = self._host.ends.get(command.neighbour)

        def tell() -> None:
            self._to(command.neighbour, lambda *_: e.EndsAcknowledged(self._host.name, command.tasks), again=True)

        if mine is not None and not self._host.world.is_exact:
            self._later(mine, tell)
        else:
            tell()

    def _offer_lot(self, command: c.OfferLot) -> None:
        self._offer(c.SendOffers(command.neighbour, command.lot.offers), command.lot)

    def _accept_lot(self, command: c.AcceptLot) -> None:
        mine = self._host.ends.get(command.neighbour)
        if mine is None or mine.number != command.link:
            return
        mine.unanswered.difference_update((task, command.attempt) for task in command.tasks)
        accepted = le.LotAccepted(self._host.name, command.attempt, command.epoch, command.tasks)
        if command.may_wait and not self._host.world.is_exact:
            mine.lots.append(accepted)
            self._later(mine, lambda: self._tell_lots(command.neighbour, mine))
        else:
            self._to(command.neighbour, lambda *_: accepted)

    def _tell_lots(self, neighbour: str, mine: End) -> None:
        lots, mine.lots = mine.lots, []
        for lot in lots:
            self._to(neighbour, lambda *_, told=lot: told)

    def _end_lot(self, command: c.EndLot) -> None:
        self._to(command.neighbour, lambda *_: le.LotEnded(self._host.name, command.lot), again=True)

    def _acknowledge_lot(self, command: c.AcknowledgeLot) -> None:
        told = le.LotAcknowledged(self._host.name, command.attempt, command.tasks)
        mine = self._host.ends.get(command.neighbour)
        if mine is not None and not self._host.world.is_exact:
            self._later(mine, lambda: self._to(command.neighbour, lambda *_: told, again=True))
        else:
            self._to(command.neighbour, lambda *_: told, again=True)

    def _cancel(self, command: c.CancelTasks) -> None:
        self._to(command.neighbour, lambda *_: e.CancelReceived(self._host.name, command.tasks), again=True)

    def _tell(self, command: c.SendInventory) -> None:
        """In two messages, as an inventory that does not fit into one."""

        def part(held: Attempts, finished: Attempts, *, is_last: bool) -> None:
            self._to(
                command.neighbour,
                lambda _, end: e.InventoryReceived(self._host.name, end.number, held, finished, is_last),
            )

        part(command.held, (), is_last=False)
        part((), command.finished, is_last=True)

    def _drain(self, command: c.SendDrain) -> None:
        self._to(command.neighbour, lambda _, end: e.NeighbourDraining(self._host.name, end.number, command.reason))

    def _report(self, command: c.SendReport) -> None:
        self._to(command.neighbour, lambda *_: e.LoadReported(self._host.name, command.report), urgent=True)

    def _close(self, command: c.CloseLink) -> None:
        wire = self._host.world.wires.get(frozenset((self._host.name, command.neighbour)))
        if wire is not None and not command.redial:
            wire.is_wanted = False
        mine = self._host.ends.get(command.neighbour)
        if mine is not None:
            mine.close("the other agent ended this connection")
