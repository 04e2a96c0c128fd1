"""Keys that are pressed while a screen is shown, one at a time and without being seen."""

from __future__ import annotations

import select
import sys
import time
from typing import Any, Self


class Keys:
    """The terminal gives each key at once for as long as this is entered; without a terminal there are no keys."""

    def __init__(self, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        if self._is_wanted:
            import termios  # not everywhere, as the commands are
            import tty

            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str:
        """Wait for so long, or for a key; give it, empty when none was pressed."""
        if not self._before:
            time.sleep(seconds)
            return ""
        is_pressed, _, _ = select.select([sys.stdin], [], [], seconds)
        return sys.stdin.read(1) if is_pressed else ""
