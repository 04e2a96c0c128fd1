"""One connection's state, both ends wired in memory: who may say what and when, credits, liveness."""

from __future__ import annotations

import pytest

from agentd.model.errors import PeerError
from agentd.model.exchange import Offer, Refusal, Settled, Submission
from agentd.model.task import Outcome
from agentd.model.values import Payload
from agentd.wire import messages as m
from agentd.wire.codec import encode
from agentd.wire.faults import LocalError, TooLarge
from agentd.wire.framing import MAX_FRAME_BYTES, encode_frame
from agentd.wire.kinds import TYPES
from agentd.wire.session import Session
from agentd.wire.terms import Life, Phase, Side, Terms, agreed_version


def bytes_of(frames: list[list[bytes]]) -> bytes:
    return b"".join(piece for frame in frames for piece in frame)


TERMS = Terms()


class Pair:
    """Two ends on one wire; what one says the other hears at once, in pieces of `step` bytes."""

    def __init__(self, dialler: Terms = TERMS, acceptor: Terms = TERMS, step: int = 10**9) -> None:
        self.now = 100.0
        self.step = step
        self.dialler = Session(Side.DIALLER, dialler, self.now)
        self.acceptor = Session(Side.ACCEPTOR, acceptor, self.now)

    def carry(self, speaker: Session, message: m.Message, delay_s: float = 0.0) -> list[m.Message]:
        data = bytes_of(speaker.send(message, self.now))
        self.now += delay_s
        hearer = self.acceptor if speaker is self.dialler else self.dialler
        pieces = [data[at : at + self.step] for at in range(0, len(data), self.step)]
        return [heard for piece in pieces for heard in hearer.receive(piece, self.now)]

    def opened(self, role: str = "peer", credits_: int = 10) -> Pair:
        self.carry(self.dialler, m.Hello(role=role, name="a", credits=credits_))
        self.carry(self.acceptor, self.acceptor.welcome(m.HelloAck(name="b", credits=credits_)))
        assert self.dialler.phase is self.acceptor.phase is Phase.OPEN
        return self


def calls(count: int, first: int = 0) -> m.Submit:
    return m.Submit([Submission(first + ref, 1, Payload()) for ref in range(count)])


def offers(count: int) -> m.Offers:
    return m.Offers([Offer(task, 1, Payload()) for task in range(count)])


def settled(count: int) -> m.SettledCalls:
    return m.SettledCalls([Settled(ref, Outcome()) for ref in range(count)])


# --- opening ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 10**9])
def test_hello_and_its_answer_open_a_connection(step):
    """Two messages, in whatever pieces they arrive, and both ends are open with each other's facts."""
    pair = Pair(step=step)
    (hello,) = pair.carry(pair.dialler, m.Hello(role="peer", name="a", credits=4))
    assert hello.name == "a"
    assert pair.acceptor.phase is pair.dialler.phase is Phase.DECIDING
    (ack,) = pair.carry(pair.acceptor, pair.acceptor.welcome(m.HelloAck(name="b", credits=6)))
    assert ack.ok
    assert (ack.version, ack.heartbeat_s, ack.lease_s) == (1, 1.0, 5.0)
    assert pair.dialler.room == 6
    assert pair.acceptor.room == 4


@pytest.mark.parametrize("kind", [kind for kind in m.Kind if kind is not m.Kind.HELLO])
def test_nothing_is_heard_before_hello(kind):
    """A stranger says HELLO or is sent away."""
    session = Session(Side.ACCEPTOR, Terms(), 0.0)
    with pytest.raises(PeerError, match=f"{kind.name} while the connection opens: expected HELLO"):
        list(session.receive(b"".join(encode_frame(kind, b"\x90")), 0.0))


def test_nothing_is_heard_between_hello_and_its_answer():
    """Who says more before it was welcomed breaks the protocol, in one read or in two."""
    pair = Pair()
    hello = bytes_of(pair.dialler.send(m.Hello(role="user"), 0.0))
    more = bytes_of(encode(calls(1), version=1, max_bytes=MAX_FRAME_BYTES, local=False))
    with pytest.raises(PeerError, match="SUBMIT while the connection opens: expected nothing yet"):
        list(pair.acceptor.receive(hello + more, 0.0))


