"""How doors ask the engine and are answered, and what they ask about the pool."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentd.adaptors.catalogue import known_adaptor
from agentd.core import events as e
from agentd.daemon.neighbours.located import followed, located
from agentd.daemon.repeats import Repeats
from agentd.daemon.showing.rows import Showing
from agentd.model.errors import RequestError
from agentd.rest.port import Pooled
from agentd.wire.messages import Message, ResourceChange
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from agentd.comm.link import Link
    from agentd.comm.whereabouts import Met
    from agentd.core.engine import Engine
    from agentd.daemon.clock import Clock
    from agentd.daemon.lane import Lane
    from agentd.daemon.trust.pairing import Pairing
    from agentd.model.peers import Peer
    from agentd.model.views import NeighbourView, ResourceView

log = logging.getLogger("agentd")

FIRST_CALLER = 1 << 48
"""Numbers of callers at this door begin here; those of links are far below."""
COMMIT_S = 20.0
"""How long a submission waits for the disk before its caller is told to look again (chosen: far above any commit)."""


class _Refused:
    """An error on its way to a caller.

    It is taken out when it is raised: its traceback leads to the future that brought it, and if that led back to it,
    the request with all its arguments would stay until somebody searches for such cycles.
    """

    def __init__(self, error: Exception) -> None:
        self._errors = [error]

    def take(self) -> Exception:
        """Give it, once."""
        return self._errors.pop()


def _error_in(answer: object) -> Exception | None:
    return answer.take() if isinstance(answer, _Refused) else None


class Asking:
    """Posts events that somebody waits to be answered, and gives the answers to who waits."""

    _lane: Lane

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._state = engine.state
        self._clock = clock
        self._callers = itertools.count(FIRST_CALLER)
        self._waiters: dict[int, asyncio.Future[Any]] = {}
        self._repeats = Repeats(log, lambda after_s, act: asyncio.get_running_loop().call_later(after_s, act))
        self.showing = Showing(engine)

    def reply(self, caller: int, value: object) -> None:
        """Give a waiting caller its answer."""
        waiter = self._waiters.pop(caller, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(_Refused(value) if isinstance(value, Exception) else value)

    def _ask(self) -> tuple[int, asyncio.Future[Any]]:
        caller = next(self._callers)
        waiter = self._waiters[caller] = asyncio.get_running_loop().create_future()
        return caller, waiter

    async def _answer(self, caller: int, waiter: asyncio.Future[Any]) -> Any:
        try:
            async with asyncio.timeout(COMMIT_S):
                answer = await waiter
        except TimeoutError:
            words = "the journal's disk does not answer: the request may still be taken; ask again with the same key"
            raise RequestError(words, status=507) from None
        finally:
            self._waiters.pop(caller, None)
        if isinstance(answer, _Refused):
            raise answer.take()
        return answer


class Reshaping(Asking):
    """Shows the pool and changes it."""

    pairing: Pairing

    def resources(self) -> list[ResourceView]:
        """List the pool."""
        return self.showing.resources()

    async def add_resource(
        self, name: str, capacity: Capacity, adaptor: str, properties: dict[str, str], is_parent: bool
    ) -> ResourceView:
        """Add a host, or let a known one grow; one of which nothing is said grants what it reports of itself."""
        if name == self._state.identity.name and capacity == Capacity():
            raise RequestError(f"{name} is this agent: say how much it is to have more, such as --cpu 1")
        adaptor, properties = self._reached(name, adaptor, properties)
        caller, waiter = self._ask()
        self._lane.post(
            e.ResourceAdded(
                caller, name, capacity, adaptor, tuple(sorted(properties.items())), is_parent, bool(capacity.processors)
            )
        )
        await self._answer(caller, waiter)
        row = self._resource(name)
        for warning in row.warnings:
            log.warning("%s: %s", name, warning)
        return row

    def _reached(self, name: str, adaptor: str, properties: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Say how a host is reached: a new one as asked; a known one as ever, though it may have moved.

        Raises:
            RequestError: it cannot be reached so.
        """
        known = {host.name: host for host in self.pool()}
        if name == self._state.identity.name or (name in known and not properties):
            return adaptor, {}
        adaptor = known_adaptor(known[name].adaptor if name in known else adaptor, name, properties)
        if adaptor == "comm":
            properties = located(self.pairing.security, known, name, properties)
        return adaptor, properties

    async def reduce_resource(self, name: str, capacity: Capacity) -> ResourceView:
        """Take capacity away; what is in use is owed."""
        before = self._resource(name)
        caller, waiter = self._ask()
        self._lane.post(e.ResourceReduced(caller, name, capacity))
        await self._answer(caller, waiter)
        return self._resource(name, _gone(before, "removed"))

    async def remove_resource(self, name: str, lost: bool) -> ResourceView:
        """Remove a host: drained, or lost at once."""
        before = self._resource(name)
        caller, waiter = self._ask()
        self._lane.post(e.ResourceRemoved(caller, name, lost))
        await self._answer(caller, waiter)
        return self._resource(name, _gone(before, "lost" if lost else "removed"))

    def _tell_refusal(self, where: str, error: BaseException | None) -> None:
        if error is not None:
            self._repeats.warn(where, "a change of resources from %s was refused: %s", where, error)

    def changed(self, link: Link, message: Message) -> None:
        """Reshape the pool as a message of Comm says; it is not answered, so what is refused is told in the log."""
        assert isinstance(message, ResourceChange)
        try:
            event = self._event_of(message)
        except RequestError as error:
            self._tell_refusal(link.where, error)
            return
        caller, waiter = self._ask()
        waiter.add_done_callback(
            lambda done: self._tell_refusal(link.where, None if done.cancelled() else _error_in(done.result()))
        )
        self._lane.post(replace(event, caller=caller))

    def _event_of(self, message: ResourceChange) -> e.ResourceAdded | e.ResourceReduced | e.ResourceRemoved:
        """Make an event of a change.

        Raises:
            RequestError: it is none, or of a host that nobody knows and that cannot be reached.
        """
        name, capacity, properties = message.name, message.capacity, dict(message.properties)
        is_known = name in {row.name for row in self.pool()}
        if message.change == "added" and (is_known or message.adaptor):
            adaptor, properties = self._reached(name, message.adaptor, properties)
            return e.ResourceAdded(0, name, capacity, adaptor, tuple(sorted(properties.items())))
        if not is_known:
            raise RequestError(f"no resource {name!r} in the pool, and none can be added without an adaptor")
        if message.change == "reduced":
            return e.ResourceReduced(0, name, capacity)
        if message.change in {"removed", "lost"}:
            return e.ResourceRemoved(0, name, message.change == "lost")
        raise RequestError(f"{message.change!r} is no change of resources: added, reduced, removed, lost")

    def _resource(self, name: str, gone: ResourceView | None = None) -> ResourceView:
        found = next((row for row in self.resources() if row.name == name), gone)
        if found is None:
            known = ", ".join(row.name for row in self.resources())
            raise RequestError(f"no resource {name!r} in the pool; there are: {known}", status=404)
        return found

    def pool(self) -> list[Pooled]:
        """List the pool with the whole capacity of each host."""
        rows = [row for row in self._state.neighbourhood.by_name.values() if row.is_pooled]
        own = Pooled(self._state.identity.name, "", self._state.pool.capacity)
        return [own, *(Pooled(row.name, row.adaptor or "comm", row.granted) for row in rows)]

    def follow(self, met: Met, peer: Peer) -> None:
        """Let the pool have a paired agent where it was met."""
        rows = {row.name: row for row in self._state.neighbourhood.by_name.values() if row.is_pooled}
        for event in followed(met, peer, rows):
            self._lane.post(event)

    def link_of(self, peer: Peer) -> NeighbourView | None:
        """Show the link to a paired agent, whatever it was called when that was made; None: there is none."""
        for row in self._state.neighbourhood.by_name.values():
            if row.agent_id == peer.agent_id or (not row.agent_id and row.name == peer.name):
                return self.showing.neighbour(row, self._clock.now())
        return None

    def neighbours(self) -> list[NeighbourView]:
        """List the links."""
        return self.showing.neighbours(self._clock.now())


def _gone(row: ResourceView, state: str) -> ResourceView:
    """Give the row of a host that is not in the pool any more: it has nothing there."""
    return replace(
        row, state=state, total={}, free={}, owed={}, processors=[], memory_mib=None, rtt_s=None, warnings=[]
    )
