"""The session's half of a direct line: when it asks for one, what goes over it, and what becomes of its calls."""

from __future__ import annotations

import os
import pickle
import socket
from itertools import count
from types import SimpleNamespace

import msgspec
import pytest

from agentd.api.calls import direct
from agentd.api.calls import direct_frames as frames
from agentd.api.calls.direct import LOOP_LEAST, Direct
from agentd.api.calls.direct_ends import DirectEnds
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Constraints, Failure, Form, Outcome, Reason, Status, Template
from agentd.model.values import Codec, Part, Payload
from agentd.wire.line_messages import Announce, LineGiven
from agentd.workers.protocol import FrameReader

PLAIN = Template("m:f")
CALL = Payload(Codec.PICKLE, pickle.dumps(((1,), {})))


class Agent:
    """A connection, of which the messages are kept, and the worker at the end of the line that was asked for."""

    def __init__(self, *, gives=True, local=True, announced=True):
        capabilities = {"direct": gives, "lines": gives, "announce": announced}
        self.ack = SimpleNamespace(capabilities=capabilities, name="alpha")
        self.is_local = local
        self.backlog = []
        self.dialogue = SimpleNamespace(room=10)
        self.asked = []
        self.watched = []
        self.worker = None

    def watch(self, descriptor):
        self.watched.append(descriptor)

    def unwatch(self, descriptor):
        if descriptor in self.watched:
            self.watched.remove(descriptor)

    def announce(self, line, call):
        self.asked.append(Announce(line, [call]))

    def write(self, mail):
        ((message, descriptors),) = mail
        self.asked.append(message)
        if descriptors:
            self.worker = socket.socket(fileno=socket.dup(descriptors[0]))


class Rig:
    """A session that has come as far as wanting a line, unless told otherwise."""

    def __init__(self, template=PLAIN, **agent):
        self.agent = Agent(**agent)
        self.templates = [template]
        catalogue = SimpleNamespace(
            template=lambda number: self.templates[number - 1],
            with_one_attempt_less=lambda _: self.less,
            news_for=lambda _: None,
        )
        self.less = 9
        self.direct = Direct(catalogue)
        self.direct.connect(self.agent)
        self.refs = count(1)
        self.pending = {}
        self.outbox = []
        self.settled = []
        settle = lambda message, _: self.settled.extend(message.settled)  # noqa: E731
        self.ends = DirectEnds(self.direct, catalogue, self.pending, self.outbox, settle)

    def call(self, payload=CALL):
        """Make a call, which is the only one; tells whether it went directly."""
        call = Submission(next(self.refs), 1, payload)
        self.pending = {call.ref: SimpleNamespace(submission=call, lost_attempts=0)}
        self.ends._pending = self.pending
        self.last = call
        return self.direct.is_possible and self.direct.take(call, self.refs)

    def by_daemon(self, times=1, **outcome):
        """Have calls come back from the daemon."""
        for _ in range(times):
            assert not self.call()
            self.direct.settled(self.last.ref, Outcome(agent="alpha", **outcome))

    def on_a_line(self):
        """Have a call wait on a line."""
        self.by_daemon(LOOP_LEAST)
        assert self.call()
        return self.agent.worker

    def answer(self, number, value=None):
        """Have the worker answer a call."""
        body = msgspec.msgpack.encode([[number, 0, [int(Codec.PICKLE), pickle.dumps(value)], None, 0.0, 0.0]])
        self.agent.worker.send(frames.HEADER.pack(len(body), frames.ENDED) + body)

    def say_over(self, begun, *, is_last=False):
        """Have the worker leave."""
        body = frames.OVER_BODY.pack(begun, is_last)
        self.agent.worker.send(frames.HEADER.pack(len(body), frames.OVER) + body)
        self.agent.worker.close()

    def line_ends(self, outcome):
        """Have the line's task end."""
        return self.ends.over(Settled(self.agent.asked[-1].ref, outcome), [])


@pytest.fixture(autouse=True)
def frozen(monkeypatch):
    """No time passes for the session but what a test lets pass: a slow machine makes no pauses in a loop."""
    monkeypatch.setattr(direct, "monotonic", lambda: 0.0)


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.direct.close()
    if rig.agent.worker is not None:
        rig.agent.worker.close()
    assert rig.agent.watched == []


