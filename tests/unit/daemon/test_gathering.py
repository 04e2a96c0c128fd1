"""Output of tasks elsewhere comes to their operation, each byte once, also over cuts; what is lost is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from agentd.core.events import EndsReceived
from agentd.daemon.showing import gathering
from agentd.daemon.showing.gathering import AT_ONCE, TRIES, Gathering
from agentd.model.exchange import End
from agentd.model.task import Outcome

ROOT, CHUNK = 100, 4


class Desk:
    """Gathering, and all around it: a neighbour that answers while it is there, and an operation's output."""

    limit_bytes = 1000

    def __init__(self) -> None:
        self.there: dict[tuple[int, str], bytes] = {}
        self.is_up = True
        self.asked: list[tuple[int, str, int]] = []
        self.cut_at = -1
        """After so many answers the neighbour is cut off."""
        self.is_dumb = False
        """It is there, and does not answer."""
        self.here = {"out": b"", "err": b""}
        self.news = asyncio.Event()
        self.gathering = Gathering(self, self)  # type: ignore[arg-type]

    # --- as the output of others --------------------------------------------------------------------------------

    def is_linked(self, _: str) -> bool:
        return self.is_up

    async def ask(self, _: str, task: int, stream: str, offset: int, limit: int) -> bytes | None:
        await asyncio.sleep(0)
        self.news.set()
        self.asked.append((task, stream, offset))
        if len(self.asked) == self.cut_at:
            self.is_up = False
        if self.is_dumb or not self.is_up:
            return None
        return self.there.get((task, stream), b"")[offset : offset + min(limit, CHUNK)]

    # --- as what was written ------------------------------------------------------------------------------------

    def root_of(self, task: int) -> int:
        return ROOT if task != ROOT else task

    def add(self, root: int, stream: str, data: bytes) -> None:
        assert root == ROOT
        self.here[stream] += data

    # --- what tests say -----------------------------------------------------------------------------------------

    def ended(self, *tasks: int, attempt: int = 1) -> None:
        """Tasks have ended at the neighbour, and have written something."""
        ends = [End(task, attempt, 0, Outcome(output_bytes=1)) for task in tasks]
        self.gathering.ended(EndsReceived("far", ends))

    async def all_here(self) -> None:
        """Wait until nothing is on its way."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gathering.after(ROOT, lambda: over.set_result(None))
        async with asyncio.timeout(60):
            await over

    async def idle(self) -> None:
        """Let everything be done that can be done now."""
        for _ in range(1000):
            await asyncio.sleep(0)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test where there is a loop."""

    @wraps(test)
    def run(**more: Any) -> None:
        async def body() -> None:
            desk = Desk()
            async with desk.gathering:
                await test(desk, **more)

        asyncio.run(body())

    del run.__wrapped__  # type: ignore[attr-defined]
    return run


@on_a_loop
async def test_each_attempts_output_is_read_once(desk: Desk) -> None:
    """To its end, of both streams; an end that comes again is none, and an operation's own output is left there."""
    desk.there = {(1, "stdout"): b"one, and more\n", (1, "stderr"): b"two\n", (2, "stdout"): b""}
    desk.ended(1, 2, ROOT)
    desk.ended(1, 2)
    await desk.all_here()
    assert desk.here == {"out": b"one, and more\n", "err": b"two\n"}
    assert {task for task, _, _ in desk.asked} == {1, 2}


@on_a_loop
async def test_what_a_cut_interrupts_goes_on_over_the_next_link(desk: Desk) -> None:
    """Wherever it comes, from the first question to the last answer: nothing twice, nothing missing."""
    for cut_at in range(1, 8):
        desk.there = {(cut_at, "stdout"): b"0123456789", (cut_at, "stderr"): b"abcdef"}
        desk.here = {"out": b"", "err": b""}
        desk.asked.clear()
        desk.cut_at = cut_at
        desk.ended(cut_at)
        await desk.idle()
        assert not desk.is_up
        desk.is_up = True
        desk.gathering.linked("another")
        await desk.idle()
        asked = len(desk.asked)
        assert asked == cut_at
        desk.gathering.linked("far")
        await desk.all_here()
        assert desk.here == {"out": b"0123456789", "err": b"abcdef"}


@on_a_loop
async def test_who_waits_for_a_neighbour_holds_nobody_up(desk: Desk) -> None:
    """However many wait, what another one has comes meanwhile."""
    desk.is_up = False
    desk.ended(*range(1, 3 * AT_ONCE))
    await desk.idle()
    desk.is_up = True
    desk.there = {(50, "stdout"): b"mine\n"}
    desk.gathering.ended(EndsReceived("near", [End(50, 1, 0, Outcome(output_bytes=1))]))
    await desk.idle()
    assert desk.here["out"] == b"mine\n"
    desk.gathering.linked("far")
    await desk.all_here()


@on_a_loop
async def test_what_is_lost_for_good_is_told(desk: Desk) -> None:
    """Where it would stand, on stderr: its neighbour does not answer, however often it is asked."""
    desk.is_dumb = True
    desk.ended(1)
    await desk.all_here()
    assert len(desk.asked) == TRIES
    assert desk.here == {"out": b"", "err": b"[what a task wrote on far could not be read]\n"}


def test_a_neighbour_that_stays_away_is_waited_for_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a time, and by so many tasks at once."""
    monkeypatch.setattr(gathering, "AWAY_MOST", 2)
    monkeypatch.setattr(gathering, "AWAY_S", 0.0)

    @on_a_loop
    async def away(desk: Desk) -> None:
        desk.is_up = False
        desk.ended(1, 2, 3, 4)
        await desk.all_here()
        assert desk.here["err"].count(b"could not be read") == 4

    away()
