"""The routes of FastAPI, of which the hot ones are called with nothing of FastAPI around them."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from agentd.model.errors import RequestError
from agentd.rest.call import CALL
from agentd.rest.problems import refusal


class TableRoute(APIRoute):
    """A route that is found through the guard's table and by nothing else.

    So the record that admitted a request is the one that serves it, and without the guard nothing is served.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the request that the guard admitted for this route."""
        call = scope.get(CALL)
        if call is None or call.route.endpoint is not self.endpoint:
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self.endpoint, "path_params": call.params, "route": self}


class HotRoute(TableRoute):
    """A route whose endpoint takes the request and gives the response, without dependencies and validation.

    It stands in the OpenAPI like any other. Whatever FastAPI would have checked, the guard and the endpoint check.
    """

    endpoint: Any

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request (ASGI)."""
        try:
            response = await self.endpoint(Request(scope, receive))
        except RequestError as error:
            response = refusal(error)
        await response(scope, receive, send)
