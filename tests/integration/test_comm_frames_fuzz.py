"""Frames of every kind, in any order, true and nearly true, from those who are let in: the agent lives on.

AGENTD_FUZZ_FRAMES scales how many connections each of them makes (100,000,000 frames elsewhere are 5,000 here).
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from integration.daemon_rig import PATIENCE_S, until
from integration.siege_rig import Besieged, Raw, RawPeer, call, plain

from agentd.model.errors import PeerError
from agentd.model.exchange import Offer, Submission
from agentd.model.task import Status, Template
from agentd.model.values import Codec, Payload
from agentd.wire import messages as m
from agentd.wire.framing import HEADER, MAGIC
from agentd.wire.rights import Speaker as Part
from agentd.wire.rights import may_send
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms
from tests.conftest import agents_started
from tests.fakes.nursery import Nursery
from tests.unit.wire.wire_examples import EXAMPLES, frame_of

CONNECTIONS = max(int(os.environ.get("AGENTD_FUZZ_FRAMES", "1000000")) // 20_000, 10)
FRAMES_MOST = 40
"""On one connection."""
GROWTH_MIB = 64
QUIET_S = 0.05
"""Silence after which the speaker leaves; what would have been answered later is read by nobody."""
TEMPLATES = (
    (1, Template("sums:increment", codec=Codec.JSON)),
    (2, Template("sums:nap", codec=Codec.JSON, priority=9)),
    (3, Template("sums:increment", codec=Codec.JSON, durable=True, idempotent=False)),
    (4, Template("sums:blank", codec=Codec.JSON, timeout_s=5.0)),
)
ODD: dict[type, tuple[object, ...]] = {
    int: (0, 1, -1, 2, 3, 4, 255, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, -(2**63), 2**64 - 1),
    float: (0.0, -1.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 0.001),
    str: ("", "sums:increment", "os:system", "../..", "\x00", "\u202e\x1b[31m", "x" * 257, "server", "phone", "9" * 40),
    bytes: (b"", b"\x80\x05.", b"\x80\x05cos\nabort\n.", b"{", bytes(300), b"\xff"),
    bool: (True, False),
    list: ([], [[]], [0], [[0, 0]], [None]),
    dict: ({}, {"": 0}, {"a": {}}),
    type(None): (None, 0, "", []),
}


class Sample(NamedTuple):
    """An example frame, taken apart."""

    kind: int
    body: Any
    raw: bytes


def taken_apart(frame: bytes) -> Sample:
    """Split a frame into what may be changed."""
    _, _, kind, body_bytes, _ = HEADER.unpack_from(frame)
    end = HEADER.size + body_bytes
    return Sample(kind, msgspec.msgpack.decode(frame[HEADER.size : end]), frame[end:])


SAMPLES = [taken_apart(frame_of(message)) for message in EXAMPLES.values()]


FIRST = [*{sample.kind: sample for sample in SAMPLES if sample.kind != m.Kind.HELLO}.values()]


class Speaker:
    """Draws frames from a seed: mostly such as it may send; numbers that stand for something come again and again."""

    def __init__(self, chance: random.Random, first: int, part: Part, *, local: bool) -> None:
        self._chance = chance
        self._next = first
        self._known = [1, 2, 3]
        self._part = part
        rights = may_send(part, local=local) - {m.Kind.GOODBYE}
        self._allowed = [sample for sample in SAMPLES if sample.kind in rights]

    def _fresh(self) -> int:
        self._next += 1
        self._known.append(self._next)
        return self._next

    def work(self) -> m.Message:
        """Ask for something that can be done, mostly."""
        chance = self._chance
        template = chance.randrange(6)
        argument = 0.01 if template == 2 else chance.randrange(100)
        payload = Payload(Codec.JSON, call(argument))
        if self._part is Part.PEER:
            return m.Offers([Offer(self._fresh(), template, payload, origin="id-x", hops=1, visited=("id-x",))])
        return m.Submit([Submission(self._fresh(), template, payload)])

    def frames(self) -> Iterator[bytes]:
        """Draw what is said on one connection."""
        chance = self._chance
        if chance.random() < 0.9:
            yield frame_of(m.Declare(TEMPLATES), version=2)
        for _ in range(chance.randrange(FRAMES_MOST)):
            dice = chance.random()
            if dice < 0.4:
                yield frame_of(self.work(), version=2)
                continue
            sample = chance.choice(SAMPLES if dice > 0.98 else self._allowed)
            body = sample.body
            for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
                body = self._changed(body)
            yield self._packed(sample, body)

    def _packed(self, sample: Sample, body: Any) -> bytes:
        packed = msgspec.msgpack.encode(body)
        raw = sample.raw if self._chance.random() < 0.98 else sample.raw[:-3]
        return HEADER.pack(MAGIC, 2, sample.kind, len(packed), len(raw)) + packed + raw

    def _changed(self, value: Any) -> Any:
        """Change one place of a value: mostly to another of its type."""
        chance = self._chance
        if isinstance(value, list) and value and chance.random() < 0.9:
            place = chance.randrange(len(value))
            dice = chance.random()
            if dice < 0.03:
                return value[:place]
            if dice < 0.06:
                return [*value, *value[place:]]
            return [*value[:place], self._changed(value[place]), *value[place + 1 :]]
        if isinstance(value, dict) and value and chance.random() < 0.9:
            key = chance.choice(list(value))
            return {**value, key: self._changed(value[key])}
        if chance.random() < 0.02:
            return chance.choice(ODD[chance.choice(list(ODD))])
        if type(value) is int and chance.random() < 0.8:
            return chance.choice(self._known)
        return chance.choice(ODD[type(value)])


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[Besieged]:
    """The server that all talk to, and the phone whose link must not notice."""
    with agents_started(tmp_path_factory, nursery) as start:
        yield Besieged(start)


def from_a_socket(besieged: Besieged) -> Raw:
    """Come as a program of the same user on the Unix socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)
    sock.connect(str(besieged.server.state / "agent.sock"))
    raw = Raw(sock)
    raw.session = Session(Side.DIALLER, Terms(local=True), 0.0)
    return raw


