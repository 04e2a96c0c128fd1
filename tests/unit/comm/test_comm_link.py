"""One link over a carrier of memory: order and priority, slow readers, the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

import pytest

from agentd.comm.carrying.carriers import CARRIER_BYTES
from agentd.comm.link import Link
from agentd.comm.settings import CommSettings
from agentd.model.errors import PeerError
from agentd.model.exchange import Settled
from agentd.model.task import Outcome
from agentd.model.values import Payload
from agentd.wire import messages as m
from agentd.wire.codec import decode
from agentd.wire.framing import FrameDecoder
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms

SMALL = CommSettings(write_buffer_bytes=1_000, write_cap_bytes=2_000_000, stalled_s=30.0, progress_bytes=500)


class MemoryCarrier:
    """A carrier that takes what it is told to take."""

    def __init__(self, is_full: bool = False) -> None:
        self.is_full = is_full
        self.unread_bytes = 0
        self.pending_bytes = 0
        self.written = b""
        self.ended = ""

    def write(self, pieces: Sequence[bytes], fds: Sequence[int] = ()) -> None:
        self.written += b"".join(pieces)

    def flush(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def finish(self) -> None:
        self.ended = self.ended or "finished"

    def abort(self) -> None:
        self.ended = "aborted"

    def kinds(self) -> list[str]:
        frames = FrameDecoder().feed(self.written)
        return [type(decode(frame, local=False)).__name__ for frame in frames]


class Rig:
    """A link that serves a user with ten calls in flight."""

    def __init__(self, settings: CommSettings = SMALL) -> None:
        self.heard: list[m.Message] = []
        self.closed: list[str] = []
        terms = Terms()
        self.user = Session(Side.DIALLER, terms, 0.0)
        self.carrier = MemoryCarrier()
        self.link = Link(
            1,
            Session(Side.ACCEPTOR, terms, 0.0),
            settings,
            where="memory",
            on_message=lambda _, message: self.heard.append(message),
            on_closed=lambda _, reason: self.closed.append(reason),
        )
        self.link.carried_by(self.carrier)
        self.said(m.Hello(role="user"))
        self.link.send(self.link.session.welcome(m.HelloAck(credits=100)))
        self.link.flush()
        list(self.user.receive(self.carrier.written, 0.0))
        self.carrier.written = b""
        self.said(m.Submit([m.Submission(ref, 1, Payload()) for ref in range(100)]))

    def said(self, message: m.Message) -> None:
        for pieces in self.user.send(message, 0.0):
            self.link.received(b"".join(pieces))

    def settle(self, ref: int, size: int) -> None:
        self.link.send(m.SettledCalls([Settled(ref, Outcome(value=Payload(3, b"x" * size)))]))


def rigged(test: Callable[[Rig], Awaitable[None] | None]) -> None:
    async def main() -> None:
        rig = Rig()
        result = test(rig)
        if result is not None:
            await result
        rig.link.lost("the test is over")

    asyncio.run(main())


def test_messages_are_handed_on_in_the_turn_in_which_they_were_read():
    """No task, no later: when `received` returns, the callee has it."""

    def test(rig: Rig) -> None:
        assert [type(message).__name__ for message in rig.heard] == ["Hello", "Submit"]

    rigged(test)


def test_a_fault_of_our_own_ends_the_link_that_it_struck():
    """The other end is told and comes again; nothing goes on with what was half done, and the loop logs the fault."""

    def test(rig: Rig) -> None:
        def struck(*_: object) -> None:
            raise RuntimeError("a fault")

        rig.link.on_message = struck
        with pytest.raises(RuntimeError, match="a fault"):
            rig.said(m.CancelCalls((1,)))
        assert len(rig.closed) == 1
        assert rig.link.is_closed
        assert rig.carrier.kinds() == ["Goodbye"]

    rigged(test)


def test_nothing_is_written_before_the_flush_and_then_all():
    """Many messages of a drain leave together."""

    def test(rig: Rig) -> None:
        for ref in range(3):
            rig.settle(ref, 1)
        assert rig.carrier.written == b""
        rig.link.flush()
        assert rig.carrier.kinds() == ["SettledCalls"] * 3

    rigged(test)


def test_a_heartbeat_passes_bulk_that_waits():
    """With a full carrier, what is urgent leaves first as soon as there is room."""

    def test(rig: Rig) -> None:
        rig.carrier.is_full = True
        rig.settle(0, 100)
        rig.settle(1, 100)
        rig.link.flush()
        rig.link.send(m.Heartbeat(1))
        rig.link.flush()
        assert rig.carrier.written == b""
        rig.carrier.is_full = False
        rig.link.writable()
        assert rig.carrier.kinds() == ["Heartbeat", "SettledCalls", "SettledCalls"]

    rigged(test)


def test_a_large_frame_is_handed_over_in_pieces():
    """The carrier is asked between them whether it has enough, so little stands before a heartbeat."""

    def test(rig: Rig) -> None:
        written = []
        rig.carrier.write = lambda pieces, fds=(): written.append(sum(map(len, pieces)))
        rig.settle(0, 3 * CARRIER_BYTES)
        rig.link.flush()
        assert max(written) <= CARRIER_BYTES
        assert len(written) >= 3

    rigged(test)


def test_a_reader_that_makes_no_progress_is_dropped():
    """Above the limit for thirty seconds without progress: dropped, and told nothing of what waited."""

    def test(rig: Rig) -> None:
        rig.carrier.is_full = True
        rig.settle(0, 5_000)
        rig.link.flush()
        rig.link.tick(100.0)
        rig.link.tick(129.9)
        assert rig.closed == []
        rig.link.tick(130.0)
        assert len(rig.closed) == 1
        assert "does not read" in rig.closed[0]
        assert rig.link.closed_for == "slow"
        rig.carrier.is_full = False
        rig.link.writable()
        assert rig.carrier.kinds() == ["Goodbye"]

    rigged(test)


def test_a_reader_is_not_held_to_time_that_was_overslept():
    """Whoever stood still itself saw no progress: the other end has the thirty seconds all the same."""

    def test(rig: Rig) -> None:
        rig.carrier.is_full = True
        rig.settle(0, 5_000)
        rig.link.flush()
        rig.link.overslept(5.0)
        rig.link.tick(100.0)
        rig.link.overslept(60.0)
        rig.link.tick(189.9)
        assert rig.closed == []
        rig.link.tick(190.0)
        assert "does not read" in rig.closed[0]

    rigged(test)


@pytest.mark.parametrize(("per_tick", "survives"), [(600, True), (10, False)])
def test_progress_is_what_the_reader_takes(per_tick, survives):
    """A slow reader that goes on stays; one byte a second is no progress."""

    def test(rig: Rig) -> None:
        rig.settle(0, 100_000)
        rig.link.flush()
        rig.carrier.pending_bytes = 100_000
        for tick in range(60):
            rig.carrier.pending_bytes -= per_tick
            rig.link.tick(100.0 + tick)
        assert (rig.closed == []) is survives

    rigged(test)


def test_little_that_waits_is_no_fault_of_the_reader():
    """What is less than counts as progress may wait for as long as it takes."""

    def test(rig: Rig) -> None:
        rig.carrier.is_full = True
        rig.settle(0, 100)
        rig.link.flush()
        for tick in range(100):
            rig.link.tick(100.0 + tick)
        assert rig.closed == []

    rigged(test)


def test_much_that_waits_is_kept_on_the_disk_and_arrives_in_its_order():
    """Beyond its share of memory what a user does not read waits in a file, and comes when the user goes on."""

    def test(rig: Rig) -> None:
        rig.carrier.is_full = True
        for ref in range(50):
            rig.settle(ref, 10_000)
        rig.link.flush()
        assert rig.link.pending_bytes > 500_000
        assert rig.link._outbox.held_bytes < 11_100
        rig.link.tick(100.0)
        rig.carrier.is_full = False
        rig.link.writable()
        heard = rig.user.receive(rig.carrier.written, 0.0)
        told = [message.settled[0].ref for message in heard if isinstance(message, m.SettledCalls)]
        assert told == list(range(50))
        assert rig.closed == []

    rigged(test)


def test_a_disk_that_takes_no_more_ends_the_link(monkeypatch):
    """A result that cannot be kept is not left out in silence: its reader is told why it has to come again."""

    async def test(rig: Rig) -> None:
        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwritev", full)
        rig.carrier.is_full = True
        rig.settle(0, 10_000)
        rig.settle(1, 10_000)
        await asyncio.sleep(0)
        assert rig.closed == ["it does not keep up, and the disk takes no more of it: No space left on device"]
        assert rig.link.closed_for == "slow"

    rigged(test)


def test_what_was_lent_counts_until_it_was_read_of():
    """By where in the stream the message is that tells of it; a byte that is read is progress, and no byte is none."""

    def test(rig: Rig) -> None:
        rig.link.session.heartbeat = lambda _: None
        rig.link.lent(10_000)
        rig.settle(0, 10)
        rig.link.flush()
        rig.carrier.unread_bytes = before = len(rig.carrier.written)
        rig.link.lent(500)
        rig.settle(1, 10)
        rig.link.flush()
        rig.carrier.unread_bytes = len(rig.carrier.written)
        assert rig.link.wants_ticks
        rig.link.tick(100.0)
        rig.link.tick(129.0)
        assert (rig.link.lent_bytes, rig.closed) == (10_500, [])
        rig.carrier.unread_bytes -= 1
        rig.link.tick(130.0)
        assert (rig.link.lent_bytes, rig.closed) == (500, [])
        rig.link.lent(9_000)
        rig.settle(2, 10)
        rig.link.flush()
        rig.carrier.unread_bytes = 3 * before
        rig.link.tick(131.0)
        rig.link.tick(161.0)
        assert "it does not read: 1" in rig.closed[0] or "it does not read: 9500 bytes" in rig.closed[0]
        assert rig.link.closed_for == "slow"

    rigged(test)


def test_more_lent_than_the_disk_is_for_ends_at_once():
    """Shared memory, and what stands for it on the disk, has a limit for who does not read."""

    def test(rig: Rig) -> None:
        rig.link.session.heartbeat = lambda _: None
        rig.link.lent(SMALL.lent_cap_bytes + 1)
        rig.settle(0, 10)
        rig.link.flush()
        rig.carrier.unread_bytes = len(rig.carrier.written)
        rig.link.tick(100.0)
        assert rig.link.closed_for == "slow"

    rigged(test)


def test_above_the_hard_cap_it_is_dropped_at_once():
    """What one of them costs is bounded, whatever its progress."""

    def test(rig: Rig) -> None:
        rig.carrier.is_full = True
        rig.settle(0, 2_500_000)
        rig.link.flush()
        rig.link.tick(100.0)
        assert rig.link.closed_for == "slow"

    rigged(test)


def test_bandwidth_is_measured_while_more_waits_than_leaves():
    """What the engine weighs a transfer with comes from the link itself."""

    def test(rig: Rig) -> None:
        clock = iter([10.0, 11.0])
        rig.link._loop = type("Loop", (), {"time": lambda _: next(clock)})()
        rig.carrier.is_full = True
        rig.link._outbox.put([b"x" * 1_000])
        rig.link.flush()
        rig.carrier.is_full = False
        rig.link._written_bytes += 5_000
        rig.link.writable()
        assert rig.link.bandwidth.bytes_per_s == pytest.approx(5_000)
        rig.carrier.pending_bytes = 500
        assert rig.link.link_wait_s == pytest.approx(0.1)

    rigged(test)


def test_the_end_is_told_once():
    """However many reasons there are."""

    def test(rig: Rig) -> None:
        rig.said(m.Goodbye("stopping", "enough"))
        rig.link.close("again", "again")
        rig.link.lost("reset")
        assert rig.closed == ["the other end left: enough"]
        rig.link.received(b"rubbish that nobody hears")
        rig.settle(0, 1)
        rig.link.flush()
        assert rig.carrier.written == b""

    rigged(test)


def test_a_fault_found_by_the_reader_of_messages_ends_the_link():
    """What the session cannot know, the door can: the same end, the same words."""

    def test(rig: Rig) -> None:
        def refuse(link: Link, message: m.Message) -> None:
            raise PeerError("no such thing")

        rig.link.on_message = refuse
        rig.said(m.CancelCalls((1,)))
        assert rig.closed == ["no such thing"]
        assert rig.carrier.kinds() == ["Goodbye"]

    rigged(test)


def test_messages_after_a_close_in_the_same_read_are_not_handed_on():
    """Nothing is told after the end."""

    def test(rig: Rig) -> None:
        rig.link.on_message = lambda link, _: link.close("enough", "enough")
        rig.heard.clear()
        said = [rig.user.send(m.CancelCalls((ref,)), 0.0)[0] for ref in range(3)]
        calls = []
        rig.link.on_message = lambda link, message: (calls.append(message), link.close("enough", "enough"))
        rig.link.received(b"".join(piece for pieces in said for piece in pieces))
        assert len(calls) == 1

    rigged(test)


def test_last_words_are_followed_by_silence():
    """The carrier is ended in order first, and cut off only if the other end does not close."""

    async def test(rig: Rig) -> None:
        rig.link.close("stopping", "the agent stops")
        assert rig.carrier.kinds() == ["Goodbye"]
        assert rig.carrier.ended == "finished"
        rig.link._linger_until = 0.0
        rig.link._linger()
        assert rig.carrier.ended == "aborted"

    rigged(test)
