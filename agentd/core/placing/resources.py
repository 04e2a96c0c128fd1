"""The resources reshaped while work runs: this device's own, and what neighbours grant.

Law: a reduction kills nothing; what is in use leaves when it is free, what is lost is lost at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentd.core.commands import CloseLink, OpenLink, Publish, Reply, SendDrain
from agentd.core.journal.entries import HostAdded, HostRemoved
from agentd.core.neighbours.neighbour import LinkState, Neighbour
from agentd.model.errors import RequestError
from agentd.model.task import Failure, Reason
from schedulers.capacity import Capacity, Kind
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.neighbours.links import Links
    from agentd.core.state import AgentState
    from agentd.core.workers.execution import Execution


LOST_HERE = Failure(Reason.SIGNAL, "DeviceLost", "the operator said that this device is lost")
LOOK_S = 0.25
"""Between looks through all operations for those of a neighbour that is leaving (chosen)."""


class Resources:
    """Adds, reduces and removes."""

    def __init__(self, state: AgentState, links: Links, execution: Execution) -> None:
        self._state = state
        self._links = links
        self._execution = execution
        self.leaving: set[str] = set()
        """Names of those that are let go as soon as they hold nothing of ours, and we nothing of theirs."""
        self._look_at = 0.0

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
            if neighbour.is_leaving and neighbour.link:
                state.outbox.add(CloseLink(event.name, redial=True))  # it was told that we leave: we meet anew
            neighbour.granted = event.capacity if event.declared else neighbour.reported
            neighbour.declared = event.declared
            neighbour.adaptor, neighbour.properties = event.adaptor, event.properties
            neighbour.is_parent, neighbour.is_pooled = event.is_parent, True
            neighbour.limit_of_tasks = event.limit_of_tasks
            neighbour.is_leaving = False
            if neighbour.state is not LinkState.CONNECTED:
                neighbour.state = LinkState.CONNECTING
            # One that came to us is dialled as soon as it is gone: it may be that only we can by then.
            state.outbox.add(OpenLink(event.name, event.adaptor, event.properties))
        else:
            if event.capacity != Capacity():
                neighbour.grow(event.capacity)
            if event.properties and event.properties != neighbour.properties:
                neighbour.properties = event.properties  # it has moved
                state.outbox.add(OpenLink(event.name, neighbour.adaptor, event.properties))
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
                if event.lost:
                    self._execution.losses.abandon(LOST_HERE, now)
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

    def _leave(self, neighbour: Neighbour, now: float) -> None:
        """Hand nothing more over and take nothing more; let go of the link when nothing is held on either side."""
        state = self._state
        neighbour.is_pooled = False
        neighbour.is_leaving = True
        state.outbox.record(HostRemoved(neighbour.name))
        state.neighbourhood.arrange()
        self._links.host_gone(neighbour, now)
        state.outbox.add(Publish("resource", neighbour.name, {"state": "leaving"}))
        self.leaving.add(neighbour.name)
        state.fetches.evacuate(neighbour.name, now)
        if neighbour.link:
            own = state.identity.name
            state.outbox.add(SendDrain(neighbour.name, 0.0, f"{own} has taken it out of its pool"))
        self.let_go(now)

    def _is_awaited(self, neighbour: Neighbour, now: float) -> bool:
        """Tell whether one of the two still holds something of the other; looked at closely now and then only."""
        if neighbour.held or (neighbour.link and neighbour.ends_unacknowledged):
            return True
        if not neighbour.link:
            return False
        if now < self._look_at:
            return True
        if not self._links.given_by(neighbour) and not self._state.objects.is_tied(neighbour.name):
            return False
        self._look_at = now + LOOK_S
        self._state.timers.at(self._look_at, lambda _: None)
        return True

    def let_go(self, now: float) -> None:
        """Close the links of those that are leaving and hold nothing any more."""
        state = self._state
        for name in list(self.leaving):
            neighbour = state.neighbourhood.get(name)
            if neighbour is not None and neighbour.is_leaving and self._is_awaited(neighbour, now):
                continue
            self.leaving.discard(name)
            if neighbour is not None and neighbour.is_leaving:
                neighbour.is_leaving = False
                state.outbox.add(CloseLink(name))
                if not neighbour.ends_unacknowledged:
                    state.neighbourhood.remove(name)

    def _note(self, caller: int, name: str, capacity: Capacity, neighbour: Neighbour | None = None) -> None:
        """Remember the pool across restarts and answer the operator."""
        state = self._state
        entry = HostAdded(name, msgspec.json.encode(capacity), instead_of=msgspec.json.encode(state.pool.declared))
        if neighbour is not None:
            entry = HostAdded(
                name,
                entry.capacity,
                neighbour.adaptor,
                neighbour.properties,
                neighbour.is_parent,
                neighbour.declared,
                neighbour.limit_of_tasks,
            )
        number = state.outbox.record(entry)
        state.outbox.add(Publish("resource", name, {"state": "changed"}))
        state.changes.add(Change.ROOM)
        if caller:
            state.outbox.after(number, lambda: state.outbox.add(Reply(caller, name)))