def welcomed(raw: Raw) -> Raw:
    """Say HELLO as a program, and be let in."""
    raw.say(m.Hello(role="user", protocol_max=2))
    ack = raw.hear(m.HelloAck)
    assert ack.ok, ack
    return raw


Way = Callable[[Besieged, Path], Callable[[], Raw]]


def a_program(besieged: Besieged, _: Path) -> Callable[[], Raw]:
    """One of the same user, over TCP on this device."""
    return lambda: welcomed(plain(besieged.address))


def a_local_program(besieged: Besieged, _: Path) -> Callable[[], Raw]:
    """One of the same user, on the Unix socket."""
    return lambda: welcomed(from_a_socket(besieged))


def a_peer(besieged: Besieged, folder: Path) -> Callable[[], Raw]:
    """A paired agent."""
    return RawPeer(besieged, folder / "key", "mallory").linked


def a_limited_peer(besieged: Besieged, folder: Path) -> Callable[[], Raw]:
    """A paired agent that may call one function, twice at a time."""
    peer = RawPeer(besieged, folder / "key", "trudy")
    limits = {"limits": {"functions": ["sums:increment"], "max_tasks": 2, "submit_upward": False}}
    besieged.host.client.post("/v1/peers/trudy", json=limits).raise_for_status()
    return peer.linked


WAYS = (a_program, a_local_program, a_peer, a_limited_peer)


def heard(raw: Raw) -> tuple[list[m.Message], bool]:
    """Read what is answered, to the end or to a silence; and whether the connection was reset under it."""
    told: list[m.Message] = []
    raw.sock.settimeout(QUIET_S)
    is_reset = False
    try:
        while data := raw.sock.recv(65_536):
            told += raw.session.receive(data, 0.0)
    except TimeoutError:
        pass
    except (OSError, PeerError):
        is_reset = True
    return told, is_reset


def check_answers(told: list[m.Message]) -> int:
    """Each refusal, failure and farewell says why; gives how many there were."""
    reasons: list[str] = []
    for message in told:
        if isinstance(message, m.Goodbye) or (isinstance(message, m.HelloAck) and not message.ok):
            assert message.code
            reasons.append(message.reason)
        elif isinstance(message, m.Answers):
            reasons += [refusal.reason for refusal in (*message.refused, *message.returned)]
        elif isinstance(message, m.SettledCalls):
            outcomes = [one.outcome for one in message.settled]
            reasons += [one.failure.message if one.failure else "" for one in outcomes if one.status == Status.FAILED]
        elif isinstance(message, m.DataChunk) and message.error:
            reasons.append(message.error)
    assert all(reasons), told
    assert not any("Traceback" in reason or "\x1b" in reason for reason in reasons), reasons
    return len(reasons)


def resident_mib(pid: int) -> float:
    """Measure a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def test_frames_of_every_kind_are_drawn() -> None:
    """A new kind is not forgotten here."""
    assert {sample.kind for sample in SAMPLES} == set(m.Kind)


@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_said_the_agent_lives_and_says_why_not(besieged: Besieged, tmp_path: Path, way: Way) -> None:
    """Its other work is done right meanwhile, its memory stays, its log has no traceback, its queue empties."""
    come, part = way(besieged, tmp_path), Part.PEER if "peer" in way.__name__ else Part.USER
    before_mib, log = resident_mib(besieged.server.pid), len(besieged.server.stderr)
    reasons = resets = 0
    with besieged.working(tmp_path):
        for number in range(CONNECTIONS):
            again = f"{way.__name__} {number}"
            first = (1 << 43) + (WAYS.index(way) << 40) + (number << 20)
            speaker = Speaker(random.Random(again), first, part, local=way is a_local_program)
            with come() as raw:
                raw.session._sent_open = 1 << 30  # it does not know what is said by hand
                said = b"".join(speaker.frames())
                with suppress(OSError):  # it was shut out in the middle of a word
                    raw.sock.sendall(said)
                told, is_reset = heard(raw)
            reasons += check_answers(told)
            resets += is_reset
            assert "Traceback" not in besieged.server.stderr[log:], again
            assert besieged.host.get("/v1/agent")["ready"], again
    assert reasons >= CONNECTIONS // 2
    assert resets < CONNECTIONS
    until(lambda: besieged.figure("waiting_tasks") == 0, "the end of what was asked for")
    assert resident_mib(besieged.server.pid) - before_mib < GROWTH_MIB


@pytest.mark.parametrize("sample", FIRST, ids=[m.Kind(sample.kind).name for sample in FIRST])
def test_before_hello_nothing_else_is_heard(besieged: Besieged, sample: Sample) -> None:
    """Each kind of frame, as the first of a connection: it is told what was expected."""
    with plain(besieged.address) as raw:
        raw.session.send(m.Hello(role="user"), 0.0)  # only so that it listens to the answer
        packed = msgspec.msgpack.encode(sample.body)
        raw.sock.sendall(HEADER.pack(MAGIC, 1, sample.kind, len(packed), len(sample.raw)) + packed + sample.raw)
        code, reason = raw.last_words()
        assert code == "protocol"
        assert "HELLO" in reason
