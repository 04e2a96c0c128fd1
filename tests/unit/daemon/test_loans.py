"""Results named to programs on other devices: each program gets its own, for as long as it needs them."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from agentd.comm.ends.wiring import Identity
from agentd.daemon.data.loans import LENT_BYTES, Loans
from agentd.daemon.data.returns import Returns
from agentd.model.exchange import Settled
from agentd.model.task import Outcome
from agentd.model.values import Codec, Part, Payload
from agentd.wire.messages import DataRelease, Hello
from agentd.workers.segments import Segments

SIZE = 4 * LENT_BYTES


class Desk:
    """Loans over real segments; the door is this test."""

    identity = Identity(name="a", agent_id="id-a", boot="b")

    def __init__(self) -> None:
        self.segments = Segments()
        self.freed: list[int] = []
        self.routes: dict[type, Any] = {}
        self.returns = Returns()
        self.loans = Loans(self, self.segments, self.returns)  # type: ignore[arg-type]

    def route(self, kind: type, taker: Any) -> None:
        self.routes[kind] = taker

    def segment(self) -> int:
        """Make a segment that is held once, as by the engine for a result."""
        descriptor = os.memfd_create("value", os.MFD_ALLOW_SEALING)
        os.truncate(descriptor, SIZE)
        number = self.segments.adopt_own(descriptor, SIZE, self.freed.append)
        os.close(descriptor)
        self.segments.retain(number)
        return number

    def lend(self, link: Any, *parts: Part) -> tuple[Part, ...]:
        """Tell a program of a result, and let go of it as who told does."""
        settled = Settled(1, Outcome(value=Payload(Codec.PICKLE, b"", parts)))
        told = self.loans.lend(link, settled).outcome.value.parts
        for number in {part.segment for part in parts if part.segment}:
            self.segments.release(number)
        return told


class Link:
    """The connection of a program; of one that may come back if it has a name."""

    def __init__(self, number: int, program: str = "", *, takes_data: bool = True) -> None:
        self.number, self.program, self.may_return = number, program, bool(program)
        self.session = SimpleNamespace(theirs=Hello(capabilities={"data": True} if takes_data else {}))


def link(number: int, program: str = "", **more: Any) -> Any:
    return Link(number, program, **more)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_large_result_is_named_once_whatever_its_parts(desk):
    """Parts of one segment name one object, each from its offset; what is in the message stays there."""
    number, ours = desk.segment(), link(1)
    parts = Part(LENT_BYTES, None, number), Part(3, b"abc"), Part(LENT_BYTES, None, number, 2 * LENT_BYTES)
    first, within, second = desk.lend(ours, *parts)
    assert first.remote == second.remote
    assert (first.segment, second.segment, second.offset, within) == (0, 0, 2 * LENT_BYTES, parts[1])
    assert first.remote.size == 3 * LENT_BYTES
    assert desk.loans.find(ours, first.remote.key).place.segment == number


def test_it_stays_until_it_is_let_go(desk):
    """Neither another program's word nor one too many changes that; then its memory is its maker's again."""
    number, ours, theirs = desk.segment(), link(1), link(2)
    (part,) = desk.lend(ours, Part(SIZE, None, number))
    key = part.remote.key
    assert desk.loans.find(theirs, key) is None
    desk.routes[DataRelease](theirs, DataRelease(((key, 1),)))
    assert desk.freed == []
    desk.routes[DataRelease](ours, DataRelease(((key, 1),)))
    desk.routes[DataRelease](ours, DataRelease(((key, 1),)))
    assert desk.freed == [number]
    assert desk.loans.find(ours, key) is None


def test_a_program_that_leaves_needs_nothing_any_more(desk):
    """Without a word of it."""
    numbers = [desk.segment(), desk.segment()]
    ours = link(1)
    for number in numbers:
        desk.lend(ours, Part(SIZE, None, number))
    desk.loans.left(1)
    desk.loans.left(1)
    assert sorted(desk.freed) == numbers


def test_a_program_that_was_cut_off_finds_what_it_was_lent(desk):
    """Over its next connection, and it alone; it may let go of it without having read it."""

    async def cut_off() -> None:
        first, second = desk.segment(), desk.segment()
        ours = link(1, "p")
        keys = [desk.lend(ours, Part(SIZE, None, number))[0].remote.key for number in (first, second)]
        desk.loans.left(1)
        assert (desk.freed, desk.returns.bytes) == ([], 2 * SIZE)
        again, another = link(2, "p"), link(3, "q")
        assert [desk.loans.find(another, key) for key in keys] == [None, None]
        assert desk.loans.find(again, keys[0]).place.segment == first
        desk.routes[DataRelease](again, DataRelease(((keys[1], 1),)))
        assert (desk.freed, desk.returns.bytes) == ([second], 0)
        desk.loans.left(2)
        desk.returns.close()
        assert desk.freed == [second, first]

    asyncio.run(cut_off())


@pytest.mark.parametrize(("size", "takes_data"), [(LENT_BYTES - 1, True), (SIZE, False)])
def test_what_is_small_or_would_not_be_understood_is_not_named(desk, size, takes_data):
    """It goes into the message, as far as it fits."""
    number = desk.segment()
    (part,) = desk.lend(link(1, takes_data=takes_data), Part(size, None, number))
    assert (part.segment, part.remote) == (number, None)
    assert desk.freed == [number]
