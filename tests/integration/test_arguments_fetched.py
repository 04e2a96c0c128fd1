"""Programs that name their arguments instead of sending them: what an agent fetches of them, and what it does not."""

from __future__ import annotations

import pickle
from collections import deque
from typing import Any

import pytest
from integration.daemon_rig import WITH_APPS, Door, door_of, until
from integration.siege_rig import Raw, plain

from agentd.api.calls.values import decode
from agentd.daemon.data.pulling import ACTIVE_MOST as AT_A_TIME
from agentd.daemon.data.transfers import WINDOW_BYTES
from agentd.daemon.trust.tokens import TokenBook
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Form, Outcome, Status, Template
from agentd.model.values import Codec, Part, Payload, Remote
from agentd.wire import messages as m
from agentd.wire.checksum import checksum
from tests.conftest import RunningAgent, StartAgent

MIB = 1 << 20
SIZE = 3 * MIB
LEN = Template(function="len", form=Form.VALUE, code=pickle.dumps(len))
_ARGS = pickle.dumps(((pickle.PickleBuffer(b""),), {}), 5, buffer_callback=lambda _: False)


@pytest.fixture
def agent(start_agent: StartAgent) -> RunningAgent:
    return start_agent(*WITH_APPS, "--cpu", "2")


@pytest.fixture
def door(agent: RunningAgent) -> Door:
    return door_of(agent)


def program(agent: RunningAgent, template: Template = LEN, token: str = "", session: str = "") -> Program:
    """Come as a program of another device would, without the protection of TLS; with a session it comes back."""
    host, _, port = agent.comm.rpartition(":")
    raw = Program(plain((host, int(port))))
    raw.say(m.Hello(role="user", token=token, capabilities={"session": session} if session else {}))
    ack = raw.hear(m.HelloAck)
    assert ack.ok
    assert ack.capabilities["sessions"]
    assert ack.capabilities["arguments"]
    raw.say(m.Declare(((1, template),)))
    return raw


def naming(ref: int, size: int = SIZE, *, codec: Codec = Codec.PICKLE, **other: Any) -> Submission:
    """Make a call of which the argument is an object of the program's, under the same number."""
    remote = Remote(**{"home": "", "boot": "", "number": ref, "size": size, **other})
    return Submission(ref, 1, Payload(codec, _ARGS, (Part(size, remote=remote),)))


def answer(raw: Program, request: m.DataRequest, size: int = SIZE, *, is_damaged: bool = False) -> None:
    """Send what is asked for."""
    for offset in range(request.offset, request.offset + request.size, MIB):
        data = memoryview(bytes(min(MIB, request.offset + request.size - offset)))
        tag = bytes(16) if is_damaged else checksum((data,))
        raw.say(m.DataChunk(request.object, offset, size, tag, "", data, request.stream))


class Program(Raw):
    """A program that keeps what it heard and did not ask for."""

    def __init__(self, raw: Raw) -> None:
        super().__init__(raw.sock)
        self.inbox: deque[Any] = deque()

    def next(self) -> Any:
        """Take the next thing that the agent says: a request, or how one call ended."""
        while not self.inbox:
            data = self.sock.recv(1 << 16)
            assert data, "the agent closed the connection"
            for message in self.session.receive(data, 0.0):
                if isinstance(message, m.SettledCalls):
                    self.inbox.extend(message.settled)
                elif not isinstance(message, m.Heartbeat):
                    self.inbox.append(message)
        return self.inbox.popleft()


def settled(raw: Program) -> tuple[int, Outcome]:
    """Read how the next call ended; nothing else may come before."""
    one = raw.next()
    assert isinstance(one, Settled), one
    return one.ref, one.outcome


def requested(raw: Program) -> m.DataRequest:
    """Read what is asked for next; nothing else may come before."""
    one = raw.next()
    assert isinstance(one, m.DataRequest), one
    return one


def words_of(outcome: Outcome) -> str:
    assert outcome.status == Status.FAILED
    assert outcome.failure is not None
    return outcome.failure.message


def test_an_argument_is_fetched_before_its_call_runs(agent: RunningAgent) -> None:
    """In pieces, each asked for once; the call gets all of it."""
    with program(agent) as raw:
        raw.say(m.Submit([naming(7)]))
        request = requested(raw)
        assert (request.object, request.offset, request.size, request.home, request.boot) == (7, 0, SIZE, "", "")
        answer(raw, request)
        ref, outcome = settled(raw)
        assert (ref, outcome.status, decode(outcome.value, [])) == (7, Status.DONE, SIZE)


