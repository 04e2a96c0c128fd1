"""A worker's half of a direct line, played by hand: what it answers, when it leaves, and what it says was begun."""

from __future__ import annotations

import pickle
import socket
import struct
from types import SimpleNamespace

import msgspec
import pytest

from agentd.api.calls import direct_frames as frames
from agentd.workers.inside import direct
from agentd.workers.inside.callees import VALUE, Callee
from agentd.workers.inside.failures import Refused
from agentd.workers.inside.interrupts import Guard
from agentd.workers.inside.values import PICKLE, Writer
from agentd.workers.page import CALLS, FLAGGED, INTERRUPTED, WANTED
from agentd.workers.protocol import NUMBER, SEGMENT, FrameReader, Kind

TASK = 77


class Room:
    """A worker as far as a line needs one, with the session's end of its socket."""

    def __init__(self):
        self.words = [0] * 16
        self.family = None
        self.told = []
        """What its agent was told, frame by frame."""
        guard = Guard(SimpleNamespace(words=self.words, seconds=[0.0] * 16))
        pool = SimpleNamespace(has_idle=lambda _: True, put=lambda _: None, free=lambda _: None)
        writer = Writer(pool, 256 * 1024, guard, lambda: None)
        port = SimpleNamespace(family_of=lambda task: self.family if task == TASK else None)
        self.lines = direct.DirectLines(
            self.words,
            guard,
            None,
            writer,
            port,
            lambda _: None,
            lambda _task, value, _callee: (writer.encode(value, False), self.end_family())[0],
            None,
            SimpleNamespace(send=self.told.append),
        )
        self.session, there = socket.socketpair()
        self.session.settimeout(60)
        self.lines.sockets[5] = there.detach()

    def end_family(self):
        """Forget what a task asked for: its result is written."""
        self.family = None

    def declare(self, number, function):
        """Send a function that stands in this module."""
        code = pickle.dumps(function)
        body = frames.TEMPLATE_HEAD.pack(number, VALUE, 1) + b"f" + code
        self.session.send(frames.HEADER.pack(len(body), frames.TEMPLATE) + body)

    def call(self, number, *args):
        """Send a call."""
        body = frames.CALL_HEAD.pack(number, PICKLE) + pickle.dumps((args, {}))
        self.session.send(frames.HEADER.pack(len(body), frames.CALL) + body)

    def call_durably(self, ref, number, *args):
        """Send a call that its agent is told of."""
        body = frames.DURABLE_HEAD.pack(number, PICKLE, ref) + pickle.dumps((args, {}))
        self.session.send(frames.HEADER.pack(len(body), frames.DURABLE_CALL) + body)

    def told_of(self):
        """Give what its agent was told: results by the session's numbers, and the number of the last call or 0."""
        results, last = [], 0
        for kind, body in FrameReader(1 << 20).feed(b"".join(self.told)):
            if kind == Kind.RODE:
                results += msgspec.msgpack.decode(body)
            else:
                assert kind == Kind.LAST
                (last,) = NUMBER.unpack(body)
        return results, last

    def serve(self, data=b""):
        """Let it serve until it leaves; gives the result of the task."""
        return self.lines.serve(TASK, [(SEGMENT, 5, 0, 0, b"")], data)

    def _read(self):
        try:
            return self.session.recv(1 << 20)
        except ConnectionResetError:  # it left without reading all
            return b""

    def heard(self):
        """Give what it has said: results, and (calls begun, whether the last one ends as the task)."""
        self.session.setblocking(False)
        reader, results, over = FrameReader(1 << 20), [], None
        self.is_ready = False
        while data := self._read():
            for kind, body in reader.feed(data):
                if kind == frames.READY:
                    self.is_ready = True
                elif kind == frames.ENDED:
                    results += msgspec.msgpack.decode(body)
                else:
                    over = frames.OVER_BODY.unpack(body)
        return results, over


ROOMS: list[Room] = []


@pytest.fixture(autouse=True)
def frozen(monkeypatch):
    """No time passes for a line but what a test lets pass: on a slow machine its slice is not over in between."""
    monkeypatch.setattr(direct, "monotonic", lambda: 0.0)


@pytest.fixture
def room():
    room = Room()
    ROOMS[:] = [room]
    yield room
    room.session.close()


def double(number):
    return 2 * number


def fail(text):
    raise ValueError(text)


def set_word(word):
    ROOMS[0].words[word] = TASK
    return word


def ask():
    ROOMS[0].family = object()


def ask_and_fail():
    ROOMS[0].family = object()
    raise ValueError("with a family")


def become_fork():
    ROOMS[0].lines.is_fork = True


def large(size):
    return b"x" * size


def test_calls_are_answered_in_turn_and_an_idle_line_is_left(room):
    """Each result names its call; the task's result is how many there were."""
    room.declare(1, double)
    room.declare(2, fail)
    room.call(1, 4)
    room.call(2, "no")
    room.call(1, 5)
    assert room.serve()[:2] == (direct.JSON, b"3")
    results, over = room.heard()
    assert [(row[0], row[1]) for row in results] == [(1, 0), (2, 1), (3, 0)]
    assert pickle.loads(results[2][2][1]) == 10
    assert results[1][3][2] == "no"
    assert over == (3, False)
    assert room.words[CALLS] == 3


