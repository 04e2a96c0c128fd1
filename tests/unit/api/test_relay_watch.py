"""The watch over the program of a session, while who answers it closes the socket at any time."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

import pytest

from agentd.api.tasks import relay
from agentd.api.tasks.port import Kind


class Port:
    """What a task asks for goes through it: here it is noted, and something is done at that moment."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.sent: list[int] = []
        self._act = act

    def send(self, kind: int, _body: bytes) -> None:
        """Note it."""
        self.sent.append(kind)
        self._act()


def watch(here: socket.socket, over: int, port: Port) -> None:
    """Watch until it is over; afterwards its descriptor is closed."""
    relay._watch(here.fileno(), over, port, 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(over)


def test_tasks_of_a_program_that_is_gone_are_cancelled_once() -> None:
    """Also when the session closes at that very moment, as its other thread has seen the end, too."""
    here, there = socket.socketpair()
    there.close()
    over = os.eventfd(0)

    def end() -> None:
        os.eventfd_write(over, 1)
        here.close()

    port = Port(end)
    watch(here, over, port)
    assert port.sent == [Kind.CANCEL]


def test_nothing_is_cancelled_where_the_session_is_over_first() -> None:
    """Whether the program is gone as well, or the socket is closed before it is looked at."""
    for is_gone in (False, True):
        here, there = socket.socketpair()
        if is_gone:
            there.close()
        over, port = os.eventfd(0), Port()
        os.eventfd_write(over, 1)
        watch(here, over, port)
        assert port.sent == []
        here.close()
        there.close()


def test_a_session_that_ends_before_its_watch_begins_is_no_fault() -> None:
    """The thread begins when the machine lets it."""
    here, there = socket.socketpair()
    over, port, number = os.eventfd(0), Port(), here.fileno()
    os.eventfd_write(over, 1)
    here.close()
    late = threading.Thread(target=relay._watch, args=(number, over, port, 1))
    late.start()
    late.join()
    assert port.sent == []
    there.close()
