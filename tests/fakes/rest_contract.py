"""What every agent behind the REST door owes its users, whoever it is: run against the fake here, and against a daemon.

A subclass gives the fixture `door`: something with `client(scope)`, an `httpx.Client` whose token has that scope. On
the agent's path is a module `sample` with the functions of `tests.fakes.sample`.
"""

from __future__ import annotations

import base64
import contextlib
import pickle
import uuid

import cloudpickle
import httpx
import pytest

TERMINAL = {"done", "failed", "cancelled", "lost_unknown", "quarantined"}
PICKLE = "application/x-python-pickle"


def call(client: httpx.Client, function: str, *args, wait_s: float = 30, headers=None, **more) -> httpx.Response:
    """Submit one call of the sample module."""
    body = {"function": f"sample:{function}", "args": list(args), **more}
    return client.post("/v1/operations", params={"wait_s": wait_s}, json=body, headers=headers)


def done(client: httpx.Client, function: str, *args, **more) -> dict:
    """Submit one call and give the operation, which must be terminal."""
    answer = call(client, function, *args, **more)
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] in TERMINAL
    return answer.json()


@contextlib.contextmanager
def held(client: httpx.Client):
    """Have an operation run until the end of the block."""
    answer = call(client, "hold", wait_s=0)
    identifier = answer.json()["id"]
    try:
        yield identifier
    finally:
        client.delete(f"/v1/operations/{identifier}")