def test_a_loop_of_lone_quick_calls_asks_for_a_line(rig):
    """The call that asks waits on the line already; the next ones go over it, and none by the daemon."""
    worker = rig.on_a_line()
    assert rig.agent.asked == [direct.Asking(LOOP_LEAST + 2, "m:f", 0)]
    first = worker.recv(1 << 16)
    assert first.endswith(CALL.data)
    assert b"m:f" in first
    for number in range(1, 20):
        rig.answer(number, number)
        rig.ends.hear()
        assert rig.settled[-1].ref == rig.last.ref
        assert pickle.loads(rig.settled[-1].outcome.value.data) == number
        assert rig.call()
        assert b"m:f" not in worker.recv(1 << 16)
    assert len(rig.agent.asked) == 1
    rig.direct.close()


@pytest.mark.parametrize("cause", ["pause", "slow", "elsewhere", "other"])
def test_what_is_no_loop_asks_for_none(rig, monkeypatch, cause):
    """Pauses between calls, slow ones, ones that ran beyond a neighbour, and ends of others begin the count anew."""
    now = 0.0
    monkeypatch.setattr(direct, "monotonic", lambda: now)
    for _ in range(20):
        assert not rig.call()
        now += direct.QUICK_S * (1.1 if cause == "slow" else 0.1)
        agent = "beta" if cause == "elsewhere" else "alpha"
        rig.direct.settled(rig.last.ref + (cause == "other"), Outcome(agent=agent, hops=2 if agent == "beta" else 0))
        now += direct.PAUSE_S * (1.1 if cause == "pause" else 0.1)
    assert rig.agent.asked == []


@pytest.mark.parametrize(
    "template",
    [
        Template("m:f", durable=True, idempotent=False),
        Template("m:f", timeout_s=3.0),
        Template("m:f", constraints=Constraints(computing_units=2)),
        Template("m:f", form=Form.CHUNK),
        Template("m:f", form=Form.VALUE, code=b"x" * (frames.CODE_MOST + 1)),
    ],
)
def test_calls_that_need_the_daemon_never_ask(template):
    """Whatever needs more than a core of this agent."""
    rig = Rig(template)
    rig.by_daemon(20)
    assert rig.agent.asked == []


@pytest.mark.parametrize("agent", [{"gives": False}, {"local": False}])
def test_an_agent_that_gives_none_is_not_asked(agent):
    """One that is older, or elsewhere, would end the connection."""
    rig = Rig(**agent)
    rig.by_daemon(20)
    assert rig.agent.asked == []


@pytest.fixture
def durable():
    durable = Rig(Template("m:f", durable=True))
    yield durable
    durable.direct.close()
    if durable.agent.worker is not None:
        durable.agent.worker.close()


def test_the_agent_is_told_of_each_durable_call_and_tells_its_end(durable):
    """The worker has the call first; the next one goes over the same line when the agent has settled it."""
    worker = durable.on_a_line()
    ref = durable.agent.asked[0].ref
    for number in range(1, 20):
        assert frames.DURABLE_CALL in {kind for kind, _ in FrameReader(1 << 20).feed(worker.recv(1 << 16))}
        assert durable.agent.asked[-1] == Announce(ref, [durable.last])
        assert len(durable.agent.asked) == number + 1
        durable.direct.settled(durable.last.ref, Outcome(agent="alpha"))
        assert durable.call()


def test_an_older_agent_is_told_of_none():
    """Durable calls go by it, as ever."""
    rig = Rig(Template("m:f", durable=True), announced=False)
    rig.by_daemon(20)
    assert rig.agent.asked == []


def test_without_credits_a_durable_call_goes_by_the_daemon(durable):
    """It waits there until it may be told of."""
    durable.by_daemon(LOOP_LEAST)
    durable.agent.dialogue.room = 1
    assert not durable.call()
    durable.agent.dialogue.room = 2
    durable.direct.settled(durable.last.ref, Outcome(agent="alpha"))
    assert durable.call()
    durable.direct.settled(durable.last.ref, Outcome(agent="alpha"))
    durable.agent.dialogue.room = 0
    assert not durable.call()


@pytest.mark.parametrize("way", ["unbegun", "last", "dead"])
def test_what_becomes_of_a_durable_call_is_the_agents_to_say(durable, way):
    """However the line ends, the session sends it to nobody else, and settles nothing by itself."""
    durable.on_a_line()
    if way == "dead":
        durable.agent.worker.close()
    else:
        durable.say_over(way == "last", is_last=way == "last")
    durable.ends.hear()
    died = Outcome(Status.LOST_UNKNOWN, failure=Failure(Reason.SIGNAL, "WorkerLost", "killed by signal 11"))
    asked = durable.agent.asked[0].ref
    assert not durable.ends.over(Settled(asked, died if way == "dead" else Outcome()), [])
    assert durable.outbox == []
    assert durable.settled == []
    assert durable.direct.line is None
    durable.direct.settled(durable.last.ref, Outcome(agent="alpha"))
    if way == "last":  # calls of this function are kept off lines from now on
        durable.by_daemon(20)


