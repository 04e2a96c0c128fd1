"""Arguments in shared memory: many of a middle size in one segment, which is written again when nobody needs any."""

from __future__ import annotations

import pytest

from agentd.api.memory.shared import BESIDE_BYTES, SHARED_BYTES, SharedMemory
from agentd.model.values import Codec, Payload
from agentd.wire.messages import Segment, SegmentRelease

MIDDLE = 100_000


class Program:
    """A program's side, with an agent that reads and lets go when the test says so."""

    def __init__(self) -> None:
        self.shared = SharedMemory(lambda: None)

    def put(self, byte: int, size: int = MIDDLE, *, sent: bool = True) -> Payload:
        """Make an argument of one byte over and over."""
        parts = self.shared.place([memoryview(bytes([byte]) * size)])
        assert parts is not None
        payload = Payload(Codec.PICKLE, b"", parts)
        if sent:
            self.shared.give(payload)
        return payload

    def content(self, payload: Payload) -> bytes:
        (part,) = payload.parts
        assert self.shared._pool is not None
        return bytes(self.shared._pool.look(part.segment, part.offset, part.size))

    def end(self, payload: Payload) -> None:
        """Let a call end, and the agent let go of its argument."""
        self.shared.settle(payload)
        self.shared.let_go(SegmentRelease(tuple({part.segment for part in payload.parts})))


@pytest.fixture
def program():
    made = Program()
    yield made
    made.shared.close()


def test_values_of_a_middle_size_lie_together(program):
    """A thousand of them need a few segments, and each is what it was."""
    payloads = [program.put(number % 251) for number in range(1000)]
    segments = {payload.parts[0].segment for payload in payloads}
    assert len(segments) <= 1 + 1000 * MIDDLE // (SHARED_BYTES - MIDDLE)
    assert all(program.content(payload) == bytes([number % 251]) * MIDDLE for number, payload in enumerate(payloads))
    told = [message.number for message, _ in program.shared.mail() if isinstance(message, Segment)]
    assert set(told) == segments


def test_a_large_value_has_a_segment_of_its_own(program):
    """What an agent names to its neighbours is a segment: nothing else is in it."""
    small, large, other = program.put(1), program.put(2, BESIDE_BYTES + 1), program.put(3)
    assert large.parts[0].offset == 0
    assert large.parts[0].segment not in {small.parts[0].segment, other.parts[0].segment}
    assert small.parts[0].segment == other.parts[0].segment


def test_a_segment_is_written_again_when_nobody_needs_any_of_it(program):
    """One value that is still read, or one that may be sent again, keeps all that are beside it."""
    first, second = program.put(1), program.put(2)
    program.end(first)
    third = program.put(3)
    assert program.content(second) == bytes([2]) * MIDDLE
    program.shared.settle(second)
    program.shared.let_go(SegmentRelease((second.parts[0].segment,)))
    program.shared.settle(third)
    fourth = program.put(4)
    assert program.content(third) == bytes([3]) * MIDDLE
    assert fourth.parts[0].offset > third.parts[0].offset
    program.shared.let_go(SegmentRelease((third.parts[0].segment,)))
    program.end(fourth)
    unsent = program.put(5, sent=False)
    assert (unsent.parts[0].segment, unsent.parts[0].offset) == (first.parts[0].segment, 0)
    assert program.put(6).parts[0].offset > 0
    assert program.content(unsent) == bytes([5]) * MIDDLE


def test_full_segments_go_back_when_all_of_them_is_over(program):
    """Values that come and go, more than a segment holds at a time, need no more memory as time goes by."""
    made = set()
    for _ in range(20):
        payloads = [program.put(7) for _ in range(100)]
        made |= {payload.parts[0].segment for payload in payloads}
        for payload in payloads:
            program.end(payload)
    assert len(made) <= 2 + 100 * MIDDLE // (SHARED_BYTES - MIDDLE)
    assert program.shared._pool is not None
    assert program.shared._pool.used == 1


def test_after_a_loss_of_the_connection_values_that_are_sent_again_stay(program):
    """The agent of before holds nothing any more; what is not settled is still there for the next one."""
    kept, ended = program.put(1), program.put(2)
    program.shared.settle(ended)
    program.shared.reconnect()
    assert program.content(kept) == bytes([1]) * MIDDLE
    assert program.put(3).parts[0].offset > kept.parts[0].offset
