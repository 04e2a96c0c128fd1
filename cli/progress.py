"""Following an operation: its output live, and a line on how far it is."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from agentd.api.routes.tables import printable
from agentd.model.errors import AgentdError, Unreachable
from agentd.model.views import TERMINAL
from cli.output import print_text, silence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.api.routes.client import Agent
    from agentd.model.views import OperationView

LOOK_S = 0.5
"""How often the line on progress is renewed: as a person reads it."""


def summary(view: OperationView) -> str:
    """Say in one line how far an operation is."""
    counts = view.tasks
    where = f" on {view.ran_on}" if view.ran_on else ""
    why = f": {view.reason}" if view.reason and view.state not in {"running", "done"} else ""
    tasks = f"{counts.done} done, {counts.running} running, {counts.waiting} waiting"
    if counts.failed:
        tasks += f", {counts.failed} failed"
    return printable(f"{view.state}{where}, tasks: {tasks}{why}")


class Follower:
    """Shows progress and output on stderr for as long as it is entered.

    `as_own`: shows the output alone, on stdout and stderr as it was written, as if it were this process's own.
    """

    def __init__(self, agent: Agent, operation: OperationView, *, as_own: bool = False) -> None:
        self._agent = agent
        self._operation = operation
        self._as_own = as_own
        self._ended = threading.Event()
        self._output = threading.Lock()
        self._shown = ""
        self._threads = [
            threading.Thread(target=self._quietly, args=(work,), daemon=True)
            for work in ((self._logs,) if as_own else (self._logs, self._progress))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._ended.set()
        if kind is None:
            for thread in self._threads:
                thread.join(timeout=5.0)  # the output of an operation that has ended comes to an end by itself
        self._erase()

    def _quietly(self, work: Any) -> None:
        try:
            work()
        except BrokenPipeError:  # whoever read it has left, as `head` does; how the operation ends is of interest still
            silence(sys.stderr if not self._as_own else sys.stdout)
        except AgentdError as error:
            if not self._ended.is_set():
                with self._output:
                    print(f"agentd: {printable(str(error))}", file=sys.stderr)

    def _logs(self) -> None:
        shown: Counter[str] = Counter()
        while True:
            try:
                for stream, text in self._unseen(shown):
                    with self._output:
                        self._erase()
                        print_text(text, on_stderr=not self._as_own or stream == "stderr")
            except Unreachable:
                if self._ended.is_set():
                    raise
                self._ended.wait(LOOK_S)  # whoever waits for the end decides how long an agent is waited for
            else:
                return

    def _unseen(self, shown: Counter[str]) -> Iterator[tuple[str, str]]:
        """Yield what was printed and not yet shown; `shown` counts the signs of each stream that were."""
        told: Counter[str] = Counter()
        for piece in self._agent.logs(self._operation, follow=True):
            new = piece.text[max(0, shown[piece.stream] - told[piece.stream]) :]
            told[piece.stream] += len(piece.text)
            if new:
                shown[piece.stream] += len(new)
                yield piece.stream, new

    def _progress(self) -> None:
        view = self._operation
        while True:
            self._show(summary(view))
            if view.state in TERMINAL or self._ended.wait(LOOK_S):
                return
            with suppress(Unreachable):  # as for the output
                view = self._agent.get(self._operation)

    def _show(self, words: str) -> None:
        """Renew the line on a terminal; elsewhere write a line only when it says something new."""
        with self._output:
            if sys.stderr.isatty():
                self._erase()
                sys.stderr.write(words)
                sys.stderr.flush()
            elif words != self._shown:
                print(words, file=sys.stderr)
            self._shown = words

    def _erase(self) -> None:
        if self._shown and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
            self._shown = ""
