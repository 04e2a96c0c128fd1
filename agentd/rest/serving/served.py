"""The routes of FastAPI: found through the guard's table and by nothing else."""

from __future__ import annotations

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from agentd.rest.call import CALL


class TableRoute(APIRoute):
    """A route that serves what the guard admitted for it.

    So the record that admitted a request is the one that serves it, and without the guard nothing is served. Hot routes
    are here for the OpenAPI alone: the guard calls their endpoints itself.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the request that the guard admitted for this route."""
        call = scope.get(CALL)
        if call is None or call.route.endpoint is not self.endpoint:
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self.endpoint, "path_params": call.params, "route": self}
