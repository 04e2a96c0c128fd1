"""The table of routes: one record says what FastAPI serves, what the guard demands, and what the OpenAPI shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from starlette.routing import compile_path

from agentd.rest.answering.answers import JSON


class Route(Struct, frozen=True, kw_only=True, eq=False):
    """One method of one path."""

    method: str
    path: str
    scope: str
    endpoint: Callable[..., Any]
    tag: str
    accepts: tuple[bytes, ...] = ()
    """Content types of the body; without any the body is not looked at."""
    is_streamed: bool = False
    """The body is passed on as it comes; the route counts it."""
    is_endless: bool = False
    """The response may go on for as long as the client stays."""
    is_hot: bool = False
    """The endpoint takes the `Call` alone and is called by the guard, with nothing of FastAPI around it."""
    answers: Mapping[int, Any] = {}
    """Models of the good answers by status; None for one without a model."""
    media: tuple[str, ...] = ()
    """Content types of the good answers, where they are not JSON alone."""
    problems: tuple[int, ...] = ()
    """Statuses with which it may refuse, beside those that any route may give."""
    told_as_text: tuple[int, ...] = ()
    """Statuses of which the reason may be plain text instead of a problem."""
    parameters: tuple[dict[str, Any], ...] = ()
    """OpenAPI of what FastAPI cannot see in the signature."""
    body: Any = None
    """Pydantic model of the body, where FastAPI cannot see it."""
    example: str = ""
    """What follows `curl` and the address in the documentation."""

    @property
    def takes_json(self) -> bool:
        """Tell whether the body is JSON, which is checked for depth."""
        return JSON in self.accepts


SLASHED = "/COMPSs"
"""Below this, a path is the same with and without a slash at its end, as the clients of that door write it."""


class RouteTable:
    """All routes, found by path; the only place where a path is matched.

    A `{name}` may hold slashes, as that of a neighbour that is called by its URL does.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, Route]] = {}
        self._shaped: dict[str, tuple[Any, dict[str, Route]]] = {}
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" in route.path:
            regex, _, _ = compile_path(route.path.replace("{name}", "{name:path}"))
            methods = self._shaped.setdefault(route.path, (regex, {}))[1]
        else:
            methods = self._exact.setdefault(route.path, {})
        assert route.method not in methods, f"{route.method} {route.path} stands twice in the table"
        methods[route.method] = route

    def find(self, path: str) -> tuple[dict[str, Route], dict[str, str]] | None:
        """Give the routes of a path by method, and its parameters; None when there is no such path."""
        methods = self._exact.get(path)
        if methods is None and path.endswith("/") and path.startswith(SLASHED):
            methods = self._exact.get(path[:-1])
        if methods is not None:
            return methods, {}
        for regex, shaped in self._shaped.values():
            match = regex.match(path)
            if match is not None and all(match.groupdict().values()):
                return shaped, match.groupdict()
        return None
