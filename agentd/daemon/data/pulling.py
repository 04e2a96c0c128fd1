"""Arguments too large for a message, of programs that share no memory with us: fetched before their calls go on.

Law: the engine hears of a call when all of its arguments are here. What is here for one program, or on its way, of
calls that have not ended is bounded, whatever it asks for; when the program is gone nothing is left of it, but for a
while what was here for one that was cut off (`agentd.daemon.data.returns`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from agentd.core.commands import SettleCalls
from agentd.core.events import CallsSubmitted
from agentd.model.errors import PeerError
from agentd.model.exchange import Settled
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentd.comm.door import Door
    from agentd.comm.link import Link
    from agentd.core.events import CallsCancelled, Event
    from agentd.core.state import AgentState
    from agentd.daemon.data.returns import Returns
    from agentd.daemon.data.transfers import Transfers
    from agentd.model.exchange import Submission
    from agentd.model.values import ObjectKey, Remote
    from agentd.workers.segments import Segments

ACTIVE_MOST = 4
"""Calls of one program of which arguments come at a time (chosen: one alone fills a link, small ones overlap)."""
AHEAD_CALLS = 8
"""Calls of one program that may have theirs here and not have ended, or two for each core (as of neighbours)."""
AHEAD_BYTES = 256 << 20
"""More of them may if their arguments are no more than this together (chosen: as for results that nobody reads)."""
OBJECTS_MOST = 64
"""That one call may name (chosen: our own client names one)."""
TRIES = 3
"""How often a damaged chunk is asked for."""
LOOK_S = 1.0
"""How often those are looked at that wait for others (chosen: as who waits at the floodgate)."""


class Pulling:
    """Calls of which arguments are still with their programs."""

    def __init__(
        self, state: AgentState, door: Door, segments: Segments, transfers: Transfers, returns: Returns
    ) -> None:
        self._state = state
        self._door = door
        self._segments = segments
        self._transfers = transfers
        self._returns = returns
        self._loop = asyncio.get_running_loop()
        self._keys = itertools.count(1)
        self._programs: dict[int, _Program] = {}
        self._watch: asyncio.TimerHandle | None = None

    def __contains__(self, caller: int) -> bool:
        return caller in self._programs

    def held(self, event: CallsSubmitted, post: Callable[[Event], None]) -> CallsSubmitted:
        """Keep the calls of which arguments are to be fetched, `post` them when those are here, and give the others.

        Raises:
            PeerError: an argument lies outside of the object that it names.
        """
        link = self._door.link(event.caller)
        if link is None or link.session.terms.local or not any(map(_named, event.calls)):
            return event
        program = self._programs.get(event.caller)
        if program is None:
            program = self._programs[event.caller] = _Program(link)
        for call in event.calls:
            objects = _named(call)
            if objects:
                program.waiting.append(_Call(self, program, call, objects, post))
        self._go_on(program)
        return CallsSubmitted(event.caller, [call for call in event.calls if not _named(call)])

    def cancelled(self, event: CallsCancelled) -> None:
        """End those of the calls that the engine has not heard of."""
        program = self._programs.get(event.caller)
        if program is None:
            return
        unwanted = set(event.refs)
        for call in [call for call in program.held() if call.submission.ref in unwanted]:
            call.give_up()
            self._settle(program, call, Outcome(Status.CANCELLED))
        self._go_on(program)

    def settled(self, caller: int, settled: Iterable[Settled]) -> None:
        """Calls of a program have ended: there is room for others."""
        program = self._programs.get(caller)
        if program is None:
            return
        for one in settled:
            ended = program.unended.pop(one.ref, None)
            if ended is not None:
                program.bytes -= ended.size
                ended.drop()
        program.is_short = False
        self._go_on(program)

    def left(self, caller: int) -> None:
        """A program is gone."""
        program = self._programs.pop(caller, None)
        if program is None:
            return
        for call in [*program.active, *program.unended.values()]:
            if program.link.may_return:
                call.leave()
            else:
                call.drop()

    def close(self) -> None:
        """Look at nothing any more."""
        if self._watch is not None:
            self._watch.cancel()

    def _look(self) -> None:
        """Go on with those that wait for what others do."""
        self._watch = None
        for program in list(self._programs.values()):
            program.is_short = False
            self._go_on(program)

    # --- one program ----------------------------------------------------------------------------------------------

    def _go_on(self, program: _Program) -> None:
        """Begin with what there is room for, in order."""
        if program.is_going_on:
            return  # something has ended while the next began: whoever began it goes on
        program.is_going_on = True
        while program.waiting and (self._state.draining or self._has_room(program, program.waiting[0])):
            call = program.waiting.popleft()
            if self._state.draining:
                call.submit()  # the engine says why not
            else:
                program.active.append(call)
                call.begin()
        program.is_going_on = False
        if program.waiting and self._watch is None:
            self._watch = self._loop.call_later(LOOK_S, self._look)
        if not (program.waiting or program.active or program.unended):
            self._programs.pop(program.link.number, None)

    def _has_room(self, program: _Program, call: _Call) -> bool:
        if program.is_short or len(program.active) >= ACTIVE_MOST or self._state.is_nearly_full:
            return False
        pulled = len(program.active) + len(program.unended)
        is_little = program.bytes + call.size <= AHEAD_BYTES
        return is_little or pulled < max(AHEAD_CALLS, 2 * self._state.crew.pool.total())

    def key(self) -> ObjectKey:
        """Make the name of an object on its way."""
        return "", "", next(self._keys)

    @property
    def transfers(self) -> Transfers:
        """What brings objects."""
        return self._transfers

    @property
    def returns(self) -> Returns:
        """What is kept for programs that are away."""
        return self._returns

    @property
    def segments(self) -> Segments:
        """Where objects are."""
        return self._segments

    def whole(self, program: _Program, call: _Call) -> None:
        """All that a call needs is here."""
        program.active.remove(call)
        program.unended[call.submission.ref] = call
        call.submit()
        self._go_on(program)

    def broken(self, program: _Program, call: _Call, why: str, *, is_no_room: bool) -> None:
        """A call cannot have its arguments: it waits where there may be room for them later, else it fails."""
        call.give_up()
        if is_no_room and (program.active or program.unended):
            program.waiting.appendleft(call)
            program.is_short = True
            return
        name = self._state.identity.name
        words = f"its arguments cannot be fetched by {name}: {why}"
        failure = Failure(Reason.NOT_DECODABLE, "ArgumentsLost", words, agent=name)
        self._settle(program, call, Outcome(Status.FAILED, failure=failure, agent=name))
        self._go_on(program)

    def _settle(self, program: _Program, call: _Call, outcome: Outcome) -> None:
        if self._programs.get(program.link.number) is program:
            self._door.settle_calls(SettleCalls(program.link.number, [Settled(call.submission.ref, outcome)]))
            program.link.flush()


class _Program:
    """What one program has asked for; `bytes` are those of its calls that are active or have not ended."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.waiting: deque[_Call] = deque()
        self.active: list[_Call] = []
        self.unended: dict[int, _Call] = {}
        """Calls that the engine has, by reference."""
        self.bytes = 0
        self.is_short = False
        """There was no room for the next, and nothing has changed since."""
        self.is_going_on = False

    def held(self) -> list[_Call]:
        """Give the calls that the engine has not heard of."""
        return [*self.active, *self.waiting]


