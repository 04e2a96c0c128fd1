"""What a slow, large, deep, or many-headed client gets, and what it does not cost."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from agentd.rest.settings import RestSettings
from tests.fakes.doors import drained, open_door, until

SHORT = RestSettings(
    header_deadline_s=60.0,
    body_deadline_s=0.3,
    keep_alive_s=0.3,
    linger_s=0.3,
    progress_bytes=1000,
    header_cap_bytes=8192,
    connections=20,
)
"""Deadlines to be waited for; each test waits for the door to act, not for a time."""
HASTY = RestSettings(header_deadline_s=1.0, body_deadline_s=1.0, keep_alive_s=0.3, linger_s=0.3)
"""The same for headers: by then the first of them has been sent, on any machine."""


@pytest.fixture(scope="module")
def door():
    """A door with short deadlines."""
    with open_door(SHORT) as opened:
        yield opened


@pytest.fixture(scope="module")
def hasty():
    """A door that does not wait for headers."""
    with open_door(HASTY) as opened:
        yield opened


@pytest.fixture(scope="module")
def patient():
    """A door with the usual ones."""
    with open_door() as opened:
        yield opened


def head(method: str, path: str, *lines: str) -> bytes:
    """Write the head of a request of someone who may do everything."""
    first = f"{method} {path} HTTP/1.1"
    return "\r\n".join((first, "Host: localhost", "Authorization: Bearer admin-token", *lines, "", "")).encode()


def post(*lines: str, path: str = "/v1/operations") -> bytes:
    """Write the head of a submission."""
    return head("POST", path, "Content-Type: application/json", *lines)


def put(*lines: str) -> bytes:
    """Write the head of a blob."""
    return head("PUT", "/v1/blobs", "Content-Type: application/octet-stream", *lines)


def body_of(answer: bytes) -> dict:
    """Give the JSON of an answer as it came."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


class Peak:
    """How far the memory of this process grew above where it stood, at its worst."""

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak to what is resident now
        except OSError as error:
            pytest.skip(f"the peak of resident memory cannot be reset here: {error}")
        self._before = self._kib()

    @staticmethod
    def _kib() -> int:
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        assert found
        return int(found.group(1))

    @property
    def grown_mib(self) -> float:
        return (self._kib() - self._before) / 1024


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_connection_that_says_nothing_is_closed(hasty):
    """Connecting and waiting holds nothing for long."""
    assert hasty.send(b"") == b""


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"\r\n"])
def test_slow_headers_end_in_408(hasty, begun):
    """Headers that do not come to their end are given up, with a reason where a request has begun."""
    answer = hasty.send(begun)
    assert answer.startswith(b"HTTP/1.1 408")
    assert "headers" in body_of(answer)["detail"]


def test_dripping_does_not_prolong_the_deadline(hasty):
    """One header after the other is as slow as none: the deadline is for all of them."""
    with hasty.socket() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        connection.settimeout(0.05)
        answer = b""
        for count in range(1000):
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                with suppress(ConnectionError):  # it has hung up meanwhile: then the answer is there
                    connection.sendall(b"X-%d: 1\r\n" % count)
        assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("path", ["/v1/operations", "/v1/operations:batch", "/v1/resources"])
