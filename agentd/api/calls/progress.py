"""How far the calls of an executor are, on a line that is written over itself."""

from __future__ import annotations

import sys
from concurrent.futures import Future, as_completed
from shutil import get_terminal_size
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")
LOOK_S = 0.1
"""How often the line is written at the most: as a person reads it."""
BAR = 20
"""Signs of the bar."""


def progress(
    futures: Iterable[Future[T]], title: str = "", *, timeout: float | None = None, stream: TextIO | None = None
) -> Iterator[Future[T]]:
    """Yield futures as they end, as `concurrent.futures.as_completed` does, and show how far they are.

        for future in progress([agents.submit(square, n) for n in range(1000)]):
            total += future.result()

    The line is shown on a terminal and in a notebook, on stderr unless another `stream` is given; elsewhere nothing is
    written. Futures of any executor will do.

    Args:
        futures: those to wait for; all of them are there when this begins.
        title: what they do, for people.
        timeout: seconds after which those that have not ended are given up.
        stream: where the line goes.

    Raises:
        TimeoutError: while iterating, some have not ended after `timeout` seconds.
        TypeError: one is no future.
    """
    rows = list(futures)
    for row in rows:
        if not isinstance(row, Future):
            raise TypeError(f"{type(row).__name__} is no future of an executor; `wait_on` waits for those of tasks")
    into = sys.stderr if stream is None else stream
    line = Line(len(rows), title, into) if _is_read(into) else None
    return _followed(rows, timeout, line)


def _followed(rows: list[Future[T]], timeout: float | None, line: Line | None) -> Iterator[Future[T]]:
    if line is None:
        yield from as_completed(rows, timeout)
        return
    try:
        line.show(monotonic())
        for future in as_completed(rows, timeout):
            line.note(future, monotonic())
            yield future
    finally:
        line.end(monotonic())


def _is_read(stream: TextIO) -> bool:
    """Tell whether a person reads what is written, a moment later."""
    return stream.isatty() or ("ipykernel" in sys.modules and stream is sys.stderr)


class Line:
    """The line, and what it says."""

    def __init__(self, count: int, title: str, stream: TextIO) -> None:
        self._count = count
        self._title = f"{title}: " if title else ""
        self._stream = stream
        self._ended = self._failed = 0
        self._began_s = self._shown_s = monotonic()
        self._width = 0

    def note(self, future: Future[Any], now_s: float) -> None:
        """Count one that has ended, and renew the line if that is due."""
        self._ended += 1
        self._failed += future.cancelled() or future.exception() is not None
        if now_s - self._shown_s >= LOOK_S:
            self.show(now_s)

    def show(self, now_s: float) -> None:
        """Write the line over itself."""
        self._shown_s = now_s
        words = self.words(now_s - self._began_s)[
            : get_terminal_size().columns - 1
        ]  # a longer one would not be one line
        self._stream.write(f"\r{words.ljust(self._width)}")
        self._stream.flush()
        self._width = len(words)

    def end(self, now_s: float) -> None:
        """Say how it went, on a line that stays."""
        self.show(now_s)
        self._stream.write("\n")
        self._stream.flush()

    def words(self, after_s: float) -> str:
        """Say how many have ended after so long, and when the rest will have at this pace."""
        full = BAR * self._ended // self._count if self._count else BAR
        failed = f", {self._failed} failed" if self._failed else ""
        left_s = after_s / self._ended * (self._count - self._ended) if self._ended else None
        left = f", {_time(left_s)} left" if left_s and round(left_s) else ""
        bar = "█" * full + "─" * (BAR - full)
        return f"{self._title}{bar} {self._ended} of {self._count}{failed}, {_time(after_s)}{left}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
