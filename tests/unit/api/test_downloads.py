"""Results that come in chunks: settled when they are whole, with a bounded part of them on its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.api.calls.downloads import ACTIVE_MOST, WINDOW_BYTES, Downloads, Result
from agentd.model.errors import PeerError
from agentd.model.exchange import Settled
from agentd.model.task import Outcome
from agentd.model.values import Codec, Part, Payload, Remote
from agentd.wire.checksum import checksum
from agentd.wire.messages import DataChunk, DataRelease, DataRequest, HelloAck, Message

SIZE = 3 * WINDOW_BYTES
CHUNK = 1 << 20
SAME = HelloAck(agent_id="home", boot="boot", capabilities={"sessions": True})


class Agent:
    """The other end: it holds one value of so many bytes under each number, and answers what was asked."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.downloads = Downloads(self.said.append)

    def settled(self, ref: int, size: int = SIZE, parts: Callable[[Remote], tuple[Part, ...]] | None = None) -> Settled:
        remote = Remote("home", "boot", 100 + ref, size, ("home",))
        made = parts(remote) if parts else (Part(size, remote=remote),)
        return Settled(ref, Outcome(value=Payload(Codec.PICKLE, b"pickle", made)))

    def requests(self) -> list[DataRequest]:
        """Take what was asked for since the last look."""
        asked = [each for each in self.said if isinstance(each, DataRequest)]
        self.said[:] = [each for each in self.said if not isinstance(each, DataRequest)]
        return asked

    def released(self) -> list[int]:
        """Give the numbers that were let go of."""
        return [key[2] for each in self.said if isinstance(each, DataRelease) for key, _ in each.objects]

    def answer(self, request: DataRequest, size: int = SIZE) -> list[Result]:
        """Send what a request asks for."""
        found = []
        for offset in range(request.offset, request.offset + request.size, CHUNK):
            data = bytes([request.object % 251]) * min(CHUNK, request.offset + request.size - offset)
            result = self.downloads.take(chunk(request, offset, data, size))
            found += [result] if result is not None else []
        return found

    def serve(self, size: int = SIZE) -> list[Result]:
        """Answer until nothing is asked any more."""
        found = []
        while asked := self.requests():
            for request in asked:
                found += self.answer(request, size)
        return found


def chunk(request: DataRequest, offset: int, data: bytes, size: int = SIZE) -> DataChunk:
    return DataChunk(request.object, offset, size, checksum((data,)), "", memoryview(data), request.stream)


def test_a_result_is_whole_when_its_last_byte_has_come():
    """Its buffers are the parts of the object, in order; then the agent may let go of it."""
    agent = Agent()

    def parts(remote: Remote) -> tuple[Part, ...]:
        return Part(10, remote=remote), Part(5, b"among"), Part(SIZE - 64, offset=64, remote=remote)

    agent.downloads.begin(agent.settled(1, parts=parts))
    assert agent.released() == []
    (result,) = agent.serve()
    assert [len(view) for view in result.buffers] == [10, 5, SIZE - 64]
    assert bytes(result.buffers[1]) == b"among"
    assert result.buffers[2][:3] == bytes([101]) * 3
    assert result.buffers[2].readonly
    assert agent.released() == [101]


def test_what_is_asked_for_is_bounded():
    """Of one result no more than a window, and of many no more than some at a time; all of them come in the end."""
    agent = Agent()
    count = 2 * ACTIVE_MOST
    for ref in range(count):
        agent.downloads.begin(agent.settled(ref))
    asked = agent.requests()
    assert len({request.stream for request in asked}) == ACTIVE_MOST
    assert sum(request.size for request in asked) == ACTIVE_MOST * WINDOW_BYTES
    found = [result for request in asked for result in agent.answer(request)] + agent.serve()
    assert sorted(result.settled.ref for result in found) == list(range(count))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda request: chunk(request, CHUNK, b"x" * CHUNK),
        lambda request: chunk(request, 0, b""),
        lambda request: chunk(request, 0, bytes(WINDOW_BYTES + 1)),
        lambda request: DataChunk(request.object, 0, SIZE, b"?", "", memoryview(b"x"), request.stream),
    ],
)
def test_what_was_not_asked_for_or_is_damaged_ends_the_connection(wrong):
    """Bytes at another place, none, too many, or others than were sent: nothing of it becomes a result."""
    agent = Agent()
    agent.downloads.begin(agent.settled(1))
    with pytest.raises(PeerError):
        agent.downloads.take(wrong(agent.requests()[0]))


