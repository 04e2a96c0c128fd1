"""A port under attack: each attacker is shut out with a reason on the right side, the link of the others untouched.

All attacks go against one server, over the link of which an honest phone has its work done meanwhile: over the same
socket before and after, each task once.
"""

from __future__ import annotations

import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from integration.daemon_rig import PATIENCE_S, door_of, until
from integration.siege_rig import Besieged, Key, Raw, RawPeer, call, plain, secret

from agentd.comm.trust.security import asking
from agentd.model.exchange import Offer, Submission
from agentd.model.task import Status, Template
from agentd.model.values import Codec, Part, Payload, Remote
from agentd.wire import messages as m
from agentd.wire.framing import HEADER, MAGIC
from tests.conftest import StartAgent, agents_started
from tests.fakes.nursery import Nursery

GUESTS = 100
"""Strangers at a time: more than may be there without having said who they are."""
FLOOD = 100_000
SLOW_BYTES = 6
"""So many seconds slow readers go on, whose connections end after 30 (a test of links sees to that)."""
MIB = 1 << 20
INCREMENT, BLANK = Template("sums:increment", codec=Codec.JSON), Template("sums:blank", codec=Codec.JSON)


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[Besieged]:
    """The server that all attack, and the phone whose link must not notice."""
    with agents_started(tmp_path_factory, nursery) as start:
        yield Besieged(start)


# --- strangers -----------------------------------------------------------------------------------------------------

Address = tuple[str, int]


def silent(address: Address, stack: ExitStack, _: random.Random) -> None:
    """Say nothing, and stay."""
    stack.enter_context(plain(address))


def rubbish(address: Address, stack: ExitStack, chance: random.Random) -> None:
    """Say what makes no sense."""
    stack.enter_context(plain(address)).sock.sendall(chance.randbytes(4096))


def half_a_handshake(address: Address, stack: ExitStack, chance: random.Random) -> None:
    """Begin TLS, and say nonsense in it."""
    stack.enter_context(plain(address)).sock.sendall(b"\x16\x03\x01\x02\x00" + chance.randbytes(64))


def handshake_left_open(address: Address, stack: ExitStack, _: random.Random) -> None:
    """Begin TLS as it is begun, and never go on."""
    out = ssl.MemoryBIO()
    begun = asking().wrap_bio(ssl.MemoryBIO(), out)
    with suppress(ssl.SSLWantReadError):
        begun.do_handshake()
    stack.enter_context(plain(address)).sock.sendall(out.read())


def without_certificate(address: Address, stack: ExitStack, chance: random.Random) -> None:
    """Come over TLS as nobody."""
    stack.enter_context(secret(address, asking())).sock.sendall(b"\xa9\x44\x01\x01" + chance.randbytes(200))


def trickle(address: Address, stack: ExitStack, _: random.Random) -> None:
    """Begin a frame, and never end it."""
    stack.enter_context(plain(address)).sock.sendall(b"\xa9\x44\x01")


@pytest.mark.parametrize(
    ("attack", "guests"),
    [
        (silent, GUESTS),
        (rubbish, GUESTS),
        (half_a_handshake, GUESTS),
        (handshake_left_open, 200),
        (without_certificate, GUESTS),
        (trickle, GUESTS),
    ],
)
def test_a_crowd_of_strangers(
    besieged: Besieged, tmp_path: Path, attack: Callable[[Address, ExitStack, random.Random], None], guests: int
) -> None:
    """Hundreds come over and over; a new one gets in again as soon as they are gone."""
    chance = random.Random(3)
    with besieged.working(tmp_path) as goes_on:
        while goes_on():
            with ExitStack() as stack:
                for _ in range(guests):
                    with suppress(OSError):  # it is shut out, as it should be
                        attack(besieged.address, stack, chance)

    def is_let_in() -> bool:
        with suppress(OSError), plain(besieged.address) as raw:
            raw.say(m.Hello(role="user"))
            return bool(raw.hear(m.HelloAck).ok)
        return False

    until(is_let_in)


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (b"", "silent", "no HELLO within 2 s"),
        (b"\xa9\x44\x01", "silent", "no HELLO within 2 s"),
        (b"GET / HTTP/1.1\r\n\r\n", "protocol", "not a Comm frame"),
        (HEADER.pack(MAGIC, 1, 1, 2**32 - 1, 0), "protocol", "exceeds the cap of 65536"),
    ],
)
def test_a_stranger_is_told_why(besieged: Besieged, tmp_path: Path, said: bytes, code: str, words: str) -> None:
    """Who says nothing, too little or nonsense, in the open or behind TLS, is told; nothing of it is in the log."""
    seen = besieged.server.stderr
    with besieged.working(tmp_path):
        for raw in (plain(besieged.address), secret(besieged.address, asking())):
            with raw:
                raw.session.send(m.Hello(role="user"), 0.0)  # only so that it listens to the answer
                raw.sock.sendall(said)
                told = raw.last_words()
                assert (told[0], words in told[1]) == (code, True), told
    assert besieged.server.stderr == seen