def test_the_last_durable_call_of_a_line_that_is_left_is_settled(durable):
    """A second call has come: the line ends with the one at hand."""
    worker = durable.on_a_line()
    durable.direct.crowded()
    worker.recv(1 << 16)
    assert worker.recv(1) == b""
    durable.direct.settled(durable.last.ref, Outcome(agent="alpha"))
    assert durable.direct.line is None


def test_a_cancelled_durable_call_is_cancelled_as_itself(durable):
    """The agent knows it by its own number."""
    durable.on_a_line()
    assert durable.direct.give_up(durable.last) == 0
    assert durable.direct.line is None


def test_large_arguments_end_the_line(rig):
    """They go by the daemon, which may need the core."""
    worker = rig.on_a_line()
    rig.answer(1)
    rig.ends.hear()
    large = Payload(Codec.PICKLE, b"", (Part(1_000_000, None, 3),))
    assert not rig.call(large)
    worker.recv(1 << 16)
    assert worker.recv(1) == b""
    assert rig.direct.line is None


def test_a_second_call_ends_the_line_after_the_first(rig):
    """The first is answered all the same."""
    worker = rig.on_a_line()
    rig.direct.crowded()
    worker.recv(1 << 16)
    assert worker.recv(1) == b""
    rig.answer(1, "late")
    rig.ends.hear()
    assert pickle.loads(rig.settled[-1].outcome.value.data) == "late"
    assert rig.direct.line is None


def test_a_call_that_was_not_begun_goes_another_way(rig):
    """The worker left between its last answer and the call: that is in the outbox again, and nothing is settled."""
    rig.on_a_line()
    rig.answer(1)
    rig.ends.hear()
    rig.settled.clear()
    assert rig.call()
    rig.say_over(1)
    rig.ends.hear()
    assert rig.outbox == [rig.last]
    assert rig.settled == []
    assert rig.direct.line is None
    assert not rig.line_ends(Outcome())


def test_a_worker_that_has_left_is_noticed_by_who_writes(rig):
    """The call goes by the next line at once: the loop goes on."""
    rig.on_a_line()
    for number in range(1, LOOP_LEAST + 1):
        rig.answer(number)
        rig.ends.hear()
        assert number == LOOP_LEAST or rig.call()
    first = rig.direct.line
    rig.say_over(LOOP_LEAST)
    assert rig.call()
    assert rig.direct.line is not first
    assert len(rig.agent.asked) == 2


def test_the_end_of_the_task_is_that_of_the_last_call(rig):
    """So a large result, a failure with tasks in it, or a cancellation arrives; such calls are kept off lines."""
    rig.on_a_line()
    rig.say_over(1, is_last=True)
    rig.ends.hear()
    assert rig.settled == []
    value = Payload(Codec.PICKLE, b"", (Part(1_000_000, None, 8),))
    assert rig.line_ends(Outcome(value=value))
    assert rig.settled == [Settled(rig.last.ref, Outcome(value=value))]
    rig.by_daemon(20)


def test_a_line_that_is_refused_refuses_the_call(rig):
    """An agent that is stopping or full says so to the call that waited on the line."""
    rig.on_a_line()
    refusal = Outcome(Status.FAILED, failure=Failure(Reason.NOT_CALLABLE, "RequestError", "this agent is stopping"))
    assert rig.line_ends(refusal)
    assert rig.settled == [Settled(rig.last.ref, refusal)]


def test_a_line_that_was_never_served_gives_its_call_back(rig):
    """Its socket was lost with the worker that was to have it, before that had begun anything."""
    rig.on_a_line()
    gone = Failure(Reason.NOT_DECODABLE, "NotDecodable", "the session's socket is no longer on this agent")
    assert rig.line_ends(Outcome(Status.FAILED, failure=gone))
    assert rig.outbox == [rig.last]
    assert rig.settled == []


def test_a_worker_that_dies_costs_an_attempt(rig):
    """The call is sent under a template with one attempt less; without any left it ends as the line did."""
    died = Outcome(Status.LOST_UNKNOWN, failure=Failure(Reason.SIGNAL, "WorkerLost", "killed by signal 11"))
    rig.on_a_line()
    rig.agent.worker.close()
    rig.ends.hear()
    assert rig.settled == []
    assert rig.line_ends(died)
    assert [(call.ref, call.template) for call in rig.outbox] == [(rig.last.ref, 9)]
    assert rig.pending[rig.last.ref].lost_attempts == 1
    rig.less = None
    rig.on_a_line()
    assert rig.line_ends(died)
    assert rig.settled == [Settled(rig.last.ref, died)]


