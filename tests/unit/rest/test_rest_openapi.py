"""The OpenAPI document: whole, and usable by a generator; and the page that shows it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from agentd.rest.app import ROUTES, create_app
from agentd.rest.nouns import pages
from agentd.rest.port import SCOPES
from agentd.rest.settings import RestSettings
from tests.fakes.agent_port import MemoryAgent

METHODS = {"get", "put", "post", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as it is served."""
    guard = create_app(MemoryAgent(), RestSettings())
    return json.loads(guard._app.state.schema())


def operations(document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def every(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each object inside a value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from every(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from every(inner)


def test_it_has_exactly_the_routes_of_the_table(document):
    """Nothing is hidden, and nothing is promised that is not there."""
    shown = {(method.upper(), path) for path, method, _ in operations(document)}
    assert shown == {(route.method, route.path) for route in ROUTES}
    assert {method for _, method, _ in operations(document)} <= METHODS


def test_every_reference_resolves(document):
    """Each $ref leads to something in the document."""
    found = 0
    for item in every(document):
        reference = item.get("$ref")
        if isinstance(reference, str):
            target: Any = document
            for part in reference.removeprefix("#/").split("/"):
                target = target[part]
            found += 1
    assert found > 50


def test_every_schema_is_used(document):
    """What nothing refers to would be generated for nobody."""
    used = {item["$ref"].rpartition("/")[2] for item in every(document) if isinstance(item.get("$ref"), str)}
    assert used == set(document["components"]["schemas"])


def test_operation_ids_are_unique_names(document):
    """A generator makes functions of them."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_scopes_are_those_of_the_table(document):
    """What the guard demands is what is shown, and what needs no token says so."""
    by_route = {(route.method.lower(), route.path): route for route in ROUTES}
    for path, method, operation in operations(document):
        scope = by_route[method, path].scope
        assert operation["x-scope"] == scope
        assert f"Scope: **{scope}**" in operation["description"]
        assert operation["security"] == ([] if scope == "none" else [{"bearer": []}])
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert set(SCOPES) >= {operation["x-scope"] for _, _, operation in operations(document)}


def test_path_parameters_are_declared_once(document):
    """Each name in a path is a required parameter, and no parameter stands twice."""
    for path, _, operation in operations(document):
        declared = [(p["in"], p["name"]) for p in operation.get("parameters", [])]
        assert len(set(declared)) == len(declared), path
        assert {name for where, name in declared if where == "path"} == set(re.findall(r"{(\w+)}", path))
        assert all(p["required"] for p in operation.get("parameters", []) if p["in"] == "path")


def test_bodies_have_their_schema_and_type(document):
    """A route that takes a body says of which type and shape; another has none."""
    by_route = {(route.method.lower(), route.path): route for route in ROUTES}
    for path, method, operation in operations(document):
        route = by_route[method, path]
        if not route.accepts:
            assert "requestBody" not in operation, path
            continue
        content = operation["requestBody"]["content"]
        assert set(content) == {kind.decode() for kind in route.accepts}
        assert all(media["schema"] for media in content.values())


def test_refusals_are_problems(document):
    """Every 4xx and 5xx of every route is a problem document; who needs a token can be refused."""
    for path, _, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400":
                schema = answer["content"]["application/problem+json"]["schema"]
                assert schema["$ref"].endswith("/ProblemDocument"), (path, status)
        if operation["security"]:
            assert {"401", "403"} <= set(operation["responses"])
        assert any(status < "400" for status in operation["responses"])
        assert operation["summary"]


def test_examples_are_of_their_schema(document):
    """What is shown to be copied is taken."""
    from agentd.rest.bodies import schemas

    for name in ("Submission", "ResourceAdded", "ResourceReduced"):
        examples = document["components"]["schemas"][name]["examples"]
        assert examples
        for example in examples:
            getattr(schemas, name).model_validate(example)
    for _, _, operation in operations(document):
        if " -d '" in operation["x-curl"]:
            json.loads(operation["x-curl"].partition(" -d '")[2].partition("'")[0])


class TestPage:
    """The page that shows the document."""

    def test_it_needs_nothing_from_elsewhere(self):
        """Neither scripts, styles, fonts nor pictures come from another address."""
        page, _ = pages._page()
        assert not re.search(rb"(src|href)=\"?(https?:)?//", page)
        assert b"import(" not in page
        assert b"@import" not in page

    def test_only_its_own_script_may_run(self):
        """The policy has the hash of what is in the page, and nothing that is weaker."""
        page, policy = pages._page()
        script = re.search(rb"<script>(.*?)</script>", page, re.DOTALL)
        assert script
        digest = base64.b64encode(hashlib.sha256(script.group(1)).digest())
        assert b"script-src 'sha256-" + digest + b"'" in policy
        assert b"unsafe" not in policy
        assert b"default-src 'none'" in policy
        assert page.count(b"<script") == page.count(b"<style") == 1

    def test_it_puts_in_text_and_never_markup(self):
        """Names in the document may be anybody's: none is read as HTML."""
        page, _ = pages._page()
        for way in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval(", b"new Function"):
            assert way not in page
        assert not re.search(rb"\son\w+=", page), "a handler in an attribute would need unsafe-inline"
        assert b" style=" not in page


def test_what_is_no_json_is_not_said_to_be(document):
    """A generated client reads an answer by the first type that is named: texts as text, bytes as bytes."""
    kinds = {path: answer["content"] for path, method, answer in good_answers(document) if method == "get"}
    assert list(kinds["/v1/operations/{id}/logs"]) == ["text/plain", "application/x-ndjson", "text/event-stream"]
    assert list(kinds["/v1/events"]) == ["text/event-stream"]
    assert kinds["/metrics"] == {"text/plain": {"schema": {"type": "string"}}}
    result = kinds["/v1/operations/{id}/result"]
    assert list(result) == ["application/json", "application/octet-stream", "application/x-python-pickle"]
    assert result["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}


def good_answers(document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and answer of each that has a body."""
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status.startswith("2") and "content" in answer:
                yield path, method, answer
