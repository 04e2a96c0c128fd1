"""The OpenAPI document, of which the table of routes is the source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from agentd.rest.answering.problems import KINDS
from agentd.rest.bodies import schemas
from agentd.rest.port import SCOPES
from agentd.rest.routes import Route, RouteTable

REF = "#/components/schemas/{model}"
ALWAYS = (400, 403, 421)
"""Refusals that any route may give."""

TAGS = (
    ("operations", "What users ask of the agent: one call, and all tasks that it spawns."),
    ("blobs", "Large values."),
    ("agent", "The agent itself."),
    ("resources", "The pool."),
    ("neighbours", "The links to other agents."),
    ("peers", "The agents that are trusted, and how one comes to be."),
    ("events", "What happens, as it happens."),
    ("health", "For those who watch over it."),
    ("compss", "The same as COMPSs' programs and scripts ask for it: XML in, their texts out."),
    ("pages", "Where to begin."),
)


def described(route: Route) -> dict[str, Any]:
    """Say of a route what FastAPI needs for its OpenAPI beside the signature."""
    summary, _, more = (route.endpoint.__doc__ or "").strip().partition("\n")
    extra: dict[str, Any] = {"x-scope": route.scope, "security": [] if route.scope == "none" else [{"bearer": []}]}
    extra["x-curl"] = _curl(route)
    if route.parameters:
        extra["parameters"] = list(route.parameters)
    if route.body is not None:
        schema = {"$ref": REF.format(model=route.body.__name__)}
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif route.accepts and not route.takes_json:
        content = {kind.decode(): {"schema": {"type": "string", "format": "binary"}} for kind in route.accepts}
        extra["requestBody"] = {"required": True, "content": content}
    good = min(route.answers, default=200)
    return {
        "summary": summary.rstrip("."),
        "description": f"{' '.join(more.split())}\n\nScope: **{route.scope}**.".strip(),
        "status_code": good,
        "response_class": Response,  # of any media type: FastAPI would add its own, JSON, to those that are named
        "responses": {**{status: _good(route, model) for status, model in route.answers.items()}, **_bad(route)},
        "openapi_extra": extra,
    }


def _good(route: Route, model: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": (model.__doc__ or "").split("\n")[0] if model else "What was asked for."}
    if model is not None:
        answer["content"] = {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}
    elif route.media:
        answer["content"] = {kind: {"schema": _schema_of_text(kind)} for kind in route.media}
    return answer


def _schema_of_text(kind: str) -> dict[str, Any]:
    """Say what a body of some media type is, where no model does."""
    if kind == "application/json":
        return {}
    if kind.startswith("text/") or kind.endswith("ndjson"):
        return {"type": "string"}
    return {"type": "string", "format": "binary"}


def _bad(route: Route) -> dict[int, dict[str, Any]]:
    statuses = {*ALWAYS, *route.problems}
    if route.scope != "none":
        statuses |= {401, 503}
    if route.accepts:
        statuses |= {408, 413, 415, 422} if route.takes_json else {408, 413, 415}
    content = {"application/problem+json": {"schema": {"$ref": REF.format(model="ProblemDocument")}}}
    as_text = {**content, "text/plain": {"schema": {"type": "string"}}}
    return {
        status: {
            "description": KINDS[status].replace("-", " "),
            "content": as_text if status in route.told_as_text else content,
        }
        for status in sorted(statuses)
    }


def _curl(route: Route) -> str:
    method = f"-X {route.method} " if route.method not in {"GET", "POST"} or not route.example else ""
    method = "" if route.method == "GET" else method
    token = "" if route.scope == "none" else '-H "Authorization: Bearer $TOKEN" '
    return f"curl {method}{token}{route.example + ' ' if route.example else ''}$AGENT{route.path}"


def schema_of(app: FastAPI, table: RouteTable) -> Callable[[], bytes]:
    """Give a function that makes the document when it is first asked for, as that takes a while."""
    made: list[bytes] = []

    def schema() -> bytes:
        if not made:
            made.append(msgspec.json.encode(_document(app, table)))
        return made[0]

    return schema


def _document(app: FastAPI, table: RouteTable) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary="One agent of many, each on its own device",
        description=app.description,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS],
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(_models(table))
    _without_fastapis_errors(document)
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `agentd token add NAME --scope …`. Scopes, each with those before it: "
            f"{', '.join(SCOPES[1:])}. A process of the agent's own user on the same device needs none up to "
            "`--local-access`.",
        }
    }
    return document


def _without_fastapis_errors(document: dict[str, Any]) -> None:
    """Take away the 422 that FastAPI gives to whatever has a parameter, in a form that is not sent here."""
    for methods in document["paths"].values():
        for operation in methods.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)


def _models(table: RouteTable) -> dict[str, Any]:
    """Give the schema of each model that the table names, and of what they are made of."""
    models = {schemas.ProblemDocument, *(route.body for route in table.routes if route.body is not None)}
    models |= {model for route in table.routes for model in route.answers.values() if model is not None}
    found: dict[str, Any] = {}
    for model in sorted(models, key=lambda model: str(model.__name__)):
        schema = model.model_json_schema(ref_template=REF)
        found.update(schema.pop("$defs", {}))
        found[model.__name__] = schema
    return found
