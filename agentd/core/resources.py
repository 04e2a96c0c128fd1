"""The pool reshaped while work runs, and what neighbours are told of this agent's load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentd.core.commands import CloseLink, OpenLink, Publish, Reply, SendReport
from agentd.core.entries import HostAdded, HostRemoved
from agentd.core.neighbours import UNKNOWN_S, LinkState, Neighbour, merge_tiers
from agentd.model.errors import RequestError
from agentd.model.exchange import Report
from schedulers.capacity import Capacity, Kind
from schedulers.view import Change, Tier

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.links import Links
    from agentd.core.state import AgentState

EDGE_S = 0.2
"""Least time between stand-alone reports on an idle ↔ busy edge (simulated: 50 ms to 1 s make no difference)."""
CHANGE_S = 1.0
"""Least time between stand-alone reports on a change of more than a quarter."""
PIGGYBACK_S = 0.02
"""Least time between reports that ride on other messages."""


MODULES_MOST = 1000
"""Names of modules in one report (chosen: some 20 kB)."""


class Resources:
    """Adds, reduces and removes; reports load."""

    def __init__(self, state: AgentState, links: Links) -> None:
        self._state = state
        self._links = links

    # --- reshaping --------------------------------------------------------------------------------------------

    def added(self, event: e.ResourceAdded, now: float) -> None:  # noqa: ARG002
        """The operator adds capacity."""
        state = self._state
        state.changes.add(Change.ROOM)
        if event.name == state.identity.name:
            state.pool.add(event.capacity)
            self._note(event.caller, event.name, state.pool.capacity)
            return
        neighbour = state.neighbourhood.get(event.name)
        is_new = neighbour is None or not neighbour.is_pooled
        neighbour = state.neighbourhood.ensure(event.name, state.rules.hop_limit)
        if is_new:
            neighbour.granted, neighbour.declared = event.capacity, event.declared
            neighbour.adaptor, neighbour.properties = event.adaptor, event.properties
            neighbour.is_parent, neighbour.is_pooled = event.is_parent, True
            if neighbour.state is not LinkState.CONNECTED:
                neighbour.state = LinkState.CONNECTING
                state.outbox.add(OpenLink(event.name, event.adaptor, event.properties))
        else:
            neighbour.grow(event.capacity)
        state.neighbourhood.arrange()
        self._note(event.caller, event.name, neighbour.granted, neighbour)

    def reduced(self, event: e.ResourceReduced, now: float) -> None:
        """The operator takes capacity away."""
        state = self._state
        try:
            if event.name == state.identity.name:
                state.pool.reduce(event.capacity)
                self._note(event.caller, event.name, state.pool.capacity)
                return
            neighbour = self._pooled(event.name)
            neighbour.shrink(event.capacity)
        except RequestError as error:
            state.outbox.add(Reply(event.caller, error))
            return
        if any(neighbour.granted.units(kind) for kind in Kind):
            self._note(event.caller, event.name, neighbour.granted, neighbour)
        else:
            self._leave(neighbour, now)
            state.outbox.add(Reply(event.caller, event.name))

    def removed(self, event: e.ResourceRemoved, now: float) -> None:
        """The operator removes a host: at once, or when what it holds has ended."""
        state = self._state
        try:
            if event.name == state.identity.name:
                state.pool.reduce(Capacity(processors=state.pool.capacity.processors))
                self._note(event.caller, event.name, state.pool.capacity)
                return
            neighbour = self._pooled(event.name)
        except RequestError as error:
            state.outbox.add(Reply(event.caller, error))
            return
        if event.lost:
            self._links.lost(neighbour, "the operator said that it is lost", now)
        self._leave(neighbour, now)
        state.outbox.add(Reply(event.caller, event.name))

    def _pooled(self, name: str) -> Neighbour:
        neighbour = self._state.neighbourhood.get(name)
        if neighbour is None or not neighbour.is_pooled:
            known = [row.name for row in self._state.neighbourhood.by_name.values() if row.is_pooled]
            words = f"no resource {name!r} in the pool; there are: {', '.join([self._state.identity.name, *known])}"
            raise RequestError(words, status=404)
        return neighbour

    def _leave(self, neighbour: Neighbour, now: float) -> None:  # noqa: ARG002
        """Hand nothing more over; let go of the link when nothing is held."""
        state = self._state
        neighbour.is_pooled = False
        neighbour.is_leaving = True
        state.outbox.record(HostRemoved(neighbour.name))
        state.neighbourhood.arrange()
        state.outbox.add(Publish("resource", neighbour.name, {"state": "leaving"}))
        self.let_go()

    def let_go(self) -> None:
        """Close the links of those that are leaving and hold nothing any more."""
        state = self._state
        for neighbour in list(state.neighbourhood.by_name.values()):
            if neighbour.is_leaving and not neighbour.held:
                neighbour.is_leaving = False
                state.outbox.add(CloseLink(neighbour.name))
                if not neighbour.ends_unacknowledged:
                    state.neighbourhood.remove(neighbour.name)

    def _note(self, caller: int, name: str, capacity: Capacity, neighbour: Neighbour | None = None) -> None:
        """Remember the pool across restarts and answer the operator."""
        state = self._state
        entry = HostAdded(name, msgspec.json.encode(capacity))
        if neighbour is not None:
            entry = HostAdded(
                name,
                entry.capacity,
                neighbour.adaptor,
                neighbour.properties,
                neighbour.is_parent,
                neighbour.declared,
            )
        number = state.outbox.record(entry)
        state.outbox.add(Publish("resource", name, {"state": "changed"}))
        state.changes.add(Change.ROOM)
        if caller:
            state.outbox.after(number, lambda: state.outbox.add(Reply(caller, name)))

    # --- load -------------------------------------------------------------------------------------------------

    def own_tier(self) -> Tier:
        """Say how our own cores stand, after our own queue has claimed the idle ones."""
        state = self._state
        cores, free = state.pool.total(), state.pool.free()
        claimed = min(free, len(state.queue))
        backlog = state.queue.backlog_s(UNKNOWN_S) + state.crew.backlog_s(UNKNOWN_S)
        speed = state.rules.speed
        return Tier(speed, float(max(free - claimed, 0)), float(cores), max(cores * speed, 0.001), backlog)

    def report_to(self, neighbour: Neighbour, own: Tier) -> Report:
        """Say what lies on this side of the link to one neighbour; nobody is counted twice."""
        state = self._state
        tiers = merge_tiers(iter((own, *state.neighbourhood.beyond(neighbour))))
        largest = max(
            (state.pool.capacity, *(row.granted for row in state.neighbourhood.rows if row is not neighbour)),
            key=lambda capacity: capacity.units(),
        )
        return Report(
            epoch=state.identity.epoch,
            sequence=neighbour.sent_report.sequence + 1 if neighbour.sent_report else 1,
            acknowledged=neighbour.received_sequence,
            tiers=tiers,
            capacity=largest,
            draining=state.draining,
            functions=self._modules(neighbour),
        )

    def _modules(self, neighbour: Neighbour) -> tuple[str, ...]:
        """List the modules that can be called on this side of the link."""
        state = self._state
        found = set(state.modules)
        for row in state.neighbourhood.rows:
            if row is not neighbour:
                found.update(row.report.functions)
        return tuple(sorted(found)[:MODULES_MOST])

    def report(self, now: float) -> None:
        """Tell each neighbour what has changed enough, as often as it is worth."""
        state = self._state
        connected = [row for row in state.neighbourhood.by_name.values() if row.link]
        if not connected:
            return
        own = None
        for row in connected:
            since = now - row.sent_report_at
            if since < PIGGYBACK_S and row.sent_report is not None:
                self._wake(row, row.sent_report_at + PIGGYBACK_S)
                continue
            if own is None:
                own = self.own_tier()
            report = self.report_to(row, own)
            wait = _due(row.sent_report, report)
            if wait is None:
                continue
            if since >= wait:
                row.sent_report, row.sent_report_at = report, now
                state.outbox.add(SendReport(row.name, report))
            else:
                self._wake(row, row.sent_report_at + wait)

    def _wake(self, row: Neighbour, when: float) -> None:
        if row.report_wake_at < when:
            row.report_wake_at = when
            self._state.timers.at(when, lambda _: None)


def _due(sent: Report | None, report: Report) -> float | None:
    """Say after which pause a report is worth sending; None: it says nothing new."""
    if sent is None:
        return 0.0
    if (sent.draining, sent.capacity, sent.functions) != (report.draining, report.capacity, report.functions):
        return PIGGYBACK_S
    if sent.acknowledged != report.acknowledged:
        return PIGGYBACK_S
    old, new = (sum(tier.free for tier in one.tiers) for one in (sent, report))
    if bool(old) != bool(new):
        return EDGE_S
    for one, other in (
        (old, new),
        *((sum(tier[4] for tier in a), sum(tier[4] for tier in b)) for a, b in ((sent.tiers, report.tiers),)),
        *((sum(tier[2] for tier in a), sum(tier[2] for tier in b)) for a, b in ((sent.tiers, report.tiers),)),
    ):
        if abs(one - other) > 0.25 * max(one, other):
            return CHANGE_S
    return None
