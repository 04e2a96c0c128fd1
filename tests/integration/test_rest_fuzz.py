"""Whatever is asked of a real agent, by the words of its own OpenAPI document: no answer is a fault of the agent's.

AGENTD_FUZZ_REQUESTS says how many requests are made of each route by its owner, and as many by strangers.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from agentd.rest.app import ROUTES as OWN
from agentd.rest.compss.routes import ROUTES as OF_COMPSS
from agentd.rest.routes import Route
from tests.conftest import RunningAgent, StartAgent
from tests.fakes.compss_samples import BODIES
from tests.fakes.mutation import XML_TOKENS, changed
from tests.fakes.openapi_values import Schemas
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

REQUESTS = int(os.environ.get("AGENTD_FUZZ_REQUESTS", "300"))
ROUTES = (*OWN, *OF_COMPSS)
ENDS_IT = {("POST", "/v1/shutdown"), ("DELETE", "/COMPSs")}
"""What the owner does not ask for here."""
ALWAYS = {400, 401, 403, 404, 405, 406, 408, 411, 413, 415, 421, 422, 501, 503}
"""What the guard says to any request."""
REFUSED = {400, 401, 403, 404, 405, 408, 411, 413, 415, 421, 431}
"""What a stranger is told of a route that needs a scope."""
STRANGERS: tuple[dict[str, str], ...] = (
    {},
    {"authorization": "Bearer none"},
    {"authorization": "Basic YTpi"},
    {"authorization": "Bearer "},
)
WAITS = {"wait_s", "follow", "Prefer"}
"""Wishes that make an answer late."""
BROKEN = (b"", b"{", b"[]", b"null", b'{"a":1,"a":2}', b"\xff", b"[" * 200, b'{"function":1e999}', b"<xml/>")
BLOCKS = 4
"""Parts of the routes, each with an agent of its own, so that they can be asked side by side."""


class Asked(NamedTuple):
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class Said(NamedTuple):
    """One answer; of one without an end only the head."""

    status: int
    kind: str
    body: bytes


class Line:
    """A connection that is kept for as long as the agent keeps it."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)

    def ask(self, asked: Asked, *, is_endless: bool) -> Said:
        """Send a request and read its answer."""
        self._connection.request(asked.method, asked.target, asked.body, asked.headers)
        answer = self._connection.getresponse()
        kind = answer.headers.get("content-type", "")
        if is_endless and kind.startswith("text/event-stream"):
            self._connection.close()
            return Said(answer.status, kind, b"")
        return Said(answer.status, kind, answer.read())

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Requests:
    """Draws requests of one agent's routes."""

    def __init__(self, door: Door, chance: random.Random) -> None:
        self._chance = chance
        self._paths = door.get("/openapi.json")["paths"]
        self._schemas = Schemas(door.get("/openapi.json"), chance)
        self._names = (str(door.submit("sums:increment", 1, wait_s=PATIENCE_S)["id"]), "beta")

    def described(self, route: Route) -> dict[str, Any]:
        """Give what the document says of a route."""
        found: dict[str, Any] = self._paths[route.path][route.method.lower()]
        return found

    def draw(self, route: Route) -> Asked:
        """Draw one of a route."""
        described = self.described(route)
        path = re.sub(r"\{\w+\}", lambda _: self._name(), route.path)
        query, headers = {}, {}
        for wish in described.get("parameters", []):
            if wish["in"] in {"query", "header"} and wish["name"] not in WAITS and self._chance.random() < 0.4:
                value = self._schemas.value(wish["schema"]) if self._chance.random() < 0.7 else self._schemas.text()
                if wish["in"] == "query":
                    query[wish["name"]] = str(value)
                else:
                    headers[wish["name"]] = quote(str(value), safe=" *,/;=")
        kind, body = self._body(route, described)
        if kind:
            headers["content-type"] = kind
        target = path + ("?" + urlencode(query, errors="replace") if query else "")
        return Asked(route.method, target, headers, body)

    def _name(self) -> str:
        text = self._chance.choice(self._names) if self._chance.random() < 0.7 else self._schemas.text()
        return quote(text, safe="", errors="replace") or "0"

    def _body(self, route: Route, described: dict[str, Any]) -> tuple[str, bytes | None]:
        content = described.get("requestBody", {}).get("content", {})
        if not content:
            return "", None
        kind, schema = self._chance.choice(list(content.items()))
        if self._chance.random() < 0.05:
            return kind, self._chance.choice(BROKEN)
        if route.path in BODIES:
            text = self._chance.choice(BODIES[route.path])
            return kind, changed(text, XML_TOKENS, self._chance) if self._chance.random() < 0.8 else text
        return kind, json.dumps(self._schemas.value(schema.get("schema", {}))).encode()


class Checked:
    """Asks, and insists on what holds of every answer."""

    def __init__(self, agent: RunningAgent, requests: Requests, token: str) -> None:
        self._line = Line(agent.rest)
        self._requests = requests
        self._token = token
        self.statuses: dict[str, set[int]] = {}

    def by_owner(self, route: Route) -> None:
        """Ask with all rights."""
        named = {int(status) for status in self._requests.described(route).get("responses", {}) if status.isdigit()}
        self._ask(route, {"authorization": f"Bearer {self._token}"}, named | ALWAYS)

    def by_stranger(self, route: Route, number: int) -> None:
        """Ask with none."""
        named = {int(status) for status in self._requests.described(route).get("responses", {}) if status.isdigit()}
        self._ask(route, STRANGERS[number % len(STRANGERS)], named | ALWAYS if route.scope == "none" else REFUSED)

    def _ask(self, route: Route, headers: dict[str, str], allowed: set[int]) -> None:
        asked = self._requests.draw(route)
        asked.headers.update(headers)
        said = self._line.ask(asked, is_endless=route.is_endless)
        assert said.status in allowed, (asked, said)
        self.statuses.setdefault(f"{route.method} {route.path}", set()).add(said.status)
        if said.kind.startswith("application/problem+json"):
            assert json.loads(said.body)["detail"], (asked, said)
        elif said.kind.startswith("application/json"):
            json.loads(said.body)

    def close(self) -> None:
        """Hang up."""
        self._line.close()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_request_is_answered_with_a_fault_of_the_agent(start_agent: StartAgent, block: int) -> None:
    """Each answer has a status that the document names, each refusal says what is wrong; strangers get nothing."""
    agent = start_agent(*WITH_APPS, "--local-access", "none")
    door = Door(agent.rest, agent.state)
    checked = Checked(agent, Requests(door, random.Random(block)), (agent.state / "token").read_text().strip())
    for route in ROUTES[block::BLOCKS]:
        for number in range(REQUESTS):
            if (route.method, route.path) not in ENDS_IT:
                checked.by_owner(route)
            checked.by_stranger(route, number)
    checked.close()
    assert door.client.get("/health").status_code == 200
    assert door.submit("sums:increment", 1, wait_s=PATIENCE_S)["result"] == 2
    assert "Traceback" not in agent.stderr
    served = {name for name, statuses in checked.statuses.items() if any(status < 300 for status in statuses)}
    assert len(served) >= len(checked.statuses) / 3, "many routes were asked for what they have"
