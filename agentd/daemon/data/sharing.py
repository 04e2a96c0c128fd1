"""Values too large for a message: shared between the programs of this device, brought into messages for others.

A program's segments become the agent's under numbers of its own. A value that arrives in one is held for the engine
until it says `ReleaseSegments`; a result in one is held by the program that it is given to, until that lets go.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from agentd.core.commands import SettleCalls
from agentd.core.events import CallerLeft, CallsCancelled, CallsSubmitted, LinkOpened
from agentd.daemon.data.loans import Loans
from agentd.daemon.data.returns import Returns
from agentd.daemon.data.shelving import Shelving
from agentd.daemon.users.direct_lines import asked_for
from agentd.daemon.users.far_lines import FarLines
from agentd.model.errors import AgentdError, PeerError
from agentd.model.values import Part, Payload
from agentd.wire.messages import DirectLine, Segment, SegmentFree, SegmentRelease
from agentd.workers.segments import Segments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentd.comm.door import Door
    from agentd.comm.link import Link
    from agentd.core.events import Event
    from agentd.daemon.data.pulling import Pulling
    from agentd.model.exchange import Settled, Submission
    from agentd.store.objects import Objects
    from agentd.wire.messages import Message

MOST_INLINE_BYTES = 15 << 20
"""Of one value that leaves the device in a message (specified: a frame holds 16 MiB)."""
MOST_SEGMENTS = 65_536
"""That one program may have (chosen: far above what fits into memory at the threshold)."""

_PARTS = attrgetter("payload.parts")
_RESULT_PARTS = attrgetter("outcome.value.parts")


class TooLarge(AgentdError):
    """A value does not fit into a message."""


class _Program:
    """What one program shares with the agent."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.own: dict[int, int] = {}
        """Its segments: its number for each, and ours."""
        self.given: Counter[int] = Counter()
        """How often it has given each of its segments and was not told of its release."""
        self.mapped: set[int] = set()
        """Segments of others that it was shown."""
        self.holds: Counter[int] = Counter()
        """How often it holds each."""


