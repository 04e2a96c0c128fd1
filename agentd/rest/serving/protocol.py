"""uvicorn's HTTP protocol with the deadlines and caps that it lacks.

Bounded are the time of a request's headers and of its body, the bytes of its headers, the number of connections, and
how long the rest of a refused body is thrown away. Size and meaning of a body are the guard's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from agentd.rest.answering.problems import Problem, refusal
from agentd.rest.call import CONNECTION, Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from agentd.rest.settings import RestSettings

log = logging.getLogger("agentd.rest")

_JOINED_BYTES = 64 * 1024
"""Chosen: what is copied to be sent with its head; beyond, a second write costs less."""


class GuardedProtocol(HttpToolsProtocol):
    """One client connection.

    At most one deadline runs at a time: for headers while no request is being served, for the body after them, and for
    what lingers of a body that was refused.
    """

    def __init__(
        self, config: Config, state: ServerState, settings: RestSettings, date: Callable[[], list[tuple[bytes, bytes]]]
    ) -> None:
        super().__init__(config, state, {})
        self.logger = log
        self.access_log = False
        self._settings = settings
        self._date = date
        self._connection = Connection()
        self._deadline: asyncio.TimerHandle | None = None
        self._heads = 0
        self._header_bytes = 0
        self._body_bytes = 0
        self._in_headers = True

    @property
    def is_endless(self) -> bool:
        """Tell whether the response that is being sent has no end of its own."""
        return self._connection.is_endless

    # --- the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or say that there are too many."""
        super().connection_made(transport)
        self._connection = Connection(transport.abort)
        if len(self.connections) > self._settings.connections:
            self._refuse(Problem(503, "too many connections: close some, or come back", retry_after_s=1))
            return
        self._arm(self._settings.header_deadline_s, self._headers_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what only this client was waiting for."""
        self._disarm()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._connection.lose()

    def data_received(self, data: bytes) -> None:
        """Parse what came, then see which deadline is due."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        was_in_headers, heads = self._in_headers, self._heads
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # no other protocol is spoken here, and the rest is of that one
        except httptools.HttpParserError as error:
            self._malformed(error)
            return
        if was_in_headers and heads == self._heads:
            self._header_bytes += len(data)
            if self._header_bytes > self._settings.header_cap_bytes:
                self._refuse(_headers_too_large(self._settings.header_cap_bytes))
                return
        self._watch()

    def _watch(self) -> None:
        """Arm the deadline that is due after what has been read."""
        if self._deadline is not None or self.transport.is_closing():
            return
        if self._is_idle():
            if self.timeout_keep_alive_task is None:
                self._arm(self._settings.header_deadline_s, self._headers_late)
        elif not self._in_headers:
            self._arm(self._settings.body_deadline_s, self._body_late)

    def _is_idle(self) -> bool:
        """Tell whether no request is being read or served, so that the client is to speak."""
        return self._in_headers and self._serving() is None

    def _serving(self) -> RequestResponseCycle | None:
        """Give the request that is not answered yet."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first one
        return None if cycle is None or cycle.response_complete else cycle

    # --- the parser ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._header_bytes = 0
        self.scope[CONNECTION] = self._connection  # type: ignore[literal-required]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count what is kept."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """Start to serve the request, whose body may still be on its way."""
        if self._header_bytes + len(self.url) > self._settings.header_cap_bytes:
            raise _TooLarge
        self._disarm()
        self._heads += 1
        self._body_bytes = 0
        self._in_headers = False
        self.server_state.default_headers = self._date()
        former = self.cycle
        super().on_headers_complete()
        if self.cycle is not former:
            self.cycle.transport = cast("asyncio.Transport", HeadWithBody(self.transport, self.loop))

    def on_body(self, body: bytes) -> None:
        """Count what comes: a streamed body is judged by its progress."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; the next one may follow."""
        self._disarm()
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Linger for the rest of a body that nobody wants."""
        super().on_response_complete()
        if not self._in_headers and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._disarm()
            self._arm(self._settings.linger_s, self.transport.close)

    # --- deadlines ----------------------------------------------------------------------------------------------

    def _arm(self, seconds: float, late: Callable[[], None]) -> None:
        self._deadline = self.loop.call_later(seconds, late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _headers_late(self) -> None:
        self._deadline = None
        if self._header_bytes:
            seconds = self._settings.header_deadline_s
            self._refuse(Problem(408, f"the headers took longer than {seconds:g} s: send them at once"))
        else:
            self.transport.close()

    def _body_late(self) -> None:
        self._deadline = None
        is_moving = self._body_bytes >= self._settings.progress_bytes or self.flow.read_paused
        if self._connection.is_streamed and is_moving:
            self._body_bytes = 0
            self._watch()
            return
        seconds = self._settings.body_deadline_s
        self._refuse(Problem(408, f"the body took longer than {seconds:g} s: send it faster, or in smaller requests"))

    # --- refusals -----------------------------------------------------------------------------------------------

    def _malformed(self, error: Exception) -> None:
        if isinstance(error.__context__, _TooLarge):
            self._refuse(_headers_too_large(self._settings.header_cap_bytes))
        else:
            self._refuse(Problem(400, "this is not HTTP/1.1: send a well-formed request"))

    def _refuse(self, problem: Problem) -> None:
        """Answer from below the application and hang up; a response that has begun is cut off instead."""
        self._disarm()
        self._unset_keepalive_if_required()
        cycle = self._serving()
        if cycle is None or not cycle.response_started:
            answer = refusal(problem)
            lines = [STATUS_LINE[problem.status]]
            for name, value in (*self._date(), *answer.raw_headers, (b"connection", b"close")):
                lines += [name, b": ", value, b"\r\n"]
            self.transport.write(b"".join((*lines, b"\r\n", bytes(answer.body))))
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


class HeadWithBody:
    """Stands before the transport of one request: a head leaves together with the body that follows it at once.

    Each write is a call of the system and wakes the client: two of them took a sixth of the time that the agent spends
    on a short operation (measured with py-spy under 32 clients). A head that nothing follows at once leaves by itself
    before the loop waits again.
    """

    __slots__ = ("_held", "_is_begun", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:
        """Send bytes, or hold them for as long as this step of the loop if they are the first."""
        if not self._is_begun:
            self._is_begun, self._held = True, data
            self._loop.call_soon(self._release)
        elif self._held and len(data) <= _JOINED_BYTES:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        else:
            self._release()
            self._transport.write(data)

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def is_closing(self) -> bool:
        """Tell whether the connection is going."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Hang up once all was sent."""
        self._release()
        self._transport.close()


class _TooLarge(Exception):
    """The headers are above the cap."""


def _headers_too_large(cap: int) -> Problem:
    return Problem(431, f"headers and address may have {cap} bytes: send fewer or shorter ones")


def make(
    config: Any, state: Any, settings: RestSettings, date: Callable[[], list[tuple[bytes, bytes]]]
) -> Callable[[], asyncio.Protocol]:
    """Give what makes the protocol of each new connection."""
    return lambda: GuardedProtocol(config, state, settings, date)
