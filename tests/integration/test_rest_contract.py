"""The contract of the user port, held by the agent in memory; the answers to what is wrong, whoever the agent is."""

from __future__ import annotations

import pytest

from tests.fakes.doors import open_door
from tests.fakes.rest_contract import RestContract, call, held, problem

CALLBACK = {"function": "sample:add", "callback": {"url": "http://example.org/ended"}}
WRONG = [
    ({}, ""),
    ({"function": 5}, "/function"),
    ({"function": "sample"}, "/function"),
    ({"function": "../sample:add"}, "/function"),
    ({"function": "sample:add", "arguments": []}, "/arguments"),
    ({"function": "sample:add", "args": {}}, "/args"),
    ({"function": "sample:add", "kwargs": []}, "/kwargs"),
    ({"function": "sample:add", "constraints": {"cpus": 1}}, "/constraints/cpus"),
    ({"function": "sample:add", "constraints": {"computing_units": -1}}, "/constraints/computing_units"),
    ({"function": "sample:add", "constraints": {"computing_units": "2"}}, "/constraints/computing_units"),
    ({"function": "sample:add", "constraints": {"software": [1]}}, "/constraints/software/0"),
    ({"function": "sample:add", "timeout_s": 0}, "/timeout_s"),
    ({"function": "sample:add", "max_attempts": 0}, "/max_attempts"),
    ({"function": "sample:add", "idempotent": "no"}, "/idempotent"),
    ({"function": "sample:add", "priority": 1.5}, "/priority"),
    ({"function": "sample:add", "on_failure": "PANIC"}, "/on_failure"),
    ({"function": "sample:add", "pickle": "not base64!"}, "/pickle"),
    ({"function": "sample:add", "pickle": "aGk=", "args": [1]}, "/pickle"),
    ({"function": "f", "code": "aGk=", "script": "print()"}, "/script"),
    ({"function": "../f.py", "script": "print()"}, "/function"),
    ({"function": "sample:add", "key": "two words"}, ""),
    ({"function": "sample:add", "args": [{"$blob": 5}]}, "/args/0/$blob"),
    ({"function": "sample:add", "args": [{"$blob": "0"}]}, "/args/0/$blob"),
    (CALLBACK, "/callback/url"),
]


@pytest.fixture(scope="module")
def door():
    """One door for all tests here: none of them breaks it."""
    with open_door() as opened:
        yield opened


class TestAgentInMemory(RestContract):
    """The fake keeps the contract, so that what is tested against it means something."""


@pytest.mark.parametrize(("body", "pointer"), WRONG)
def test_a_wrong_field_is_named(door, body, pointer):
    """A submission that is not as documented is a 422 that points at the field."""
    with door.client("code") as user:
        said = problem(user.post("/v1/operations", json=body), 422)
    if pointer:
        assert said["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"function": "sample:add"} x', b"\xff\xfe", b'{"a": NaN}'])
@pytest.mark.parametrize("path", ["/v1/operations", "/v1/operations:batch", "/v1/resources"])
def test_what_is_no_json_is_a_400(door, path, body):
    """Text that is not JSON is told from JSON that is wrong."""
    with door.client("admin") as user:
        problem(user.post(path, content=body, headers={"Content-Type": "application/json"}), 400)


def test_arguments_are_utf8(door):
    """Arguments are passed on unread, and yet must be text."""
    body = b'{"function": "sample:add", "args": ["\xff"]}'
    with door.client("submit") as user:
        problem(user.post("/v1/operations", content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("wait", ["x", "-1", "nan", ""])
def test_a_wrong_wait_is_named(door, wait):
    """Waiting takes a number from 0."""
    with door.client("submit") as user:
        problem(user.get("/v1/operations/5", params={"wait_s": wait}), 422)
        problem(call(user, "add", 1, wait_s=wait), 422)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "b/c", "capacity": {}},
        {"name": "b", "capacity": {"processors": [{"units": -1}]}},
        {"name": "b", "capacity": {"processors": [{"units": 1, "kind": "TPU"}]}},
        {"name": "b", "capacity": {"cpus": 1}},
        {"name": "b"},
        {"name": "b", "capacity": {}, "adaptor": "no-such"},
        [],
    ],
)
def test_a_wrong_resource_is_refused(door, body):
    """A host that cannot be is a 422, from the door or from the agent."""
    with door.client("admin") as user:
        problem(user.post("/v1/resources", json=body), 422)


def test_code_needs_its_scope(door):
    """Functions by value, scripts and pickles are for scope code; names are for scope submit."""
    with door.client("submit") as user:
        assert call(user, "add", 1).status_code == 202
        for field, value in (("code", "aGk="), ("script", "print()"), ("pickle", "aGk=")):
            body = {"function": "f.py" if field == "script" else "sample:add", field: value}
            said = problem(user.post("/v1/operations", json=body), 403)
            assert said["scope"] == "code"
        batch = {"operations": [{"function": "f.py", "script": "print()"}, {"function": "sample:add", "args": [1]}]}
        answers = user.post("/v1/operations:batch", json=batch).json()["operations"]
        assert [answer["status"] for answer in answers] == [403, 202]


def test_a_batch_has_no_key_of_its_own(door):
    """The header would say nothing of which operation it belongs to."""
    with door.client("submit") as user:
        body = {"operations": [{"function": "sample:add"}]}
        problem(user.post("/v1/operations:batch", json=body, headers={"Idempotency-Key": "k"}), 422)
        problem(user.post("/v1/operations:batch", json={"operations": []}), 422)
        problem(user.post("/v1/operations:batch", json={"operations": {}}), 422)


def test_the_agents_refusals_reach_the_user():
    """Queue full, draining and disk full keep their status, and say when to come back."""
    with open_door(queue_cap=1) as door, door.client("admin") as user:
        with held(user):
            said = call(user, "add", 1)
            problem(said, 429)
            assert said.headers["retry-after"] == "2"
        door.do(lambda: setattr(door.agent, "disk_full", True))
        problem(call(user, "add", 1), 507)
        problem(user.put("/v1/blobs", content=b"x", headers={"Content-Type": "application/octet-stream"}), 507)
        assert user.post("/v1/shutdown?drain_s=2.5").status_code == 202
        assert door.agent.stopped == [2.5]
        answer = call(user, "add", 1)
        problem(answer, 503)
        assert answer.headers["retry-after"] == "30"
        ready = user.get("/ready")
        assert "stopping" in problem(ready, 503)["detail"]
        assert user.get("/health").status_code == 200


def test_a_fault_of_the_agent_is_a_500_that_says_nothing_of_it(caplog):
    """An error that nobody expected is answered as such, and its text stays in the log."""

    async def broken(number, wait_s=0.0):
        raise RuntimeError("the secret of the house")

    with open_door(operation=broken) as door, door.client("read") as user:
        answer = user.get("/v1/operations/5")
        assert answer.status_code == 500
        assert "secret" not in answer.text
    assert "the secret of the house" in caplog.text


def test_warnings_are_told_to_everybody():
    """An insecure bind is said in /health."""
    with open_door(warnings=["plain HTTP beyond loopback"]) as door, door.client() as anyone:
        assert anyone.get("/health").json()["warnings"] == ["plain HTTP beyond loopback"]


def test_the_index_shows_the_way(door):
    """GET / says what there is and how to call it."""
    with door.client() as anyone:
        index = anyone.get("/").json()
        assert "/v1/operations" in index["routes"]
        assert index["documentation"] == "/docs"
        assert anyone.get("/docs").status_code == 200
        assert f":{door.port}/v1/operations" in index["call"]
