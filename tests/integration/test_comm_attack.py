"""A port under attack: whatever strangers do there, the work over the link of a paired agent goes on."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

CALLS = 20
GUESTS = 100
"""More than may be there at a time without having said who they are."""


def silent(address: tuple[str, int], stack: ExitStack, _: random.Random) -> None:
    """Say nothing, and stay."""
    stack.enter_context(socket.create_connection(address, PATIENCE_S))


def rubbish(address: tuple[str, int], stack: ExitStack, chance: random.Random) -> None:
    """Say what makes no sense."""
    sock = stack.enter_context(socket.create_connection(address, PATIENCE_S))
    sock.sendall(chance.randbytes(4096))


def half_a_handshake(address: tuple[str, int], stack: ExitStack, chance: random.Random) -> None:
    """Begin TLS, and say nonsense in it."""
    sock = stack.enter_context(socket.create_connection(address, PATIENCE_S))
    sock.sendall(b"\x16\x03\x01\x02\x00" + chance.randbytes(64))


def without_certificate(address: tuple[str, int], stack: ExitStack, chance: random.Random) -> None:
    """Come over TLS as nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = stack.enter_context(socket.create_connection(address, PATIENCE_S))
    secret = stack.enter_context(context.wrap_socket(sock))
    secret.sendall(b"\xa9\x44\x01\x01" + chance.randbytes(200))


def trickle(address: tuple[str, int], stack: ExitStack, _: random.Random) -> None:
    """Begin a frame, and never end it."""
    sock = stack.enter_context(socket.create_connection(address, PATIENCE_S))
    sock.sendall(b"\xa9\x44\x01")


@pytest.fixture
def pair(start_agent: Callable[..., Any]) -> tuple[Any, Door, Door]:
    """A server that is attacked, its user port, and that of a phone without cores that is paired with it."""
    server = start_agent(*WITH_APPS, "--hostname", "server", "--cpu", "1")
    phone = start_agent(*WITH_APPS, "--hostname", "phone", "--cpu", "0")
    host, guest = Door(server.rest, server.state), Door(phone.rest, phone.state)
    made = host.client.post("/v1/invitations", json={"role": "peer"}).raise_for_status().json()
    guest.client.post("/v1/peers", json={"invitation": made["invitation"]}).raise_for_status()
    guest.until_connected("server")
    return server, host, guest


@pytest.mark.parametrize("attack", [silent, rubbish, half_a_handshake, without_certificate, trickle])
def test_work_over_another_link_goes_on(pair: tuple[Any, Door, Door], attack: Callable[..., None]) -> None:
    """A hundred strangers come while the phone has its work done: all of it is, over the one link that there was."""
    server, host, guest = pair
    where, _, port = server.comm.rpartition(":")
    chance, done = random.Random(3), threading.Event()

    def besiege() -> None:
        while not done.is_set():
            with ExitStack() as stack:
                for _ in range(GUESTS):
                    with suppress(OSError):  # it is shut out, as it should be
                        attack((where, int(port)), stack, chance)

    siege = threading.Thread(target=besiege)
    siege.start()
    try:
        for number in range(CALLS):
            ended = guest.submit("sums:increment", number, wait_s=PATIENCE_S)
            assert (ended["result"], ended["ran_on"], ended["attempts"]) == (number + 1, "server", 1)
    finally:
        done.set()
        siege.join()
    assert guest.is_connected("server")
    (row,) = host.get("/v1/peers")["peers"]
    assert (row["name"], row["state"]) == ("phone", "connected")
    assert "lost" not in server.stderr
    assert "Traceback" not in server.stderr
