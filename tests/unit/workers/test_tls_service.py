"""A worker's end of a line over TLS, with a session that is who it should be, and with others."""

from __future__ import annotations

import os
import pickle
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from agentd.api.calls import direct_frames as frames
from agentd.api.calls.direct_line import FarLine
from agentd.model.exchange import Submission
from agentd.model.task import Form, Template
from agentd.model.values import Codec, Payload
from agentd.store import key_maker
from agentd.workers.inside import direct, far_link
from agentd.workers.inside.failures import Refused
from agentd.workers.inside.interrupts import Guard
from agentd.workers.inside.values import Writer
from agentd.workers.protocol import SEGMENT

TASK = 77
SECRET = bytes(range(frames.SECRET_BYTES))
LONG_S = 60.0
"""Above anything that is waited for, on a busy machine."""


@pytest.fixture(scope="module")
def keys():
    """Two keys with their certificates."""
    return [key_maker.make(name, 2026) for name in ("one", "other")]


def der(key):
    """Give the certificate of a key."""
    text = key.decode()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") :])


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Neither the slice of a line nor the patience of either end is over because the machine is slow."""
    monkeypatch.setattr(direct, "monotonic", lambda: 0.0)
    monkeypatch.setattr(frames, "HANDSHAKE_S", LONG_S)
    monkeypatch.setattr(direct._frames, "HANDSHAKE_S", LONG_S)
    monkeypatch.setattr(far_link, "SEND_S", LONG_S)


class Worker:
    """A worker that serves one line over TCP, in a thread."""

    def __init__(self, key, *, idle_s=LONG_S):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.session = socket.create_connection(listening.getsockname())
            there, _ = listening.accept()
        words = [0] * 16
        guard = Guard(SimpleNamespace(words=words, seconds=[0.0] * 16))
        pool = SimpleNamespace(has_idle=lambda _: True, put=lambda _: None, free=lambda _: None)
        writer = Writer(pool, 256 * 1024, guard, lambda: None)
        encode = lambda _task, value, _callee: writer.encode(value, False)  # noqa: E731
        port = SimpleNamespace(family_of=lambda _: None)
        lines = direct.DirectLines(words, guard, None, writer, port, lambda _: None, encode, None, None)
        lines.sockets[5] = there.detach()
        data = frames.FAR_HEAD.pack(idle_s, SECRET) + key
        self._pool = ThreadPoolExecutor(1)
        self.result = self._pool.submit(lines.serve, TASK, [(SEGMENT, 5, 0, 0, b"")], data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()
        self._pool.shutdown()

    def line(self, certificate, secret=SECRET):
        """Give the session's end, once the worker has said that it serves."""
        line = FarLine(3, "far", 1e9)
        line.take(self.session.detach(), certificate, secret)
        until(lambda: heard(line) == [(frames.READY, b"")])
        return line


def until(condition):
    """Wait for the other end."""
    waiter = threading.Event()
    for _ in range(int(LONG_S * 1000)):
        if condition():
            return
        waiter.wait(0.001)
    raise AssertionError("it did not come")


def heard(line):
    """Read what there is on a line."""
    line.read()
    return [(kind, bytes(body)) for kind, body in line.heard()]


def called(line, function, *args):
    """Call a function that stands in this module; gives the frames that answer."""
    template = Template("f", form=Form.VALUE, code=pickle.dumps(function))
    line.send(
        Submission(line.sent, 1 + FUNCTIONS.index(function), Payload(Codec.PICKLE, pickle.dumps((args, {})))), template
    )
    answers = []
    until(lambda: answers.extend(heard(line)) or answers or line.is_at_end)
    return answers


def large(size):
    return b"x" * size


def size_of(data):
    return len(data)


FUNCTIONS = [large, size_of]


def test_calls_and_answers_go_over_tls_and_nothing_of_them_is_plain(keys, monkeypatch):
    """Also what takes several records each way; on the wire there is nothing to be read but that it is served."""
    wire = []
    read = FarLine._opened
    monkeypatch.setattr(FarLine, "_opened", lambda self, data: wire.append(data) or read(self, data))
    with Worker(keys[0]) as worker:
        line = worker.line(der(keys[0]))
        for size in (10, 30_000, 60_000):
            ((kind, body),) = called(line, large, size)
            assert kind == frames.ENDED
            assert large(size) in body
        ((_, body),) = called(line, size_of, large(frames.ARGUMENTS_MOST - 100))
        assert pickle.dumps(frames.ARGUMENTS_MOST - 100)[2:] in body
        line.leave()
        assert worker.result.result(LONG_S)[1] == b"4"
        line.close()
    assert b"x" * 20 not in b"".join(wire)
    assert wire[0] == frames.HEADER.pack(0, frames.READY)


def test_a_session_believes_the_one_certificate_that_it_was_told(keys):
    """Whoever else answers hears nothing: no secret, and no call."""
    with Worker(keys[1]) as worker:
        line = worker.line(der(keys[0]))
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            called(line, large, 3)
        line.close()
        with pytest.raises(Refused, match="did not make it secret"):
            worker.result.result(LONG_S)


def test_a_worker_serves_the_one_session_that_knows_the_secret(keys):
    """Whoever came by the ticket first is sent away before a frame of its is read."""
    with Worker(keys[0]) as worker:
        line = worker.line(der(keys[0]), SECRET[::-1])
        called(line, large, 3)
        assert line.is_at_end
        line.close()
        with pytest.raises(Refused, match="not the session"):
            worker.result.result(LONG_S)


def test_who_does_not_begin_tls_is_gone_within_the_time_for_it(keys, monkeypatch):
    """Nonsense, and a handshake that is begun and left: the core is free again."""
    monkeypatch.setattr(direct._frames, "HANDSHAKE_S", 0.05)
    for said in (b"\x00\x00\x00\x00\x02" * 20, b"\x16\x03\x01\x02\x00"):
        with Worker(keys[0]) as worker:
            worker.session.sendall(said)
            with pytest.raises(Refused, match="did not make it secret"):
                worker.result.result(LONG_S)


def test_a_session_that_does_not_call_ends_the_line(keys):
    """It is idle, and was no line: nothing has begun."""
    with Worker(keys[0], idle_s=0.01) as worker:
        assert worker.result.result(LONG_S)[1] == b"0"
        assert worker.session.recv(100) == frames.HEADER.pack(0, frames.READY)
        assert worker.session.recv(100) == b""


def test_bytes_that_were_tampered_with_end_the_line(keys):
    """Neither end makes anything of them."""
    with Worker(keys[0]) as worker:
        line = worker.line(der(keys[0]))
        called(line, large, 3)
        worker_socket = socket.socket(fileno=os.dup(line.fd))
        worker_socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert worker.result.result(LONG_S)[1] == b"1"
        worker_socket.close()
        line.close()
