"""Large values of a fake world: memory and disks whose content is a word, and transfers between agents in chunks.

Every use of memory is counted as the daemon counts it; what is read must be what was written there.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.values import ObjectKey, Part, Payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.journal import entries as j
    from tests.fakes.world_agent import Host
    from tests.fakes.world_links import End

SIZE = 1 << 20
"""Of every large value."""
CHUNKS = 4
CHUNK_S = 0.02
BIG = "big"
"""A program with this word has large arguments and a large result."""

Answer = tuple[int, str, str, bool]
"""Number of a chunk, content, or an error and whether the object is gone."""


class Memory:
    """Segments of one boot, by number: what is in them and how often they are held; and the disk, which stays."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._numbers = count(1)
        self.segments: dict[int, list[Any]] = {}
        self.stored: dict[int, str] = {}

    def put(self, content: str) -> Part:
        """Write a value into a segment, which is held once."""
        number = next(self._numbers)
        self.segments[number] = [content, 1]
        return Part(SIZE, None, number)

    def retain(self, segments: tuple[int, ...]) -> None:
        """Count holds."""
        for number in segments:
            if number not in self.segments:
                self._host.world.history.broken(f"{self._host.name} holds segment {number}, which is free")
                continue
            self.segments[number][1] += 1

    def release(self, segments: tuple[int, ...]) -> None:
        """Take holds back; one that has just ended has nothing any more."""
        for number in segments if not self._host.is_down else ():
            if number not in self.segments:
                self._host.world.history.broken(f"{self._host.name} lets go of segment {number}, which is free")
                continue
            self.segments[number][1] -= 1
            if not self.segments[number][1]:
                del self.segments[number]

    def read(self, part: Part) -> str | None:
        """Give what a part here holds."""
        if part.segment:
            return self.segments[part.segment][0] if part.segment in self.segments else None
        return self.stored.get(part.stored)

    def check(self, payload: Payload, expected: str, what: str) -> None:
        """See that all of a value is here, and what was written."""
        for part in payload.parts:
            found = self.read(part)
            if found != expected:
                self._host.world.history.broken(f"{what} on {self._host.name} reads {found!r} in place of {expected!r}")

    def keep(self, entry: j.Entry) -> j.Entry:
        """Put what lies in segments on the disk, as the journal does."""
        if hasattr(entry, "payload"):
            return replace(entry, payload=self._kept(entry.payload))
        if hasattr(entry, "outcome"):
            return replace(entry, outcome=replace(entry.outcome, value=self._kept(entry.outcome.value)))
        return entry

    def _kept(self, payload: Payload) -> Payload:
        parts = []
        for part in payload.parts:
            if part.segment:
                content = self.read(part)
                if content is None:
                    self._host.world.history.broken(f"{self._host.name} records segment {part.segment}, which is free")
                number = len(self.stored) + 1
                self.stored[number] = content or ""
                parts.append(Part(part.size, stored=number))
            else:
                parts.append(part)
        return replace(payload, parts=tuple(parts))

    def crash(self) -> None:
        """Shared memory is gone."""
        self.segments.clear()


class Courier:
    """Performs the commands of one engine that move large values."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._streams = count(1)
        self._under_way: dict[ObjectKey, list[Any]] = {}
        """By object: stream, neighbour, contents so far."""
        self.performers: dict[type[c.Command], Callable[[Any], None]] = {
            c.ReleaseSegments: lambda command: host.memory.release(command.segments),
            c.RetainSegments: lambda command: host.memory.retain(command.segments),
            c.FetchObject: self._fetch,
            c.AbandonFetch: lambda command: self._under_way.pop(command.key, None),
            c.ReleaseObjects: lambda command: self._tell(
                command.neighbour, lambda name, end: e.ObjectsReleased(name, end.number, command.objects)
            ),
            c.TellHeld: lambda command: self._tell(
                command.neighbour, lambda name, end: e.ObjectsHeld(name, end.number, command.objects, command.is_last)
            ),
        }

    def crash(self) -> None:
        """What was under way is gone."""
        self._under_way.clear()

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is on its way here."""
        return not self._under_way

    def _tell(self, neighbour: str, make: Callable[[str, End], e.Event]) -> None:
        mine = self._host.ends.get(neighbour)
        if mine is not None:
            there = mine.other
            mine.send(lambda: there.host.post(make(self._host.name, there)))

    # --- asking -----------------------------------------------------------------------------------------------

    def _fetch(self, command: c.FetchObject) -> None:
        key = command.remote.key
        stream = next(self._streams)
        under_way = self._under_way.setdefault(key, [0, "", []])
        under_way[:2] = stream, command.neighbour
        mine = self._host.ends.get(command.neighbour)
        if mine is None:
            self._host.post(e.FetchFailed(key, command.neighbour, "there is no link"))
            return
        start = len(under_way[2])
        there = mine.other

        def answer(chunk: Answer) -> None:
            self._answered(key, stream, command.neighbour, chunk)

        mine.send(lambda: there.host.courier.serve(key, start, there, answer, 0))

    def _answered(self, key: ObjectKey, stream: int, neighbour: str, chunk: Answer) -> None:
        under_way = self._under_way.get(key)
        if under_way is None or under_way[0] != stream:
            return
        number, content, error, is_gone = chunk
        if error:
            self._host.post(e.FetchFailed(key, neighbour, error, is_gone))
        elif number == len(under_way[2]):
            under_way[2].append(content)
            if number == CHUNKS - 1:
                del self._under_way[key]
                if len(set(under_way[2])) != 1:
                    self._host.world.history.broken(f"{self._host.name} fetched pieces of {set(under_way[2])}")
                self._host.post(e.ObjectFetched(key, self._host.memory.put(content).segment))

    # --- answering --------------------------------------------------------------------------------------------

    def serve(self, key: ObjectKey, start: int, end: End, answer: Callable[[Answer], None], hops: int) -> None:
        """Give the chunks of an object from one on, over the link over which they were asked for."""
        state = self._host.engine.state
        found = state.objects.get(key)
        if found is None:
            end.send(lambda: answer((0, "", "it is not here", True)))
        elif found.place is not None:
            self._give(key, start, end, answer)
        else:
            way = state.fetches.way(found, end.other.host.name) if hops < 8 else ""
            mine = self._host.ends.get(way)
            if mine is None:
                is_gone = state.fetches.is_lost(found, end.other.host.name)
                end.send(lambda: answer((0, "", "there is no way", is_gone)))
                return
            there = mine.other
            mine.on_gone.append(lambda: end.send(lambda: answer((0, "", "the way is cut", False))))
            mine.send(
                lambda: there.host.courier.serve(
                    key, start, there, lambda chunk: end.send(lambda: answer(chunk)), hops + 1
                )
            )

    def _give(self, key: ObjectKey, number: int, end: End, answer: Callable[[Answer], None]) -> None:
        found = self._host.engine.state.objects.get(key)
        if not end.is_alive or number >= CHUNKS:
            return
        content = self._host.memory.read(found.place) if found is not None and found.place is not None else None
        if content is None:
            end.send(lambda: answer((0, "", "it has gone meanwhile", True)))
            return
        end.send(lambda: answer((number, content, "", False)))
        if not self._host.world.is_exact and self._host.world.random.random() < 0.05:
            end.send(lambda: answer((number, content, "", False)))
        self._host.world.after(CHUNK_S, lambda: self._give(key, number + 1, end, answer))
