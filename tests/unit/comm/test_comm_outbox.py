"""What waits to be written: urgent frames first, frames never interrupted, descriptors with their first byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.comm.carrying.outbox import Outbox


def drained(outbox: Outbox, most: int) -> bytes:
    out = b""
    while outbox.pending_bytes:
        pieces, _ = outbox.take(most)
        assert 0 < sum(map(len, pieces)) <= most
        out += b"".join(pieces)
    return out


def test_urgent_frames_pass_the_others():
    """A heartbeat does not wait behind results."""
    outbox = Outbox()
    outbox.put([b"bulk1"])
    outbox.put([b"bulk2"])
    outbox.put([b"beat"], urgent=True)
    assert drained(outbox, 100) == b"beatbulk1bulk2"


def test_a_frame_is_never_interrupted():
    """What was begun is finished first, even if something urgent came meanwhile."""
    outbox = Outbox()
    outbox.put([b"header", b"x" * 10, b"y" * 10])
    first, _ = outbox.take(10)
    outbox.put([b"beat"], urgent=True)
    outbox.put([b"bulk2"])
    assert b"".join(first) + drained(outbox, 7) == b"header" + b"x" * 10 + b"y" * 10 + b"beat" + b"bulk2"


def test_discarding_keeps_what_was_begun():
    """A connection that ends still says whole frames."""
    outbox = Outbox()
    outbox.put([b"begun----"])
    outbox.put([b"waiting"])
    first, _ = outbox.take(2)
    outbox.put([b"beat"], urgent=True)
    outbox.discard()
    outbox.put([b"bye"])
    assert outbox.pending_bytes == 10
    assert b"".join(first) + drained(outbox, 100) == b"begun----bye"


def test_descriptors_travel_with_the_first_byte_of_their_frame():
    """They never share an answer with earlier frames, and are given once."""
    outbox = Outbox()
    outbox.put([b"plain"])
    outbox.put([b"segment", b"rest"], fds=(7,))
    outbox.put([b"after"])
    assert outbox.take(100) == ([b"plain"], ())
    assert outbox.take(3) == ([b"seg"], (7,))
    pieces, fds = outbox.take(100)
    assert b"".join(pieces) == b"mentrestafter"
    assert fds == ()
    assert outbox.pending_bytes == 0


@given(
    frames=st.lists(st.tuples(st.lists(st.binary(max_size=9), min_size=1, max_size=3), st.booleans()), max_size=9),
    most=st.integers(1, 12),
)
def test_nothing_is_lost_or_doubled(frames, most):
    """Whatever is put in comes out once, urgent ones in their order, the others in theirs."""
    outbox = Outbox()
    for pieces, urgent in frames:
        outbox.put(list(pieces), urgent=urgent)
    expected = [b"".join(pieces) for pieces, urgent in frames if urgent]
    expected += [b"".join(pieces) for pieces, urgent in frames if not urgent]
    assert outbox.pending_bytes == sum(map(len, expected))
    assert drained(outbox, most) == b"".join(expected)
