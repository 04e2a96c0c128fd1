"""The user's short way through the protocol says and understands what the whole protocol does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.api.calls import dialogue as module
from agentd.api.calls.dialogue import Dialogue, Refused
from agentd.model.errors import PeerError
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Failure, Outcome, Reason, Status, Template
from agentd.model.values import Part, Payload
from agentd.wire.faults import LocalError
from agentd.wire.messages import (
    CancelCalls,
    Credit,
    Declare,
    DirectLine,
    Drain,
    Heartbeat,
    Hello,
    HelloAck,
    Kind,
    Load,
    Segment,
    SettledCalls,
    Submit,
)
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms


class Pair:
    """A dialogue and the agent's end, wired in memory."""

    def __init__(self, credits_: int = 100, **ack) -> None:
        self.user = Dialogue()
        self.agent = Session(Side.ACCEPTOR, Terms(local=True), 0.0)
        self.to_agent([self.user.hello(Hello(role="user"))])
        answer = self.agent.welcome(HelloAck(ok=True, credits=credits_, scope="code", **ack))
        assert [message.kind for message in self.to_user(answer)] == [Kind.HELLO_ACK]

    def to_agent(self, frames):
        data = b"".join(bytes(piece) for frame in frames for piece in frame)
        return list(self.agent.receive(data, 0.0))

    def bytes_of(self, *messages):
        return b"".join(bytes(piece) for each in messages for frame in self.agent.send(each, 0.0) for piece in frame)

    def to_user(self, *messages):
        return self.user.hear(self.bytes_of(*messages))


def call(ref: int, data: bytes = b"x", parts: tuple[Part, ...] = ()) -> Submission:
    return Submission(ref, 1, Payload(1, data, parts))


payloads = st.builds(
    Payload,
    st.integers(0, 4),
    st.binary(max_size=50),
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=6000).map(lambda data: Part(len(data), data)),
            st.integers(1, 1 << 40).map(lambda size: Part(size, segment=3, offset=64)),
        ),
        max_size=3,
    ).map(tuple),
)
outcomes = st.one_of(
    payloads.map(lambda payload: Outcome(value=payload, seconds=0.5, agent="beta")),
    st.text(max_size=20).map(lambda words: Outcome(Status.FAILED, failure=Failure(Reason.EXCEPTION, "E", words))),
)


@given(payloads=st.lists(payloads, min_size=1, max_size=20))
def test_the_agent_understands_every_call(payloads):
    """Whatever the arguments are, and wherever they lie, what arrives is what was submitted."""
    pair = Pair()
    calls = [Submission(ref, 1, payload) for ref, payload in enumerate(payloads)]
    heard = pair.to_agent(pair.user.submit(calls))
    assert [each for message in heard for each in message.calls] == calls
    assert pair.user.room == 100 - len(calls)


@given(rows=st.lists(outcomes, min_size=1, max_size=20), cuts=st.lists(st.integers(1, 4000), max_size=10))
def test_every_outcome_arrives_whatever_the_sizes_of_the_reads(rows, cuts):
    """Outcomes are the same on the short way and on the long one, however the bytes are cut."""
    pair = Pair()
    pair.to_agent(pair.user.submit([call(ref) for ref in range(len(rows))]))
    settled = [Settled(ref, outcome) for ref, outcome in enumerate(rows)]
    data = pair.bytes_of(SettledCalls(settled))
    heard = []
    for cut in cuts:
        heard += pair.user.hear(data[:cut])
        data = data[cut:]
    heard += pair.user.hear(data)
    assert [each for message in heard for each in message.settled] == settled
    assert pair.user.room == 100


def test_many_small_outcomes_take_the_short_way_and_mixed_traffic_the_long_one(monkeypatch):
    """A frame of its own is read at once; it is not when a part of another is waiting."""
    pair = Pair()
    pair.to_agent(pair.user.submit([call(1), call(2)]))
    first = pair.bytes_of(SettledCalls([Settled(1, Outcome())]))
    second = pair.bytes_of(SettledCalls([Settled(2, Outcome())]))
    assert pair.user.hear(first[:20]) == []
    assert [m.settled[0].ref for m in pair.user.hear(first[20:] + second)] == [1, 2]
    monkeypatch.setattr(pair.user._decoder, "feed", None)
    pair.to_agent(pair.user.submit([call(3)]))
    assert pair.to_user(SettledCalls([Settled(3, Outcome())]))[0].settled[0].ref == 3