def test_what_is_damaged_is_asked_for_again(agent: RunningAgent) -> None:
    """From where it was sound; not for ever: then the call fails with the reason, and the next one goes on."""
    with program(agent) as raw:
        raw.say(m.Submit([naming(1)]))
        request = requested(raw)
        data = memoryview(bytes(MIB))
        raw.say(m.DataChunk(1, 0, SIZE, checksum((data,)), "", data, request.stream))
        raw.say(m.DataChunk(1, MIB, SIZE, bytes(16), "", data, request.stream))
        again = requested(raw)
        assert (again.offset, again.stream != request.stream) == (MIB, True)
        answer(raw, again)
        assert settled(raw)[1].status == Status.DONE
        raw.say(m.Submit([naming(2)]))
        for _ in range(3):
            answer(raw, requested(raw), is_damaged=True)
        assert "damaged" in words_of(settled(raw)[1])
        raw.say(m.Submit([naming(3)]))
        answer(raw, requested(raw))
        assert settled(raw)[1].status == Status.DONE


def test_an_argument_that_its_program_does_not_give_fails_the_call(agent: RunningAgent) -> None:
    """With the program's own reason."""
    with program(agent) as raw:
        raw.say(m.Submit([naming(1)]))
        request = requested(raw)
        raw.say(m.DataChunk(1, 0, error="it was eaten", stream=request.stream, gone=True))
        assert "it was eaten" in words_of(settled(raw)[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"home": "id-of-an-agent"},
        {"boot": "b"},
        {"size": SIZE - 1},
        {"number": 0},
    ],
)
def test_what_is_no_object_of_the_program_ends_the_connection(agent: RunningAgent, wrong: dict[str, Any]) -> None:
    """Another agent's, a part outside of it, or none."""
    with program(agent) as raw:
        raw.say(m.Submit([naming(1, **wrong) if "size" not in wrong else _outside()]))
        assert raw.last_words()[0] == "protocol"


def _outside() -> Submission:
    remote = Remote("", "", 1, SIZE - 1)
    return Submission(1, 1, Payload(Codec.PICKLE, _ARGS, (Part(SIZE, remote=remote),)))


def test_who_may_not_send_code_has_nothing_fetched(start_agent: StartAgent) -> None:
    """Not a byte is asked for in the name of who may submit JSON alone; each call fails with what is missing."""
    agent = start_agent(*WITH_APPS, "--local-access", "none")
    token = TokenBook(agent.state).add("clerk", "submit")
    with program(agent, Template(function="sums:increment", codec=Codec.JSON), token) as raw:
        raw.say(m.Submit([naming(1), naming(2, codec=Codec.JSON)]))
        ends = [outcome for _ in range(2) for _, outcome in (settled(raw),)]
        assert all("scope code" in words_of(outcome) for outcome in ends)
    assert door_of(agent).figure("transfers") == 0


def test_of_many_calls_some_are_fetched_at_a_time(agent: RunningAgent) -> None:
    """However much a program names, what is on its way is a window for each of a few calls; all come in the end."""
    count, size = 30, 12 * MIB
    with program(agent) as raw:
        raw.say(m.Submit([naming(ref, size) for ref in range(1, count + 1)]))
        raw.say(m.CancelCalls((count,)))
        waiting: deque[m.DataRequest] = deque()
        seen: set[int] = set()
        done = -1  # one was cancelled
        while done < count - 1:
            message = raw.next()
            if isinstance(message, m.DataRequest):
                seen.add(message.object)
                waiting.append(message)
            else:
                assert message.outcome.status == (Status.CANCELLED if message.ref == count else Status.DONE)
                done += 1
            most = min(AT_A_TIME, count - 1 - max(done, 0))
            assert sum(request.size for request in waiting) <= most * WINDOW_BYTES
            if len({request.object for request in waiting}) == most:
                while waiting:
                    answer(raw, waiting.popleft(), size)
        assert len(seen) == count - 1


def test_a_program_that_dies_leaves_nothing(agent: RunningAgent, door: Door) -> None:
    """Neither transfers nor tasks nor memory of what had come, in the middle of one and with others waiting."""
    size = 200 * MIB
    with program(agent) as raw:
        raw.say(m.Submit([naming(ref, size) for ref in range(1, 10)]))
        request = requested(raw)
        answer(raw, request, size)
        until(lambda: door.figure("fetched_bytes") >= 0.99 * request.size)
        assert door.figure("transfers") >= 1
    for name in ("transfers", "waiting_tasks", "objects"):
        until(lambda name=name: door.figure(name) == 0)
    with program(agent) as raw:
        raw.say(m.Submit([naming(1)]))
        answer(raw, requested(raw))
        assert settled(raw)[1].status == Status.DONE