@pytest.mark.parametrize("side", list(Side))
def test_nothing_may_be_said_before_the_connection_is_open(side):
    """Our own program is told, and nothing leaves."""
    session = Session(side, Terms(), 0.0)
    with pytest.raises(LocalError, match="may not be sent by this end in phase OPENING"):
        session.send(m.Credit(1), 0.0)


def test_a_stranger_cannot_make_us_keep_much():
    """Until it is welcomed, the cap on a frame is small."""
    session = Session(Side.ACCEPTOR, Terms(opening_bytes=1000), 0.0)
    with pytest.raises(PeerError, match="exceeds the cap of 1000"):
        list(session.receive(b"".join(encode_frame(m.Kind.HELLO, b"x" * 1001)), 0.0))


def test_a_role_that_is_none_is_refused():
    """A dialler is a peer or a user."""
    pair = Pair()
    with pytest.raises(PeerError, match="role 'root'"):
        pair.carry(pair.dialler, m.Hello(role="root"))


def test_a_refusal_says_why_and_ends_it():
    """The dialler reads the reason; neither end says anything after it."""
    pair = Pair()
    pair.carry(pair.dialler, m.Hello(role="user"))
    (ack,) = pair.carry(pair.acceptor, m.HelloAck(code="forbidden", reason="no token", remedy="make one"))
    assert (ack.ok, ack.code, ack.reason, ack.remedy) == (False, "forbidden", "no token", "make one")
    assert pair.dialler.phase is pair.acceptor.phase is Phase.CLOSED
    assert not pair.dialler.was_open
    with pytest.raises(LocalError):
        pair.dialler.send(calls(1), 0.0)


# --- versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((2, 5), (1, 3), 3), ((3, 4), (1, 2), None), ((1, 2), (3, 4), None)],
)
def test_the_newest_common_version_is_chosen(ours, theirs, chosen):
    """Two versions of the product talk as long as their ranges meet."""
    terms = Terms(protocol_min=ours[0], protocol_max=ours[1])
    assert agreed_version(terms, m.Hello(protocol_min=theirs[0], protocol_max=theirs[1])) == chosen


def test_two_versions_talk_in_the_older_one():
    """HELLO and its answer bear version 1 in their headers; later frames the version that was agreed on."""
    pair = Pair(Terms(protocol_max=3), Terms(protocol_max=2))
    pair.carry(pair.dialler, m.Hello(1, 3, "peer", credits=1))
    ack = bytes_of(pair.acceptor.send(pair.acceptor.welcome(m.HelloAck()), 0.0))
    assert ack[2] == 1
    list(pair.dialler.receive(ack, 0.0))
    beat = bytes_of(pair.dialler.send(m.Heartbeat(1), 0.0))
    assert beat[2] == 2
    assert list(pair.acceptor.receive(beat, 0.0)) == [m.Heartbeat(1)]


def test_without_a_common_version_there_is_no_welcome():
    """It cannot be forgotten to refuse."""
    pair = Pair(Terms(), Terms(protocol_min=2, protocol_max=3))
    pair.carry(pair.dialler, m.Hello(role="peer"))
    with pytest.raises(LocalError, match="could welcome"):
        pair.acceptor.welcome(m.HelloAck())


@pytest.mark.parametrize(
    "ack",
    [
        m.HelloAck(ok=True, version=3),
        m.HelloAck(ok=True, version=0),
        m.HelloAck(ok=True, version=1, heartbeat_s=0.0),
        m.HelloAck(ok=True, version=1, heartbeat_s=float("nan")),
        m.HelloAck(ok=True, version=1, heartbeat_s=2.0, lease_s=1.0),
        m.HelloAck(ok=True, version=1, credits=-1),
    ],
)
def test_an_answer_that_cannot_be_is_refused(ack):
    """A version that was not offered, a heartbeat that is none, credits below nothing."""
    pair = Pair()
    pair.carry(pair.dialler, m.Hello(role="peer"))
    data = bytes_of(encode(ack, version=1, max_bytes=1000, local=False))
    with pytest.raises(PeerError):
        list(pair.dialler.receive(data, 0.0))


