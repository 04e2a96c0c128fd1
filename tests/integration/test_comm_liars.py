"""A neighbour that lends and lies about what came of it: its tasks are its own affair, and nobody else's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of
from integration.siege_rig import Raw, RawPeer, call

from agentd.model.exchange import End, Offer, Report
from agentd.model.task import Failure, Outcome, Status, Template
from agentd.model.values import Codec, Part, Payload, Remote
from agentd.wire import messages as m
from agentd.wire.checksum import checksum
from schedulers.view import Tier
from tests.conftest import StartAgent, agents_started
from tests.fakes.nursery import Nursery

LOOK_S = 0.1
"""The liar reads so long before it looks whether it is to leave; heartbeats are owed each second."""
CORES = 64
OBJECT = b"a" * 600_000
ONE = Payload(Codec.JSON, b"1")


class Lender:
    """An agent that gives what it has no cores for to the liar: all, by default."""

    def __init__(self, start: StartAgent, cores: int = 0) -> None:
        self.agent = start(*WITH_APPS, "--hostname", "server", "--cpu", str(cores))
        self.door = door_of(self.agent)
        host, _, port = self.agent.comm.rpartition(":")
        self.address = host, int(port)

    def invite(self) -> str:
        """Make an invitation for one more peer."""
        made = self.door.client.post("/v1/invitations", json={"role": "peer"}).raise_for_status().json()
        return str(made["invitation"])


class Liar(threading.Thread):
    """Ends each task that it is given as it was told to, and gives its one object to who asks."""

    def __init__(self, raw: Raw) -> None:
        super().__init__()
        self._raw = raw
        self._is_over = threading.Event()
        self._lies: queue.Queue[Outcome] = queue.Queue()
        self.error: Exception | None = None

    def say(self, outcome: Outcome) -> None:
        """Say this of the next task."""
        self._lies.put(outcome)

    def leave(self) -> None:
        """Go."""
        self._is_over.set()
        self.join()
        self._raw.sock.close()
        assert self.error is None, self.error

    def run(self) -> None:
        tiers = (Tier(1.0, CORES, CORES, CORES, 0.0),)
        try:
            self._raw.say(m.Load(Report(epoch=1, sequence=1, tiers=tiers)))
            while not self._is_over.is_set():
                self._raw.say(m.Heartbeat())
                self._listen()
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            self.error = error

    def _listen(self) -> None:
        self._raw.sock.settimeout(LOOK_S)
        try:
            data = self._raw.sock.recv(1 << 16)
        except TimeoutError:
            return
        finally:
            self._raw.sock.settimeout(PATIENCE_S)  # what it says is read when the agent comes to it
        assert data, "it was dropped"
        for message in self._raw.session.receive(data, 0.0):
            if isinstance(message, m.Offers):
                for offer in message.offers:
                    lie = self._lies.get(timeout=PATIENCE_S)
                    self._raw.say(m.Answers(((offer.task, offer.attempt, 1),)))
                    self._raw.say(m.Ends([End(offer.task, offer.attempt, 1, lie)]))
            elif isinstance(message, m.DataRequest):
                piece = OBJECT[message.offset : message.offset + message.size]
                tag = checksum((piece,))
                said = m.DataChunk(message.object, message.offset, len(OBJECT), tag, "", piece, message.stream)
                self._raw.say(said)


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[tuple[Door, Liar, Path]]:
    """The agent that lends from the liar, the liar, and the agent's log."""
    with agents_started(tmp_path_factory, nursery) as start:
        server = Lender(start)
        raw = RawPeer(server, tmp_path_factory.mktemp("mallory") / "key").linked()  # type: ignore[arg-type]
        liar = Liar(raw)
        granted = {"name": "mallory", "capacity": {"processors": [{"kind": "CPU", "units": CORES}]}}
        server.door.client.post("/v1/resources", json=granted).raise_for_status()
        liar.start()
        yield server.door, liar, server.agent.log
        liar.leave()


@pytest.fixture
def told(lender: tuple[Door, Liar, Path]) -> Iterator[Callable[[Outcome], dict[str, Any]]]:
    """Have a task ended in a way of the liar's; gives what people see of it, no fault of the agent's."""
    door, liar, log = lender
    seen = log.stat().st_size

    def told(outcome: Outcome) -> dict[str, Any]:
        liar.say(outcome)
        return door.submit("sums:increment", 1, wait_s=PATIENCE_S)

    yield told
    assert "Traceback" not in log.read_bytes()[seen:].decode()
    assert liar.error is None


