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
from agentd.workers.inside.values import PICKLE, Writer
from agentd.workers.page import CALLS, FLAGGED, INTERRUPTED, WANTED
from agentd.workers.protocol import SEGMENT, FrameReader

TASK = 77


class Room:
    """A worker as far as a line needs one, with the session's end of its socket."""

    def __init__(self):
        self.words = [0] * 16
        self.family = None
        guard = SimpleNamespace(task=0)
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
        )
        self.session, there = socket.socketpair()
        self.session.settimeout(30)
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

    def serve(self):
        """Let it serve until it leaves; gives the result of the task."""
        return self.lines.serve(TASK, [(SEGMENT, 5, 0, 0, b"")])

    def _read(self):
        try:
            return self.session.recv(1 << 20)
        except ConnectionResetError:  # it left without reading all
            return b""

    def heard(self):
        """Give what it has said: results, and (calls begun, whether the last one ends as the task)."""
        self.session.setblocking(False)
        reader, results, over = FrameReader(1 << 20), [], None
        while data := self._read():
            for kind, body in reader.feed(data):
                if kind == frames.ENDED:
                    results += msgspec.msgpack.decode(body)
                else:
                    over = frames.OVER_BODY.unpack(body)
        return results, over


ROOMS: list[Room] = []


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