def test_no_more_is_submitted_than_granted():
    """The window shrinks with each call and grows with outcomes and credits."""
    pair = Pair(credits_=2)
    pair.to_agent(pair.user.submit([call(1), call(2)]))
    with pytest.raises(LocalError, match="granted"):
        pair.user.submit([call(3)])
    pair.to_user(SettledCalls([Settled(1, Outcome())]), Credit(grant=3))
    assert pair.user.room == 4


def test_a_large_batch_is_cut_as_the_protocol_wants_it():
    """Calls whose bodies are large go as several frames, none lost."""
    pair = Pair()
    calls = [call(ref, b"x" * 500_000) for ref in range(8)]
    frames = pair.user.submit(calls)
    assert len(frames) > 1
    assert [each.ref for message in pair.to_agent(frames) for each in message.calls] == list(range(8))


def test_other_messages_of_a_user_are_understood():
    """Declaring, cancelling and sharing memory go as the protocol has them."""
    pair = Pair()
    for message in (
        Declare(((1, Template(function="m:f")),)),
        CancelCalls((4, 5)),
        Segment(1, 4096),
        DirectLine(9, "m:f"),
        Submit([call(1)]),
        Heartbeat(1, 0.0),
    ):
        assert pair.to_agent(pair.user.say(message)) == [message]


def test_a_user_does_not_say_what_is_for_agents():
    """Such a message would end the connection: it is our own mistake."""
    with pytest.raises(LocalError, match="LOAD"):
        Pair().user.say(Load())


def test_drain_is_heard():
    """What the agent may say is passed on."""
    assert Pair().to_user(Drain(5.0, "stopping")) == [Drain(5.0, "stopping")]


def test_a_refusal_ends_it():
    """The agent's words and their code are kept for who must decide whether to try again."""
    user = Dialogue()
    agent = Session(Side.ACCEPTOR, Terms(local=True), 0.0)
    list(agent.receive(b"".join(user.hello(Hello(role="user"))), 0.0))
    answer = agent.send(HelloAck(code="full", reason="too many", remedy="wait"), 0.0)
    with pytest.raises(Refused, match="too many: wait") as caught:
        user.hear(b"".join(answer[0]))
    assert caught.value.ack.code == "full"


def framed(kind: int, body: bytes, version: int = 1, magic: bytes = b"\xa9D") -> bytes:
    return module.HEADER.pack(magic, version, kind, len(body), 0) + body


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        framed(18, b"\x91\x90", magic=b"no"),
        framed(18, b"\x91\x90", version=7),
        framed(18, b"\xc1"),
        framed(18, b"\x91\x91\x92\xa1x\xc0"),
        framed(200, b"\x90"),
        framed(17, b"\x91\x90"),
        framed(5, b"\x91\xff"),
        module.HEADER.pack(b"\xa9D", 1, 18, 1 << 31, 0),
    ],
    ids=["http", "magic", "version", "rubbish", "wrong type", "unknown kind", "not for us", "negative", "too large"],
)
def test_an_agent_that_breaks_the_protocol_is_found_out(data):
    """Each way of being wrong is a `PeerError`, which ends the connection."""
    with pytest.raises(PeerError):
        Pair().user.hear(data)


@pytest.mark.parametrize(
    "ack", [framed(18, b"\x91\x90"), framed(2, b"\x92\xc3\x09"), framed(2, b"\x90")], ids=["settled", "version", "no"]
)
def test_nothing_goes_before_the_welcome(ack):
    """An outcome before HELLO_ACK, a version that was not offered, or an empty answer is refused."""
    user = Dialogue()
    user.hello(Hello(role="user"))
    with pytest.raises(PeerError):
        user.hear(ack)
    assert not user.ack.ok
