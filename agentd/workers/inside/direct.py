"""A task that serves the calls of one session, one after the other, over a socket of the session's.

Law: each call that was begun is answered once: over the line, or, where it is the last one, by the end of the task. So
what concerns the daemon (a call that asks for tasks, has a large result, is cancelled) happens to the task itself.
"""

from __future__ import annotations

import socket
from collections import deque
from contextlib import closing, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..page import CALLS, FLAGGED, INTERRUPTED, WANTED
from ..protocol import NUMBER, SEGMENT, Kind, ProtocolError, frame
from .borrowed import load
from .callees import Callee, Declared
from .failures import DONE, FAILED, Failure, Reason, Refused, failure_of
from .far_link import FarLink
from .link import Link
from .nearness import come_over
from .results import Outbox
from .values import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .functions import Finder
    from .interrupts import Guard
    from .port import TaskPort
    from .surroundings import CpuLimit
    from .values import Encoded, Part, Writer

_frames, _spinning = load("calls.direct_frames"), load("calls.spinning")
_OVERHEAD_BYTES = 64
_FRAME_MOST = _frames.ARGUMENTS_MOST + _frames.CODE_MOST + 64 * 1024
CALLEES_MOST = 256
"""Functions that are kept for later lines (chosen)."""
_NOTHING: Encoded = (0, b"", None)


class DirectLines:
    """The part of a worker that serves sessions directly, one at a time.

    `known` finds a function that the worker has already; `encode` writes what a call of a task returned.
    """

    def __init__(
        self,
        words: memoryview,
        guard: Guard,
        finder: Finder,
        writer: Writer,
        port: TaskPort,
        known: Callable[[Declared], Callee | None],
        encode: Callable[[int, Any, Callee], Encoded],
        cpu_limit: CpuLimit | None,
        agent: Link,
    ) -> None:
        self.agent = agent
        self.words = words
        self.guard = guard
        self.writer = writer
        self.port = port
        self.encode = encode
        self.cpu_limit = cpu_limit
        self._finder = finder
        self._known = known
        self.spinning = _spinning.Spinning()
        self.sockets: dict[int, int] = {}
        """Descriptors that have come, by the numbers that tasks name them by."""
        self.is_fork = False
        """This is a child that users' code has forked: the line is its parent's."""
        self._callees: dict[Declared, Callee] = {}

    def serve(self, task: int, parts: Sequence[Part], data: bytes | memoryview = b"") -> Encoded:
        """Serve until nobody calls any more, the time is over, or others want the core; gives the task's result.

        `data` is what the agent says of a line to another one.

        Raises:
            Refused: the socket is not here: another worker had it before.
            BaseException: whatever the last call raised, where that is to be the end of the task.
        """
        kind, number = parts[0][:2]
        descriptor = self.sockets.pop(number, None) if kind == SEGMENT else None
        if descriptor is None:
            raise Refused(Reason.NOT_DECODABLE, "the session's socket is no longer on this agent")
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        if not data:
            with closing(Link(sock, _FRAME_MOST)) as link:
                return _Service(self, task, link).run()
        with closing(_far_link(sock, data)) as far:
            (idle_s, _) = _frames.FAR_HEAD.unpack_from(data)
            if far.begin(frame(_frames.READY), idle_s):
                return _Service(self, task, far, idle_s).run()
        return JSON, b"0", None

    def callee(self, declared: Declared) -> Callee:
        """Find a function; it is the same for all lines, and for tasks, as long as the worker lives.

        Raises:
            Refused: it is not there, or may not be called.
        """
        found = self._callees.get(declared)
        if found is None:
            found = self._known(declared) or Callee(declared, self._finder)
            if len(self._callees) >= CALLEES_MOST:
                self._callees.clear()
            self._callees[declared] = found
        return found


