"""Who reads the connection of a line, and which one that is.

Law: at most one thread reads at a time. One that has what it waits for passes the reading on to one that still waits; a
lost connection is given back to the system when nobody reads.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentd.api.calls.connection import Connection
    from agentd.api.calls.future import CallFuture

GRACE_S = 0.004
"""For so long after a caller has read, our own thread leaves the reading to it: a loop of submit and result never
changes threads. Chosen: 30 calls of that loop; a caller that went away for good delays others by no more."""


class Reading:
    """The role of the reader, of one line. Safe to use from several threads.

    Attributes:
        connection: what is read and written; None while it is lost.
        reader: identity of the thread that reads; 0 for none.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection | None = connection
        self.reader = 0
        self._lock = threading.Lock()
        """Held while the reading changes hands."""
        self._followers: dict[Any, tuple[CallFuture[Any], int]] = {}
        """Threads that wait while another one reads, by the lock that they sleep on: for what, and who."""
        self._dead: list[Connection] = []
        """Lost connections that a thread may still be reading."""
        self._left_s = 0.0
        """When a caller last stopped reading."""

    # --- callers ------------------------------------------------------------------------------------------------

    def take(self, me: int) -> bool:
        """Become the reader if nobody is; tell whether this thread is it now."""
        with self._lock:
            if not self.reader and self.connection is not None:
                self.reader = me
            return self.reader == me

    def step_down(self) -> bool:
        """Let a caller that reads go; tell whether another one reads now."""
        with self._lock:
            self.reader = 0
            self._left_s = time.monotonic()
            return bool(self._followers) and self._pass_on()

    def follow(self, future: CallFuture[Any], me: int) -> threading.Lock:
        """Give a lock to sleep on: it is released when the future is settled, or this thread is to read."""
        gate = threading.Lock()
        gate.acquire()
        self._followers[gate] = future, me
        return gate

    def unfollow(self, gate: threading.Lock) -> None:
        """Sleep on it no longer."""
        with self._lock:
            self._followers.pop(gate, None)

    def release(self, future: CallFuture[Any]) -> None:
        """Let the threads go that sleep until a future is settled."""
        for gate, (awaited, _) in list(self._followers.items()):
            if awaited is future and self._followers.pop(gate, None) is not None:
                gate.release()

    def _pass_on(self) -> bool:
        """Make one of those who wait the reader, if nobody is; tell whether one became it. Call with the lock."""
        if self.reader or self.connection is None:
            return False
        for gate, (future, thread) in list(self._followers.items()):
            if not future.is_settled and self._followers.pop(gate, None) is not None:
                self.reader = thread
                gate.release()
                return True
        return False

    # --- the line's own thread ----------------------------------------------------------------------------------

    def take_over(self, me: int, *, at_once: bool) -> float | None:
        """Become the reader if no caller is about to: None. Else say for how many seconds to doze; 0: until woken.

        `at_once` is for when somebody waits who reads nothing: there is no grace.
        """
        with self._lock:
            since_s = time.monotonic() - self._left_s
            is_free = not self.reader and not self._pass_on()
            if is_free and (at_once or since_s >= GRACE_S):
                self.reader = me
                return None
            if is_free:
                return max(GRACE_S - since_s, 0.001)
            # While a caller reads, its going away wakes us; the doze spares a tight loop from waking us each time.
            return GRACE_S if since_s < 2 * GRACE_S else 0

    def give_back(self) -> None:
        """Our own thread has read: whoever waits may go on."""
        with self._lock:
            self.reader = 0
            self._pass_on()

    # --- connections --------------------------------------------------------------------------------------------

    def lose(self, connection: Connection) -> bool:
        """Note that a connection is of no use any more; tell whether it was the one in use."""
        with self._lock:
            if self.connection is not connection:
                return False
            self.connection = None
            self._dead.append(connection)
            return True

    def renew(self, connection: Connection) -> None:
        """Go on with another one."""
        with self._lock:
            self.connection = connection
            self._pass_on()

    def bury(self) -> bool:
        """Give lost connections back to the system, if nobody reads; tell whether there are none left."""
        if self._dead:
            with self._lock:
                while self._dead and not self.reader:
                    self._dead.pop().close()
        return not self._dead

    def abandon(self) -> None:
        """Close all of them here, in a child process: they are the parent's."""
        for connection in (self.connection, *self._dead):
            if connection is not None:
                connection.close()
        self.connection = None