@pytest.mark.parametrize("word", [WANTED, FLAGGED])
def test_it_leaves_after_the_call_at_hand_when_it_is_to(room, word, monkeypatch):
    """A call that comes right behind the answer is not begun any more, and is not said to be."""
    monkeypatch.setattr(direct.Outbox, "flush", _after(direct.Outbox.flush, lambda: room.call(1, word)))
    room.declare(1, set_word)
    room.call(1, word)
    assert room.serve()[1] == b"1"
    results, over = room.heard()
    assert len(results) == 1
    assert over == (1, False)


class Looking:
    """Looks once, or not at all."""

    def __init__(self, *, is_on):
        self.is_on = is_on
        self.asked = 0

    def seek(self, look):
        """Look, if it is on."""
        self.asked += 1
        return look(0) if self.is_on else None


def test_it_looks_for_the_next_call_before_it_sleeps(room, monkeypatch):
    """A caller that is about to call again need not wake it; what it finds so is served as any other call."""
    room.lines.spinning = Looking(is_on=True)
    monkeypatch.setattr(direct, "come_over", None)
    room.declare(1, double)
    room.call(1, 4)
    room.session.shutdown(socket.SHUT_WR)
    assert room.serve() == (direct.JSON, b"1", None)
    assert room.lines.spinning.asked == 2


def test_where_it_sleeps_it_comes_over_to_its_caller_once(room, monkeypatch):
    """With the first call: then it is known where that runs. Each later one is served where it comes."""
    came = []
    room.lines.spinning = Looking(is_on=False)
    monkeypatch.setattr(direct, "come_over", lambda sock: came.append(sock.fileno()))
    monkeypatch.setattr(
        direct.Outbox, "flush", _after(direct.Outbox.flush, lambda: room.call(1, 5) if len(came) == 1 else None)
    )
    monkeypatch.setattr(direct._frames, "SLICE_S", 5.0)
    ticks = iter(range(100))
    monkeypatch.setattr(direct, "monotonic", lambda: float(next(ticks)))
    room.declare(1, double)
    room.call(1, 4)
    assert int(room.serve()[1]) > 1
    assert len(came) == 1


def test_whoever_waited_for_a_line_has_one_call(room):
    """The first is served though others wait already, and though its time is long over."""
    room.words[WANTED] = TASK
    room.declare(1, double)
    room.call(1, 4)
    assert room.serve()[1] == b"1"
    assert room.heard()[1] == (1, False)


def test_a_line_that_was_cancelled_before_it_was_served_begins_nothing(room):
    """What waits on the socket stays there."""
    room.words[FLAGGED] = TASK
    room.declare(1, double)
    room.call(1, 4)
    assert room.serve()[1] == b"0"
    assert room.heard() == ([], (0, False))


def test_a_slice_of_time_is_not_exceeded_by_a_call(room, monkeypatch):
    """When the time is over the call at hand is the last."""
    now = iter([0.0, 0.0, 0.01, 0.05, 0.06, 0.07, frames.SLICE_S + 0.01])
    monkeypatch.setattr(direct, "monotonic", lambda: next(now))
    room.declare(1, double)
    room.call(1, 1)
    sent = []

    def again(number):
        sent.append(number)
        room.call(1, number)

    monkeypatch.setattr(
        direct.Outbox, "flush", _after(direct.Outbox.flush, lambda: again(2) if len(sent) < 3 else None)
    )
    assert room.serve()[1] == b"2"
    assert room.heard()[1] == (2, False)


def _after(act, then):
    def both(self):
        act(self)
        then()

    return both


@pytest.mark.parametrize("function", [ask, ask_and_fail])
def test_a_call_that_asks_for_tasks_is_the_last_and_ends_as_the_task(room, function):
    """Nothing is answered over the line; what it gives or raises is the task's."""
    room.declare(1, function)
    room.call(1)
    if function is ask:
        assert room.serve() == (0, b"", None)
    else:
        with pytest.raises(ValueError, match="with a family"):
            room.serve()
    assert room.heard() == ([], (1, True))


def test_the_agent_is_told_of_durable_calls_and_the_session_is_not(room):
    """By the session's own numbers; plain calls on the same line are answered on it as ever."""
    room.declare(1, double)
    room.declare(2, fail)
    room.call_durably(41, 1, 4)
    room.call(1, 5)
    room.call_durably(43, 2, "no")
    assert room.serve()[1] == b"3"
    told, last = room.told_of()
    assert [(row[0], row[1]) for row in told] == [(41, 0), (43, 1)]
    assert pickle.loads(told[0][2][1]) == 8
    assert last == 0
    results, over = room.heard()
    assert [row[0] for row in results] == [2]
    assert over == (3, False)


