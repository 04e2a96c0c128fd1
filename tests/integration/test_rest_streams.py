"""Streams: events that resume, readers that are slow, and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import pytest

from agentd.rest.port import Change
from agentd.rest.settings import RestSettings
from tests.fakes.doors import drained, open_door, until


@pytest.fixture
def door():
    """A door whose streams are few and whose hearts beat fast."""
    with open_door(RestSettings(heartbeat_s=0.05, streams=3)) as opened:
        yield opened


def events(lines):
    """Yield (id, topic, data) of a stream's events, and None for a heartbeat."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield None
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield int(fields.get("id", "0")), fields["event"], json.loads(fields["data"])
            fields = {}


@contextlib.contextmanager
def following(door, **headers):
    """Follow the events of a door."""
    with door.client("read") as client, client.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        yield events(answer.iter_lines())


def changes_of(stream, most: int) -> list:
    """Take so many changes, passing over heartbeats."""
    found = []
    while len(found) < most:
        event = next(stream)
        if event is not None:
            found.append(event)
    return found


def test_events_resume_where_they_broke_off(door):
    """`Last-Event-ID` gives exactly what came after it: nothing twice, nothing left out."""
    with following(door) as stream:
        ((snapshot, topic, _),) = changes_of(stream, 1)
        assert topic == "snapshot"
        for number in range(3):
            door.do(lambda number=number: door.agent.publish("test", {"n": number}))
        seen = changes_of(stream, 2)
    assert [change[0] for change in seen] == [snapshot + 1, snapshot + 2]
    door.do(lambda: door.agent.publish("test", {"n": 3}))
    with following(door, **{"Last-Event-ID": str(seen[-1][0])}) as stream:
        assert [change[2]["n"] for change in changes_of(stream, 2)] == [2, 3]


@pytest.mark.parametrize("last", ["999999", "x", "-1", "9" * 30, "1e3"])
def test_an_id_that_nobody_remembers_gives_a_snapshot(door, last):
    """Who was away too long, or was never there, is shown how things stand."""
    with following(door, **{"Last-Event-ID": last}) as stream:
        assert changes_of(stream, 1)[0][1] == "snapshot"


def test_a_silent_stream_has_a_heartbeat(door):
    """A reader can tell silence from a broken line."""
    with following(door) as stream:
        changes_of(stream, 1)
        assert next(stream) is None
        assert next(stream) is None


def test_a_stream_ends_with_the_token_that_opened_it(door):
    """Nothing that happens after the token is revoked is told, and other readers go on."""
    with following(door) as other, door.client("code") as client, client.stream("GET", "/v1/events") as answer:
        stream = events(answer.iter_lines())
        for each in (stream, other):
            changes_of(each, 1)
        door.agent.tokens.pop(client.headers["authorization"].removeprefix("Bearer "))
        door.do(lambda: door.agent.publish("test", {"n": 1}))
        with pytest.raises(httpx.HTTPError):
            list(stream)
        assert changes_of(other, 1)[0][2] == {"n": 1}


def test_many_small_changes_arrive_in_order(door):
    """Changes that come at once are told one by one, each with its id."""
    with following(door) as stream:
        changes_of(stream, 1)
        door.do(lambda: [door.agent.publish("test", {"n": number}) for number in range(90)])
        assert [change[2]["n"] for change in changes_of(stream, 90)] == list(range(90))


def test_a_change_takes_one_line_whatever_is_in_it(door):
    """A line break in a name or a value cannot make an event of its own."""
    with following(door) as stream:
        changes_of(stream, 1)
        door.do(lambda: door.agent.publish("test", {"name": "a\n\nevent: forged\ndata: {}\n\n"}))
        assert changes_of(stream, 1)[0][2]["name"].startswith("a\n\nevent")


def test_a_client_that_leaves_frees_its_stream(door):
    """What a stream holds of the agent is let go when its client is gone, also while nothing is said."""
    for _ in range(5):
        with following(door) as stream:
            changes_of(stream, 1)
            assert door.do(lambda: door.agent.watchers) >= 1
        door.wait(until(lambda: door.agent.watchers == 0))


