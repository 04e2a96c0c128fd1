"""Direct lines: who calls one at a time, in a loop, gets a worker for a while and calls it without the daemon between.

Law: a call goes over the line only when no other is under way, and only one at a time; a call of which the worker says
that it was not begun goes another way, and of which nothing is known ends as the line's task does. Of a durable call
the agent is told at the same time: it sees to what the worker does not end.
"""

from __future__ import annotations

import os
import struct
import threading
from time import monotonic
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.api.calls import direct_frames as frames
from agentd.api.calls.direct_line import FarLine, Line, decode_ended
from agentd.model.errors import PeerError
from agentd.model.task import Constraints, Form, Outcome
from agentd.model.unreadable import UNREADABLE
from agentd.model.values import Codec
from agentd.wire.messages import DirectLine as Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.api.calls.catalogue import Catalogue
    from agentd.api.calls.connection import Connection
    from agentd.model.exchange import Submission
    from agentd.model.task import Template
    from agentd.wire.line_messages import LineGiven

LOOP_LEAST = 3
"""Calls in a row, each alone and quick, that make a loop. Chosen: asking costs a little more than a call does."""
LOOP_MOST = 384
"""As many at most, where lines were of little use: the number doubles each time."""
USED = 16
"""Calls over a line that was worth it (chosen)."""
QUICK_S = 0.005
"""A call that takes longer does not gain from a line (chosen: it would win a twentieth)."""
PAUSE_S = 0.002
"""Between a call's end and the next call of a loop, at most (chosen: half of what an idle line is kept)."""
MADE_S = 0.3
"""A line to a neighbour that is not ready by then is given up (chosen: far above what it takes, also where the worker
has to load what makes it secret)."""
_PLAIN = Constraints()
_FORMS = frozenset({Form.NAME, Form.VALUE})
_CARRIED = frozenset({Codec.NONE, Codec.PICKLE})

Answer = tuple["Submission", Outcome]


