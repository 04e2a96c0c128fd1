"""Lines to workers of neighbours: a session that calls one at a time what runs there calls it without a daemon between.

Law: the task that serves a line is offered behind a call of its session, never alone; so it begins while the session
waits for that call, and no call waits for it longer than that one took.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from agentd.api.calls import direct_frames as frames
from agentd.core.commands import SettleCalls
from agentd.core.events import CallsSubmitted, TemplatesDeclared
from agentd.daemon.clock import seconds
from agentd.daemon.trust.line_key import LineKey
from agentd.daemon.users.direct_lines import TEMPLATE
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import Codec, Part, Payload
from agentd.wire.line_messages import LineGiven

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.comm.door import Door
    from agentd.comm.ends.lines import Half
    from agentd.comm.ends.peer_end import PeerEnd
    from agentd.comm.link import Link
    from agentd.core.events import Event
    from agentd.model.exchange import Offer
    from agentd.wire.messages import DirectLine
    from agentd.workers.segments import Segments

WAY_MOST_S = 0.002
"""From kernel to kernel and back, so that a line is worth it (chosen: beyond it the way is most of a call)."""
KEPT_S = 1.0
"""For so long a line that is there waits for the next call of its session (chosen: far beyond a pause of a loop)."""
IDLE_MOST_S = 0.01
"""For so long a line may be idle, at most, however long the way is (chosen)."""
REFUSED_S = 10.0
"""For so long a neighbour that has refused a line is not asked again (chosen: a peer's limits change seldom)."""
_NUMBER = -2
"""By which the template is named among those of the session, which count from 1; -1 is that of a line here."""


class _Asked:
    """A line that a session has asked for, until its task is offered."""

    def __init__(self, link: Link, message: DirectLine, end: PeerEnd) -> None:
        self.link = link
        self.message = message
        self.end = end
        self.ticket = b""
        """Empty until the connection is there."""
        self.timer: asyncio.TimerHandle | None = None


class FarLines:
    """Gives sessions of this agent lines to neighbours, and workers of this agent to sessions of neighbours.

    `post` gives the engine an event.
    """

    def __init__(self, door: Door, segments: Segments, post: Callable[[Event], None]) -> None:
        self._door = door
        self._segments = segments
        self._post = post
        self._asked: dict[int, _Asked] = {}
        """By the session's link."""
        self.ready: set[int] = set()
        """Sessions whose line waits for their next call."""
        self._refused: WeakKeyDictionary[PeerEnd, tuple[float, str]] = WeakKeyDictionary()
        """Neighbours that have refused one: when that is over, and why."""
        self._key = LineKey(door.identity.name)
        door.lines.certificate = self._key.certificate
        door.put_sockets(self._with_socket)

    # --- for sessions here --------------------------------------------------------------------------------------

    def asked(self, link: Link, message: DirectLine) -> None:
        """A session wants a line to a worker of a neighbour."""
        end = self._named(message.at)
        objection = self._objection(link, end)
        if objection or end is None:
            self._decline(link, message.ref, objection or "no neighbour of that name is connected")
            return
        asked = self._asked[link.number] = _Asked(link, message, end)
        self._door.lines.open(end, partial(self._made, asked))

    def _named(self, name: str) -> PeerEnd | None:
        """Find a neighbour by the name that it gives itself, which is that of the outcomes of its tasks."""
        found = [end for end in self._door.peers() if end.them.name == name]
        return found[0] if len(found) == 1 else None

    def _objection(self, link: Link, end: PeerEnd | None) -> str:
        if link.number in self._asked:
            return "one line is being made already"
        if end is None:
            return ""
        if not end.them.capabilities.get("lines"):
            return f"{end.neighbour} gives no direct lines to other agents"
        until, words = self._refused.get(end, (0.0, ""))
        if words and seconds() < until:
            return words
        way_s = end.link.way_s
        if way_s is None or way_s > WAY_MOST_S:
            return f"{end.neighbour} is too far away for a line to be worth it"
        return ""

    def _decline(self, link: Link, ref: int, words: str) -> None:
        agent = self._door.identity.name
        outcome = Outcome(Status.FAILED, failure=Failure(Reason.UNSCHEDULABLE, "NoLine", words, agent=agent))
        self._door.settle_calls(SettleCalls(link.number, [Settled(ref, outcome)]))
        self._door.flush()

    def _made(self, asked: _Asked, half: Half | None, why: str) -> None:
        """The connection is there, or will not be: the session is given its end."""
        link = asked.link
        if half is None:
            self._refused[asked.end] = seconds() + REFUSED_S, why
            self._drop(asked, why)
            return
        with half.sock as sock:
            if self._asked.get(link.number) is not asked or link.is_closed:
                return  # it has left, or wants it no more
            if link.pending_bytes:  # the descriptor has to leave before it is closed here
                self._drop(asked, "the session does not read")
                return
            self._door.send(link, LineGiven(asked.message.ref, half.certificate, half.secret), (sock.fileno(),))
            link.flush()
        asked.ticket = half.ticket
        asked.timer = asyncio.get_running_loop().call_later(KEPT_S, self._drop, asked, "no call came")
        self.ready.add(link.number)

    def _drop(self, asked: _Asked, words: str) -> None:
        """There will be no line."""
        if self._asked.get(asked.link.number) is asked:
            self._forget(asked.link.number)
            self._decline(asked.link, asked.message.ref, words)

    def _forget(self, caller: int) -> _Asked | None:
        asked = self._asked.pop(caller, None)
        self.ready.discard(caller)
        if asked is not None and asked.timer is not None:
            asked.timer.cancel()
        return asked

    def called(self, caller: int) -> None:
        """A session whose line is ready has made a call: the task of the line goes with it."""
        asked = self._forget(caller)
        if asked is None:
            return
        message, end = asked.message, asked.end
        if end.link.is_closed:
            self._decline(asked.link, message.ref, "the link is gone")
            return
        template = replace(TEMPLATE, name=f"direct line: {message.name}", priority=message.priority)
        self._post(TemplatesDeclared(caller, ((_NUMBER, template),), only=end.neighbour))
        self._post(CallsSubmitted(caller, [Submission(message.ref, _NUMBER, Payload(Codec.BYTES, asked.ticket))]))

    def cancelled(self, caller: int, refs: tuple[int, ...]) -> None:
        """A session has given up calls, maybe the line that it waits for."""
        asked = self._asked.get(caller)
        if asked is not None and asked.message.ref in refs:
            self._drop(asked, "it was given up")

    def left(self, caller: int) -> None:
        """A session is gone."""
        self._forget(caller)

    # --- for sessions of neighbours -----------------------------------------------------------------------------

    def linked(self, neighbour: str) -> None:
        """A neighbour is connected: what lines to it will need takes a while, and is made meanwhile."""
        end = next((end for end in self._door.peers() if end.neighbour == neighbour), None)
        if end is not None and end.link.is_secret and end.limits.is_none and end.them.capabilities.get("lines"):
            self._door.lines.prepare()

    def _with_socket(self, link: Link, offer: Offer) -> Offer | str:
        """Put the connection in the place of its ticket."""
        half = self._door.lines.take(link, offer.payload.data)
        if half is None:
            return "the connection of this line is not here"
        with half.sock as sock:
            try:
                segment = self._segments.adopt_socket(sock.fileno())
            except OSError:
                return "no more files can be opened here"
        idle_s = min(frames.IDLE_S + (link.way_s or 0.0), IDLE_MOST_S)
        told = frames.FAR_HEAD.pack(idle_s, half.secret) + (self._key.pem if half.secret else b"")
        payload = Payload(Codec.BYTES, told, (Part(0, None, segment),))
        return replace(offer, payload=payload)