def problem(answer: httpx.Response, status: int) -> dict:
    """Give the problem of an answer, which must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert said["detail"]
    assert said["type"].startswith("urn:agentd:problem:")
    return said


class RestContract:
    """The promises of the user port, as far as its answers show them."""

    @pytest.fixture
    def user(self, door):
        """Someone who may do everything."""
        with door.client("admin") as client:
            yield client

    # --- submitting ---------------------------------------------------------------------------------------------

    def test_submission_is_accepted_with_its_place(self, user):
        """A new operation is 202, and its Location shows the same operation."""
        answer = call(user, "add", 1, 2, wait_s=0)
        assert answer.status_code == 202
        operation = answer.json()
        assert answer.headers["location"] == f"/v1/operations/{operation['id']}"
        assert 0 < int(operation["id"]) < 1 << 63
        assert user.get(answer.headers["location"]).json()["id"] == operation["id"]
        assert set(operation["links"]) == {"self", "result", "tasks", "logs"}

    def test_one_round_trip_gives_the_result(self, user):
        """With `wait_s`, or with `Prefer: wait=`, the answer to the submission has the result."""
        assert done(user, "add", 1, 2)["result"] == 3
        answer = call(user, "hold", wait_s=0, headers={"Prefer": "respond-async, wait=30"})
        assert answer.json()["state"] in {"queued", "running"}, "the query counts more than the header"
        user.delete(f"/v1/operations/{answer.json()['id']}")
        body = {"function": "sample:add", "args": [3, 4]}
        assert user.post("/v1/operations", json=body, headers={"Prefer": "wait=30"}).json()["result"] == 7

    def test_waiting_has_an_end(self, user):
        """Who waits too short a time is shown the operation as it is."""
        with held(user) as identifier:
            answer = user.get(f"/v1/operations/{identifier}", params={"wait_s": 0.05})
            assert answer.status_code == 200
            assert answer.json()["state"] in {"queued", "running"}

    def test_a_key_makes_a_repetition_harmless(self, user):
        """The same key and body give the same operation with 200, however the body is spaced."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        first = call(user, "add", 1, 2, headers=headers)
        again = call(user, "add", 1, 2, headers=headers)
        assert (first.status_code, again.status_code) == (202, 200)
        assert first.json()["id"] == again.json()["id"]
        assert again.headers["location"] == first.headers["location"]

    def test_a_key_with_another_body_is_refused(self, user):
        """A key stands for one body for as long as it is remembered."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        assert call(user, "add", 1, 2, headers=headers).status_code == 202
        problem(call(user, "add", 1, 3, headers=headers), 422)
        problem(call(user, "add", 1, 2, priority=1, headers=headers), 422)

    def test_keys_belong_to_who_gave_them(self, door, user):
        """Two users may use the same key without meeting."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        with door.client("submit") as other:
            assert call(user, "add", 1, 2, headers=headers).status_code == 202
            assert call(other, "add", 5, 5, headers=headers).status_code == 202

    @pytest.mark.parametrize("key", ["", "two words", "x" * 256])
    def test_a_key_is_visible_ascii(self, user, key):
        """What cannot be a key is refused before anything is queued."""
        problem(call(user, "add", 1, 2, headers={"Idempotency-Key": key}), 422)

    def test_an_unknown_function_is_refused_at_once(self, user):
        """Nothing is queued for a function that nobody has, or that may not be called."""
        problem(call(user, "no_such_function"), 422)
        problem(user.post("/v1/operations", json={"function": "os:system", "args": ["true"]}), 422)

    def test_a_blob_stands_for_a_large_argument(self, user):
        """What PUT /v1/blobs stored comes to the function as bytes."""
        stored = user.put("/v1/blobs", content=b"x" * 3_000_000, headers={"Content-Type": "application/octet-stream"})
        assert stored.status_code == 201
        assert stored.json()["bytes"] == 3_000_000
        operation = call(user, "echo", [{"$blob": stored.json()["id"]}], wait_s=30).json()
        assert operation["state"] == "done"
        problem(call(user, "echo", {"$blob": "4"}), 422)

    def test_code_by_value(self, user):
        """A pickled function, pickled arguments, and a script run for those who may send code."""
        code = base64.b64encode(cloudpickle.dumps(lambda a, b: a * b)).decode()
        body = {"function": "times", "code": code, "args": [6, 7]}
        assert user.post("/v1/operations?wait_s=30", json=body).json()["result"] == 42
        pickled = base64.b64encode(pickle.dumps(((1,), {"b": 2}))).decode()
        body = {"function": "sample:add", "pickle": pickled}
        assert user.post("/v1/operations?wait_s=30", json=body).json()["result"] == 3
        body = {"function": "hello.py", "script": "print('hello from a script')"}
        operation = user.post("/v1/operations?wait_s=30", json=body).json()
        assert operation["state"] == "done"
        assert "hello from a script" in user.get(operation["links"]["logs"]).text

    # --- batches ------------------------------------------------------------------------------------------------

    def test_each_of_a_batch_has_its_own_answer(self, user):
        """In order: those that are taken, and of each other one why not, with a pointer into the batch."""
        key = str(uuid.uuid4())
        items = [
            {"function": "sample:add", "args": [1, 1], "key": key},
            {"function": "sample:nobody"},
            {"function": "sample:add", "args": 5},
            {"function": "sample:add", "args": [1, 1], "key": key},
        ]
        answer = user.post("/v1/operations:batch", json={"operations": items})
        assert answer.status_code == 200
        answers = answer.json()["operations"]
        assert [item["status"] for item in answers] == [202, 422, 422, 200]
        assert answers[0]["operation"]["id"] == answers[3]["operation"]["id"]
        assert answers[2]["problem"]["errors"][0]["pointer"] == "/operations/2/args"

    def test_a_batch_of_a_thousand(self, user):
        """A thousand operations are taken at once, and one more is not."""
        items = [{"function": "sample:add", "args": [n, 1]} for n in range(1000)]
        answer = user.post("/v1/operations:batch", json={"operations": items})
        made = answer.json()["operations"]
        assert len({item["operation"]["id"] for item in made}) == 1000
        last = user.get(f"/v1/operations/{made[-1]['operation']['id']}", params={"wait_s": 60}).json()
        assert last["result"] == 1000
        said = problem(user.post("/v1/operations:batch", json={"operations": [*items, items[0]]}), 422)
        assert "1000" in said["detail"]

    # --- looking ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("identifier", ["1", "0", "-1", "007", "x", str(1 << 63), "9" * 50, "%00", "1.0"])
    def test_an_unknown_operation_is_not_found(self, user, identifier):
        """Whatever cannot be an id, or is none, is 404 wherever an id stands."""
        for path in ("", "/result", "/tasks", "/logs"):
            problem(user.get(f"/v1/operations/{identifier}{path}"), 404)
        problem(user.delete(f"/v1/operations/{identifier}"), 404)

    def test_listing_is_newest_first_and_in_pages(self, user):
        """Pages follow each other without a gap or a repetition."""
        ids = [done(user, "add", n)["id"] for n in range(5)]
        found, cursor = [], None
        while True:
            page = user.get("/v1/operations", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            found += [operation["id"] for operation in page["operations"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert [identifier for identifier in found if identifier in ids] == ids[::-1]
        assert len(found) == len(set(found))

    def test_listing_by_state(self, user):
        """Only those of the wanted state are shown."""
        done(user, "add", 1)
        failed = done(user, "fail")["id"]
        page = user.get("/v1/operations", params={"state": "failed"}).json()
        assert {operation["state"] for operation in page["operations"]} == {"failed"}
        assert failed in {operation["id"] for operation in page["operations"]}

    def test_listing_by_function_and_name(self, user):
        """Patterns choose by either, several states with commas between; all must hold."""
        named = [done(user, "add", 1, name=name) for name in ("night 1", "night 2", "day")]
        failed = done(user, "fail")["id"]

        def listed(**query):
            return {row["id"] for row in user.get("/v1/operations", params=query).json()["operations"]}

        first, second, third = (made["id"] for made in named)
        assert listed(name="night *") == {first, second}
        assert listed(name="night ?", function="sample:*", state="done,queued") == {first, second}
        assert listed(name="night *", function="sample:fail") == set()
        assert {failed, third} <= listed(state="failed,done")
        assert failed in listed(function="*:fail")

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=1001", "limit=x", "state=gone", "state=done,gone", "sate=done", "cursor=4711"]
    )
    def test_wrong_queries_are_named(self, user, query):
        """A wrong query parameter is a 422 that names it."""
        said = problem(user.get(f"/v1/operations?{query}"), 422)
        assert said["errors"][0]["pointer"] == "?" + query.partition("=")[0]

    def test_tasks_are_listed(self, user):
        """An operation has at least its root task."""
        operation = done(user, "add", 1)
        tasks = user.get(operation["links"]["tasks"]).json()["tasks"]
        assert tasks[0]["function"] == "sample:add"

    # --- results ------------------------------------------------------------------------------------------------

    def test_a_result_is_json(self, user):
        """The value of a done operation, also when it is nothing."""
        for function, value in (("add", 3), ("nothing", None)):
            answer = user.get(done(user, function, *([1, 2] if function == "add" else []))["links"]["result"])
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.json() == value

    def test_a_large_result_is_not_inline(self, user):
        """The operation shows small values only; the result has it whole."""
        operation = done(user, "large", 100_000)
        assert operation["result"] is None
        assert len(user.get(operation["links"]["result"]).json()) == 100_000

    def test_bytes_are_a_result_as_they_are(self, user):
        """Bytes need no encoding."""
        answer = user.get(done(user, "raw", 4)["links"]["result"])
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.content == b"\x00\xff\x00\xff"

    def test_a_pickle_goes_to_who_names_it(self, user):
        """The pickled value is sent when it is asked for by name, and never to who takes anything."""
        where = done(user, "add", 1, 2)["links"]["result"]
        answer = user.get(where, headers={"Accept": PICKLE})
        assert answer.headers["content-type"] == PICKLE
        assert pickle.loads(answer.content) == 3
        odd = done(user, "odd")["links"]["result"]
        said = problem(user.get(odd, headers={"Accept": "*/*"}), 406)
        assert PICKLE in said["detail"]
        assert pickle.loads(user.get(odd, headers={"Accept": PICKLE}).content) == {1, 2, 3, complex(1, 2)}

    def test_what_cannot_be_had_is_406_and_names_what_can(self, user):
        """A form that a value does not have is refused with those that it has."""
        said = problem(user.get(done(user, "add", 1)["links"]["result"], headers={"Accept": "text/csv"}), 406)
        assert "application/json" in said["detail"]

    def test_no_result_while_it_runs(self, user):
        """A running operation has no result yet: 409."""
        with held(user) as identifier:
            problem(user.get(f"/v1/operations/{identifier}/result"), 409)

    def test_a_failure_comes_with_its_traceback(self, user):
        """A failed operation's result is a problem that has the remote traceback."""
        operation = done(user, "fail", "of its own")
        assert operation["state"] == "failed"
        assert operation["error"]["message"] == "of its own"
        said = problem(user.get(operation["links"]["result"]), 424)
        assert said["type"] == "urn:agentd:problem:operation-failed"
        assert said["state"] == "failed"
        assert said["error"]["type"] == "ValueError"
        assert "raise ValueError" in said["error"]["traceback"]

    # --- steering -----------------------------------------------------------------------------------------------

    def test_cancel(self, user):
        """A running operation ends as cancelled, once; cancelling what has ended changes nothing."""
        with held(user) as identifier:
            assert user.delete(f"/v1/operations/{identifier}").status_code == 202
            ended = user.get(f"/v1/operations/{identifier}", params={"wait_s": 30}).json()
            assert ended["state"] == "cancelled"
            problem(user.get(f"/v1/operations/{identifier}/result"), 424)
        operation = done(user, "add", 1)
        assert user.delete(operation["links"]["self"]).json()["state"] == "done"

    def test_logs_in_three_forms(self, user):
        """Output is to be had as it is, by lines of JSON, and as events, each piece with its stream."""
        where = done(user, "speak", "good morning")["links"]["logs"]
        assert "good morning" in user.get(where).text
        lines = user.get(where, headers={"Accept": "application/x-ndjson"})
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert '"stream":"stderr"' in lines.text
        events = user.get(where, headers={"Accept": "text/event-stream"}).text
        assert events.startswith("event: log\ndata: {")
        problem(user.get(where, headers={"Accept": "image/png"}), 406)

    def test_logs_follow_until_the_end(self, user, door):
        """With `follow` output comes while it is made, and the stream ends with the operation."""
        with held(user) as identifier, door.client("read") as reader:
            where = f"/v1/operations/{identifier}/logs?follow=true"
            with reader.stream("GET", where) as answer:
                pieces = answer.iter_text()
                assert "begun" in next(pieces)
                user.delete(f"/v1/operations/{identifier}")
                assert "".join(pieces) is not None

    # --- the agent and its pool ---------------------------------------------------------------------------------

    def test_the_agent_shows_itself(self, user):
        """Who it is and how it stands."""
        shown = user.get("/v1/agent").json()
        assert shown["name"]
        assert shown["ready"] is True

    def test_the_pool_grows_and_shrinks(self, user):
        """Added, reduced and removed, a host is shown as it is each time."""
        added = user.post(
            "/v1/resources",
            json={"name": "127.0.0.9", "capacity": {"processors": [{"units": 4}]}, "properties": {"Port": "1"}},
        )
        assert added.status_code == 200, added.text
        assert "127.0.0.9" in {row["name"] for row in user.get("/v1/resources").json()["resources"]}
        assert "127.0.0.9" in {row["name"] for row in user.get("/v1/neighbours").json()["neighbours"]}
        reduced = user.post("/v1/resources/127.0.0.9/reduce", json={"capacity": {"processors": [{"units": 1}]}})
        assert reduced.status_code == 202
        assert reduced.json()["total"]["CPU"] == 3
        assert user.delete("/v1/resources/127.0.0.9?lost=true").status_code == 202
        assert "127.0.0.9" not in {row["name"] for row in user.get("/v1/resources").json()["resources"]}

    def test_an_unknown_host_is_not_found(self, user):
        """What is not in the pool can be neither reduced nor removed."""
        capacity = {"capacity": {"processors": [{"units": 1}]}}
        problem(user.post("/v1/resources/nobody/reduce", json=capacity), 404)
        problem(user.delete("/v1/resources/nobody"), 404)

    def test_health_readiness_and_figures(self, user):
        """The three that others watch."""
        assert user.get("/health").json()["status"] == "alive"
        assert user.get("/ready").json() == {"status": "ready"}
        metrics = user.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "agentd_" in metrics.text

    def test_events_begin_with_a_snapshot(self, user, door):
        """Who has seen nothing yet is shown how things stand, and then what changes."""
        with door.client("read") as reader, reader.stream("GET", "/v1/events") as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            lines = answer.iter_lines()
            first = next(line for line in lines if line.startswith("event: "))
            assert first == "event: snapshot"
            identifier = call(user, "add", 1, 2).json()["id"]
            assert next(line for line in lines if line.startswith("data: ") and identifier in line)
