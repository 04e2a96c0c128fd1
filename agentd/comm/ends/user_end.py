"""A user at the other end of a link: its calls to events, their ends to messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from agentd.comm.ends.declarations import HARMLESS, TRUSTED, Declarations
from agentd.comm.ends.wiring import Wiring, send_fitting
from agentd.comm.link import Link
from agentd.core.events import CallsCancelled, CallsSubmitted, TemplatesDeclared
from agentd.core.line_events import CallsAnnounced
from agentd.model.errors import PeerError
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Reason
from agentd.wire.faults import Unsendable
from agentd.wire.line_messages import Announce
from agentd.wire.messages import (
    CancelCalls,
    Declare,
    DirectLine,
    Message,
    ResourceChange,
    Segment,
    SettledCalls,
    Submit,
)

_parent = attrgetter("parent")


class UserEnd:
    """One user's session; the link's number is its caller number.

    Attributes:
        link: the connection.
        scope: what the user may do.
    """

    def __init__(self, link: Link, scope: str, wiring: Wiring, user: str = "") -> None:
        self.link = link
        self.scope = scope
        self._user = user
        self._wiring = wiring
        self._declarations = Declarations(scope, wiring)
        self._is_trusted = scope in TRUSTED
        self._taken: dict[type[Message], Callable[[Any], None]] = {
            Declare: self._declared,
            Submit: self._submitted,
            CancelCalls: self._cancelled,
            ResourceChange: self._reshaped,
            Segment: self._shared,
            DirectLine: self._direct,
            Announce: self._announced,
        }
        for land in wiring.lands:
            link.session.land_chunks(partial(land, link))

    def take(self, link: Link, message: Message) -> None:
        """Take one message of the user."""
        taken = self._taken.get(type(message))
        if taken is not None:
            taken(message)
        else:
            self._wiring.route(link, message)

    def settle(self, settled: list[Settled]) -> None:
        """Tell the user how calls ended; a result that cannot travel becomes a failure that says so."""
        try:
            self._wiring.send(self.link, SettledCalls(settled))
        except Unsendable:
            send_fitting(
                lambda items: self._wiring.send(self.link, SettledCalls(items)),
                settled,
                self._with_bytes,
                self._unsendable,
            )
        if not self.link.session.received_open:
            self.link.burden_bytes = 0

    def _declared(self, message: Declare) -> None:
        admitted = self._declarations.declare(message.templates)
        if admitted:
            self._wiring.post(TemplatesDeclared(self.link.number, admitted, user=self._user))

    def _submitted(self, message: Submit) -> None:
        calls = message.calls
        if any(map(_parent, calls)):
            raise PeerError("a user's call names a parent task: only tasks have children")
        if self._declarations.refused or not self._is_trusted:
            calls = self._admitted(calls)
        if calls:
            self._wiring.post(CallsSubmitted(self.link.number, calls))
        self._wiring.floodgate.look(self.link)

    def _announced(self, message: Announce) -> None:
        calls = message.calls
        if any(map(_parent, calls)) or any(call.payload.parts for call in calls):
            raise PeerError("a call over a direct line names a parent task, or has parts")
        if self._declarations.refused or not self._is_trusted:
            calls = self._admitted(calls)
        if calls:
            self._wiring.post(CallsAnnounced(self.link.number, message.line, calls))
        self._wiring.floodgate.look(self.link)

    def _admitted(self, calls: list[Submission]) -> list[Submission]:
        """Give the calls that may be asked for, and settle the others."""
        admitted, refused = [], []
        for call in calls:
            reason = self._objection(call)
            if reason is None:
                admitted.append(call)
            else:
                refused.append(Settled(call.ref, self._wiring.failed("NotCallable", Reason.NOT_CALLABLE, reason)))
        if refused:
            self.settle(refused)
        return admitted

    def _objection(self, call: Submission) -> str | None:
        if not self._is_trusted and (call.payload.codec not in HARMLESS or call.payload.parts):
            return "pickled arguments need scope code: send JSON"
        return self._declarations.refused.get(call.template)

    def _shared(self, message: Segment) -> None:
        self.link.shared_bytes += max(0, message.size)
        self._wiring.route(self.link, message)

    def _direct(self, message: DirectLine) -> None:
        if self._is_trusted:
            self._wiring.route(self.link, message)
            self._wiring.floodgate.look(self.link)
        else:
            words = f"scope {self.scope} may not call workers directly: a token of scope code is needed"
            failed = self._wiring.failed("NotCallable", Reason.NOT_CALLABLE, words)
            self.settle([Settled(message.ref, failed)])

    def _cancelled(self, message: CancelCalls) -> None:
        self._wiring.post(CallsCancelled(self.link.number, message.refs))

    def _reshaped(self, message: ResourceChange) -> None:
        if self.scope != "admin":
            raise PeerError(f"reshaping the pool needs the scope admin, and this user has {self.scope}")
        self._wiring.route(self.link, message)

    def _with_bytes(self, settled: Settled) -> Settled:
        value = self._wiring.inlined(settled.outcome.value)
        return replace(settled, outcome=replace(settled.outcome, value=value))

    def _unsendable(self, settled: Settled, words: str) -> Settled:
        value = settled.outcome.value
        if not value.is_portable:
            words = (
                f"a result of {value.size_bytes} bytes is more than a message to another device holds: return less at "
                "a time, or ask for it as an operation (`connect(…).call`), whose result is read as a stream"
            )
        return Settled(settled.ref, self._wiring.failed("ResultTooLarge", Reason.NOT_ENCODABLE, words))
