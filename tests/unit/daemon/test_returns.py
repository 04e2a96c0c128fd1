"""What is kept for programs that were cut off: for them alone, in bounds, and for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from agentd.daemon.data import returns
from agentd.daemon.data.returns import KEPT_BYTES, KEPT_MOST, KEPT_S, Returns


class Hours(asyncio.SelectorEventLoop):
    """A loop whose time passes when the test says so."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def pass_by(self, seconds: float) -> None:
        """Let time go by, and what is due be done."""
        self.now_s += seconds
        for _ in range(3):
            self.call_soon(self.stop)
            self.run_forever()


class Shelf:
    """Something that keeps, and what it has let go of."""

    def __init__(self) -> None:
        self.loop = Hours()
        self.kept = Returns()
        self.dropped: list[object] = []

    def do(self, what: Callable[[], object]) -> object:
        """Do something on the loop."""

        async def body() -> object:
            return what()

        return self.loop.run_until_complete(body())

    def keep(self, key: str, size: int = 1, program: str = "p") -> None:
        self.do(lambda: self.kept.keep(program, key, f"<{key}>", size, partial(self.dropped.append, key)))

    def close(self) -> None:
        self.kept.close()
        self.loop.close()


@pytest.fixture
def shelf():
    made = Shelf()
    yield made
    made.close()


def test_what_is_kept_is_its_programs_alone_and_once(shelf):
    """Nobody else's; what was taken is not let go of here any more."""
    shelf.keep("a", 7)
    assert (shelf.kept.take("q", "a"), shelf.kept.take("p", "b"), shelf.kept.bytes) == (None, None, 7)
    assert (shelf.kept.take("p", "a"), shelf.kept.take("p", "a"), shelf.kept.bytes) == ("<a>", None, 0)
    shelf.kept.close()
    assert shelf.dropped == []


def test_it_is_kept_for_a_while(shelf):
    """Each from the time at which it was, to the second."""
    shelf.keep("a")
    shelf.loop.pass_by(KEPT_S / 2)
    shelf.keep("b")
    shelf.loop.pass_by(KEPT_S / 2)
    assert shelf.dropped == ["a"]
    shelf.loop.pass_by(KEPT_S / 2 - 1)
    assert shelf.dropped == ["a"]
    shelf.loop.pass_by(1)
    assert (shelf.dropped, len(shelf.kept), shelf.kept.bytes) == (["a", "b"], 0, 0)
    shelf.keep("c")
    shelf.loop.pass_by(KEPT_S)
    assert shelf.dropped == ["a", "b", "c"]


def test_the_oldest_goes_where_there_is_too_much(shelf):
    """One is kept whatever its size; the last one in any case."""
    shelf.keep("a", 3 * KEPT_BYTES)
    assert shelf.dropped == []
    shelf.keep("b", KEPT_BYTES)
    shelf.keep("c", 1)
    assert (shelf.dropped, shelf.kept.bytes) == (["a", "b"], 1)


def test_there_are_not_too_many(shelf, monkeypatch):
    """However small they are."""
    assert KEPT_MOST > 3
    monkeypatch.setattr(returns, "KEPT_MOST", 3)
    for key in "abcd":
        shelf.keep(key, 0)
    assert shelf.dropped == ["a"]


def test_it_makes_room_for_what_is_wanted_now(shelf):
    """The oldest first, until there is nothing left to be let go of."""
    shelf.keep("a")
    shelf.keep("b")
    assert [shelf.kept.spare() for _ in range(3)] == [True, True, False]
    assert shelf.dropped == ["a", "b"]


def test_what_is_kept_anew_takes_the_place_of_the_old(shelf):
    """And begins its time anew."""
    shelf.keep("a", 5)
    shelf.loop.pass_by(KEPT_S - 1)
    shelf.keep("a", 6)
    assert (shelf.dropped, shelf.kept.bytes) == (["a"], 6)
    shelf.loop.pass_by(KEPT_S - 1)
    assert shelf.dropped == ["a"]