class Direct:
    """What one mailbox knows of direct lines: the one that there is, and when another is worth asking for.

    Attributes:
        line: the line that there is, or that was asked for.
        lock: held while that changes, and while its state does.
        is_possible: the agent gives lines, and is on this device.
        unwanted: numbers of lines that were asked for and are wanted no more, for the mailbox to tell the agent.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.lock = threading.Lock()
        self.line: Line | None = None
        self.is_possible = False
        self.unwanted: list[int] = []
        self._takes_durable = False
        """It may be told of durable calls that are made over a line."""
        self._gives_far = False
        """It gives lines to its neighbours as well."""
        self._agent = ""
        self._connection: Connection | None = None
        self._fits: dict[int, bool] = {}
        """Whether calls of a template may go over a line, by its number."""
        self._seen = 0
        """Calls of the loop that were seen so far."""
        self._place = ""
        """Where those ran: the name of a neighbour, empty for the agent itself."""
        self._wanted = LOOP_LEAST
        self._watched = 0
        """The call that went by the daemon, alone."""
        self._watched_s = 0.0
        self._took_s = 0.0
        """How long the last one took."""
        self._ended_s = 0.0
        """When the last call of the loop ended."""

    def connect(self, connection: Connection) -> None:
        """Begin anew over another connection."""
        self.close()
        ack = connection.ack
        self._connection = connection
        self.is_possible = connection.is_local and bool(ack.capabilities.get("direct"))
        self._gives_far = bool(ack.capabilities.get("lines"))
        self._agent = ack.name
        if self._takes_durable != bool(ack.capabilities.get("announce")):
            self._takes_durable = not self._takes_durable
            self._fits.clear()

    # --- out ----------------------------------------------------------------------------------------------------

    def take(self, call: Submission, ref: Iterator[int]) -> bool:
        """Send a call, which is the only one under way, directly if that is right; false: it is to go by the daemon.

        Raises:
            OSError: the connection to the agent is gone.
        """
        now = monotonic()
        with self.lock:
            if not self._may_take(call):
                self._let_go()
                self._seen = 0
                return False
            if now - self._ended_s > PAUSE_S:
                self._seen = 0
            if self.line is not None and not self.line.is_ready:
                self._look_at(self.line, now)
            line = self.line
            if line is not None and self._is_way(line, call) and self._sent(line, call):
                self._announce(line, call)
                return True
            if self.line is None and self._seen >= self._wanted:
                if self._place:
                    self._ask_far(call, next(ref), now)
                elif self._ask(call, next(ref)):
                    return True
            self._watched, self._watched_s = call.ref, now
            return False

    def _may_take(self, call: Submission) -> bool:
        payload = call.payload
        if payload.parts or payload.codec not in _CARRIED or len(payload.data) > frames.ARGUMENTS_MOST:
            return False
        fits = self._fits.get(call.template)
        if fits is None:
            template = self._catalogue.template(call.template)
            fits = _fits(template) and (not template.durable or (template.idempotent and self._takes_durable))
            self._fits[call.template] = fits
        return fits

    def _is_way(self, line: Line, call: Submission) -> bool:
        """Tell whether a call may go over a line now; a durable one: whether the agent that serves it may be told."""
        if not line.is_ready or line.current is not None:
            return False
        return not self._catalogue.template(call.template).durable or (not line.hops and self._may_announce(1))

    def _may_announce(self, needed: int) -> bool:
        """Tell whether the agent has so many credits left for us."""
        return self._connection is not None and self._connection.dialogue.room >= needed

    def _announce(self, line: Line, call: Submission) -> None:
        """Tell the agent of a durable call that the worker has: the two take it up at the same time."""
        if line.is_durable and self._connection is not None:
            declared = self._catalogue.news_for(self._connection)
            if declared is not None:
                self._connection.write([(declared, ())])
            self._connection.announce(line.ref, call)

    def _sent(self, line: Line, call: Submission) -> bool:
        """Send a call over the line; false where that is over, which then is gone."""
        if not line.is_leaving:
            try:
                line.send(call, self._catalogue.template(call.template))
            except OSError:
                line.current = None
            else:
                return True
        self._drop()
        return False

    def _ask(self, call: Submission, ref: int) -> bool:
        """Ask for a line, on which the call waits already; it waits for a core no longer than by the daemon."""
        connection, template = self._connection, self._catalogue.template(call.template)
        if connection is None or connection.backlog or not connection.dialogue.room:
            return False
        if template.durable and not self._may_announce(2):
            return False
        try:
            line = Line(ref, self._agent)
        except OSError:  # no descriptors are left
            return False
        connection.watch(line.fd)
        self.line = line
        assert line.there is not None
        if not self._sent(line, call):
            return False
        title = (template.name or template.function)[:200]
        connection.write([(Asking(ref, title, template.priority), (line.there.fileno(),))])
        self._announce(line, call)
        if not connection.backlog:
            line.close_there()
        return True

    def _ask_far(self, call: Submission, ref: int, now: float) -> None:
        """Ask for a line to the neighbour that ran the calls so far; this one goes by the daemon, as all until then."""
        connection, template = self._connection, self._catalogue.template(call.template)
        if connection is None or connection.backlog or connection.dialogue.room < 2:  # the call needs one, too
            return
        if template.durable:  # its end is to be recorded here
            return
        self.line = FarLine(ref, self._place, now + MADE_S)
        title = (template.name or template.function)[:200]
        connection.write([(Asking(ref, title, template.priority, self._place), ())])

    def _look_at(self, line: Line, now: float) -> None:
        """See whether a line is ready by now; behind the call that its task went with, wait for as long as that took.

        On a busy device the word that a line is served comes a little behind the end of that call; and where there is
        one core, the next call could not begin before the line is over.
        """
        if line.is_at_end or now > line.due_s:
            self.unwanted.append(line.ref)
            self._drop()
        elif line.is_awaited(self._took_s):
            line.read()
            self._heard(line)

    def given(self, message: LineGiven, descriptor: int) -> None:
        """The agent gives our end of a line, on which its worker will say when it serves."""
        with self.lock:
            line = self.line
            if line is None or line.ref != message.ref or line.fd >= 0 or self._connection is None:
                os.close(descriptor)
                return
            line.take(descriptor, message.certificate, message.secret)
            self._connection.watch(line.fd)

    def crowded(self) -> None:
        """Several calls are under way: they go by the daemon, and need the core of the line."""
        self._seen = 0
        if self.line is not None:
            with self.lock:
                self._let_go()

    def _let_go(self) -> None:
        line = self.line
        if line is not None:
            line.leave()
            if not line.is_ready:
                self.unwanted.append(line.ref)
            if line.current is None:
                self._drop()

    def give_up(self, call: Submission) -> int:
        """Forget a call that was cancelled; gives the number of what is to be cancelled in its place, or 0."""
        line = self.line
        if line is None or line.current is not call:
            return 0
        with self.lock:
            if self.line is not line or line.current is not call:
                return 0
            line.current = None
            self._drop()
            return 0 if line.is_durable else line.ref

    def sent_socket(self) -> None:
        """What was to be written has been written, the worker's end of the line with it."""
        line = self.line
        if line is not None and line.there is not None:
            line.close_there()

    # --- in -----------------------------------------------------------------------------------------------------

    def settled(self, ref: int, outcome: Outcome) -> None:
        """A call came back from the daemon, alone in its message."""
        now = monotonic()
        line = self.line
        if line is not None and line.current is not None and line.current.ref == ref:
            self._ended_beside(line, now)
            return
        self._took_s = now - self._watched_s
        is_quick = ref == self._watched and self._took_s < QUICK_S
        place = "" if outcome.agent == self._agent else outcome.agent
        if not is_quick or (place and (outcome.hops != 1 or not self._gives_far)):
            self._seen = 0
        else:
            self._seen = self._seen + 1 if place == self._place else 1
            self._place = place
        self._ended_s = now

    def _ended_beside(self, line: Line, now: float) -> None:
        """The agent has told the end of the call at hand, which its worker told the agent."""
        with self.lock:
            line.current, self._ended_s = None, now
            if self.line is line and (line.is_at_end or line.is_leaving or line.begun is not None):
                self._drop()

    def hear(self) -> tuple[list[Answer], list[Submission]]:
        """Read what has come over the line: calls that were answered, and calls that were not begun."""
        with self.lock:
            line = self.line
            if line is None:
                return [], []
            line.read()
            return self._heard(line)

    def _heard(self, line: Line) -> tuple[list[Answer], list[Submission]]:
        answers: list[Answer] = []
        unbegun: list[Submission] = []
        try:
            for kind, body in line.heard():
                if kind == frames.ENDED:
                    answers += self._answered(line, body)
                elif kind == frames.READY:
                    line.is_ready = True
                elif kind == frames.OVER:
                    line.begun, line.is_last_of_task = frames.OVER_BODY.unpack(body)
                    if line.current is not None and line.begun < line.sent and not line.is_durable:
                        unbegun.append(line.current)
                        line.current = None
        except (PeerError, OSError, ValueError, struct.error, *UNREADABLE):
            line.is_at_end = True
        if line.is_at_end and self._connection is not None:
            self._connection.unwatch(line.fd)
        if line.current is None and (line.is_at_end or line.is_leaving or line.begun is not None):
            self._drop()
        return answers, unbegun

    def _answered(self, line: Line, body: memoryview) -> list[Answer]:
        (ended,) = decode_ended(body)
        call, line.current = line.current, None
        self._ended_s = monotonic()
        if call is None or ended.number != line.sent:
            return []
        failure = ended.failure
        if failure is not None:
            failure = replace(failure, agent=line.agent, attempt=1)
        return [(call, Outcome(ended.status, ended.value, failure, ended.seconds, line.agent, line.hops))]

    def over(self, ref: int, outcome: Outcome) -> tuple[list[Answer], list[Submission], Line | None]:
        """The task of a line has ended: what came over it last, and the line, if a call of it has not ended."""
        with self.lock:
            line = self.line
            if line is None or line.ref != ref:
                return [], [], None
            line.read()
            answers, unbegun = self._heard(line)
            if line.current is not None and line.is_durable:  # the agent knows of it, and sees to it
                if line.is_last_of_task:
                    self.keep_off(line.current.template)
                line.current = None
            elif line.current is not None and line.begun is None and not line.is_known_begun(outcome):
                unbegun.append(line.current)
                line.current = None
            if self.line is line:
                self._drop()
            return answers, unbegun, line if line.current is not None else None

    def keep_off(self, template: int) -> None:
        """Calls of this template need the daemon: they ask for tasks, or have large results."""
        self._fits[template] = False

    # --- its end ------------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        """Forget the line; call with the lock."""
        line, self.line = self.line, None
        if line is None:
            return
        if line.sent >= USED:
            self._wanted = LOOP_LEAST
        elif line.sent < LOOP_LEAST:
            self._wanted = min(2 * self._wanted, LOOP_MOST)
        if self._connection is not None:
            self._connection.unwatch(line.fd)
        line.close()

    def close(self) -> None:
        """Forget everything of this connection."""
        with self.lock:
            self._drop()
            self._seen = 0
            self.is_possible = False

    def after_fork(self) -> None:
        """Let go, in a child process, of what is the parent's; what that does with it stays as it is."""
        self.is_possible = False
        if self.line is not None:
            self.line.close()


def _fits(template: Template) -> bool:
    """Tell whether calls need nothing but one core of this agent, whoever sees to them."""
    return (
        template.form in _FORMS
        and template.timeout_s is None
        and template.constraints == _PLAIN
        and template.nodes == 1
        and len(template.code) <= frames.CODE_MOST
    )
