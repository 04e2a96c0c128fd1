"""Lines on the agent's own stdout, for those who watch it.

Law: nobody waits for whoever reads them: what is not taken is dropped, line by line, and the agent goes on.
"""

from __future__ import annotations

import queue
import sys
import threading

WAITING = 1000
"""Lines that wait for a slow reader (chosen)."""
LAST_S = 1.0
"""How long the last lines are waited for at the end (chosen)."""


class Stdout:
    """Prints from a thread of its own, which begins with the first line."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None

    def say(self, text: str) -> None:
        """Print text and the end of a line."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._print, name="stdout", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            return

    def _print(self) -> None:
        while (text := self._lines.get()) is not None:
            try:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            except (OSError, ValueError, UnicodeError):
                continue  # nobody reads it, or cannot: that is no reason to do anything else

    def close(self) -> None:
        """Print what is left, if it is taken soon."""
        if self._thread is None:
            return
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(LAST_S)
