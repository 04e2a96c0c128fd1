"""Direct lines: who calls one at a time, in a loop, gets a worker for a while and calls it without the daemon between.

Law: a call goes over the line only when no other is under way, and only one at a time; a call of which the worker says
that it was not begun goes another way, and of which nothing is known ends as the line's task does.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from agentd.api.calls import direct_frames as frames
from agentd.model.errors import PeerError
from agentd.model.task import Constraints, Failure, Form, Outcome
from agentd.model.unreadable import UNREADABLE
from agentd.model.values import NO_VALUE, Codec, Payload
from agentd.wire.messages import DirectLine as Asking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.api.calls.catalogue import Catalogue
    from agentd.api.calls.connection import Connection
    from agentd.model.exchange import Submission
    from agentd.model.task import Template

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
_READ_BYTES = 64 * 1024
_BODY_MOST = 1024 * 1024
"""No answer is as large (the worker's limit is `ANSWER_MOST`, in bytes before they are laid out)."""
_NOW = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_AT_ONCE = (int(socket.MSG_DONTWAIT),)
_PLAIN = Constraints()
_FORMS = frozenset({Form.NAME, Form.VALUE})

Answer = tuple["Submission", Outcome]


class _Ended(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A result as a worker writes it."""

    number: int
    status: int
    value: Payload = NO_VALUE
    failure: Failure | None = None
    started: float = 0.0
    seconds: float = 0.0


_decode_ended = msgspec.msgpack.Decoder(list[_Ended]).decode


class Line:
    """One line. Its socket holds the calls while the task that serves it waits for a core.

    Attributes:
        ref: the number of the task that serves it, among the session's calls.
        there: the worker's end, until it is on its way.
        current: the call that is not answered.
        begun: how many calls were begun, once the worker has said so.
        is_last_of_task: the end of the last call is the end of the task.
        is_leaving: no more calls go over it.
    """

    def __init__(self, ref: int) -> None:
        self.ref = ref
        self._socket, self.there = _pair()
        self.fd = self._socket.fileno()
        self.current: Submission | None = None
        self.sent = 0
        self.begun: int | None = None
        self.is_last_of_task = False
        self.is_leaving = False
        self._declared: set[int] = set()
        self._chunks: deque[bytes] = deque()
        """Where `read` puts what it got, in the same instruction that got it."""
        self._rest = b""
        self.is_at_end = False

    @property
    def has_bytes(self) -> bool:
        """Tell whether something was read and not looked at."""
        return bool(self._chunks)

    def send(self, call: Submission, template: Template) -> None:
        """Send one call.

        Raises:
            OSError: the worker has left, or does not take it at once.
        """
        body = frames.CALL_HEAD.pack(call.template, call.payload.codec) + call.payload.data
        data = frames.HEADER.pack(len(body), frames.CALL) + body
        if call.template not in self._declared:
            self._declared.add(call.template)
            data = _declaration(call.template, template) + data
        self.current = call
        self.sent += 1
        if self._socket.send(data, _NOW) != len(data):
            raise BrokenPipeError("the worker does not read")

    def read(self) -> None:
        """Read what there is, without waiting."""
        try:
            # A signal may raise between two instructions: `extend` calls recv and keeps its answer within one.
            self._chunks.extend(map(self._socket.recv, (_READ_BYTES,), _AT_ONCE))
        except BlockingIOError:
            return
        except OSError:
            self.is_at_end = True

    def heard(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the frames that were read: kind and body.

        Raises:
            PeerError: a length that no frame has.
        """
        while self._chunks:
            data = self._chunks.popleft()
            if not data:
                self.is_at_end = True
                return
            data = self._rest + data if self._rest else data
            position, end = 0, len(data)
            while end - position >= frames.HEADER.size:
                length, kind = frames.HEADER.unpack_from(data, position)
                if length > _BODY_MOST:
                    raise PeerError(f"a worker announced {length} bytes")
                start = position + frames.HEADER.size
                if end - start < length:
                    break
                yield kind, memoryview(data)[start : start + length]
                position = start + length
            self._rest = data[position:]

    def leave(self) -> None:
        """Let the worker go after the calls that it was sent."""
        self.is_leaving = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close_there(self) -> None:
        """Let the worker's end go here: from then on its death is seen."""
        if self.there is not None:
            self.there.close()
            self.there = None

    def close(self) -> None:
        """Give the descriptors back."""
        self.close_there()
        self._socket.close()


def _pair() -> tuple[socket.socket, socket.socket | None]:
    here, there = socket.socketpair()
    return here, there


def _declaration(number: int, template: Template) -> bytes:
    name = template.function.encode()
    body = frames.TEMPLATE_HEAD.pack(number, template.form, len(name)) + name + template.code
    return frames.HEADER.pack(len(body), frames.TEMPLATE) + body


class Direct:
    """What one mailbox knows of direct lines: the one that there is, and when another is worth asking for.

    Attributes:
        line: the line that there is.
        lock: held while that changes, and while its state does.
        is_possible: the agent gives lines, and is on this device.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.lock = threading.Lock()
        self.line: Line | None = None
        self.is_possible = False
        self._agent = ""
        self._connection: Connection | None = None
        self._fits: dict[int, bool] = {}
        """Whether calls of a template may go over a line, by its number."""
        self._seen = 0
        """Calls of the loop that were seen so far."""
        self._wanted = LOOP_LEAST
        self._watched = 0
        """The call that went by the daemon, alone."""
        self._watched_s = 0.0
        self._ended_s = 0.0
        """When the last call of the loop ended."""

    def connect(self, connection: Connection) -> None:
        """Begin anew over another connection."""
        self.close()
        ack = connection.ack
        self._connection = connection
        self.is_possible = connection.is_local and bool(ack.capabilities.get("direct"))
        self._agent = ack.name

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
            line = self.line
            if line is not None and line.current is None and self._sent(line, call):
                return True
            if self.line is None and self._seen >= self._wanted and self._ask(call, next(ref)):
                return True
            self._watched, self._watched_s = call.ref, now
            return False

    def _may_take(self, call: Submission) -> bool:
        payload = call.payload
        if payload.parts or payload.codec != Codec.PICKLE or len(payload.data) > frames.ARGUMENTS_MOST:
            return False
        fits = self._fits.get(call.template)
        if fits is None:
            fits = self._fits[call.template] = _fits(self._catalogue.template(call.template))
        return fits

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
        try:
            line = Line(ref)
        except OSError:  # no descriptors are left
            return False
        connection.watch(line.fd)
        self.line = line
        assert line.there is not None
        if not self._sent(line, call):
            return False
        title = (template.name or template.function)[:200]
        connection.write([(Asking(ref, title, template.priority), (line.there.fileno(),))])
        if not connection.backlog:
            line.close_there()
        return True

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
            if line.current is None:
                self._drop()

    def give_up(self, call: Submission) -> int:
        """Forget a call that was cancelled; gives the number of the task that is to be cancelled for it, or 0."""
        line = self.line
        if line is None or line.current is not call:
            return 0
        with self.lock:
            if self.line is not line or line.current is not call:
                return 0
            line.current = None
            self._drop()
            return line.ref

    def sent_socket(self) -> None:
        """What was to be written has been written, the worker's end of the line with it."""
        line = self.line
        if line is not None and line.there is not None:
            line.close_there()

    # --- in -----------------------------------------------------------------------------------------------------

    def settled(self, ref: int, outcome: Outcome) -> None:
        """A call came back from the daemon, alone in its message."""
        now = monotonic()
        is_quick = ref == self._watched and now - self._watched_s < QUICK_S
        self._seen = self._seen + 1 if is_quick and outcome.agent in {"", self._agent} else 0
        self._ended_s = now

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
                elif kind == frames.OVER:
                    line.begun, line.is_last_of_task = frames.OVER_BODY.unpack(body)
                    if line.current is not None and line.begun < line.sent:
                        unbegun.append(line.current)
                        line.current = None
        except (PeerError, ValueError, struct.error, *UNREADABLE):
            line.is_at_end = True
        if line.is_at_end and self._connection is not None:
            self._connection.unwatch(line.fd)
        if line.current is None and (line.is_at_end or line.is_leaving or line.begun is not None):
            self._drop()
        return answers, unbegun

    def _answered(self, line: Line, body: memoryview) -> list[Answer]:
        (ended,) = _decode_ended(body)
        call, line.current = line.current, None
        self._ended_s = monotonic()
        if call is None or ended.number != line.sent:
            return []
        failure = ended.failure
        if failure is not None:
            failure = replace(failure, agent=self._agent, attempt=1)
        return [(call, Outcome(ended.status, ended.value, failure, ended.seconds, self._agent))]

    def over(self, ref: int) -> tuple[list[Answer], list[Submission], Line | None]:
        """The task of a line has ended: what came over it last, and the line, if a call of it has not ended."""
        with self.lock:
            line = self.line
            if line is None or line.ref != ref:
                return [], [], None
            line.read()
            answers, unbegun = self._heard(line)
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
        and not template.durable
        and template.timeout_s is None
        and template.constraints == _PLAIN
        and template.nodes == 1
        and len(template.code) <= frames.CODE_MOST
    )