def test_a_stranger_that_says_a_byte_a_second(besieged: Besieged, tmp_path: Path) -> None:
    """It is the time for the whole HELLO that counts, not that for a byte of it."""
    with besieged.working(tmp_path), plain(besieged.address) as raw:
        raw.sock.settimeout(1.0)
        said = 0
        hello = b"".join(piece for pieces in raw.session.send(m.Hello(role="user"), 0.0) for piece in pieces)
        for byte in hello:
            said += 1
            with suppress(OSError):
                raw.sock.sendall(bytes((byte,)))
            with suppress(TimeoutError):
                if raw.sock.recv(1, socket.MSG_PEEK):
                    break
        raw.sock.settimeout(PATIENCE_S)
        assert raw.last_words() == ("silent", "no HELLO within 2 s")
    assert said < len(hello)


def test_a_crowd_that_fills_the_door_is_told_so(besieged: Besieged, tmp_path: Path) -> None:
    """Of two hundred who say nothing sixty-four wait; the others are told at once that there is no room."""
    with besieged.working(tmp_path), ExitStack() as stack:
        crowd = [stack.enter_context(plain(besieged.address)) for _ in range(200)]
        for raw in crowd:
            raw.session.send(m.Hello(role="user"), 0.0)
        told = [raw.last_words() for raw in crowd]
        full = [reason for code, reason in told if code == "full"]
        assert len(full) >= 100
        assert all("have not said who they are" in reason for reason in full)
        assert {code for code, _ in told} == {"full", "silent"}


# --- keys and invitations ------------------------------------------------------------------------------------------


def test_a_key_that_nobody_knows(besieged: Besieged, tmp_path: Path) -> None:
    """With a certificate of its own it cannot be the phone, whatever it says: TLS ends, and nobody is disturbed."""
    (tmp_path / "key").mkdir(mode=0o700)
    key, seen = Key("phone", tmp_path / "key"), besieged.server.stderr
    with besieged.working(tmp_path) as goes_on:
        while goes_on():
            with suppress(ssl.SSLError, ConnectionError), secret(besieged.address, key.context) as raw:
                raw.say(m.Hello(role="peer", agent_id=besieged.peer("phone")["agent_id"], name="phone", boot="b"))
                assert raw.last_words() == ("", "")
    assert besieged.server.stderr == seen


def test_the_name_of_a_peer_without_its_key(besieged: Besieged, tmp_path: Path) -> None:
    """Over TLS without a certificate, or with that of another peer: it is told what is missing."""
    agent_id = besieged.peer("phone")["agent_id"]
    other = RawPeer(besieged, tmp_path / "key", "impostor")
    hello = m.Hello(role="peer", agent_id=agent_id, name="phone", boot="b", capabilities={"lends": True})
    with besieged.working(tmp_path):
        for context, code, words in (
            (asking(), "forbidden", "known by its certificate"),
            (other.key.context, "identity", "pinned for another agent"),
        ):
            with secret(besieged.address, context) as raw:
                raw.say(hello)
                ack = raw.hear(m.HelloAck)
                assert (ack.ok, ack.code, words in ack.reason) == (False, code, True)
                assert "pair" in ack.remedy


def test_an_agent_that_is_no_longer_in_the_book(besieged: Besieged, tmp_path: Path) -> None:
    """Forgotten by the server, it dials in vain: its own operator reads why, and what to run where."""
    stray = besieged.joined("stray")
    with besieged.working(tmp_path):
        besieged.revoke("stray")
        besieged.revoke("stray", forget="true")
        until(lambda: _why_not(stray, "revoked"))
        stray.client.post("/v1/peers/server", json={"limits": {}}).raise_for_status()  # a change: it is dialled at once
        words = until(lambda: _why_not(stray, "does not know this agent's certificate"))
        assert "agentd invite, agentd join" in words


