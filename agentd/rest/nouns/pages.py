"""Where to begin: the index, the OpenAPI document, and the page that shows it without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from agentd import __version__
from agentd.rest.answering.answers import Answer, json_of
from agentd.rest.bodies import schemas
from agentd.rest.call import Call, current
from agentd.rest.routes import Route

HTML = b"text/html; charset=utf-8"


async def show_index(request: Request, call: Annotated[Call, Depends(current)]) -> Response:
    """Say what there is and how to call it."""
    submit = '{"function": "package.module:function", "args": []}'
    return json_of(
        {
            "name": call.port.agent().name,
            "version": __version__,
            "documentation": "/docs",
            "openapi": "/openapi.json",
            "routes": sorted({route.path for route in request.app.router.routes}),
            "call": f"curl -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' -d '{submit}' "
            f"{request.url.scheme}://{call.headers[b'host'].decode('latin-1')}/v1/operations?wait_s=10",
            "authorization": "Bearer TOKEN, of `agentd token add NAME --scope read|submit|code|admin`; "
            "a process of the agent's own user on the same device needs none up to --local-access",
        }
    )


async def show_openapi(request: Request) -> Response:
    """Give the OpenAPI document."""
    return Answer(200, request.app.state.schema())


async def show_documentation() -> Response:
    """Show the OpenAPI document as a page."""
    page, policy = _page()
    return Answer(200, page, HTML, [(b"content-security-policy", policy), (b"referrer-policy", b"no-referrer")])


@cache
def _page() -> tuple[bytes, bytes]:
    """Give the page, and the policy that lets its own script and style run and nothing else."""
    page = resources.files(__package__).joinpath("docs.html").read_bytes()
    script, style = (_hash(page, tag) for tag in (b"script", b"style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy.encode()


def _hash(page: bytes, tag: bytes) -> str:
    match = re.search(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    assert match is not None, "the page has one script and one style"
    return f"'sha256-{base64.b64encode(hashlib.sha256(match.group(1)).digest()).decode()}'"


ROUTES = (
    Route(method="GET", path="/", scope="none", endpoint=show_index, tag="pages", answers={200: schemas.Index}),
    Route(
        method="GET",
        path="/openapi.json",
        scope="none",
        endpoint=show_openapi,
        tag="pages",
        answers={200: None},
        media=("application/json",),
    ),
    Route(
        method="GET",
        path="/docs",
        scope="none",
        endpoint=show_documentation,
        tag="pages",
        answers={200: None},
        media=("text/html",),
    ),
)