class _Call:
    """One call that is held back."""

    def __init__(
        self,
        pulling: Pulling,
        program: _Program,
        submission: Submission,
        objects: dict[int, Remote],
        post: Callable[[Event], None],
    ) -> None:
        self.submission = submission
        self.size = sum(remote.size for remote in objects.values())
        self.program = program
        self._pulling = pulling
        self._remotes = objects
        self._post = post
        self._objects: list[_Object] = []

    def begin(self) -> None:
        """Have all that it names fetched."""
        self.program.bytes += self.size
        self._objects = [_Object(self, self._pulling, remote) for remote in self._remotes.values()]
        for one in list(self._objects):
            if one in self._objects:  # one that cannot be had ends them all
                one.begin()

    def arrived(self) -> None:
        """One object more is here."""
        if all(one.segment for one in self._objects):
            self._pulling.whole(self.program, self)

    def failed(self, why: str, *, is_no_room: bool) -> None:
        """One object does not come."""
        self._pulling.broken(self.program, self, why, is_no_room=is_no_room)

    def submit(self) -> None:
        """Let the engine hear of it, with what is here of it.

        What the engine holds it lets go of by itself; for a program that may come back all of it is held here, too.
        """
        places = {one.number: one.segment for one in self._objects}
        parts = tuple(
            Part(part.size, None, places[part.remote.number], part.offset)
            if part.remote is not None and places
            else part
            for part in self.submission.payload.parts
        )
        if not self.program.link.program:
            self._objects = []
        for one in self._objects:
            one.retain()
        payload = replace(self.submission.payload, parts=parts)
        self._post(CallsSubmitted(self.program.link.number, [replace(self.submission, payload=payload)]))

    def give_up(self) -> None:
        """Let go of what is here of it, and ask for no more."""
        if self in self.program.active:
            self.program.active.remove(self)
            self.program.bytes -= self.size
        else:
            self.program.waiting.remove(self)
        self.drop()

    def drop(self) -> None:
        """Let go of what is held here of it, and ask for no more."""
        for one in self._objects:
            one.drop()
        self._objects = []

    def leave(self) -> None:
        """Keep what is here of it until its program comes back."""
        for one in self._objects:
            one.leave()
        self._objects = []