@pytest.mark.parametrize(
    "said",
    [
        b'1,"state":"failed","more":2',
        b"{",
        b'"\xff\xfe"',
        b"[" * 5000 + b"]" * 5000,
        b"",
    ],
)
@pytest.mark.parametrize("codec", [Codec.JSON, Codec.BOTH])
def test_what_is_no_json_is_in_no_document(
    lender: tuple[Door, Liar, Path], told: Callable[[Outcome], dict[str, Any]], said: bytes, codec: Codec
) -> None:
    """Nor can it say anything else of its task, or of others, in the documents in which results stand."""
    data = said if codec == Codec.JSON else len(said).to_bytes(4, "big") + said
    ended = told(Outcome(value=Payload(codec, data)))
    assert (ended["state"], ended["result"]) == ("done", None)
    assert "more" not in ended
    door = lender[0]
    assert ended["id"] in {row["id"] for row in door.get("/v1/operations")["operations"]}
    answer = door.client.get(f"/v1/operations/{ended['id']}/result")
    assert answer.status_code == 406
    assert answer.json()["title"] == "Not Acceptable"


def test_a_failure_costs_no_more_than_an_honest_one(told: Callable[[Outcome], dict[str, Any]]) -> None:
    """Its texts are kept as far as a worker's are, its kind is one that there is."""
    failure = Failure(99, "T" * 10_000, "m" * 1_000_000, "t" * 1_000_000, "a" * 10_000, 0, bytes(1_000_000))
    ended = told(Outcome(Status.FAILED, failure=failure, agent="a" * 100_000))
    assert ended["state"] == "failed"
    assert ended["error"]["message"].startswith("mmm")
    assert len(str(ended)) < 300_000


def part(number: int, size: int, of: int = 0, offset: int = 0) -> Part:
    """Name some of an object of the liar's."""
    return Part(size, None, 0, offset, 0, Remote("id-mallory", "b", number, of or size, ("id-mallory",)))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((part(1, len(OBJECT)), part(1, len(OBJECT) + 1)), "two sizes"),
        ((part(2, 50_000, 1 << 40, 1 << 39), part(2, len(OBJECT))), "two sizes"),
    ],
)
def test_an_object_has_one_size(told: Callable[[Outcome], dict[str, Any]], parts: tuple[Part, ...], words: str) -> None:
    """What lies outside of what is here is not read: the task has failed, and says why."""
    ended = told(Outcome(value=Payload(Codec.BYTES, b"", parts)))
    assert ended["state"] == "failed"
    assert words in ended["error"]["message"]


def test_a_true_value_comes_all_the_same(
    lender: tuple[Door, Liar, Path], told: Callable[[Outcome], dict[str, Any]]
) -> None:
    """After all its lies what it says is believed as far as it can be."""
    ended = told(Outcome(value=Payload(Codec.BYTES, b"", (part(3, len(OBJECT)),))))
    assert ended["state"] == "done"
    assert lender[0].client.get(f"/v1/operations/{ended['id']}/result").content == OBJECT
    assert told(Outcome(value=ONE))["result"] == 1


def test_a_way_to_end_that_does_not_exist_is_a_failure(told: Callable[[Outcome], dict[str, Any]]) -> None:
    """It says so, instead of being tried again and again."""
    ended = told(Outcome(77, ONE))
    assert ended["state"] == "failed"
    assert "77" in ended["error"]["message"]


def test_what_tasks_print_is_for_who_asked_for_them(start_agent: StartAgent, tmp_path: Path) -> None:
    """To know the number of a task is no right to its output; numbers of one agent's tasks are easily guessed."""
    server = Lender(start_agent, cores=1)
    ended = server.door.submit("sums:shout", "secret", wait_s=PATIENCE_S)
    assert "secret" in server.door.client.get(f"/v1/operations/{ended['id']}/logs").text
    raw = RawPeer(server, tmp_path / "key").linked()  # type: ignore[arg-type]
    with raw:
        raw.say(m.OutputRequest(task=int(ended["id"]), stream=1, limit=1000))
        assert bytes(raw.hear(m.Output).data) == b""
        raw.say(m.Declare(((1, Template("sums:shout", codec=Codec.JSON)),)))
        raw.say(m.Offers([Offer(7, 1, Payload(Codec.JSON, call("hello")), origin="id-mallory", hops=1)]))
        assert raw.hear(m.Ends).ends[0].outcome.status == Status.DONE
        raw.say(m.OutputRequest(task=7, stream=1, limit=1000))
        assert bytes(raw.hear(m.Output).data) == b"hello\n"
