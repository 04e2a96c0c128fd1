"""A worker that serves a line comes to the processor of its caller, and is bound to none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.workers.inside import nearness

ROOT = Path(__file__).resolve().parents[3]
SEEN = """
import os, socket
from agentd.workers.inside.nearness import _processor_of

def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = socket.create_connection(listening.getsockname())
        return here, listening.accept()[0]

for processor in sorted(os.sched_getaffinity(0)):
    os.sched_setaffinity(0, {processor})
    for pair in (socket.socketpair, tcp):
        here, there = pair()
        here.send(b"x")
        there.recv(1)
        assert _processor_of(there) == processor, (pair, processor, _processor_of(there))
print("seen")
"""


def test_it_is_seen_where_a_caller_runs():
    """On each processor, over a socket of this device and over TCP to itself: what has come tells it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SEEN]
    assert subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout == "seen\n"


def test_a_caller_on_another_device_has_no_processor_here():
    """Where the two addresses of a connection differ it is not from here, whatever the kernel says of its packets."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname(), source_address=("127.0.0.2", 0)),
    ):
        there, _ = listening.accept()
        with there:
            assert nearness._processor_of(there) == -1


@pytest.fixture
def moves(monkeypatch):
    """What the thread was bound to, one after the other; it may run on 0, 1 and 3."""
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(nearness.os, "sched_getaffinity", lambda _: {0, 1, 3})
    monkeypatch.setattr(nearness.os, "sched_setaffinity", lambda _, to: seen.append(tuple(sorted(to))))
    return seen


def test_it_comes_over_and_is_as_free_as_before(moves, monkeypatch):
    """The kernel may move it again at once; of a caller where it may not run it stays away."""
    for processor in (3, 2, -1):
        monkeypatch.setattr(nearness, "_processor_of", lambda _, to=processor: to)
        nearness.come_over(None)
    assert moves == [(3,), (0, 1, 3)]


def test_what_the_kernel_refuses_changes_nothing(moves, monkeypatch):
    """A processor that is gone by then: the thread may run where it might before, and the line is served."""

    def refusing(_, to):
        moves.append(tuple(sorted(to)))
        if len(to) == 1:
            raise OSError("no such processor")

    monkeypatch.setattr(nearness, "_processor_of", lambda _: 1)
    monkeypatch.setattr(nearness.os, "sched_setaffinity", refusing)
    nearness.come_over(None)
    assert moves == [(1,), (0, 1, 3)]


def test_a_caller_that_is_gone_has_no_place(moves):
    """Its end is closed, or it cannot be seen: nothing happens."""
    here, there = socket.socketpair()
    here.close()
    there.close()
    nearness.come_over(there)
    assert moves == []