class Sharing:
    """The segments of this device, and the way of their bytes into messages.

    `folder` is where on the disk results go that programs do not read; None: where the system has its temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.segments = Segments()
        self._shelving = Shelving(self.segments, folder)
        self.segments.on_gone(self._gone)
        self._programs: dict[int, _Program] = {}
        self._objects: Objects | None = None
        self._door: Door | None = None
        self.pulling: Pulling | None = None
        """Fetches what programs on other devices name; there is one when the agent is whole."""
        self.returns = Returns()
        self._post: Callable[[Event], None] = lambda _: None

    def serve(self, door: Door, objects: Objects) -> None:
        """Take part in the messages about shared memory."""
        self._door, self._objects = door, objects
        self.far = FarLines(door, self.segments, self._post)
        self.loans = Loans(door, self.segments, self.returns)
        door.route(Segment, self._shown)
        door.route(SegmentFree, self._given_up)
        door.route(SegmentRelease, self._let_go)
        door.route(DirectLine, self._called_for)

    def _program(self, link: Link) -> _Program:
        found = self._programs.get(link.number)
        if found is None:
            found = self._programs[link.number] = _Program(link)
        return found

    # --- what programs make -------------------------------------------------------------------------------------

    def _shown(self, link: Link, message: Message) -> None:
        assert isinstance(message, Segment)
        program = self._program(link)
        descriptor = link.take_descriptor()
        try:
            if message.number in program.own or len(program.own) >= MOST_SEGMENTS:
                raise PeerError(f"segment {message.number} was made twice, or is one too many")

            def free(_segment: int) -> None:
                times = program.given.pop(message.number, 0)
                if times:
                    self._tell(program, SegmentRelease((message.number,) * times))

            program.own[message.number] = self.segments.adopt(descriptor, message.size, free)
        except ValueError as error:
            raise PeerError(str(error)) from error
        finally:
            os.close(descriptor)

    def _called_for(self, link: Link, message: Message) -> None:
        """A program wants to call a worker directly: its socket is the one argument of a task of its own."""
        assert isinstance(message, DirectLine)
        if message.at:
            self.far.asked(link, message)
            return
        descriptor = link.take_descriptor()
        try:
            segment = self.segments.adopt_socket(descriptor)
        except ValueError as error:
            raise PeerError(str(error)) from error
        finally:
            os.close(descriptor)
        for event in asked_for(link.number, message, segment):
            self._post(event)

    def _given_up(self, link: Link, message: Message) -> None:
        assert isinstance(message, SegmentFree)
        program = self._program(link)
        for number in message.segments:
            segment = program.own.pop(number, None)
            if segment is None:
                raise PeerError(f"segment {number} was given up, which was never made")
            self.segments.disown(segment)

    def incoming(self, post: Callable[[Event], None]) -> Callable[[Event], None]:
        """Wrap the way of events: what programs submit comes to name our segments."""
        self._post = post

        def take(event: Event) -> None:
            if type(event) is CallsSubmitted:
                if any(map(_PARTS, event.calls)):
                    if self.pulling is not None:
                        event = self.pulling.held(event, post)
                    event = CallsSubmitted(event.caller, [self._adopted(event.caller, call) for call in event.calls])
                if event.caller in self.far.ready:
                    post(event)
                    self.far.called(event.caller)
                    return
            elif type(event) is CallsCancelled:
                self.far.cancelled(event.caller, event.refs)
                if self.pulling is not None:
                    self.pulling.cancelled(event)
            elif type(event) is CallerLeft:
                self._left(event.caller)
                self.loans.left(event.caller)
                self.far.left(event.caller)
                if self.pulling is not None:
                    self.pulling.left(event.caller)
            elif type(event) is LinkOpened:
                self.far.linked(event.neighbour)
            post(event)

        return take

    def _adopted(self, caller: int, call: Submission) -> Submission:
        if not call.payload.parts:
            return call
        program = self._programs.get(caller)
        parts = tuple(self._part(program, part) for part in call.payload.parts)
        for part in {part.segment: part for part in call.payload.parts if part.segment}.values():
            assert program is not None
            program.given[part.segment] += 1
            self.segments.retain(program.own[part.segment])
        payload = Payload(call.payload.codec, call.payload.data, parts)
        return msgspec.structs.replace(call, payload=payload)

    def _part(self, program: _Program | None, part: Part) -> Part:
        if not part.segment:
            if part.remote is not None:
                raise PeerError("a call names an object: on this device arguments lie in shared memory")
            if part.stored:
                raise PeerError("a call names an object of the store: only the REST door gives those out")
            return part
        segment = program.own.get(part.segment) if program is not None else None
        if segment is None or part.offset < 0 or part.offset + part.size > self.segments.size(segment):
            raise PeerError(f"an argument lies outside of segment {part.segment}")
        return Part(part.size, None, segment, part.offset)

    # --- what programs read -------------------------------------------------------------------------------------

    def settle(self, command: SettleCalls) -> None:
        """Tell a session how its calls ended; what lies in segments is shown to it first."""
        assert self._door is not None
        if self.pulling is not None and command.caller in self.pulling:
            self.pulling.settled(command.caller, command.settled)
        if not any(map(_RESULT_PARTS, command.settled)):
            self._door.settle_calls(command)
            return
        shared = [settled for settled in command.settled if settled.outcome.value.parts]
        link = self._door.link(command.caller)
        if link is not None and link.session.terms.local:
            self._lend_all(link, command)
            return
        if link is not None:
            told = [self.loans.lend(link, settled) for settled in command.settled]
            self._door.settle_calls(SettleCalls(command.caller, told))
        self._release(shared)

    def _lend_all(self, link: Link, command: SettleCalls) -> None:
        """Show a program of this device its results; those that go to the disk first follow when they are there."""
        assert self._door is not None
        tell = partial(self._told_later, command.caller)
        told: list[Settled] = []
        for settled in command.settled:
            one = self._shelving.shelved(link, settled, tell) if settled.outcome.value.parts else settled
            if one is not None:
                told.append(one)
                if one.outcome.value.parts:
                    self._lend(link, one)
        if told:
            self._door.settle_calls(SettleCalls(command.caller, told))

    def _told_later(self, caller: int, settled: Settled) -> None:
        assert self._door is not None
        link = self._door.link(caller)
        if link is None:
            self._release([settled])
            return
        self._lend(link, settled)
        self._door.settle_calls(SettleCalls(caller, [settled]))
        link.flush()

    def close(self) -> None:
        """Wait for what is on its way to the disk, and keep nothing for who is away."""
        self.returns.close()
        self._shelving.close()

    def _lend(self, link: Link, settled: Settled) -> None:
        program = self._program(link)
        for segment in _segments(settled):
            if segment not in program.mapped:
                program.mapped.add(segment)
                descriptor = self.segments.fd(segment)
                assert self._door is not None
                self._door.send(link, Segment(segment, self.segments.size(segment)), (descriptor,))
            program.holds[segment] += 1

    def _release(self, shared: list[Settled]) -> None:
        for settled in shared:
            for segment in _segments(settled):
                self.segments.release(segment)

    def _let_go(self, link: Link, message: Message) -> None:
        assert isinstance(message, SegmentRelease)
        program = self._program(link)
        for segment in message.segments:
            if program.holds[segment] <= 0:
                raise PeerError(f"segment {segment} was released, which it did not hold")
            program.holds[segment] -= 1
            self.segments.release(segment)

    def _gone(self, segment: int) -> None:
        for program in self._programs.values():
            if segment in program.mapped:
                program.mapped.discard(segment)
                self._tell(program, SegmentFree((segment,)))

    def _tell(self, program: _Program, message: SegmentFree | SegmentRelease) -> None:
        if self._door is not None and not program.link.is_closed:
            self._door.send(program.link, message)

    def _left(self, caller: int) -> None:
        """A program is gone: what it read is released, what it made lives until nobody needs it."""
        program = self._programs.pop(caller, None)
        if program is None:
            return
        for segment, count in program.holds.items():
            for _ in range(count):
                self.segments.release(segment)
        for segment in program.own.values():
            self.segments.disown(segment)

    # --- what leaves the device ---------------------------------------------------------------------------------

    def inline(self, payload: Payload) -> Payload:
        """Bring all bytes of a payload into it.

        Raises:
            TooLarge: they do not fit into a message.
        """
        if payload.size_bytes > MOST_INLINE_BYTES:
            words = f"a value of {payload.size_bytes} bytes does not fit into a message of {MOST_INLINE_BYTES}"
            raise TooLarge(words)
        return Payload(payload.codec, payload.data, tuple(map(self._inlined, payload.parts)))

    def _inlined(self, part: Part) -> Part:
        if part.segment:
            return Part(part.size, os.pread(self.segments.fd(part.segment), part.size, part.offset))
        if part.stored and self._objects is not None:
            return Part(part.size, self._objects.read(part.stored, part.offset, part.size))
        return part


def _segments(settled: Settled) -> set[int]:
    return {part.segment for part in settled.outcome.value.parts if part.segment}
