"""Values that stay where they are: what of them is here, what is elsewhere, and who still needs it.

Law: an object is let go when no value of this agent names it and no neighbour has a lease on it, and not before.

Who offers a task keeps what it refers to until the task has ended, so arguments need no lease. A result outlives the
task that made it: each end that names an object grants its receiver a lease, which goes with a message, or with the
receiver's boot, or when that was lost for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.commands import ReleaseObjects, RetainSegments, TellHeld
from agentd.model.values import Codec, ObjectKey, Part, Payload, Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from agentd.core.outbox import Outbox

HOLDERS_MOST = 16
"""Holders, and neighbours that told of it, that are remembered of one object (chosen)."""
KEYS_A_MESSAGE = 10_000
"""Objects of one message of an inventory (chosen: about 1 MiB)."""


class Lease:
    """What one neighbour has of an object."""

    __slots__ = ("count", "is_kept")

    def __init__(self) -> None:
        self.count = 0
        """Grants over the present link that were not given back."""
        self.is_kept = False
        """It has it from an earlier link."""


class Object:
    """Some bytes, here or elsewhere.

    `uses` counts the values of this agent that name it; `holds` how often we hold the segment it lies in; `vias` are
    the neighbours that told us of it; `grants` how many leases each of them gave us over the present link.
    """

    __slots__ = ("grants", "holds", "leases", "place", "remote", "uses", "vias")

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.place: Part | None = None
        """Where all of it is on this agent, from offset 0; None: not here."""
        self.holds = 0
        self.uses = 0
        self.vias: list[str] = []
        self.leases: dict[str, Lease] = {}
        self.grants: dict[str, int] = {}

    @property
    def key(self) -> ObjectKey:
        """What tells it from all others."""
        return self.remote.key

    def told_by(self, neighbour: str) -> None:
        """Note who told of it: whom to ask, the latest first."""
        if neighbour and neighbour not in self.vias:
            self.vias.insert(0, neighbour)
            del self.vias[HOLDERS_MOST:]

    def held_by(self, *agents: str) -> None:
        """Note who has all of it, the latest first."""
        known = self.remote.holders
        more = tuple(agent for agent in agents if agent not in known)
        if more:
            self.remote = replace(self.remote, holders=(*more, *known)[:HOLDERS_MOST])


class Objects:
    """All objects that this agent has, or has heard of and still needs."""

    def __init__(self, agent_id: str, boot: str, outbox: Outbox, numbers: Iterator[int], threshold_bytes: int) -> None:
        self._agent_id = agent_id
        self._boot = boot
        self._outbox = outbox
        self._numbers = numbers
        self._threshold_bytes = threshold_bytes
        self._table: dict[ObjectKey, Object] = {}
        self._by_place: dict[tuple[int, int], Object] = {}
        """Our own objects by segment and stored object."""
        self._listed: dict[str, set[ObjectKey]] = {}
        """What neighbours that came back have said so far that they still have."""
        self.unwanted: Callable[[ObjectKey], None] = lambda _: None
        """Told of an object that is let go."""

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._table.values()))

    def get(self, key: ObjectKey) -> Object | None:
        """Find an object."""
        return self._table.get(key)

    def is_own(self, key: ObjectKey) -> bool:
        """Tell whether this agent made an object."""
        return key[0] == self._agent_id

    # --- making references ------------------------------------------------------------------------------------

    def share(self, payload: Payload) -> Payload:
        """Make objects of what is large in a value and lies on this agent; the value's holds become theirs.

        What is small, or shared already, is left as it is. The value given back takes the place of the one given.
        """
        ends: dict[tuple[int, int], int] = {}
        sizes: dict[tuple[int, int], int] = {}
        for part in payload.parts:
            if part.remote is None and part.data is None:
                place = part.segment, part.stored
                ends[place] = max(ends.get(place, 0), part.offset + part.size)
                sizes[place] = sizes.get(place, 0) + part.size
        large = {place: end for place, end in ends.items() if sizes[place] >= self._threshold_bytes}
        if not large:
            return payload
        is_file = payload.codec in {Codec.FILE, Codec.DIRECTORY}
        made = {place: self._made(place, end, is_file=is_file) for place, end in large.items()}
        parts = []
        for part in payload.parts:
            found = made.get((part.segment, part.stored)) if part.remote is None and part.data is None else None
            parts.append(part if found is None else replace(part, remote=found.remote))
        return replace(payload, parts=tuple(parts))

    def _made(self, place: tuple[int, int], size: int, *, is_file: bool) -> Object:
        found = self._by_place.get(place)
        if found is None or found.remote.size < size:
            remote = Remote(self._agent_id, self._boot, next(self._numbers), size, (self._agent_id,), is_file)
            found = self._table[remote.key] = Object(remote)
            found.place = Part(size, None, place[0], 0, place[1])
            self._by_place[place] = found
        found.uses += 1
        found.holds += place[0] != 0
        return found

    def wire(self, payload: Payload) -> Payload:
        """Give the form in which a shared value travels: references, with who is known to have it."""
        if not any(part.remote is not None for part in payload.parts):
            return payload
        return replace(payload, parts=tuple(map(self._on_the_wire, payload.parts)))

    def _on_the_wire(self, part: Part) -> Part:
        if part.remote is None:
            return part
        found = self._table.get(part.remote.key)
        return Part(part.size, None, 0, part.offset, 0, part.remote if found is None else found.remote)

    def export(self, payload: Payload, neighbour: str) -> Payload:
        """Give the form of a shared value for an end that is told to a neighbour, which gets a lease by it."""
        for key in keys_of(payload):
            found = self._table.get(key)
            if found is not None:
                found.leases.setdefault(neighbour, Lease()).count += 1
        return self.wire(payload)

    # --- taking references ------------------------------------------------------------------------------------

    def take(self, payload: Payload, via: str, *, is_leased: bool = False) -> Payload:
        """Take a value that a neighbour told of: its objects are kept until it is released.

        `is_leased`: it came in an end, which grants a lease.
        """
        for remote in {part.remote.key: part.remote for part in payload.parts if part.remote is not None}.values():
            found = self._table.get(remote.key)
            if found is None:
                found = self._table[remote.key] = Object(remote)
            found.uses += 1
            found.told_by(via)
            if found.place is None:
                found.held_by(*remote.holders)
            if is_leased:
                found.grants[via] = found.grants.get(via, 0) + 1
        return payload

    def missing(self, payloads: Iterable[Payload]) -> list[Object]:
        """Give the objects of these values that are not on this agent, each once."""
        found: dict[ObjectKey, Object] = {}
        for payload in payloads:
            for part in payload.parts:
                if not part.is_here and part.remote is not None:
                    entry = self._table.get(part.remote.key)
                    if entry is not None and entry.place is None:
                        found[entry.key] = entry
        return list(found.values())

    def lies_elsewhere(self, payload: Payload) -> bool:
        """Tell whether some of a value is not on this agent."""
        for part in payload.parts:
            if not part.is_here and part.remote is not None:
                found = self._table.get(part.remote.key)
                if found is None or found.place is None:
                    return True
        return False

    def localized(self, payload: Payload) -> Payload:
        """Give a value with the places here of all its objects that are here; the references stay beside them."""
        if all(part.is_here for part in payload.parts):
            return payload
        return replace(payload, parts=tuple(map(self._placed, payload.parts)))

    def _placed(self, part: Part) -> Part:
        if part.is_here or part.remote is None:
            return part
        found = self._table.get(part.remote.key)
        if found is None or found.place is None:
            return part
        return replace(part, segment=found.place.segment, stored=found.place.stored, remote=found.remote)

    def arrived(self, key: ObjectKey, segment: int) -> bool:
        """An object was fetched into a segment, which is held once for us; False: nobody wants it any more."""
        found = self._table.get(key)
        if found is None or found.place is not None:
            self._outbox.release((segment,))
            return found is not None
        found.place = Part(found.remote.size, None, segment)
        found.holds = 1
        found.held_by(self._agent_id)
        return True

    # --- letting go -------------------------------------------------------------------------------------------

    def retain(self, payload: Payload) -> None:
        """One more needs a value, and will let go of it by itself."""
        segments = tuple({part.segment for part in payload.parts if part.segment and part.remote is None})
        if segments:
            self._outbox.add(RetainSegments(segments))
        for key in keys_of(payload):
            found = self._table.get(key)
            if found is not None:
                found.uses += 1

    def release(self, payload: Payload) -> None:
        """A value is needed no more: let go of its segments, and of its objects if nothing else names them."""
        segments = tuple({part.segment for part in payload.parts if part.segment and part.remote is None})
        if segments:
            self._outbox.release(segments)
        for key in keys_of(payload):
            found = self._table.get(key)
            if found is not None:
                found.uses -= 1
                self._settle(found)

    def hand_over(self, payload: Payload) -> Payload:
        """Give a value that is all here without its references: its receiver gets our hold, and lets go as of any."""
        if not any(part.remote is not None for part in payload.parts):
            return payload
        payload = self.localized(payload)
        for key in keys_of(payload):
            found = self._table.get(key)
            if found is None or found.place is None:
                continue
            if found.place.segment:
                self._outbox.add(RetainSegments((found.place.segment,)))
            found.uses -= 1
            self._settle(found)
        return replace(payload, parts=tuple(replace(part, remote=None) for part in payload.parts))

    def give_back(self, payload: Payload, neighbour: str) -> None:
        """An end came that was known: the leases that it granted are not needed."""
        keys = keys_of(payload)
        if keys:
            self._outbox.add(ReleaseObjects(neighbour, tuple((key, 1) for key in keys)))

    def return_grants(self, found: Object, neighbour: str) -> None:
        """All of an object is here: a neighbour that told of it need not keep it for us."""
        count = found.grants.pop(neighbour, None)
        if count is not None:
            self._outbox.add(ReleaseObjects(neighbour, ((found.key, count),)))

    def is_tied(self, neighbour: str) -> bool:
        """Tell whether a neighbour keeps an object for us, or we keep one for it."""
        return any(neighbour in found.leases or neighbour in found.grants for found in self._table.values())

    def _settle(self, found: Object) -> None:
        if found.uses > 0 or found.leases:
            return
        if self._table.pop(found.key, None) is None:
            return
        place = found.place
        if place is not None:
            if self._by_place.get((place.segment, place.stored)) is found:
                del self._by_place[place.segment, place.stored]
            if found.holds:
                self._outbox.release((place.segment,) * found.holds)
        self.unwanted(found.key)
        for neighbour, count in found.grants.items():
            self._outbox.add(ReleaseObjects(neighbour, ((found.key, count),)))

    # --- leases -----------------------------------------------------------------------------------------------

    def released(self, neighbour: str, released: Iterable[tuple[ObjectKey, int]]) -> None:
        """A neighbour needs these no more; with each, how many grants over this link it gives back."""
        for key, count in released:
            found = self._table.get(key)
            lease = found.leases.get(neighbour) if found is not None else None
            if found is None or lease is None:
                continue
            lease.is_kept = False
            lease.count -= max(count, 0)
            self._end_if_over(found, neighbour, lease)

    def _end_if_over(self, found: Object, neighbour: str, lease: Lease) -> None:
        if lease.count <= 0 and not lease.is_kept:
            del found.leases[neighbour]
            self._settle(found)

    def begin_link(self, neighbour: str, *, has_restarted: bool, was_known: bool) -> None:
        """A neighbour is connected anew: what it had it still has, unless it was restarted; it will say so."""
        self._listed.pop(neighbour, None)
        if has_restarted:
            self.forget(neighbour)
        elif was_known:
            self._tell_held(neighbour)
        for found in self:
            lease = found.leases.get(neighbour)
            if lease is not None:
                lease.is_kept, lease.count = lease.is_kept or lease.count > 0, 0

    def _tell_held(self, neighbour: str) -> None:
        """Say what of a neighbour's is still needed here."""
        keys: list[ObjectKey] = []
        for found in self:
            if neighbour in found.grants:
                found.grants[neighbour] = 0
                keys.append(found.key)
        for start in range(0, len(keys) or 1, KEYS_A_MESSAGE):
            is_last = start + KEYS_A_MESSAGE >= len(keys)
            self._outbox.add(TellHeld(neighbour, tuple(keys[start : start + KEYS_A_MESSAGE]), is_last))

    def held(self, neighbour: str, keys: Collection[ObjectKey], *, is_last: bool) -> None:
        """A neighbour that came back says what it still has from earlier links; after the last, the rest is over."""
        listed = self._listed.setdefault(neighbour, set())
        listed.update(key for key in keys if key in self._table)
        if not is_last:
            return
        del self._listed[neighbour]
        for found in self:
            lease = found.leases.get(neighbour)
            if lease is not None and lease.is_kept and found.key not in listed:
                lease.is_kept = False
                self._end_if_over(found, neighbour, lease)

    def forget(self, neighbour: str) -> None:
        """A neighbour was restarted, or lost for long: it has nothing of ours, and gives us nothing, any more."""
        for found in self:
            found.grants.pop(neighbour, None)
            if neighbour in found.vias:
                found.vias.remove(neighbour)
            if found.leases.pop(neighbour, None) is not None:
                self._settle(found)


def keys_of(payload: Payload) -> set[ObjectKey]:
    """Give the objects that a value names."""
    return {part.remote.key for part in payload.parts if part.remote is not None}
