"""Waiting for the agent in the middle of a task: with threads of the task beside it, and told to end meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from agentd.workers.inside.interrupts import Guard
from agentd.workers.inside.port import TaskPort
from agentd.workers.page import HEARD_AT, INTERRUPTED, RUNNING, Page, make_page

if TYPE_CHECKING:
    from agentd.workers.inside.link import Link
    from agentd.workers.inside.results import Outbox

TASK, MINE, ITS = 7, 1, 2


class Parts:
    """A port on a link that has bytes when somebody says so, and what was seen of the guard meanwhile."""

    def __init__(self) -> None:
        self.page = Page(make_page())
        self.page.words[RUNNING] = TASK
        self.guard = Guard(self.page)
        self.guard.task = TASK
        self.has_bytes = threading.Event()
        self.is_looked_at = threading.Event()
        self.seen: list[int] = []
        config = {"segment_threshold_bytes": 1000, "task_folder": ""}
        link, outbox = cast("Link", self), cast("Outbox", self)
        self.port = TaskPort(1, self.page.words, link, self.guard, outbox, config)
        self.port.join(cast("Any", None), cast("Any", None), cast("Any", None), self.receive, print)

    def poll(self, limit_s: float) -> bool:
        self.seen.append(self.guard.task)
        self.is_looked_at.set()
        return self.has_bytes.wait(limit_s)

    def flush(self) -> None:
        self.seen.append(self.guard.task)

    def receive(self) -> None:
        self.seen.append(self.guard.task)
        for token in (MINE, ITS):
            self.port._answers[token] = []


def test_a_signal_meets_a_wait_only_where_no_frame_is_under_way() -> None:
    """Results leave and answers are taken in without interruption; afterwards users' code may be interrupted again."""
    parts = Parts()
    parts.has_bytes.set()
    assert parts.port.wait(MINE) == []
    assert parts.seen == [0, TASK, 0, 0]  # results leave, the look, what came, and once more
    assert parts.guard.task == TASK


def test_a_task_that_waits_while_its_thread_reads_ends_when_told() -> None:
    """No signal can be let into the wait for a thread; so it looks by itself, and says that it was heard."""
    parts = Parts()
    waiting = threading.Thread(target=parts.port.wait, args=(ITS,))
    waiting.start()
    assert parts.is_looked_at.wait(60)
    parts.page.words[INTERRUPTED] = TASK
    with pytest.raises(KeyboardInterrupt):
        parts.port.wait(MINE)
    assert parts.page.seconds[HEARD_AT] > 0
    assert parts.guard.task == TASK
    parts.has_bytes.set()
    waiting.join(60)
    assert not waiting.is_alive()
    parts.page.words[INTERRUPTED] = 0
    assert parts.port.wait(MINE) == []  # who reads next is not held up by the wait that was broken off