class _Kept(NamedTuple):
    """What is here of an object whose program is away: all of it in a segment, else what has come by that key."""

    segment: int
    key: ObjectKey


class _Object:
    """One object that a call needs."""

    def __init__(self, call: _Call, pulling: Pulling, remote: Remote) -> None:
        self.number = remote.number
        self.segment = 0
        """Where it is, held once; 0: not here."""
        self._call = call
        self._pulling = pulling
        self._remote = remote
        self._key = pulling.key()
        self._tries = 0

    def begin(self) -> None:
        """Have it brought here, as far as it was not before its program was cut off."""
        link = self._call.program.link
        kept = self._pulling.returns.take(link.program, self._name) if link.program else None
        if kept is None:
            self._pulling.transfers.pull(self._key, link, self._remote, self)
        elif kept.segment:
            self.arrived(kept.segment)
        else:
            self._key = kept.key
            self._pulling.transfers.resume(self._key, link, self)

    @property
    def _name(self) -> tuple[int, int]:
        return self._remote.number, self._remote.size

    def retain(self) -> None:
        """Hold it once more."""
        self._pulling.segments.retain(self.segment)

    def arrived(self, segment: int) -> None:
        self.segment = segment
        self._call.arrived()

    def failed(self, why: str, *, is_damaged: bool, is_no_room: bool) -> None:
        self._tries += 1
        if is_damaged and self._tries < TRIES:
            self._pulling.transfers.again(self._key, self._call.program.link)
        else:
            self._call.failed(why, is_no_room=is_no_room)

    def drop(self) -> None:
        if self.segment:
            self._pulling.segments.release(self.segment)
            self.segment = 0
        else:
            self._pulling.transfers.drop(self._key)

    def leave(self) -> None:
        """Keep what is here of it until its program comes back."""
        kept = _Kept(self.segment, self._key)
        if self.segment:
            drop = partial(self._pulling.segments.release, self.segment)
        elif self._pulling.transfers.halt(self._key):
            drop = partial(self._pulling.transfers.drop, self._key)
        else:
            self.drop()
            return
        self._pulling.returns.keep(self._call.program.link.program, self._name, kept, self._remote.size, drop)


def _named(call: Submission) -> dict[int, Remote]:
    """Give the objects of its program that a call names, each once.

    Raises:
        PeerError: it names what cannot be.
    """
    found: dict[int, Remote] = {}
    for part in call.payload.parts:
        remote = part.remote
        if remote is None:
            continue
        if remote.home or remote.boot:
            raise PeerError("a call names an object of an agent: a program names its own, without home and boot")
        if found.setdefault(remote.number, remote).size != remote.size:
            raise PeerError(f"object {remote.number} is named with two sizes")
        if not remote.size:
            raise PeerError(f"object {remote.number} has no bytes")
    if len(found) > OBJECTS_MOST:
        raise PeerError(f"a call names {len(found)} objects, and may name {OBJECTS_MOST}")
    return found