# --- rights -----------------------------------------------------------------------------------------------------

USER = {"DECLARE", "SUBMIT", "CANCEL_CALLS", "OUTPUT_REQUEST", "RESOURCE", "DATA_REQUEST", "DATA_CHUNK", "DATA_RELEASE"}
SERVER = {"SETTLED", "OUTPUT", "DRAIN", "DATA_REQUEST", "DATA_CHUNK", "DATA_RELEASE"}
PEER = {"DECLARE", "OFFER", "ANSWER", "ENDED", "ENDED_ACK", "CANCEL_TASKS", "LOAD", "RESOURCE", "INVENTORY", "DRAIN"}
PEER |= {"STOP", "STOP_ANSWER", "LINE_OPEN", "LINE_ANSWER", "OFFER_LOT", "ACCEPT_LOT", "ENDED_LOT", "ENDED_LOT_ACK"}
PEER |= {"DATA_REQUEST", "DATA_CHUNK", "DATA_RELEASE", "DATA_HELD", "OUTPUT_REQUEST", "OUTPUT"}
ALWAYS = {"GOODBYE", "HEARTBEAT", "CREDIT"}
SEGMENTS = {"SEGMENT", "SEGMENT_FREE", "SEGMENT_RELEASE"}


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("kind", list(m.Kind))
@pytest.mark.parametrize(
    ("role", "by_dialler", "allowed"),
    [("user", True, USER), ("user", False, SERVER), ("peer", True, PEER), ("peer", False, PEER)],
)
def test_each_end_may_say_what_its_part_allows(role, by_dialler, allowed, kind, local):
    """The rights of users, of agents to users, and of peers are enforced on both ends of the wire."""
    terms = Terms(local=local)
    allowed = allowed | ALWAYS | (SEGMENTS if local and role == "user" else set())
    lines = {"DIRECT_LINE", "ANNOUNCE"} if by_dialler else {"LINE_GIVEN"}
    allowed |= lines if local and role == "user" else set()
    pair = Pair(terms, terms).opened(role)
    speaker, hearer = (pair.dialler, pair.acceptor) if by_dialler else (pair.acceptor, pair.dialler)
    message = TYPES[kind]()
    data = bytes_of(encode(message, version=1, max_bytes=1000, local=local))
    if kind.name in allowed:
        assert bytes_of(speaker.send(message, pair.now)) == data
        assert list(hearer.receive(data, pair.now)) == [message]
    else:
        with pytest.raises(LocalError):
            speaker.send(message, pair.now)
        with pytest.raises(PeerError, match=f"{kind.name} is not for"):
            list(hearer.receive(data, pair.now))


def test_an_unknown_kind_is_refused_with_its_number():
    """A newer peer that does not keep to the agreed version is told what was wrong."""
    pair = Pair().opened()
    with pytest.raises(PeerError, match="unknown kind of frame 200 in version 1"):
        list(pair.acceptor.receive(b"".join(encode_frame(200, b"\x90")), 0.0))


def test_nothing_is_heard_after_goodbye():
    """The last frame is the last; what follows it in the same read is dropped."""
    pair = Pair().opened()
    data = bytes_of(pair.dialler.send(m.Goodbye("stopping"), 0.0))
    assert list(pair.acceptor.receive(data + data, 0.0)) == [m.Goodbye("stopping")]
    assert pair.acceptor.phase is pair.dialler.phase is Phase.CLOSED