def test_a_call_given_up_in_the_middle_is_over_at_once(agent: RunningAgent, door: Door) -> None:
    """Its argument is not asked for any more, and what still comes of it is nobody's."""
    with program(agent) as raw:
        raw.say(m.Submit([naming(1)]))
        request = requested(raw)
        raw.say(m.CancelCalls((1,)))
        assert settled(raw) == (1, Outcome(Status.CANCELLED))
        answer(raw, request)
        assert door.figure("transfers") == 0
        raw.say(m.Submit([naming(2)]))
        answer(raw, requested(raw))
        assert settled(raw)[1].status == Status.DONE


def cut_off(agent: RunningAgent, door: Door, session: str, token: str = "") -> None:
    """Come, name object 1, send a third of it, and be cut off without a word."""
    with program(agent, session=session, token=token) as raw:
        raw.say(m.Submit([naming(1)]))
        request = requested(raw)
        data = memoryview(bytes(MIB))
        before = door.figure("fetched_bytes")
        raw.say(m.DataChunk(1, 0, SIZE, checksum((data,)), "", data, request.stream))
        until(lambda: door.figure("fetched_bytes") == before + MIB)
    if session:
        until(lambda: door.figure("kept_bytes") >= SIZE)
    else:
        until(lambda: door.figure("transfers") == 0)


def test_a_session_that_was_cut_off_is_asked_for_the_rest(agent: RunningAgent, door: Door) -> None:
    """And not for what is here; when its call has ended nothing is kept."""
    cut_off(agent, door, "0" * 32)
    with program(agent, session="0" * 32) as raw:
        raw.say(m.Submit([naming(1)]))
        request = requested(raw)
        assert (request.offset, request.size) == (MIB, SIZE - MIB)
        answer(raw, m.DataRequest(1, MIB, SIZE - MIB, "", "", request.stream))
        _, outcome = settled(raw)
        assert decode(outcome.value, []) == SIZE
    until(lambda: door.figure("kept_bytes") == 0)


@pytest.mark.parametrize("session", ["", "1" * 32, "0" * 31, "0" * 33, "g" * 32, "0" * 32 + " of token ann"])
def test_what_is_kept_is_given_to_its_session_alone(agent: RunningAgent, door: Door, session: str) -> None:
    """Who comes as another one, as none, or as one that cannot be, is asked for all of its own object."""
    cut_off(agent, door, "0" * 32)
    with program(agent, session=session) as raw:
        raw.say(m.Submit([naming(1)]))
        assert requested(raw).offset == 0


def test_a_session_is_of_one_user(agent: RunningAgent, door: Door) -> None:
    """Who has overheard its number and has another token is another program, and ends no connection of it."""
    ann, bob = (TokenBook(agent.state).add(name, "code") for name in ("ann", "bob"))
    cut_off(agent, door, "0" * 32, ann)
    with program(agent, session="0" * 32, token=ann) as raw, program(agent, session="0" * 32, token=bob) as other:
        other.say(m.Submit([naming(1)]))
        assert requested(other).offset == 0
        raw.say(m.Submit([naming(1)]))
        assert requested(raw).offset == MIB


def test_a_session_has_one_connection(agent: RunningAgent, door: Door) -> None:
    """A new one ends the old one, of which the agent may not know that it is cut, and goes on with its objects."""
    with program(agent, session="0" * 32) as old:
        old.say(m.Submit([naming(1)]))
        request = requested(old)
        data = memoryview(bytes(MIB))
        old.say(m.DataChunk(1, 0, SIZE, checksum((data,)), "", data, request.stream))
        until(lambda: door.figure("fetched_bytes") == MIB)
        with program(agent, session="0" * 32) as raw:
            assert old.last_words()[0] == "replaced"
            raw.say(m.Submit([naming(1)]))
            assert requested(raw).offset == MIB


def test_a_session_that_says_goodbye_leaves_nothing(agent: RunningAgent, door: Door) -> None:
    """It does not come back."""
    with program(agent, session="0" * 32) as raw:
        raw.say(m.Submit([naming(1)]))
        requested(raw)
        raw.say(m.Goodbye("stopping", "done"))
        until(lambda: door.figure("transfers") == 0)
    until(lambda: door.figure("kept_bytes") == 0)