class _Service:
    """One line, from its first call to its last."""

    def __init__(self, lines: DirectLines, task: int, link: Link, far_idle_s: float = 0.0) -> None:
        """Make one; `far_idle_s` for a line to another agent, on which no call waits yet."""
        self._is_far = far_idle_s > 0
        self._idle_s: float = far_idle_s or _frames.IDLE_S
        self._lines = lines
        self._task = task
        self._link = link
        self._words = lines.words
        self._outbox = Outbox(link, deque())
        self._rode = Outbox(lines.agent, deque(), Kind.RODE)
        self._declared: dict[int, Declared] = {}
        self._callees: dict[int, Callee] = {}
        self._end_s = monotonic() + _frames.SLICE_S
        self._ref = 0
        """The session's number of the call at hand, where that is durable."""
        self._begun = 0
        """How many calls were begun."""
        self._has_asked = False
        """The call at hand has asked for tasks."""

    def run(self) -> Encoded:
        """Answer calls until the line is over; gives the number of calls, or what the last of them returned.

        Raises:
            ProtocolError: the session sent what is none of its frames.
            BaseException: whatever the last call raised, where that is to be the end of the task.
        """
        while self._goes_on():
            try:
                come = self._link.take()
            except (EOFError, OSError):  # the session has let go
                break
            if not self._begun and not self._lines.spinning.is_on:
                come_over(self._link.socket)
            for kind, body in come:
                if kind == _frames.TEMPLATE:
                    self._declare(body)
                    continue
                if kind not in {_frames.CALL, _frames.DURABLE_CALL}:
                    raise ProtocolError(f"a frame of kind {kind} came over a direct line")
                last = self._call(body, is_durable=kind == _frames.DURABLE_CALL)
                if last is not None:
                    return last
        self._say_over(is_last_mine=False)
        return JSON, b"%d" % self._begun, None

    def _goes_on(self) -> bool:
        """Wait for bytes; false when the line is over. Whoever waited on a line has one call in any case."""
        if self._is_to_stop():
            return False
        if (self._begun or self._is_far) and (self._words[WANTED] == self._task or monotonic() >= self._end_s):
            return False
        come = self._lines.spinning.seek(self._link.poll) or self._link.poll(self._idle_s)
        return bool(come) and not self._is_to_stop()

    def _is_to_stop(self) -> bool:
        """Tell whether the line is cancelled: then not one more call is begun."""
        words, task = self._words, self._task
        return words[FLAGGED] == task or words[INTERRUPTED] == task

    def _declare(self, body: memoryview) -> None:
        number, form, length = _frames.TEMPLATE_HEAD.unpack_from(body)
        middle = _frames.TEMPLATE_HEAD.size + length
        name = bytes(body[_frames.TEMPLATE_HEAD.size : middle]).decode()
        self._declared[number] = Declared(name, form, False, bytes(body[middle:]))

    def _call(self, body: memoryview, *, is_durable: bool) -> Encoded | None:
        """Answer one call; gives its result where that is the task's.

        Raises:
            BaseException: what it raised, where that is the end of the task.
        """
        self._begun += 1
        self._words[CALLS] += 1
        if self._lines.cpu_limit is not None:
            self._lines.cpu_limit.renew()
        head = _frames.DURABLE_HEAD if is_durable else _frames.CALL_HEAD
        number, codec, *ref = head.unpack_from(body)
        self._ref = ref[0] if ref else 0
        status, failure = DONE, None
        started = monotonic()
        try:
            encoded = self._perform(number, codec, body[head.size :])
        except BaseException as error:
            self._lines.guard.task = 0
            if self._lines.is_fork:
                return _NOTHING
            if self._is_of_task():
                self._say_over(is_last_mine=True)
                raise
            self._lines.writer.take_back()
            encoded, status, failure = _NOTHING, FAILED, failure_of(error)
            if _told_bytes(failure) > _frames.ANSWER_MOST:
                self._say_over(is_last_mine=True)
                raise
        if self._lines.is_fork:
            return _NOTHING
        if self._is_of_task() or _is_large(encoded):
            self._say_over(is_last_mine=True)
            return encoded
        seconds = monotonic() - started
        callee = self._callees.get(number)
        if callee is not None:
            callee.learn(seconds)
        with suppress(OSError):  # the session is gone, which the next look at the socket finds
            outbox = self._rode if self._ref else self._outbox
            outbox.add(self._ref or self._begun, status, encoded, failure, started, seconds, 0.0)
            outbox.flush()
        return None

    def _perform(self, number: int, codec: int, data: memoryview) -> Encoded:
        """Run users' code, as the worker does for a task of its own."""
        guard = self._lines.guard
        try:
            guard.task = self._task
            guard.check(self._task)
            callee = self._callees.get(number)
            if callee is None:
                callee = self._callees[number] = self._lines.callee(self._declared[number])
            value = callee.call(codec, data, ())
            self._has_asked = self._has_family()
            return self._lines.encode(self._task, value, callee)
        finally:
            guard.task = 0

    def _is_of_task(self) -> bool:
        """Tell whether the call at hand ends as the task itself: it asked for tasks, or is to be stopped."""
        return self._has_asked or self._words[INTERRUPTED] == self._task or self._has_family()

    def _has_family(self) -> bool:
        return self._lines.port.family_of(self._task) is not None

    def _say_over(self, *, is_last_mine: bool) -> None:
        """Tell the session which calls were begun: only of those it is not known whether they ran."""
        if is_last_mine and self._ref:
            self._lines.agent.send(frame(Kind.LAST, NUMBER.pack(self._ref)))
        with suppress(OSError):
            self._link.send(frame(_frames.OVER, _frames.OVER_BODY.pack(self._begun, is_last_mine)))


def _far_link(sock: socket.socket, data: bytes | memoryview) -> FarLink:
    """Make the worker's end of a line to another agent, of what the agent says of it."""
    key = bytes(data[_frames.FAR_HEAD.size :])
    if not key:
        return FarLink(sock, _FRAME_MOST)
    from .tls_link import TlsLink  # with all of OpenSSL, which most workers never need

    _, secret = _frames.FAR_HEAD.unpack_from(data)
    return TlsLink(sock, _FRAME_MOST, key, secret, _frames.HANDSHAKE_S)


def _is_large(encoded: Encoded) -> bool:
    """Tell whether a result has to go by the daemon: it lies in shared memory, or would fill the socket."""
    _, data, parts = encoded
    size = len(data) + _OVERHEAD_BYTES
    most: int = _frames.ANSWER_MOST
    if parts is None:
        return size > most
    return any(segment for _, _, segment, _ in parts) or size + sum(part[0] for part in parts) > most


def _told_bytes(failure: Failure) -> int:
    """Give at least the bytes that a failure takes; a character takes up to four."""
    return len(failure.exception) + 4 * (len(failure.message) + len(failure.traceback) + len(failure.type))