def test_the_last_words_fit_the_phase():
    """A refusal before the connection is open, GOODBYE after, nothing when it is closed."""
    pair = Pair()
    assert isinstance(pair.acceptor.farewell("protocol", "x" * 9999), m.HelloAck)
    assert pair.dialler.farewell("protocol", "x") is None
    pair = Pair().opened()
    last = pair.dialler.farewell("protocol", "x" * 9999)
    assert isinstance(last, m.Goodbye)
    pair.carry(pair.dialler, last)
    assert pair.dialler.farewell("again", "") is None


# --- credits ----------------------------------------------------------------------------------------------------


def test_calls_beyond_the_credits_are_not_sent():
    """The sender waits; what was refused changed nothing; a settled call gives its credit back."""
    pair = Pair().opened("user", credits_=3)
    pair.carry(pair.dialler, calls(2))
    with pytest.raises(LocalError, match="2 calls or offers where credits are left for 1"):
        pair.dialler.send(calls(2), 0.0)
    assert pair.dialler.room == 1
    pair.carry(pair.acceptor, settled(2))
    assert pair.dialler.room == 3
    assert pair.acceptor.received_open == 0


def test_a_peer_that_exceeds_its_credits_is_cut_off():
    """Enforced by who granted them."""
    pair = Pair().opened("peer", credits_=3)
    data = bytes_of(encode(offers(4), version=1, max_bytes=MAX_FRAME_BYTES, local=False))
    with pytest.raises(PeerError, match="4 calls or offers in flight where 3 were granted"):
        list(pair.acceptor.receive(data, 0.0))


def test_both_peers_have_credits_of_their_own():
    """Each grants the other in HELLO and in its answer; an answer gives back what it answers."""
    pair = Pair().opened("peer", credits_=5)
    pair.carry(pair.dialler, offers(5))
    pair.carry(pair.acceptor, offers(4))
    assert (pair.dialler.room, pair.acceptor.room) == (0, 1)
    pair.carry(pair.acceptor, m.Answers(((0, 1, 1),), (Refusal(1, 1, "full"),), (Refusal(9, 1, "given back"),)))
    assert (pair.dialler.room, pair.acceptor.room) == (2, 1)


def test_credit_grants_more():
    """CREDIT adds to what was granted at the opening."""
    pair = Pair().opened("user", credits_=1)
    pair.carry(pair.acceptor, m.Credit(4))
    assert pair.dialler.room == 5
    pair.carry(pair.dialler, calls(5))


@pytest.mark.parametrize("grant", [-1, 2**31 + 1])
def test_a_grant_that_cannot_be_is_refused(grant):
    """Credits are never taken back, and never overflow."""
    pair = Pair().opened("user", credits_=1)
    with pytest.raises(PeerError, match="credits"):
        list(pair.dialler.receive(bytes_of(encode(m.Credit(grant), version=1, max_bytes=99, local=False)), 0.0))


def test_more_answers_than_questions_are_refused_on_both_ends():
    """A call is settled once."""
    pair = Pair().opened("user", credits_=5)
    pair.carry(pair.dialler, calls(1))
    with pytest.raises(LocalError, match="answered twice"):
        pair.acceptor.send(settled(2), 0.0)
    data = bytes_of(encode(settled(2), version=1, max_bytes=MAX_FRAME_BYTES, local=False))
    with pytest.raises(PeerError, match="more calls settled"):
        list(pair.dialler.receive(data, 0.0))


def test_an_oversized_message_of_our_own_leaves_the_connection_as_it_was():
    """The caller is told; credits are not spent; the next message goes through."""
    pair = Pair(Terms(frame_bytes=1000)).opened("user", credits_=2)
    with pytest.raises(TooLarge):
        pair.dialler.send(m.Submit([Submission(1, 1, Payload(3, b"x" * 2000))]), 0.0)
    assert pair.dialler.room == 2
    assert pair.carry(pair.dialler, calls(2)) == [calls(2)]


# --- time -------------------------------------------------------------------------------------------------------