@pytest.mark.parametrize(("function", "args"), [(ask, ()), (ask_and_fail, ()), (large, (300_000,))])
def test_the_agent_knows_which_durable_call_ends_as_the_task(room, function, args):
    """It is named before the task ends."""
    room.declare(1, function)
    room.call_durably(41, 1, *args)
    try:
        room.serve()
    except ValueError:
        assert function is ask_and_fail
    assert room.told_of() == ([], 41)
    assert room.heard() == ([], (1, True))


def test_a_call_that_is_stopped_ends_as_the_task(room):
    """Whether it swallows the interrupt or not."""
    room.declare(1, set_word)
    room.call(1, INTERRUPTED)
    room.serve()
    assert room.heard() == ([], (1, True))


@pytest.mark.parametrize(("size", "answered"), [(1000, 1), (frames.ANSWER_MOST, 0), (300_000, 0)])
def test_what_would_fill_the_socket_ends_as_the_task(room, size, answered):
    """Above the limit the value is the task's, however it would travel from there."""
    room.declare(1, large)
    room.call(1, size)
    encoded = room.serve()
    results, over = room.heard()
    assert (len(results), over) == (answered, (1, not answered))
    assert answered or pickle.loads(encoded[1], buffers=[part[1] for part in encoded[2] or ()]) == large(size)


def test_a_child_that_comes_back_says_nothing(room):
    """The line is the parent's to answer."""
    room.declare(1, become_fork)
    room.call(1)
    room.serve()
    assert room.heard() == ([], None)


def test_a_session_that_leaves_ends_it(room):
    """Also one that does not read what it asked for."""
    room.declare(1, double)
    room.call(1, 4)
    room.session.shutdown(socket.SHUT_WR)
    assert room.serve()[1] == b"1"
    assert len(room.heard()[0]) == 1


def test_a_function_is_the_same_from_line_to_line(room):
    """It is not read anew, so that what it remembers stays."""
    declared = direct.Declared("f", VALUE, False, pickle.dumps(double))
    found = room.lines.callee(declared)
    assert isinstance(found, Callee)
    assert room.lines.callee(direct.Declared(*declared)) is found


def test_a_socket_serves_once(room):
    """A line that is given to a second worker finds nothing to serve."""
    room.session.close()
    room.serve()
    with pytest.raises(Refused, match="no longer"):
        room.serve()


@pytest.mark.parametrize("data", [b"\x01\x00\x00\x00\x63x", b"\xff\xff\xff\x7f\x02", b"\x02\x00\x00\x00\x02ab"])
def test_rubbish_ends_the_task(room, data):
    """An unknown kind, a length that is too large, and a body that is none: an error, not a wait."""
    room.session.send(data)
    with pytest.raises((direct.ProtocolError, struct.error)):
        room.serve()


FAR = frames.FAR_HEAD.pack(0.01, b"")


def test_a_line_to_another_agent_says_when_it_is_served(room):
    """Then calls are answered as on any line; one of this agent says nothing, as a call waits on it."""
    room.declare(1, double)
    room.call(1, 4)
    assert room.serve(FAR)[1] == b"1"
    results, over = room.heard()
    assert room.is_ready
    assert (len(results), over) == (1, (1, False))


def test_a_line_on_which_no_call_waits_is_left_at_once_when_others_wait(room):
    """Nobody has asked for a turn on it: it begins nothing and says so."""
    room.words[WANTED] = TASK
    room.declare(1, double)
    room.call(1, 4)
    assert room.serve(FAR)[1] == b"0"
    assert room.heard() == ([], (0, False))


def test_no_call_is_begun_once_a_line_is_cancelled(room, monkeypatch):
    """Also where it came while the worker waited for it: who is trusted no more has nothing more run."""
    wait = direct.FarLink.poll

    def cancelled_meanwhile(self, timeout_s=0.0):
        found = wait(self, timeout_s)
        room.words[FLAGGED] = TASK
        return found

    monkeypatch.setattr(direct.FarLink, "poll", cancelled_meanwhile)
    room.declare(1, double)
    room.call(1, 4)
    assert room.serve(FAR)[1] == b"0"
    assert room.heard() == ([], (0, False))


def test_what_does_not_fit_into_the_socket_follows(room):
    """The session reads slowly: each byte arrives, in order; of one that reads nothing the worker gets rid."""
    import threading

    from agentd.workers.inside import far_link

    here, there = socket.socketpair()
    there.setblocking(False)
    link = far_link.FarLink(there, 1 << 20)
    data = bytes(range(256)) * 8000
    sending = threading.Thread(target=link.send, args=(data,))
    sending.start()
    come = b""
    while len(come) < len(data):
        come += here.recv(100_000)
    sending.join(60)
    assert come == data
    far_link_s, far_link.SEND_S = far_link.SEND_S, 0.01
    try:
        with pytest.raises(TimeoutError):
            link.send(data)
    finally:
        far_link.SEND_S = far_link_s
    here.close()
    link.close()