def test_tls_stands_for_the_hash_of_a_chunk():
    """An agent leaves it out for programs that say so, which speak TLS alone."""
    agent = Agent()
    agent.downloads.begin(agent.settled(1))
    (request, *_) = agent.requests()
    taken = DataChunk(request.object, 0, SIZE, b"", "", memoryview(b"x"), request.stream)
    assert agent.downloads.take(taken) is None


def test_a_result_that_cannot_be_had_is_told_and_let_go():
    """The call ends with the agent's reason; what else was on its way for it is ignored, and others go on."""
    agent = Agent()
    agent.downloads.begin(agent.settled(1))
    agent.downloads.begin(agent.settled(2))
    first, *_ = agent.requests()
    result = agent.downloads.take(DataChunk(error="the disk is gone", stream=first.stream, gone=True))
    assert result is not None
    assert result.settled.ref == 1
    assert "the disk is gone" in str(result.failure)
    assert agent.released() == [101]
    assert agent.downloads.take(chunk(first, 0, b"late")) is None


def test_a_result_that_nobody_waits_for_is_let_go_at_once():
    """Nothing of it is asked for."""
    agent = Agent()
    agent.downloads.refuse(agent.settled(7))
    assert (agent.requests(), agent.released()) == ([], [107])


@pytest.mark.parametrize(
    "other",
    [
        HelloAck(agent_id="home", boot="another", capabilities={"sessions": True}),
        HelloAck(agent_id="another", boot="boot", capabilities={"sessions": True}),
        HelloAck(agent_id="home", boot="boot"),
    ],
    ids=["one that was restarted", "another", "one that keeps nothing"],
)
def test_with_another_agent_nothing_is_left_of_what_was_on_its_way(other):
    """Chunks of the former connection are nobody's, and its streams are not used again."""
    agent = Agent()
    agent.downloads.begin(agent.settled(1))
    (old, *_) = agent.requests()
    assert agent.downloads.reconnect(other) == set()
    assert agent.requests() == []
    agent.downloads.begin(agent.settled(2))
    (new, *_) = agent.requests()
    assert agent.downloads.take(chunk(old, 0, b"old")) is None
    assert new.stream != old.stream


def test_with_the_same_agent_a_result_goes_on_where_it_stopped():
    """Of each that was on its way or waited; what had come is not asked for again, late chunks are nobody's."""
    agent = Agent()
    for ref in range(ACTIVE_MOST + 1):
        agent.downloads.begin(agent.settled(ref))
    old, late, *_ = agent.requests()
    agent.answer(old)
    agent.requests()
    assert agent.downloads.reconnect(SAME) == set(range(ACTIVE_MOST + 1))
    asked = agent.requests()
    assert agent.answer(late) == []
    again = next(request for request in asked if request.object == old.object)
    assert (again.offset, again.stream != old.stream) == (old.offset + old.size, True)
    found = [result for request in asked for result in agent.answer(request)] + agent.serve()
    assert sorted(result.settled.ref for result in found) == list(range(ACTIVE_MOST + 1))
    assert {bytes(result.buffers[0]) for result in found if result.settled.ref == 0} == {bytes([100]) * SIZE}


def test_a_result_that_was_not_kept_says_that_it_was_cut():
    """So that its call may be made again: it did not fail."""
    agent = Agent()
    agent.downloads.begin(agent.settled(1))
    agent.requests()
    assert agent.downloads.reconnect(SAME) == {1}
    (again, *_) = agent.requests()
    result = agent.downloads.take(DataChunk(error="not any more", stream=again.stream, gone=True))
    assert result is not None
    assert (result.was_cut, result.failure is not None) == (True, True)