def test_no_memory_is_not_tried_again(rig):
    """As by the daemon: it would be no better the next time."""
    rig.on_a_line()
    died = Outcome(Status.FAILED, failure=Failure(Reason.OUT_OF_MEMORY, "OutOfMemory", "killed"))
    assert rig.line_ends(died)
    assert rig.settled == [Settled(rig.last.ref, died)]


def test_an_answer_in_the_last_bytes_counts(rig):
    """The end of the task may be read before what the worker has said: nothing of that is lost."""
    rig.on_a_line()
    rig.answer(1, "value")
    rig.say_over(1)
    assert not rig.line_ends(Outcome())
    assert pickle.loads(rig.settled[-1].outcome.value.data) == "value"


def test_a_cancelled_call_names_the_task_of_its_line(rig):
    """That is what is to be stopped; any other call is its own."""
    rig.on_a_line()
    assert rig.direct.give_up(Submission(77, 1, CALL)) == 0
    assert rig.direct.give_up(rig.last) == rig.agent.asked[0].ref
    assert rig.direct.line is None


def test_lines_of_little_use_are_asked_for_ever_more_seldom(rig):
    """Each that took fewer calls than a loop has doubles what it takes to ask; one that was used begins anew."""
    wanted = []
    for _ in range(3):
        wanted.append(rig.direct._wanted)
        rig.by_daemon(rig.direct._wanted)
        assert rig.call()
        rig.direct.crowded()
        rig.answer(1)
        rig.ends.hear()
        rig.agent.worker.close()
    assert wanted == [LOOP_LEAST, 2 * LOOP_LEAST, 4 * LOOP_LEAST]
    rig.by_daemon(rig.direct._wanted)
    assert rig.call()
    for number in range(1, direct.USED + 1):
        rig.answer(number)
        rig.ends.hear()
        assert rig.call()
    rig.direct.close()
    assert rig.direct._wanted == LOOP_LEAST


@pytest.mark.parametrize("data", [b"\xff\xff\xff\x7f\x15", b"\x03\x00\x00\x00\x15abc", b"\x01\x00\x00\x00\x16x"])
def test_rubbish_from_a_worker_is_the_end_of_the_line_only(rig, data):
    """The call ends as the line's task does."""
    rig.on_a_line()
    rig.agent.worker.send(data)
    rig.ends.hear()
    assert rig.settled == []
    assert rig.line_ends(Outcome())
    assert len(rig.outbox) == 1


# --- lines to neighbours ----------------------------------------------------------------------------------------------


def at_beta(rig, times=LOOP_LEAST, *, hops=1):
    """Have calls come back that ran at a neighbour."""
    for _ in range(times):
        assert not rig.call()
        rig.direct.settled(rig.last.ref, Outcome(agent="beta", hops=hops))


def given(rig):
    """Have the agent give the line that was asked for last; the worker has not begun to serve."""
    here, rig.agent.worker = socket.socketpair()
    rig.direct.given(LineGiven(rig.agent.asked[-1].ref), here.detach())


def say_ready(rig):
    """Have the worker begin to serve."""
    rig.agent.worker.send(frames.HEADER.pack(0, frames.READY))
    rig.ends.hear()


def on_a_far_line(rig):
    """Have a call go over a line to the neighbour."""
    at_beta(rig)
    assert not rig.call()
    given(rig)
    say_ready(rig)
    assert rig.call()


def test_a_loop_at_a_neighbour_asks_for_a_line_there_and_waits_for_none(rig):
    """Calls go by the daemons until the worker has said that it serves; then they are told as that neighbour's."""
    at_beta(rig)
    assert not rig.call()
    assert [(one.at, one.name) for one in rig.agent.asked] == [("beta", "m:f")]
    rig.direct.settled(rig.last.ref, Outcome(agent="beta", hops=1))
    assert not rig.call()
    given(rig)
    rig.direct.settled(rig.last.ref, Outcome(agent="beta", hops=1))
    assert not rig.call()
    assert rig.agent.watched == [rig.direct.line.fd]
    say_ready(rig)
    rig.direct.settled(rig.last.ref, Outcome(agent="beta", hops=1))
    assert rig.call()
    rig.answer(1, "there")
    rig.ends.hear()
    outcome = rig.settled[-1].outcome
    assert (outcome.agent, outcome.hops, pickle.loads(outcome.value.data)) == ("beta", 1, "there")
    assert len(rig.agent.asked) == 1