def test_a_peer_that_is_revoked(besieged: Besieged, tmp_path: Path) -> None:
    """It is out at once and told why, each time that it comes; the server's operator reads the same in the book.

    The server, which had its cores in the pool, looks for it no more.
    """
    thief = besieged.joined("thief")
    besieged.host.client.post("/v1/resources", json={"name": "thief", "capacity": {}}).raise_for_status()
    with besieged.working(tmp_path):
        besieged.revoke("thief", reason="stolen")
        assert "the pairing was revoked: stolen" in until(lambda: _why_not(thief, "revoked"))
        row = besieged.peer("thief")
        assert (row["state"], row["revoked"]) == ("revoked", "stolen")
        assert "thief" not in [row["name"] for row in besieged.host.get("/v1/resources")["resources"]]
        refused = thief.submit("sums:increment", 1)["id"]
        assert "the pairing was revoked: stolen" in until(lambda: thief.wait(refused, 0)["reason"])


def _why_not(door: Any, words: str) -> str:
    rows = {row["name"]: row for row in door.get("/v1/neighbours")["neighbours"]}
    told = str(rows.get("server", {}).get("why_not", ""))
    return told if words in told else ""


def test_an_invitation_that_is_used_again(besieged: Besieged, tmp_path: Path) -> None:
    """Both sides are told by whom it was used: the one who comes late, and the server's operator once, in the log."""
    text = besieged.invite()
    late = door_of(besieged.start("--hostname", "late", "--cpu", "0"))
    (tmp_path / "key").mkdir(mode=0o700)
    with besieged.working(tmp_path):
        Key("early", tmp_path / "key").join(text)
        for _ in range(20):
            answer = late.client.post("/v1/peers", json={"invitation": text})
            assert answer.status_code == 403
            assert "used already, by early" in answer.json()["detail"]
    assert besieged.server.stderr.count("used already, by early") == 1
    assert late.get("/v1/peers")["peers"] == []


# --- peers that misbehave ------------------------------------------------------------------------------------------


def test_a_peer_with_rights_for_one_function(besieged: Besieged, tmp_path: Path) -> None:
    """Another function is refused for good, with the limit; code that it brings is too; what it may call runs."""
    peer = RawPeer(besieged, tmp_path / "key", "limited")
    limits = {"limits": {"functions": ["sums:increment"]}}
    besieged.host.client.post("/v1/peers/limited", json=limits).raise_for_status()
    brought = Template("sums:increment", codec=Codec.JSON, code=b"\x80")
    with besieged.working(tmp_path), peer.linked() as raw:
        raw.say(m.Declare(((1, INCREMENT), (2, BLANK), (3, brought))))
        raw.say(m.Offers([Offer(7_000_000 + one, one, Payload(Codec.JSON, call(1))) for one in (1, 2, 3)]))
        refused = {refusal.task: refusal for refusal in raw.hear(m.Answers).refused}
        words = "agent server limits limited: "
        assert refused[7_000_002].reason == words + "it may call only sums:increment"
        assert "code" in refused[7_000_003].reason
        assert all(refusal.final for refusal in refused.values())
        (end,) = raw.hear(m.Ends).ends
        assert (end.task, end.outcome.status) == (7_000_001, Status.DONE)
        row = besieged.peer("limited")
        assert (row["functions"], row["state"]) == (["sums:increment"], "connected")


def _frame(kind: int, body: bytes, more_bytes: int = 0) -> Callable[[Raw], None]:
    return lambda raw: raw.sock.sendall(HEADER.pack(MAGIC, 2, kind, len(body) + more_bytes, 0) + body)


MISDEEDS: list[tuple[str, Callable[[Raw], None], str]] = [
    ("garbage", lambda raw: raw.sock.sendall(random.Random(5).randbytes(100_000)), "not a Comm frame"),
    ("a frame of 4 GiB", _frame(m.Kind.OFFER, b"", 2**32 - 1), "exceeds the cap"),
    ("a body that is none", _frame(m.Kind.OFFER, b"\xc1\xc1\xc1\xc1"), "cannot be read"),
    ("what is for users", _frame(m.Kind.SUBMIT, b"\x91\x90"), "to send on this connection"),
    ("a kind that is not", _frame(99, b""), "unknown kind of frame 99"),
]


