"""What goes out to the agent and what is expected back: calls in batches, and again where a connection was lost.

Law: a call is in `pending` from the moment that it is posted until it is settled; what is on its way to the agent can
always be made anew from there.
"""

from __future__ import annotations

import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from agentd.api.calls.direct import Direct
from agentd.api.calls.future import CallFuture
from agentd.api.calls.settling import Settling
from agentd.api.memory.shared import SharedMemory
from agentd.model.errors import PeerError, Unreachable
from agentd.model.exchange import Submission
from agentd.wire.line_messages import LineGiven
from agentd.wire.messages import (
    CancelCalls,
    DataChunk,
    DataRequest,
    Segment,
    SegmentFree,
    SegmentRelease,
    SettledCalls,
    Submit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentd.api.calls.catalogue import Catalogue
    from agentd.api.calls.connection import Connection
    from agentd.api.calls.uploads import Uploads
    from agentd.api.memory.shared import Mail
    from agentd.model.errors import AgentdError
    from agentd.model.values import Part, Payload
    from agentd.wire.messages import Message

BATCH_CALLS = 256
BATCH_BYTES = 64 * 1024
"""A caller that only submits sends for itself at one of these; more in a frame gains nothing (measured)."""

_PARTS = attrgetter("payload.parts")


class Mailbox:
    """Calls of one connection after another. `note` is called when there is news from shared memory.

    With `uploads` large arguments are kept there, for an agent that fetches them; without, they lie in shared memory.

    Posting is safe from any thread; `send` and `open` are each called by one thread at a time.

    Attributes:
        outbox: calls that wait to be sent.
        given_up: numbers of calls that were cancelled, and of which the agent may have to be told.
        shared: what large values lie in.
        settling: how calls end.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        refs: Iterator[int],
        note: Callable[[], None],
        uploads: Uploads | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._refs = refs
        self.direct = Direct(catalogue)
        self.shared = SharedMemory(note)
        self._uploads = uploads
        self._pending: dict[int, CallFuture[Any]] = {}
        self.outbox: list[Submission] = []
        self.settling = Settling(catalogue, self.direct, self.shared, self._pending, self.outbox, self._let_go)
        self._outbox_bytes = 0
        self._next_batch = BATCH_CALLS
        self.given_up: list[int] = []
        self._repeated: dict[int, Submission] = {}
        """Put into the outbox again after a loss. One may come to stand there twice, its caller being just about to
        post it; a retry under the same number is another object."""
        self._repeats_sent: set[int] = set()

    @property
    def is_busy(self) -> bool:
        """Tell whether anything is to be sent or is expected."""
        return bool(self._pending or self.given_up or self.shared.has_news)

    def is_done(self) -> bool:
        """Tell whether every call is settled, for good: no retry is in the making."""
        with CallFuture.lock:
            return not self._pending

    def unsettled(self) -> list[CallFuture[Any]]:
        """List the calls that have not ended."""
        return list(self._pending.values())

    # --- out ----------------------------------------------------------------------------------------------------

    def place(self, views: list[memoryview]) -> tuple[Part, ...] | None:
        """Put the buffers of one call's arguments to where the agent finds them; None when there is no room.

        Raises:
            OSError: the disk takes no more of them.
        """
        return self.shared.place(views) if self._uploads is None else self._uploads.place(views)

    def _let_go(self, payload: Payload) -> None:
        """A call will not be sent again: its arguments are needed no more."""
        if self._uploads is None:
            self.shared.settle(payload)
        elif payload.parts:
            self._uploads.settle(payload)

    def post(self, future: CallFuture[Any], submission: Submission) -> bool:
        """Put a call into the outbox; true if the batch is full."""
        # In this order: a settled call must be known, and no signal can come between the two instructions.
        self._pending[submission.ref] = future
        self.outbox.append(submission)
        self._outbox_bytes += len(submission.payload.data)
        return len(self.outbox) >= self._next_batch or self._outbox_bytes >= BATCH_BYTES

    def give_up(self, call: Submission) -> None:
        """Forget a call that its caller has cancelled; the agent is told if it knows of it."""
        if self._pending.pop(call.ref, None) is not None:
            self.given_up.append(self.direct.give_up(call) or call.ref)
            self._let_go(call.payload)

    def send(self, connection: Connection) -> None:
        """Send what there is, as far as the agent grants it.

        Raises:
            OSError: the connection is gone.
            LocalError: a message that no frame can hold.
        """
        direct = self.direct
        if direct.is_possible:
            if self.outbox:
                self._send_directly()
            if not connection.backlog:
                direct.sent_socket()
            if direct.unwanted:
                self.given_up += direct.unwanted
                direct.unwanted.clear()
        # The calls first: what is declared or shared for them was so before they were posted.
        calls = self._taken(connection.dialogue.room)
        if self.shared.is_used and any(map(_PARTS, calls)):
            for call in calls:
                self.shared.give(call.payload)
        known = self._catalogue.templates
        if connection.declared < len(known) or self.given_up or self.shared.has_news:
            connection.write(self._mail(calls, connection))
        elif calls:
            connection.submit(calls)
        if self._uploads is not None and self._uploads.is_active:
            self._send_chunks(self._uploads, connection)

    def _send_chunks(self, uploads: Uploads, connection: Connection) -> None:
        """Send of what the agent fetches as much as the connection takes at once, and a chunk that waits for more."""
        uploads.measure(connection.waiting_bytes, time.monotonic())
        while not connection.backlog:
            chunk = uploads.next()
            if chunk is None:
                break
            connection.write([(chunk, ())])
        uploads.measure(connection.waiting_bytes, time.monotonic())
        if uploads.has_chunks:
            self.shared.has_news = True  # so that this is asked again when the connection has room

    def _send_directly(self) -> None:
        """Have the one call that is under way go to a worker directly, if that is right."""
        outbox = self.outbox
        call = outbox[0]
        if len(outbox) > 1 or len(self._pending) > 1 or self.given_up or call.ref in self._repeated:
            self.direct.crowded()
        elif call.ref in self._pending and self.direct.take(call, self._refs):
            del outbox[:1]
            self._outbox_bytes = 0

    def _mail(self, calls: list[Submission], connection: Connection) -> list[Mail]:
        """List what is to be sent in the order in which it must be written."""
        mail: list[Mail] = []
        declared = self._catalogue.news_for(connection)
        if declared is not None:
            mail.append((declared, ()))
        if self.shared.has_news:
            mail += self.shared.mail()
        if calls:
            mail.append((Submit(calls), ()))
        if self.given_up:
            mail += self._cancellations()
        return mail

    def _taken(self, room: int) -> list[Submission]:
        outbox = self.outbox
        calls = outbox[:room]
        del outbox[: len(calls)]
        if self._repeated or self.given_up:
            calls = self._wanted(calls)
            while outbox and len(calls) < room:  # those that are dropped take no room
                more = outbox[: room - len(calls)]
                del outbox[: len(more)]
                calls += self._wanted(more)
        self._outbox_bytes = 0
        self._next_batch = BATCH_CALLS + len(outbox)
        return calls

    def _wanted(self, calls: list[Submission]) -> list[Submission]:
        """Leave out what was given up before it was sent, and what was sent again already."""
        calls = [call for call in calls if self._is_first(call)]
        if self.given_up:
            unwanted = set(self.given_up)
            for call in calls:
                if call.ref in unwanted:
                    self.given_up.remove(call.ref)
            calls = [call for call in calls if call.ref not in unwanted]
        return calls

    def _is_first(self, call: Submission) -> bool:
        if self._repeated.get(call.ref) is not call:
            return True
        if call.ref in self._repeats_sent:
            return False
        self._repeats_sent.add(call.ref)
        return True

    def _cancellations(self) -> list[Mail]:
        waiting = {call.ref for call in self.outbox}
        refs = tuple(ref for ref in self.given_up if ref not in waiting)
        for ref in refs:
            self.given_up.remove(ref)
        return [(CancelCalls(refs), ())] if refs else []

    def repeat(self, connection: Connection) -> None:
        """Have everything that was sent and has not ended sent again: the last connection is gone.

        What must not run twice ends here: nobody can tell whether it did run. Of what has, the results go on coming.
        """
        self.direct.connect(connection)
        self.shared.reconnect()
        spoken_for = {call.ref for call in self.outbox}
        spoken_for |= self.settling.reconnect(connection.ack)
        if self._uploads is not None:
            self._uploads.reset()
        again = []
        for ref, future in list(self._pending.items()):
            call = future.submission
            if call is None or ref in spoken_for:
                continue
            if self._catalogue.template(call.template).idempotent:
                again.append(call)
            else:
                self._pending.pop(ref, None)
                self._let_go(call.payload)
                future.fail(
                    Unreachable("the agent went away while it held this call, which may have run: not repeated")
                )
        self.given_up.clear()
        self._repeated = {call.ref: call for call in again}
        self._repeats_sent = set()
        self.outbox[:0] = again

    def fail_all(self, make_error: Callable[[], AgentdError]) -> None:
        """End every call with an error of ours."""
        self.outbox.clear()
        self.given_up.clear()
        for ref, future in list(self._pending.items()):
            future.fail(make_error())
            self._pending.pop(ref, None)
        if self._uploads is not None:
            self._uploads.close()

    def close(self) -> None:
        """Give back what large values lie in."""
        self.shared.close()
        if self._uploads is not None:
            self._uploads.close()

    # --- in -----------------------------------------------------------------------------------------------------

    def open(self, messages: Sequence[Message], connection: Connection) -> list[CallFuture[Any]]:
        """Act on messages; give the futures whose callbacks are due.

        Raises:
            PeerError: the agent broke the protocol.
            OSError: shared memory cannot be mapped.
        """
        due: list[CallFuture[Any]] = []
        for message in messages:
            if isinstance(message, SettledCalls):
                self.settling.settle(message, due)
            elif isinstance(message, (Segment, LineGiven)):
                if not connection.descriptors:
                    raise PeerError(f"the agent sent {message.kind.name} without its descriptor")
                if isinstance(message, Segment):
                    self.shared.add(message, connection.descriptors.popleft())
                else:
                    self.direct.given(message, connection.descriptors.popleft())
            elif isinstance(message, SegmentFree):
                self.shared.drop(message)
            elif isinstance(message, SegmentRelease):
                self.shared.let_go(message)
            elif isinstance(message, DataChunk):
                self.settling.chunk(message, due)
            elif isinstance(message, DataRequest):
                self._requested(message)
        return due

    def _requested(self, message: DataRequest) -> None:
        """The agent fetches an argument; who reads sends, too, and comes to it next.

        Raises:
            PeerError: there are none for it.
        """
        if self._uploads is None:
            raise PeerError("the agent asked for an argument, and none was named to it")
        self._uploads.requested(message)
        self.shared.has_news = True