def test_a_heartbeat_is_due_when_nothing_was_said_for_a_beat():
    """An idle end says something each beat; a busy one every third."""
    pair = Pair().opened()
    assert pair.dialler.heartbeat(100.8) is None
    assert pair.dialler.heartbeat(101.0) == m.Heartbeat(1, 101.0)
    for tenth in range(1, 30):
        pair.now = 100 + tenth / 10
        pair.carry(pair.dialler, m.EndsAck())
        assert pair.dialler.heartbeat(pair.now) is None
    assert pair.dialler.heartbeat(103.1) is not None


def test_no_heartbeat_before_the_connection_is_open():
    """Liveness begins with the welcome."""
    assert Session(Side.DIALLER, Terms(), 0.0).heartbeat(100.0) is None


def test_the_round_trip_is_measured_without_what_the_other_end_held():
    """The echo says how long a heartbeat was kept; the rest is the link's."""
    pair = Pair().opened()
    pair.now = 101.0
    pair.carry(pair.dialler, pair.dialler.heartbeat(pair.now), delay_s=0.02)
    pair.now += 0.98
    pair.carry(pair.acceptor, pair.acceptor.heartbeat(pair.now), delay_s=0.03)
    assert pair.dialler.round_trip.seconds == pytest.approx(0.05)


def test_the_round_trip_falls_at_once_and_rises_slowly():
    """Queueing only ever adds, so the smallest is nearest to the truth."""
    trip = Pair().dialler.round_trip
    for sample in (0.1, 0.02, 0.5, -3.0):
        trip.add(sample)
    assert trip.seconds == pytest.approx(0.02 + 0.48 / 8)


@pytest.mark.parametrize(
    ("silence_s", "life"),
    [(0.0, Life.ALIVE), (2.9, Life.ALIVE), (3.0, Life.SUSPECT), (4.9, Life.SUSPECT), (5.0, Life.LOST)],
)
def test_silence_is_suspected_after_three_beats_and_lost_after_five(silence_s, life):
    """The same for both ends of a link between peers."""
    pair = Pair().opened()
    assert pair.dialler.life(100 + silence_s) is life
    assert pair.acceptor.life(100 + silence_s) is life


def test_any_byte_is_a_sign_of_life():
    """A large frame on a slow link keeps its sender alive before it is complete."""
    pair = Pair().opened()
    list(pair.acceptor.receive(bytes_of(pair.dialler.send(offers(5), 0.0))[:5], 104.0))
    assert pair.acceptor.life(108.0) is Life.SUSPECT
    assert pair.acceptor.life(106.0) is Life.ALIVE


def test_time_that_was_overslept_is_no_silence():
    """It adds up until something is heard, and then counts no more."""
    pair = Pair().opened()
    pair.dialler.overslept(10.0)
    pair.dialler.overslept(2.0)
    assert pair.dialler.life(114.9) is Life.ALIVE
    assert pair.dialler.life(116.9) is Life.SUSPECT
    assert pair.dialler.life(117.0) is Life.LOST
    assert pair.dialler.lost_at == 117.0
    list(pair.dialler.receive(bytes_of(pair.acceptor.send(m.Heartbeat(1, 0.0), 113.0)), 113.0))
    assert pair.dialler.lost_at == 118.0
    pair.dialler.overslept(1.0)
    assert pair.dialler.lost_at == 119.0


def test_a_users_silence_means_nothing_and_an_agents_does():
    """A user owes no heartbeats; the agent that it asked does."""
    pair = Pair().opened("user")
    assert pair.acceptor.life(1e6) is Life.ALIVE
    assert pair.dialler.life(1e6) is Life.LOST


def test_on_one_device_the_kernel_tells_of_a_death():
    """A suspended program on the Unix socket is not lost."""
    terms = Terms(local=True)
    pair = Pair(terms, terms).opened("user")
    assert pair.dialler.life(1e6) is Life.ALIVE


def test_the_dialler_keeps_to_the_acceptors_beat():
    """Both ends beat at one period."""
    pair = Pair(Terms(), Terms(heartbeat_s=0.2)).opened()
    assert pair.dialler.heartbeat(100.2) is not None
    assert pair.dialler.life(101.0) is Life.LOST