@pytest.mark.parametrize(("name", "misdeed", "words"), MISDEEDS, ids=[name for name, _, _ in MISDEEDS])
def test_a_peer_that_breaks_the_protocol(
    besieged: Besieged, tmp_path: Path, name: str, misdeed: Callable[[Raw], None], words: str
) -> None:
    """It is told what was wrong and dropped, as often as it comes; its operator reads it, and so does ours."""
    peer = RawPeer(besieged, tmp_path / "key", f"breaker-{len(name)}")
    with besieged.working(tmp_path) as goes_on:
        while goes_on():
            with peer.linked() as raw:
                misdeed(raw)
                code, reason = raw.last_words()
                assert code == "protocol"
                assert words in reason
    assert words in besieged.peer(peer.key.name)["why_not"]


def _offers(count: int, first: int, template: int, *args: object) -> list[Offer]:
    payload = Payload(Codec.JSON, call(*args))
    return [Offer(first + number, template, payload, origin="id-x", hops=1) for number in range(count)]


def test_a_peer_that_offers_more_than_it_was_granted(besieged: Besieged, tmp_path: Path) -> None:
    """A hundred thousand at once are a breach: not one of them is kept."""
    peer = RawPeer(besieged, tmp_path / "key", "greedy")
    with besieged.working(tmp_path), peer.linked() as raw:
        raw.say(m.Declare(((1, INCREMENT),)))
        raw.session._window = FLOOD
        with suppress(OSError):
            raw.say(m.Offers(_offers(FLOOD, 1 << 40, 1, 1)))
        assert raw.last_words()[0] in {"protocol", ""}
    assert "offers in flight where 4096 were granted" in until(lambda: besieged.peer("greedy")["why_not"])


def test_a_peer_that_offers_a_hundred_thousand_tasks(besieged: Besieged, tmp_path: Path) -> None:
    """As fast as it is let, within its credits: all are answered, and the phone's work goes on between them."""
    peer = RawPeer(besieged, tmp_path / "key", "eager")
    with besieged.working(tmp_path), peer.linked() as raw:
        raw.say(m.Declare(((1, INCREMENT),)))
        offered = answered = 0
        while answered < FLOOD:
            count = min(1_000, raw.session.room, FLOOD - offered)
            if count:
                raw.say(m.Offers(_offers(count, (1 << 41) + offered, 1, 1)))
                offered += count
            if offered == FLOOD or raw.session.room < 1_000:
                told = raw.hear(m.Answers)
                answered += len(told.accepted) + len(told.refused)


def test_a_peer_that_reads_nothing(besieged: Besieged, tmp_path: Path) -> None:
    """Of two hundred megabytes of results that it asked for and takes a byte at a time, few are ever made."""
    peer = RawPeer(besieged, tmp_path / "key", "deaf")
    before_mib = resident_mib(besieged.server.pid)
    with besieged.working(tmp_path) as goes_on, peer.linked() as raw:
        raw.say(m.Declare(((1, BLANK),)))
        raw.say(m.Offers(_offers(1_000, 1 << 42, 1, 200_000)))
        until(lambda: besieged.link("deaf")["unread_bytes"] > 32 * MIB)
        raw.sip()
        while goes_on():
            raw.sock.recv(1)
        assert besieged.link("deaf")["unread_bytes"] < 40 * MIB
        assert resident_mib(besieged.server.pid) - before_mib < 100
        assert besieged.figure("waiting_tasks") > 500
        raw.say(m.CancelTasks(tuple(((1 << 42) + number, 1) for number in range(1_000))))
        until(lambda: besieged.figure("waiting_tasks") < 100)