@pytest.mark.parametrize("length", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_slow_body_ends_in_408(door, path, length):
    """A body that does not come is given up, on hot routes and others."""
    answer = door.send(post(length, path=path))
    assert answer.startswith(b"HTTP/1.1 408")
    assert "body" in body_of(answer)["detail"]


def test_a_blob_that_makes_no_progress_is_given_up(door):
    """A streamed body may take its time, but not stand still."""
    assert door.send(put("Content-Length: 100000") + b"x" * 10).startswith(b"HTTP/1.1 408")


def test_a_blob_is_judged_by_its_progress():
    """At each deadline of a streamed body, what has come since the last one decides."""
    with open_door(RestSettings(progress_bytes=1000)) as door, door.socket() as connection:
        connection.sendall(put("Content-Length: 100000"))
        for _ in range(3):
            connection.sendall(b"x" * 2000)
            served = door.wait(served_with(door, 2000))
            door.do(served._disarm)
            door.do(served._body_late)
            assert not door.do(served.transport.is_closing)
        connection.sendall(b"x" * 10)
        served = door.wait(served_with(door, 10))
        door.do(served._body_late)
        assert drained(connection).startswith(b"HTTP/1.1 408")


async def served_with(door, size: int):
    """Wait until the one connection has brought so many bytes since its last deadline."""

    def served():
        found = (c for c in door.server._state.connections if c._body_bytes >= size and c._connection.is_streamed)
        return next(found, None)

    await until(served)
    return served()


def test_an_idle_connection_is_closed(door):
    """After its answer a connection is kept for a while, and no longer."""
    answer = door.send(head("GET", "/health"))
    assert answer.startswith(b"HTTP/1.1 200")


def test_an_idle_connection_with_rubbish_is_closed(hasty):
    """Line breaks between requests do not keep a connection open."""
    with hasty.socket() as connection:
        connection.sendall(head("GET", "/health"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\r\n")
        drained(connection)


def test_a_long_wait_is_no_slowness(hasty):
    """Deadlines are for the client's part: an answer that takes longer than all of them still comes."""
    with hasty.client("admin", Connection="close") as user:  # an idle connection is closed at any time
        identifier = user.post("/v1/operations", json={"function": "sample:hold"}).json()["id"]
        answer = user.get(f"/v1/operations/{identifier}", params={"wait_s": 1.5})
        assert answer.json()["state"] == "running"
        user.delete(f"/v1/operations/{identifier}")


# --- size -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [b"X: " + b"a" * 20_000, b"X: a\r\n" * 4000])
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_large_headers_end_in_431(door, chunk, end):
    """Headers have a cap, as one or as many, whether or not they come to an end."""
    answer = door.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + chunk + end)
    assert answer.startswith(b"HTTP/1.1 431")


def test_endless_headers_end_in_431(patient):
    """A header without an end is not collected."""
    with patient.socket() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        answer = b""
        connection.settimeout(0.02)
        for _ in range(1000):
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                with suppress(ConnectionError):  # it has hung up meanwhile: then the answer is there
                    connection.sendall(b"a" * 4096)
        assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("path", ["/v1/operations", "/v1/operations:batch", "/v1/resources"])
def test_ten_megabytes_of_json_are_refused(patient, path):
    """413 says the cap and the way around it, and is read by a client that sends first and reads afterwards."""
    with patient.client("admin") as user:
        answer = user.post(path, content=b'"' + b"x" * 10_000_000 + b'"', headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["cap_bytes"] == 1 << 20
        assert "/v1/blobs" in answer.json()["detail"]


def test_the_cap_is_exact(patient):
    """A body of exactly the cap is read, one more byte is not, also without a declared length."""
    with patient.client("admin") as user:
        for size, status in ((1 << 20, 400), ((1 << 20) + 1, 413)):
            headers = {"Content-Type": "application/json"}
            body = b"x" * size
            assert user.post("/v1/operations", content=body, headers=headers).status_code == status
            pieces = (body[at : at + 65536] for at in range(0, size, 65536))
            assert user.post("/v1/operations", content=pieces, headers=headers).status_code == status


def test_300_megabytes_cost_no_memory(patient):
    """A body far above the cap is thrown away as it comes, declared or not."""
    with patient.client("admin") as user:
        user.get("/v1/agent")
        peak = Peak()

        def flood():
            piece = b"x" * 65536
            for _ in range(300 * 16):
                yield piece

        for headers in ({}, {"Content-Length": str(300 << 20)}):
            answer = user.post(
                "/v1/operations", content=flood(), headers={"Content-Type": "application/json"} | headers
            )
            assert answer.status_code == 413
        assert peak.grown_mib < 30


def test_a_refused_body_is_not_read_for_ever():
    """The rest of a refused body is thrown away for a while, then the connection is cut."""
    with open_door(RestSettings(linger_s=0.2, body_deadline_s=1000)) as door, door.socket() as connection:
        connection.sendall(post(f"Content-Length: {1 << 40}"))
        stop = threading.Event()

        def flood() -> None:
            try:
                while not stop.is_set():
                    connection.sendall(b"x" * 65536)
            except OSError:
                stop.set()

        sender = threading.Thread(target=flood)
        sender.start()
        assert stop.wait(60), "the door read on"
        sender.join()


def test_a_blob_above_its_cap_is_refused():
    """The cap of blobs holds for what is declared and for what comes."""
    with open_door(RestSettings(blob_cap_bytes=1 << 20)) as door, door.client("admin") as user:
        headers = {"Content-Type": "application/octet-stream"}
        assert user.put("/v1/blobs", content=b"x" * (1 << 20), headers=headers).status_code == 201
        assert user.put("/v1/blobs", content=b"x" * ((1 << 20) + 1), headers=headers).status_code == 413
        pieces = (b"x" * 65536 for _ in range(17))
        answer = user.put("/v1/blobs", content=pieces, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["cap_bytes"] == 1 << 20


def test_a_blob_is_not_held_whole_by_the_door():
    """Pieces are passed on as they come: what the agent throws away costs nothing."""

    async def store_blob(chunks, length):
        size = 0
        async for chunk in chunks:
            size += len(chunk)
        return size

    with open_door(store_blob=store_blob) as door, door.client("admin") as user:
        user.get("/v1/agent")
        peak = Peak()
        pieces = (b"x" * 65536 for _ in range(200 * 16))
        answer = user.put("/v1/blobs", content=pieces, headers={"Content-Type": "application/octet-stream"})
        assert answer.json() == {"id": str(200 << 20), "bytes": 200 << 20}
        assert peak.grown_mib < 30


def test_a_blob_that_breaks_off_is_not_stored(patient):
    """A client that leaves in the middle leaves nothing behind."""
    before = patient.do(lambda: len(patient.agent._blobs))
    with patient.socket() as connection:
        connection.sendall(put("Content-Length: 100000") + b"x" * 5000)
    with patient.client("admin") as user:
        user.put("/v1/blobs", content=b"whole", headers={"Content-Type": "application/octet-stream"})
    assert patient.do(lambda: len(patient.agent._blobs)) == before + 1


# --- depth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/operations", "/v1/operations:batch", "/v1/resources"])
@pytest.mark.parametrize("nest", [(b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")])
def test_deep_json_is_refused_before_it_is_parsed(patient, path, nest):
    """However it is nested, closed or not, the door says how deep it may be."""
    body = nest[0] * 100_000 + b"1" + nest[1] * 100_000
    with patient.client("admin") as user:
        answer = user.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert "64 deep" in answer.json()["detail"]


def test_brackets_in_text_are_no_depth(patient):
    """Only what is nested counts."""
    with patient.client("admin") as user:
        body = {"function": "sample:echo", "args": ['[{"' * 1000, "\\" * 999, '\\"[' * 500]}
        answer = user.post("/v1/operations?wait_s=30", json=body)
        assert answer.json()["state"] == "done", answer.text


# --- connections ----------------------------------------------------------------------------------------------------


def test_too_many_connections_get_a_503():
    """Above the cap a connection is answered and closed, and there is room again when others leave."""
    with open_door(RestSettings(connections=5)) as door:
        kept = [door.socket() for _ in range(5)]
        for connection in kept:
            connection.sendall(head("GET", "/health"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        refused = door.send(b"")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in refused
        for connection in kept:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200"):
            answer = door.send(head("GET", "/health", "Connection: close"))


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_400(door, rubbish):
    """Rubbish, and what two parsers might read in two ways, is refused and the connection closed."""
    assert door.send(rubbish).startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))


def test_pipelined_requests_are_answered_in_order(patient):
    """Requests that come at once are answered one after the other."""
    last = head("GET", "/v1/agent", "Connection: close")
    answer = patient.send(head("GET", "/health") + head("GET", "/ready") + last)
    assert answer.index(b"alive") < answer.index(b'"ready"') < answer.index(b"state_folder")


def test_other_protocols_are_not_spoken(patient):
    """A wish to change to another protocol is not granted; the request is answered and the connection closed."""
    wish = head("GET", "/health", "Connection: Upgrade", "Upgrade: websocket")
    assert patient.send(wish).startswith(b"HTTP/1.1 200")
