"""Expected connections by their tickets, and the first bytes that bring one."""

from __future__ import annotations

import socket

import pytest

from agentd.comm.trust.tickets import TICKETS_MOST, Tickets
from agentd.wire.framing import MAGIC as FRAME_MAGIC
from agentd.wire.preamble import FIRST, PREAMBLE_BYTES, TICKET_BYTES, may_begin, preamble, ticket_in

TICKET = bytes(range(TICKET_BYTES))


@pytest.fixture
def sock():
    with socket.socket() as made:
        yield made


def test_a_ticket_is_good_once(sock):
    """Whoever expects it gets the first connection that brings it, and nobody a second one."""
    tickets, came = Tickets(), []
    assert tickets.expect(TICKET, came.append)
    assert not tickets.expect(TICKET, came.append)
    assert not tickets.present(TICKET[::-1], sock)
    assert tickets.present(TICKET, sock)
    assert came == [sock]
    assert not tickets.present(TICKET, sock)
    assert len(tickets) == 0


def test_a_ticket_that_was_forgotten_is_nobodys(sock):
    """As one that was never expected."""
    tickets = Tickets()
    tickets.expect(TICKET, pytest.fail)
    tickets.forget(TICKET)
    tickets.forget(TICKET)
    assert not tickets.present(TICKET, sock)


def test_only_so_many_are_expected():
    """Neighbours cannot fill this agent's memory with them."""
    tickets = Tickets()
    for number in range(TICKETS_MOST):
        assert tickets.expect(number.to_bytes(TICKET_BYTES, "big"), pytest.fail)
    assert not tickets.expect(TICKET, pytest.fail)
    tickets.forget(bytes(TICKET_BYTES))
    assert tickets.expect(TICKET, pytest.fail)


def test_a_preamble_is_told_from_all_else_by_its_first_byte():
    """No frame of ours, no handshake of TLS and no HTTP begins so."""
    assert FIRST not in {FRAME_MAGIC[:1], b"\x16", b"G", b"P"}
    whole = preamble(TICKET)
    assert len(whole) == PREAMBLE_BYTES
    assert ticket_in(whole) == TICKET
    for end in range(PREAMBLE_BYTES):
        assert may_begin(whole[:end])
        assert ticket_in(whole[:end]) is None
    assert not may_begin(whole + b"x")
    for at in range(3):
        other = bytearray(whole)
        other[at] ^= 1
        assert not may_begin(other[: at + 1])
        assert ticket_in(other) is None
