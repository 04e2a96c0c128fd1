"""The server on its port: taking it, giving it back, and ending what is open."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from agentd.model.errors import ConfigError, StateInUse
from agentd.rest.app import create_app
from agentd.rest.serving.listening import listen
from agentd.rest.serving.server import RestServer
from agentd.rest.settings import RestSettings
from tests.fakes.agent_port import MemoryAgent
from tests.fakes.doors import drained, open_door, until


def server(port: int = 0, host: str = "127.0.0.1") -> RestServer:
    """Make a server that does not serve yet."""
    settings = RestSettings()
    return RestServer(create_app(MemoryAgent(), settings), listen(host, port), settings)


def test_a_free_port_is_taken_and_told():
    """Port 0 takes a free one; two servers take two."""

    async def both() -> set[int]:
        first, second = server(), server()
        ports = {await first.start(), await second.start()}
        await first.stop(1)
        await second.stop(1)
        return ports

    assert len(asyncio.run(both())) == 2


def test_a_taken_port_says_which_and_what_to_do():
    """The message has the port and the option that chooses another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StateInUse, match=rf"port {port} .*--rest-port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_is_named(host):
    """What is not an address of this machine is the operator's mistake."""
    with pytest.raises(ConfigError, match="--rest-host"):
        listen(host, 0)


def test_stopping_gives_the_port_back():
    """After the end another may listen there at once."""

    async def twice() -> None:
        first = server()
        port = await first.start()
        await first.stop(1)
        again = server(port)
        assert await again.start() == port
        await again.stop(1)

    asyncio.run(twice())


def test_stopping_before_the_start_does_nothing():
    """An end without a beginning is none."""
    asyncio.run(server().stop(1))


def test_requests_that_run_get_their_grace():
    """A request that is being served when the end begins is answered; idle connections are closed at once."""
    with open_door() as door, door.client("admin") as user, ThreadPoolExecutor() as pool, door.socket() as idle:
        identifier = user.post("/v1/operations", json={"function": "sample:hold"}).json()["id"]
        waiting = pool.submit(user.get, f"/v1/operations/{identifier}", params={"wait_s": 60})
        door.wait(until(lambda: any(c._connection.task for c in door.server._state.connections)))
        stopping = pool.submit(door.wait, door.server.stop(30))
        assert drained(idle) == b""
        door.wait(door.agent.cancel(int(identifier)))
        assert waiting.result(30).json()["state"] == "cancelled"
        stopping.result(30)


def test_what_outlasts_its_grace_is_cut_off(caplog):
    """A request that goes on is cut, and so is a stream, without a word in the log."""
    with caplog.at_level(logging.WARNING), open_door() as door, door.socket() as waiter, door.socket() as follower:
        number = int(door.wait(_held(door)))
        waiter.sendall(f"GET /v1/operations/{number}?wait_s=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        follower.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        door.wait(until(lambda: sum(bool(c._connection.task) for c in door.server._state.connections) == 2))
        door.wait(door.server.stop(0.05))
        assert drained(waiter) == b""
        drained(follower)
        assert door.do(lambda: len(door.server._state.tasks)) == 0
    assert not caplog.records


def test_streams_do_not_use_up_the_grace():
    """Someone who follows the events does not hold up the end."""
    with open_door() as door, door.socket() as follower:
        follower.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        follower.recv(10)
        door.wait(door.server.stop(1000))  # the door's own patience is 30 s
        drained(follower)


def test_no_signal_handler_is_installed():
    """Signals are the daemon's."""

    async def run() -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        one = server()
        await one.start()
        assert {number: signal.getsignal(number) for number in before} == before
        await one.stop(1)

    asyncio.run(run())


def test_an_idle_server_has_no_timer():
    """With no connection nothing wakes the loop."""

    async def run() -> int:
        one = server()
        await one.start()
        timers = len(asyncio.get_running_loop()._scheduled)
        await one.stop(1)
        return timers

    assert asyncio.run(run()) == 0


def test_over_tls_the_same_rules_hold(tmp_path):
    """With a certificate the port speaks TLS, and its pages are of https; who speaks plainly is not answered."""
    settings, tls, trust = RestSettings(), *certified(tmp_path)

    async def asked() -> tuple[httpx.Response, httpx.Response, bytes]:
        one = RestServer(create_app(MemoryAgent(), settings), listen("127.0.0.1", 0), settings, tls=tls)
        port = await one.start()
        url = f"https://localhost:{port}"
        async with httpx.AsyncClient(verify=trust) as client:
            own = await client.get(url, headers={"Origin": url})
            foreign = await client.get(url, headers={"Origin": "https://example.org"})
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        plain = await reader.read()
        writer.close()
        await one.stop(1)
        return own, foreign, plain

    own, foreign, plain = asyncio.run(asked())
    assert (own.status_code, foreign.status_code) == (200, 403)
    assert "https://localhost" in own.json()["call"]
    assert b"HTTP" not in plain


def certified(folder) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for localhost: the contexts of a server that has it and of a client that trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls, ssl.create_default_context(cafile=certificate)


def test_the_date_is_made_once_a_second():
    """The header shows the wall clock, and is not made anew for each answer."""
    from agentd.rest.serving.server import Date

    now = [1_000_000_000.2]
    date = Date(lambda: now[0])
    first = date()
    assert first == [(b"date", b"Sun, 09 Sep 2001 01:46:40 GMT")]
    now[0] += 0.5
    assert date() is first
    now[0] += 0.5
    assert date() == [(b"date", b"Sun, 09 Sep 2001 01:46:41 GMT")]


def test_the_light_parts_do_not_load_the_door():
    """What the commands and the daemon's core import of this package brings no web framework with it."""
    light = "agentd.rest.port, agentd.rest.settings, agentd.daemon.trust.tokens"
    code = f"import {light}, sys; print('fastapi' in sys.modules)"

    async def loaded() -> bytes:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        return said

    assert asyncio.run(loaded()).strip() == b"False"


async def _held(door) -> str:
    from agentd.model.task import Template
    from agentd.model.values import Codec, Payload
    from agentd.rest.port import Request

    payload = Payload(Codec.JSON, b'{"args":[],"kwargs":{}}')
    made = await door.agent.submit(Request(Template(function="sample:hold"), payload))
    return made.operation.id
