"""The line to the agent of this device: calls go out in batches, and whoever waits for a result reads them itself.

Law: at most one thread reads at a time. A thread that needs a result reads until it has it and then passes the role on;
a thread of our own reads when nobody else does, dials again when the connection is lost, and costs nothing otherwise.
"""

from __future__ import annotations

import select
import threading
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from agentd.api.calls.bell import Bell
from agentd.api.calls.catalogue import Catalogue
from agentd.api.calls.connection import Connection
from agentd.api.calls.connection import dial as dial_unix
from agentd.api.calls.future import CallFuture
from agentd.api.calls.mailbox import Mailbox
from agentd.api.calls.reading import Reading
from agentd.api.calls.recovery import Recovery
from agentd.model.errors import PeerError, RequestError, Unreachable
from agentd.model.exchange import Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.places import Place
    from agentd.model.task import Template
    from agentd.model.values import Part, Payload

GATHER_S = 0.001
"""For so long after our own thread has sent it lets further calls gather, so that a caller who only submits is not
interrupted for each. The first leaves at once, and whoever waits sends for itself. Chosen: a batch of 200."""
_SUFFICIENT = frozenset({"code", "admin"})
_LOG_IN = "`agentd invite --user NAME --scope code` there makes a string for `agentd login` here"


class Line:
    """One executor's way to the agent. Safe to use from several threads.

    `dial` makes connections, given the `name` of this program; without, they are made to the Unix socket of `place`.

    Attributes:
        catalogue: the functions that were declared.
        mailbox: what goes out, and what is expected back.

    Raises:
        Unreachable: no agent answers at the socket.
        RequestError: the agent refuses this program, or grants it too little.
    """

    has_chunks = True

    def __init__(
        self,
        place: Place,
        options: Template,
        *,
        name: str,
        reconnect_s: float,
        dial: Callable[..., Connection] | None = None,
    ) -> None:
        self._dial: Callable[..., Connection] = dial or partial(dial_unix, place)
        connection = self._dial(name=name)
        if connection.ack.scope not in _SUFFICIENT:
            connection.close()
            remedy = _LOG_IN if place.certificate else "start the agent with --local-access code"
            raise RequestError(
                f"the agent at {place.where} grants this program the scope {connection.ack.scope!r}, and an executor "
                f"sends pickles, which needs 'code': {remedy}",
                status=403,
            )
        self._agent = place
        self._name = name
        self._recovery = Recovery(reconnect_s)
        self.catalogue = Catalogue(options, agent_python=connection.ack.python)
        self._start_over(connection)

    def _start_over(self, connection: Connection) -> None:
        """Take up everything that belongs to this very process."""
        self._refs = count(1)
        self.mailbox = Mailbox(self.catalogue, self._refs, self.wake, connection.uploads())
        self.mailbox.direct.connect(connection)
        self._dial_again = partial(self._dial, **connection.as_before)
        self._reading = Reading(connection)
        self._wire = threading.Lock()
        """Held while the protocol's state changes: while encoding and writing, and while parsing."""
        self._is_attended = False
        """Somebody waits for futures who reads nothing: there is no grace."""
        self._is_dozing = False
        """Our thread looks again within the grace, so it needs no waking."""
        self._is_submitting = False
        """A caller has sent a batch by itself since our thread looked."""
        self._is_closing = False
        self._is_forked = False
        self._bell = Bell()
        self._thread = threading.Thread(target=self._serve, name="agentd-line", daemon=True)
        self._thread.start()

    # --- callers ------------------------------------------------------------------------------------------------

    def call(self, template: int, payload: Payload) -> CallFuture[Any]:
        """Ask for one call; it leaves with the next batch.

        Raises:
            RuntimeError: the line is closed.
        """
        if self._is_closing:
            self._refuse_or_start_over()
        submission = Submission(next(self._refs), template, payload)
        future: CallFuture[Any] = CallFuture(self, submission)
        if self.mailbox.post(future, submission):
            self.flush()
            self._is_submitting = True
        elif not self._is_dozing:
            self._bell.ring()
        return future

    def wait_for(self, future: CallFuture[Any], timeout: float | None) -> None:
        """Return when the future is settled, reading the connection meanwhile if nobody else does.

        Raises:
            TimeoutError: it is not, after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        me, reading = threading.get_ident(), self._reading
        if reading.reader == me:  # a callback waits for another call, while we read for the first
            self._read_until(future, deadline)
            return
        try:
            while not future.is_settled:
                if reading.take(me) or self._sleep(future, deadline, me):
                    self._read_until(future, deadline)
        finally:
            if reading.reader == me:
                self._step_down()

    def attend(self) -> None:
        """Have our own thread read without a grace: somebody waits who does not read."""
        self._is_attended = True
        self.wake()

    def give_up(self, future: CallFuture[Any]) -> None:
        """Tell the agent that a call was cancelled."""
        call = future.submission
        if call is not None:
            self.mailbox.give_up(call)
            self.wake()

    def unsettled(self) -> list[CallFuture[Any]]:
        """List the calls that have not ended."""
        return self.mailbox.unsettled()

    def place(self, views: list[memoryview]) -> tuple[Part, ...] | None:
        """Put the buffers of one call's arguments to where the agent finds them; None when there is no room."""
        return self.mailbox.place(views)

    def close(self, *, wait: bool) -> None:
        """Take no more calls, and end once those that were taken have ended; with `wait`, not before."""
        self._is_closing = True
        if wait:
            for future in self.mailbox.unsettled():
                self.wait_for(future, None)
        self.wake()
        if wait and self._thread is not threading.current_thread():
            self._thread.join()

    def wake(self) -> None:
        """Have our own thread look at what there is. Safe anywhere, also in a finaliser."""
        self._bell.ring()

    # --- reading and writing ------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Send what waits, as far as the agent takes it; false if nothing does."""
        connection, mailbox = self._reading.connection, self.mailbox
        if connection is None:
            return False
        if not (mailbox.outbox or mailbox.given_up or mailbox.shared.has_news or connection.backlog):
            return False
        try:
            with self._wire:
                if connection is self._reading.connection:
                    if connection.backlog:
                        connection.drain()
                    mailbox.send(connection)
        except OSError as error:
            self._lose(connection, error)
        except BaseException as error:
            self._lose(connection, error)
            raise
        return True

    def _read_until(self, future: CallFuture[Any], deadline: float | None) -> None:
        """Read, as the reader, until the future is settled; or give the role up, the connection being lost.

        Raises:
            TimeoutError: the deadline has passed.
        """
        while not future.is_settled:
            self.flush()
            connection = self._reading.connection
            if connection is None:
                self._step_down()
                return
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeoutError
            if not connection.backlog:
                self._step(connection, blocking=True, timeout_s=left_s)
            elif connection.wait(left_s):
                self._step(connection, blocking=False)

    def _step(self, connection: Connection, *, blocking: bool, timeout_s: float | None = None) -> None:
        """Read once, what came directly as well, and act on it; with `blocking` wait for it, so long at most."""
        beside = self.mailbox.direct.line
        try:
            if not blocking or (beside is not None and beside.has_bytes) or connection.wait_for_any(timeout_s):
                connection.read(blocking=False)
        except BlockingIOError:
            if beside is None:
                return
        except OSError as error:
            self._lose(connection, error)
            return
        try:
            with self._wire:
                messages = connection.parse()
            due = self.mailbox.open(messages, connection) if messages else []
            if beside is not None and (not blocking or beside.has_bytes or connection.is_beside_ready):
                due += self.mailbox.settling.hear()
        except (OSError, PeerError, LookupError) as error:
            self._lose(connection, error)
            return
        except BaseException as error:
            self._lose(connection, error)
            raise
        for future in due:
            future.announce()

    def _lose(self, connection: Connection, error: BaseException) -> None:
        """Note that a connection is of no use any more; our own thread sees to another."""
        if not self._reading.lose(connection):
            return
        self._recovery.begin(error)
        connection.shut()
        self.wake()

    def _sleep(self, future: CallFuture[Any], deadline: float | None, me: int) -> bool:
        """Wait until the future is settled or this thread was made the reader: true for that.

        Raises:
            TimeoutError: the deadline has passed.
        """
        reading = self._reading
        gate = reading.follow(future, me)
        future.is_awaited = True
        try:
            if future.is_settled:
                return False
            if reading.reader == self._thread.ident:
                self.wake()  # it gives the reading to us
            self.flush()
            left_s = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            if not gate.acquire(timeout=left_s) and not future.is_settled:
                raise TimeoutError
        finally:
            reading.unfollow(gate)
        return reading.reader == me

    def _step_down(self) -> None:
        """Let another thread read: a caller that waits, or else our own."""
        reading = self._reading
        # While it dozes, our own thread looks by itself, in time for whoever waits without reading.
        if not reading.step_down() and (self._is_attended or not self._is_dozing or reading.connection is None):
            self.wake()

    def release(self, future: CallFuture[Any]) -> None:
        """Let the threads go that wait for a future, which is settled."""
        self._reading.release(future)

    # --- our own thread -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Read, write and dial whenever no caller does; ends when the line is closed and nothing is outstanding."""
        try:
            while not (self._is_closing and self.mailbox.is_done()):
                self._reading.bury()
                connection = self._reading.connection
                if connection is None:
                    self._revive()
                else:
                    self._turn(connection)
        except BaseException:
            self._is_closing = True
            self.mailbox.fail_all(lambda: Unreachable("the thread that reads the agent's answers has died: see above"))
            raise
        finally:
            self._leave()

    def _leave(self) -> None:
        self.flush()  # what a caller gave up last
        connection = self._reading.connection
        if connection is not None:
            self._lose(connection, ConnectionAbortedError("the executor was shut down"))
        self.mailbox.direct.close()
        while not self._reading.bury():
            pass
        self.mailbox.close()
        self._bell.close()

    def _turn(self, connection: Connection) -> None:
        """Do once what is to be done now, then wait for more."""
        if not self.mailbox.is_busy:
            self._is_attended = False
        doze_s = self._reading.take_over(threading.get_ident(), at_once=self._is_attended)
        if doze_s is None:
            is_submitting, self._is_submitting = self._is_submitting, False  # it is left to itself for a moment
            self._listen(connection, GATHER_S if is_submitting or self.flush() else None)
            return
        self.flush()
        self._is_dozing = doze_s > 0
        events = select.POLLOUT if connection.backlog else 0
        self._rest(doze_s or None, connection, events)
        self._is_dozing = False

    def _listen(self, connection: Connection, patience_s: float | None) -> None:
        """Read once, as the reader, and give the role back; a call that is submitted meanwhile has that patience."""
        try:
            self._is_dozing = patience_s is not None
            self._rest(patience_s, connection, select.POLLIN | (select.POLLOUT if connection.backlog else 0))
            self._is_dozing = False
            self._step(connection, blocking=False)
        finally:
            self._reading.give_back()

    def _rest(self, seconds: float | None, connection: Connection | None = None, events: int = 0) -> None:
        """Wait for the bell, or the connection, or the time."""
        here, beside = (-1, -1) if connection is None else (connection.fileno(), connection.beside)
        self._bell.rest(seconds, here, events, beside if events & select.POLLIN else -1)

    def _revive(self) -> None:
        """Dial again if anything is to be sent, or wait until there is or the next attempt is due."""
        if not self.mailbox.is_busy:
            self._recovery.end()
            self._rest(None)
            return
        try:
            connection = self._dial_again(name=self._name)
        except (Unreachable, RequestError) as error:
            delay_s = self._recovery.delay_s(error, time.monotonic())
            if delay_s is None:
                self.mailbox.fail_all(partial(self._recovery.verdict, self._agent.where))
            else:
                self._rest(delay_s)
            return
        self._recovery.end()
        with self._wire:
            self.mailbox.repeat(connection)
        self._reading.renew(connection)

    # --- another process ----------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """Forget, in a child process, what is the parent's: its connection, its threads and its calls."""
        self._bell.close()
        self._reading.abandon()
        self.mailbox.direct.after_fork()
        for future in self.mailbox.unsettled():
            future.disown()
        self._is_forked = not self._is_closing
        self._is_closing = True

    def _refuse_or_start_over(self) -> None:
        """Begin anew in a child process; anywhere else a closed line stays closed.

        Raises:
            RuntimeError: the line is closed.
        """
        if not self._is_forked:
            raise RuntimeError("cannot submit after shutdown: make a new executor")
        self._start_over(self._dial(name=self._name))
