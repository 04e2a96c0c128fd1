"""Objects on their way here: whom they are asked of, who waits for them, and what to do when they do not come.

Law: an object is under way once, however many wait for it; what came of it is not asked for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import AbandonFetch, Alarm, FetchObject
from agentd.core.data.objects import keys_of
from agentd.core.neighbours.neighbour import LinkState
from agentd.model.values import ObjectKey, Remote
from schedulers.view import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agentd.core import events as e
    from agentd.core.data.objects import Object, Objects
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.neighbours.neighbourhood import Neighbourhood
    from agentd.core.outbox import Outbox
    from agentd.core.timers import Timer, Timers
    from agentd.model.values import Payload

    Done = Callable[[str, float], None]
    """Told why an object cannot be had, empty when it is here, and the time."""

AGAIN_S = 0.5
"""Until a holder that could not give an object is asked again, at first (chosen)."""
AGAIN_MOST_S = 10.0
"""The same, at most."""


class Fetch:
    """One object that is wanted here."""

    __slots__ = ("delay_s", "done", "key", "reason", "refused", "source", "timer")

    def __init__(self, key: ObjectKey) -> None:
        self.key = key
        self.done: list[Done] = []
        self.source = ""
        """Neighbour that was asked; empty: nobody can be at the moment."""
        self.refused: set[str] = set()
        """Neighbours that do not have it."""
        self.delay_s = AGAIN_S
        self.timer: Timer | None = None
        self.reason = ""
        """Why it does not come, as far as that is known."""


class Fetches:
    """Everything that is under way to this agent."""

    def __init__(self, objects: Objects, neighbourhood: Neighbourhood, timers: Timers, outbox: Outbox) -> None:
        self._objects = objects
        self._neighbourhood = neighbourhood
        self._timers = timers
        self._outbox = outbox
        self._fetches: dict[ObjectKey, Fetch] = {}
        self.on_lost: list[Callable[[ObjectKey, float], None]] = []
        """Told of each object that is needed, is not here, and that nobody has any more."""
        self.on_arrived: list[Callable[[ObjectKey, float], None]] = []
        """Told of each object that has come here, before who waits for it."""
        objects.unwanted = self._unwanted

    def __len__(self) -> int:
        return len(self._fetches)

    def get(self, key: ObjectKey) -> Fetch | None:
        """Find what is under way."""
        return self._fetches.get(key)

    def fetch(self, found: Object, done: Done, now: float) -> None:
        """Bring an object here; all who want it share one transfer. `done` is called once, never at once."""
        fetch = self._fetches.get(found.key)
        if fetch is not None:
            fetch.done.append(done)
            return
        fetch = self._fetches[found.key] = Fetch(found.key)
        fetch.done.append(done)
        if self._is_lost(found, fetch):
            self._again_in(fetch, 0.0, now)
        else:
            self._seek(fetch, now)

    # --- whom to ask ------------------------------------------------------------------------------------------

    def _sources(self, found: Object) -> Iterator[Neighbour]:
        """Give the neighbours that may have an object: those who hold it, then those who told of it."""
        remote = found.remote
        told: list[Neighbour] = []
        for row in self._neighbourhood.by_name.values():
            is_old = row.agent_id == remote.home and row.boot != remote.boot
            if row.agent_id in remote.holders and not is_old:
                yield row
            elif row.name in found.vias and not is_old:
                told.append(row)
        yield from told

    def way(self, found: Object, but: str) -> str:
        """Name the connected neighbour to ask for an object in the name of another; empty if there is none."""
        return next((row.name for row in self._sources(found) if row.link and row.name != but), "")

    def is_lost(self, found: Object, but: str) -> bool:
        """Tell whether an object is neither here nor at anybody who may still be asked in the name of another."""
        return found.place is None and self._is_lost(found, self._fetches.get(found.key), but)

    def _seek(self, fetch: Fetch, now: float) -> None:
        """Ask the best neighbour for what is missing, or wait for one, or give it up."""
        found = self._objects.get(fetch.key)
        if found is None:
            return
        if fetch.timer is not None:
            self._timers.cancel(fetch.timer)
            fetch.timer = None
        for row in self._sources(found):
            if row.link and row.name not in fetch.refused:
                fetch.source = row.name
                self._outbox.add(FetchObject(found.remote, row.name))
                return
        fetch.source = ""
        if self._is_lost(found, fetch):
            self._lost(found, now)

    def _is_lost(self, found: Object, fetch: Fetch | None, but: str = "") -> bool:
        """Tell whether nobody is left who may have an object; who asks for it, `but`, does not."""
        refused = {but} if fetch is None else {but, *fetch.refused}
        return not any(row.state is not LinkState.LOST and row.name not in refused for row in self._sources(found))

    def _again_in(self, fetch: Fetch, delay_s: float, now: float) -> None:
        def again(now: float) -> None:
            fetch.timer = None
            if self._fetches.get(fetch.key) is fetch:
                self._seek(fetch, now)

        fetch.timer = self._timers.at(now + delay_s, again)

    def places(self, values: Iterable[Payload]) -> tuple[Held, ...]:
        """Say where the objects of some values lie: here, or at or beyond which neighbour."""
        sizes: dict[str | None, int] = {}
        for key in {key for value in values for key in keys_of(value)}:
            found = self._objects.get(key)
            if found is not None:
                where = None if found.place is not None else self._nearest(found)
                if where != "":
                    sizes[where] = sizes.get(where, 0) + found.remote.size
        return tuple(Held(where, size) for where, size in sorted(sizes.items(), key=lambda row: row[0] or ""))

    def _nearest(self, found: Object) -> str:
        return next((row.name for row in self._sources(found)), "")

    # --- who may have it --------------------------------------------------------------------------------------

    def was_given(self, key: ObjectKey, neighbour: str) -> bool:
        """Tell whether we gave an object to a neighbour: by an end that we told it, or with a task that it holds."""
        found = self._objects.get(key)
        if found is not None and neighbour in found.leases:
            return True
        row = self._neighbourhood.get(neighbour)
        return row is not None and any(key in keys_of(value) for task in row.held.values() for value in task.values)

    def objection(self, remote: Remote, neighbour: str, is_confined: bool) -> str | None:
        """Say why a neighbour may not name an object, as one with few rights or as anybody; None: it may."""
        found = self._objects.get(remote.key)
        if found is not None and found.remote.size != remote.size:
            return f"it names an object of {found.remote.size} bytes as one of {remote.size}"
        if is_confined and not self._may_name(remote.key, neighbour):
            return "it names an object that was not given to it"
        return None

    def _may_name(self, key: ObjectKey, neighbour: str) -> bool:
        """Tell whether a neighbour with few rights may name an object: not one that it never had."""
        found, row = self._objects.get(key), self._neighbourhood.get(neighbour)
        if found is None or (row is not None and found.remote.home == row.agent_id):
            return True
        is_told = neighbour in found.vias and not self._objects.is_own(key)
        return is_told or self.was_given(key, neighbour)

    # --- what happens -----------------------------------------------------------------------------------------

    def object_fetched(self, event: e.ObjectFetched, now: float) -> None:
        """All of an object is here and whole."""
        if self._objects.arrived(event.key, event.segment):
            for told in self.on_arrived:
                told(event.key, now)
            self._give_back(event.key)
        self._end(event.key, "", now)

    def fetch_failed(self, event: e.FetchFailed, now: float) -> None:
        """A neighbour could not give an object: another one may, or the same one later."""
        fetch = self._fetches.get(event.key)
        if fetch is None or fetch.source != event.neighbour:
            return
        fetch.source, fetch.reason = "", event.reason
        if event.is_no_room:
            self._outbox.add(AbandonFetch(event.key))
            self._end(event.key, event.reason, now)
        elif event.is_gone:
            fetch.refused.add(event.neighbour)
            self._seek(fetch, now)
        else:
            self._again_in(fetch, fetch.delay_s, now)
            fetch.delay_s = min(2 * fetch.delay_s, AGAIN_MOST_S)

    def evacuate(self, neighbour: str, now: float) -> None:
        """A neighbour will leave: what we need and have from it only comes here, or is given back if it is here."""
        for found in self._objects:
            if neighbour not in found.grants:
                continue
            if found.place is None:
                self.fetch(found, lambda _reason, _now: None, now)
            else:
                self._objects.return_grants(found, neighbour)

    def _give_back(self, key: ObjectKey) -> None:
        """What has come here need not be kept for us by neighbours that want to leave."""
        found = self._objects.get(key)
        for name in list(found.grants) if found is not None else ():
            row = self._neighbourhood.get(name)
            if found is not None and row is not None and (row.state is LinkState.DRAINING or row.is_leaving):
                self._objects.return_grants(found, name)

    def link_opened(self, neighbour: str, now: float) -> None:
        """A neighbour can be asked again, over its new link."""
        for fetch in list(self._fetches.values()):
            fetch.refused.discard(neighbour)
            if fetch.source in {"", neighbour}:
                fetch.delay_s = AGAIN_S
                self._seek(fetch, now)

    def link_closed(self, neighbour: str, now: float) -> None:
        """What was under way from a neighbour goes on from another one, or later."""
        for fetch in list(self._fetches.values()):
            if fetch.source == neighbour:
                self._seek(fetch, now)

    def host_gone(self, now: float) -> None:
        """A neighbour was lost or restarted: what nobody else has is lost with it."""
        for found in self._objects:
            if found.place is None and self._is_lost(found, self._fetches.get(found.key)):
                self._lost(found, now)

    def _lost(self, found: Object, now: float) -> None:
        fetch = self._fetches.get(found.key)
        why = fetch.reason if fetch is not None and fetch.reason else "nobody who had it can be reached any more"
        remote = found.remote
        self._outbox.add(Alarm("an object is lost", {"home": remote.home, "bytes": remote.size, "reason": why}))
        for told in self.on_lost:
            told(found.key, now)
        if fetch is not None:
            self._outbox.add(AbandonFetch(found.key))
            self._end(found.key, why, now)

    def _end(self, key: ObjectKey, reason: str, now: float) -> None:
        fetch = self._fetches.pop(key, None)
        if fetch is None:
            return
        if fetch.timer is not None:
            self._timers.cancel(fetch.timer)
        for done in fetch.done:
            done(reason, now)

    def _unwanted(self, key: ObjectKey) -> None:
        """Nobody needs an object any more."""
        fetch = self._fetches.pop(key, None)
        if fetch is not None:
            if fetch.timer is not None:
                self._timers.cancel(fetch.timer)
            self._outbox.add(AbandonFetch(key))