def test_a_program_that_reads_next_to_nothing(besieged: Besieged, tmp_path: Path) -> None:
    """Two hundred megabytes of results wait for it, not in the server's memory; when it goes on it gets all.

    It takes a little on the way: however slow the machine, it is not one that has stopped reading for good.
    """
    count, size = 1_000, 200_000
    before_mib, ended = resident_mib(besieged.server.pid), besieged.figure("ended_total")
    with besieged.working(tmp_path), plain(besieged.address) as raw:
        raw.say(m.Hello(role="user"))
        assert raw.hear(m.HelloAck).ok
        raw.say(m.Declare(((1, BLANK),)))
        raw.say(m.Submit([Submission(ref, 1, Payload(Codec.JSON, call(size))) for ref in range(count)]))
        for share in range(count // 10, count + 1, count // 10):
            until(lambda share=share: besieged.figure("ended_total") >= ended + share)
            raw.sip()
        assert resident_mib(besieged.server.pid) - before_mib < 80
        got: dict[int, int] = {}
        while len(got) < count:
            for one in raw.hear(m.SettledCalls).settled:
                assert one.outcome.status == Status.DONE
                got[one.ref] = len(one.outcome.value.data)
        assert min(got.values()) > size


def test_readers_of_a_byte_a_second(besieged: Besieged, tmp_path: Path) -> None:
    """Each costs the server little and its neighbours nothing: a peer, and programs with results to come.

    One program has small results in great number, one fetches a large one, and one is asked for an argument, of which
    it gives a byte at a time. When they are gone nothing of theirs is left.
    """
    peer, stack = RawPeer(besieged, tmp_path / "key", "tortoise"), ExitStack()
    before_mib = resident_mib(besieged.server.pid)
    with besieged.working(tmp_path), stack:
        tortoise = stack.enter_context(peer.linked())
        tortoise.say(m.Declare(((1, BLANK),)))
        tortoise.say(m.Offers(_offers(300, 1 << 43, 1, 200_000)))
        hoarder, fetcher, giver = (stack.enter_context(_program(besieged)) for _ in range(3))
        hoarder.say(m.Submit([Submission(ref, 1, Payload(Codec.JSON, call(200_000))) for ref in range(300)]))
        fetcher.say(m.Submit([Submission(1, 1, Payload(Codec.JSON, call(40 * MIB)))]))
        (named,) = fetcher.hear(m.SettledCalls).settled
        remote = named.outcome.value.parts[0].remote
        assert remote is not None
        fetcher.say(m.DataRequest(remote.number, 0, 0, remote.home, remote.boot, 1))
        part = Part(40 * MIB, remote=Remote("", "", 7, 40 * MIB))
        giver.say(m.Submit([Submission(1, 1, Payload(Codec.PICKLE, b"", (part,)))]))
        request = giver.hear(m.DataRequest)
        chunk = giver.session.send(m.DataChunk(7, 0, 40 * MIB, b"", "", memoryview(bytes(MIB)), request.stream), 0.0)
        given = iter(b"".join(piece for pieces in chunk for piece in pieces))
        until(lambda: besieged.link("tortoise")["unread_bytes"] > 16 * MIB)
        tortoise.sip()
        for beat in range(1, SLOW_BYTES + 1):
            tortoise.say(m.Heartbeat(beat, float(beat)))
            giver.sock.sendall(bytes((next(given),)))
            _a_byte_each((tortoise, hoarder, fetcher), 1.0)
        assert besieged.figure("transfers") == 1
        assert resident_mib(besieged.server.pid) - before_mib < 120
    until(lambda: besieged.figure("transfers") == 0)
    besieged.revoke("tortoise")
    until(lambda: besieged.figure("waiting_tasks") == 0)


def _program(besieged: Besieged) -> Raw:
    """Come as a program that has large results named to it."""
    raw = plain(besieged.address)
    raw.say(m.Hello(role="user", capabilities={"data": True}))
    assert raw.hear(m.HelloAck).ok
    raw.say(m.Declare(((1, BLANK),)))
    return raw


def _a_byte_each(readers: tuple[Raw, ...], seconds: float) -> None:
    """Read one byte of each within so many seconds, and nothing for the rest of them."""
    end_s = time.monotonic() + seconds
    for raw in readers:
        assert raw.sock.recv(1)
    with suppress(TimeoutError):
        nobody, other = socket.socketpair()
        with nobody, other:
            nobody.settimeout(max(end_s - time.monotonic(), 0.001))
            nobody.recv(1)


def resident_mib(pid: int) -> float:
    """Measure a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def test_a_link_that_was_cut_is_seen(start_agent: StartAgent, tmp_path: Path) -> None:
    """What measures all of the above can fail: a link that ends and comes back is not the same one."""
    own = Besieged(start_agent)

    def cut() -> None:
        with own.working(tmp_path):
            own.guest.client.delete("/v1/resources/server", params={"lost": "true"}).raise_for_status()
            until(lambda: not own.guest.is_connected("server"))
            own.guest.client.post("/v1/resources", json={"name": "server", "capacity": {}}).raise_for_status()
            own.guest.until_connected("server")

    with pytest.raises(AssertionError):
        cut()
