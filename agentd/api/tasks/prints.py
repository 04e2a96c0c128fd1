"""What the tasks of a session write to stdout and stderr, shown by the program as if they had run in it.

Law: each byte is shown once, in the order in which the agent has it; what tasks that have ended wrote is shown before a
wait for them is over if they ran on the agent of the session, else soon after, at the latest when the session ends.
"""

from __future__ import annotations

import codecs
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from agentd.api.calls.connection import dial
from agentd.model.errors import AgentdError
from agentd.wire.messages import Output, OutputRequest

if TYPE_CHECKING:
    from agentd.api.calls.connection import Connection
    from agentd.api.places import Place

LOOK_S = 0.1
"""How often it is looked for more while there is some (chosen: a person does not see the difference)."""
SELDOM_S = 2.0
"""The same of a program that calls no tasks; chosen."""
PIECE_BYTES = 256 << 10
"""Output that is asked for at a time; chosen."""
_DECODER = codecs.getincrementaldecoder("utf-8")
_STREAMS = {1: "stdout", 2: "stderr"}


class Prints:
    """Looks from a thread of its own until it is closed; `look` does so at once."""

    def __init__(self, place: Place, task: int) -> None:
        """Begin.

        Args:
            place: of the agent, on this device.
            task: that the tasks of the session belong to.
        """
        self._place = place
        self._task = task
        self._shown = dict.fromkeys(_STREAMS, 0)
        """Bytes of each stream."""
        self._decoders = {stream: _DECODER("replace") for stream in _STREAMS}
        self._connection: Connection | None = None
        self._is_lost = False
        self._brought = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._called = threading.Event()
        threading.Thread(target=self._follow, name="agentd-prints", daemon=True).start()

    def expect(self) -> None:
        """A task was called: something may come soon."""
        if not self._called.is_set():
            self._called.set()

    def _follow(self) -> None:
        patience_s = LOOK_S
        while not self._over.wait(LOOK_S):
            if self._called.wait(patience_s):
                self._called.clear()
                patience_s = LOOK_S
            if self._over.is_set():
                return
            patience_s = LOOK_S if self.look() else min(2 * patience_s, SELDOM_S)

    def settle(self, brought: int) -> None:
        """A wait is over: show what those wrote that were waited for, before the program goes on.

        `brought` is another number than at the last wait if there is anything: a look costs more than a short wait.
        """
        if brought != self._brought:
            self._brought = brought
            self.look()

    def look(self) -> bool:
        """Show what there is; tells whether there was anything."""
        with self._lock:
            if self._is_lost:
                return False
            try:
                shown = [self._show(stream) for stream in _STREAMS]
                return any(shown)
            except (OSError, AgentdError):  # the agent is gone: who waits for a task is told
                self._is_lost = True
                return False
            except BaseException:  # half an answer may be on its way
                self._let_go()
                raise

    def _show(self, stream: int) -> bool:
        before = self._shown[stream]
        while data := self._read(stream):
            self._shown[stream] += len(data)
            text = self._decoders[stream].decode(data)
            target = getattr(sys, _STREAMS[stream])
            if target is not None:
                with suppress(OSError, ValueError):  # the program has closed it
                    target.write(text)
                    target.flush()
        return self._shown[stream] > before

    def _read(self, stream: int) -> bytes:
        """Ask for what comes next.

        Raises:
            OSError: the agent is gone.
            AgentdError: it is, or it does not answer as it should.
        """
        if self._connection is None:
            self._connection = dial(self._place, name="prints")
        offset = self._shown[stream]
        asked = OutputRequest(task=self._task, stream=stream, offset=offset, limit=PIECE_BYTES)
        self._connection.write([(asked, ())])
        while True:
            self._connection.wait(None)
            self._connection.drain()
            self._connection.read(blocking=False)
            for message in self._connection.parse():
                if isinstance(message, Output) and (message.stream, message.offset) == (stream, offset):
                    return message.data

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Show what is left, and end."""
        self._over.set()
        self._called.set()
        self.look()
        with self._lock:
            self._is_lost = True
            self._let_go()