def test_a_word_that_comes_a_little_late_is_waited_for_once(rig):
    """For as long as the call before took, which the line's task went with: then the next call goes over the line."""
    at_beta(rig)
    assert not rig.call()
    given(rig)
    for late in (False, True):
        if late:
            rig.agent.worker.send(frames.HEADER.pack(0, frames.READY))
        rig.direct.settled(rig.last.ref, Outcome(agent="beta", hops=1))
        assert rig.call() is late


def test_calls_here_and_there_in_turn_are_no_loop(rig):
    """Only calls in a row at one place are worth a line to it."""
    for number in range(20):
        assert not rig.call()
        away = {"agent": "beta", "hops": 1} if number % 2 else {"agent": "alpha"}
        rig.direct.settled(rig.last.ref, Outcome(**away))
    assert rig.agent.asked == []


def test_an_agent_that_gives_no_lines_to_neighbours_is_not_asked_for_one():
    """It would take the message for another one."""
    rig = Rig()
    rig.agent.ack.capabilities = {"direct": True}
    rig.direct.connect(rig.agent)
    at_beta(rig, 20)
    assert rig.agent.asked == []


def test_a_line_that_does_not_come_is_given_up(rig, monkeypatch):
    """After a moment, and the agent is told, so that nothing of it waits there; the next one is asked for later."""
    at_beta(rig)
    assert not rig.call()
    asked = rig.agent.asked[0].ref
    now = direct.monotonic() + direct.MADE_S + 0.001
    monkeypatch.setattr(direct, "monotonic", lambda: now)
    assert not rig.call()
    assert rig.direct.unwanted == [asked]
    assert rig.direct.line is None
    assert rig.direct._wanted == 2 * LOOP_LEAST
    here, there = socket.socketpair()
    fd = here.detach()
    rig.direct.given(LineGiven(asked), fd)  # too late: it is closed
    assert there.recv(1) == b""
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    there.close()


def test_a_line_that_is_refused_is_asked_for_ever_more_seldom(rig):
    """The calls go on by the daemons, whatever the reason."""
    refused = Outcome(Status.FAILED, failure=Failure(Reason.UNSCHEDULABLE, "NoLine", "too far away"))
    at_beta(rig)
    assert not rig.call()
    assert not rig.line_ends(refused)
    assert rig.settled == []
    assert rig.direct.line is None
    assert rig.direct._wanted == 2 * LOOP_LEAST


def test_two_calls_at_a_time_let_a_line_go_that_is_not_there_yet(rig):
    """The agent is told; what it gives all the same is closed."""
    at_beta(rig)
    assert not rig.call()
    rig.direct.crowded()
    assert rig.direct.unwanted == [rig.agent.asked[0].ref]
    given(rig)
    assert rig.agent.worker.recv(1) == b""


def test_a_cut_line_is_known_by_the_end_of_its_task(rig):
    """It tells how many calls were begun, so one that never came there runs elsewhere and costs no attempt."""
    for begun, less in ((0, 0), (1, 1)):
        rig.outbox.clear()
        on_a_far_line(rig)
        assert rig.line_ends(Outcome(value=Payload(Codec.JSON, b"%d" % begun))) is bool(less)
        assert [call.template for call in rig.outbox] == [9 if less else 1]
        rig.agent.worker.close()
        rig.direct._wanted, rig.direct._seen = LOOP_LEAST, 0


def test_a_lost_neighbour_costs_an_attempt(rig):
    """As a worker that died: the call is sent again by the daemons."""
    on_a_far_line(rig)
    lost = Outcome(
        Status.LOST_UNKNOWN, failure=Failure(Reason.SIGNAL, "NeighbourLost", "beta: it is gone", agent="beta")
    )
    assert rig.line_ends(lost)
    assert [(call.ref, call.template) for call in rig.outbox] == [(rig.last.ref, 9)]


def test_failures_over_a_far_line_name_the_neighbour(rig):
    """Whoever reads the error looks there for its cause."""
    on_a_far_line(rig)
    failure = Failure(Reason.EXCEPTION, "ValueError", "no")
    body = msgspec.msgpack.encode([[1, 1, [0], failure, 0.0, 0.0]])
    rig.agent.worker.send(frames.HEADER.pack(len(body), frames.ENDED) + body)
    rig.ends.hear()
    assert rig.settled[-1].outcome.failure.agent == "beta"
