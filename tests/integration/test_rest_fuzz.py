"""Whatever is asked of a real agent, by the words of its own OpenAPI document: no answer is a fault of the agent's.

AGENTD_FUZZ_EXAMPLES says how many requests are made of each route, with a token and without: few by default.
"""

from __future__ import annotations

import json
import os
from typing import Any, ClassVar
from urllib.parse import quote

import httpx
from daemon_rig import WITH_APPS, Door
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.rest.app import ROUTES as OWN
from agentd.rest.compss.routes import ROUTES as OF_COMPSS
from tests.conftest import RunningAgent, StartAgent

EXAMPLES = int(os.environ.get("AGENTD_FUZZ_EXAMPLES", "20"))
LEFT_OUT = {"/v1/shutdown": "ends the agent", "/COMPSs": "ends it too", "/v1/events": "never ends"}
ROUTES = [route for route in (*OWN, *OF_COMPSS) if route.path not in LEFT_OUT]
ALWAYS = {400, 401, 403, 404, 405, 406, 408, 411, 413, 415, 421, 422, 501, 503}
"""What the guard says to any request."""
ODD = ("", "0", "-1", "null", "٣", "\x00", "a/b", "..", "%", "sums:increment", "9" * 40, "\u202e", "é", "1e5")
BROKEN = (b"", b"{", b"[]", b"null", b'{"a":1,"a":2}', b"\xff", b"[" * 200, b'{"function":1e999}', b"<xml/>")

texts = st.one_of(st.sampled_from(ODD), st.text(max_size=20))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


class Schemas:
    """Values by the schemas of a document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._known = document.get("components", {}).get("schemas", {})

    def values(self, schema: dict[str, Any], depth: int = 3) -> st.SearchStrategy[Any]:
        """Give what a schema allows, as far as it is told by type, choice, pattern and bounds."""
        if "$ref" in schema:
            return self.values(self._known[schema["$ref"].rpartition("/")[2]], depth)
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return st.one_of([self.values(one, depth) for one in schema[several]])
        if "enum" in schema or "const" in schema:
            return st.sampled_from(schema.get("enum", [schema.get("const")]))
        kind = schema.get("type")
        if depth == 0 or kind not in self._of_kind:
            return anything
        return self._of_kind[kind](self, schema, depth)

    def _text(self, schema: dict[str, Any], _depth: int) -> st.SearchStrategy[Any]:
        return st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else texts

    def _number(self, schema: dict[str, Any], _depth: int) -> st.SearchStrategy[Any]:
        return st.integers(schema.get("minimum", -(2**70)), schema.get("maximum", 2**70))

    def _list(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
        return st.lists(self.values(schema.get("items", {}), depth - 1), max_size=3)

    def _object(self, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
        fields = {name: self.values(one, depth - 1) for name, one in schema.get("properties", {}).items()}
        needed = {name: fields.pop(name) for name in schema.get("required", []) if name in fields}
        return st.fixed_dictionaries(needed, optional=fields) if needed or fields else anything

    _of_kind: ClassVar[dict[str, Any]] = {
        "string": _text,
        "integer": _number,
        "number": _number,
        "boolean": lambda *_: st.booleans(),
        "null": lambda *_: st.none(),
        "array": _list,
        "object": _object,
    }


class Asked:
    """One agent, its document, and two who ask: one with all rights, one with none."""

    def __init__(self, agent: RunningAgent) -> None:
        self.door = Door(agent.rest, agent.state)
        self.stranger = httpx.Client(base_url=agent.rest, trust_env=False, headers={"authorization": "Bearer none"})
        self.document = self.door.get("/openapi.json")
        self.schemas = Schemas(self.document)
        self.operation = self.door.submit("sums:increment", 1, wait_s=60)["id"]

    def requests(self, method: str, path: str) -> st.SearchStrategy[dict[str, Any]]:
        """Give requests of a route."""
        described = self.document["paths"].get(path, {}).get(method.lower(), {})
        wishes = {
            wish["name"]: st.one_of(self.schemas.values(wish["schema"]), texts)
            for wish in described.get("parameters", [])
            if wish["in"] == "query" and wish["name"] not in {"wait_s", "follow"}
        }
        bodies = [st.sampled_from(BROKEN).map(lambda data: ("application/json", data))]
        for kind, content in described.get("requestBody", {}).get("content", {}).items():
            values = st.one_of(self.schemas.values(content.get("schema", {})), anything)
            bodies.append(values.map(lambda value, kind=kind: (kind, json.dumps(value).encode())))
        return st.fixed_dictionaries(
            {
                "name": st.one_of(st.just(str(self.operation)), texts),
                "query": st.fixed_dictionaries({}, optional=wishes),
                "body": st.one_of(bodies) if method in {"POST", "PUT"} else st.none(),
            }
        )


def test_no_request_is_answered_with_a_fault_of_the_agent(start_agent: StartAgent) -> None:
    """Each answer has a status that the document names, and each refusal says what is wrong; the agent goes on."""
    asked = Asked(start_agent(*WITH_APPS, "--local-access", "none"))
    with asked.stranger:
        for route in ROUTES:
            _ask_often(asked, route)
    assert asked.door.client.get("/health").status_code == 200
    assert asked.door.submit("sums:increment", 1, wait_s=60)["result"] == 2


def _ask_often(asked: Asked, route: Any) -> None:
    described = asked.document["paths"].get(route.path, {}).get(route.method.lower(), {})
    named = {int(status) for status in described.get("responses", {}) if status.isdigit()} | ALWAYS

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(asked.requests(route.method, route.path))
    def check(request: dict[str, Any]) -> None:
        kind, body = request["body"] or ("", None)
        path = route.path.replace("{id}", _quoted(request["name"])).replace("{name}", _quoted(request["name"]))
        headers = {"content-type": kind} if kind else {}
        for client in (asked.door.client, asked.stranger):
            answer = client.request(route.method, path, params=request["query"], content=body, headers=headers)
            assert answer.status_code in named, (route.method, path, answer.status_code, answer.text)
            if answer.headers.get("content-type", "").startswith("application/problem+json"):
                assert answer.json()["detail"]

    check()


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace") or "0"