def test_streams_have_a_cap(door):
    """Above it a stream is a 503; when one ends there is room again."""
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(following(door)) for _ in range(3)]
        for stream in kept:
            changes_of(stream, 1)
        with door.client("read") as client:
            refused = client.get("/v1/events")
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
    door.wait(until(lambda: door.agent.watchers == 0))
    with following(door) as stream:
        changes_of(stream, 1)


def test_a_slow_reader_is_told_to_reconnect():
    """Changes that outrun their reader are not collected for ever: it gets `reconnect`, and the stream ends."""
    told = []

    async def changes(after):
        try:
            while True:
                yield Change(len(told), "test", b'"' + b"x" * 1000 + b'"')
        finally:
            told.append("enough")

    settings = RestSettings(stream_queue=100, stream_patience_s=0.05)
    with open_door(settings, changes=changes) as door, door.socket() as connection:
        connection.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        door.wait(until(lambda: told))
        said = drained(connection)
    assert b"event: reconnect\n" in said


def test_a_burst_is_no_slowness():
    """More changes at once than a queue holds reach a reader who takes them."""

    async def changes(after):
        for number in range(20_000):
            yield Change(number, "test", b"0")
        await asyncio.Event().wait()

    with open_door(changes=changes) as door, following(door) as stream:
        assert [change[0] for change in changes_of(stream, 20_000)] == list(range(20_000))


def test_a_reader_that_takes_nothing_is_cut_off():
    """A stream that cannot be written is given up, with all that it held."""
    gone = []

    async def changes(after):
        try:
            while True:
                yield Change(1, "test", b'"' + b"x" * 100_000 + b'"')
                await asyncio.sleep(0)
        finally:
            gone.append(after)

    settings = RestSettings(send_deadline_s=0.2)
    with open_door(settings, changes=changes) as door, door.socket() as connection:
        connection.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        door.wait(until(lambda: gone))
        door.wait(until(lambda: not door.server._state.connections))
        drained(connection)


def test_a_client_that_leaves_ends_its_wait():
    """Waiting for an operation, after a submission or by itself, ends with the client; the operation goes on."""
    waits: list[str] = []

    async def operation(number, wait_s=0.0):
        try:
            await asyncio.Event().wait()
        finally:
            waits.append("over")

    with open_door(operation=operation) as door:
        asked = b"GET /v1/operations/5?wait_s=300 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        submitted = (
            b"POST /v1/operations?wait_s=300 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 26\r\n\r\n{"function":"sample:hold"}'
        )
        for request in (asked, submitted):
            before = len(waits)
            with door.socket() as connection:
                connection.sendall(request)
                door.wait(until(lambda: any(c._connection.task for c in door.server._state.connections)))
            door.wait(until(lambda before=before: len(waits) > before))
        assert door.do(lambda: [record.state for record in door.agent._records.values()]) == ["running"]


def test_logs_of_cut_characters_are_whole():
    """A character that is cut in two between pieces comes out whole, and what is no text does no harm."""

    async def logs(number, follow):
        for piece in ("stdout", b"gr\xc3"), ("stderr", b"\xff"), ("stdout", b"\xbc\xc3\x9f"):
            yield piece

    async def operation(number, wait_s=0.0):
        return None

    with open_door(logs=logs, operation=operation) as door, door.client("read") as client:
        plain = client.get("/v1/operations/5/logs")
        assert plain.content == b"gr\xc3\xff\xbc\xc3\x9f"
        assert plain.headers["content-type"] == "text/plain; charset=utf-8"
        lines = client.get("/v1/operations/5/logs", headers={"Accept": "application/x-ndjson"}).text.splitlines()
        said = [json.loads(line) for line in lines]
        assert "".join(line["text"] for line in said if line["stream"] == "stdout") == "grüß"
