"""The routes of an agent's REST interface as values: what to send, and how to read what comes back.

Law: nothing here does I/O; the clients, sync and async, are two thin shells around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from agentd.api.routes.tables import Rows
from agentd.model.errors import AgentdError, RequestError, TaskFailed
from agentd.model.unreadable import UNREADABLE
from agentd.model.views import AgentView, NeighbourView, OperationView, Page, ResourceView, TaskView

T = TypeVar("T")
V = TypeVar("V")

JSON = "application/json"
BYTES = "application/octet-stream"
PICKLE = "application/x-python-pickle"
LINES = "application/x-ndjson"
MOST_IN_BATCH = 1000
"""Operations in one batch; the agent's own cap."""


class Answer(NamedTuple):
    """What the agent answered: header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One request: where it goes, what it brings, and how its answer is read."""

    method: str
    path: str
    """With the query."""
    read: Callable[[Answer], T]
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    """How long the agent may take on purpose."""

    def outcome(self, answer: Answer) -> T:
        """Read the answer.

        Raises:
            RequestError: the agent refused: 4xx or 5xx with a reason and what to do.
            TaskFailed: the operation did not end well.
            AgentdError: what came back is not an agent's answer.
        """
        if answer.status >= 400:
            raise problem(answer)
        try:
            return self.read(answer)
        except UNREADABLE as error:
            raise AgentdError(f"{self.method} {self.path} was answered with something unexpected: {error}") from error


class Problem(Struct, frozen=True):
    """Problem details (RFC 9457) as the agent writes them."""

    title: str = ""
    status: int = 0
    detail: str = ""
    state: str = ""
    """Of an operation that did not end well."""
    error: _Error | None = None
    available: list[str] = []
    """Forms in which a result is to be had."""


class _Error(Struct, frozen=True):
    type: str = "Error"
    message: str = ""
    traceback: str = ""


class NotInThisForm(RequestError):
    """The result cannot be said in the form that was asked for.

    Attributes:
        available: media types in which it can.
    """

    def __init__(self, message: str, available: Sequence[str]) -> None:
        super().__init__(message, status=406)
        self.available = tuple(available)


def problem(answer: Answer) -> AgentdError:
    """Give the error that a refusal stands for."""
    try:
        said = msgspec.json.decode(answer.body, type=Problem)
    except UNREADABLE:
        said = Problem(detail=answer.body[:500].decode("utf-8", "replace"))
    return _as_error(said, answer.status, answer.headers.get("retry-after", ""))


def _as_error(said: Problem, status: int, retry_after: str = "") -> AgentdError:
    detail = said.detail or said.title or f"the agent answered {status}"
    if said.state:
        error = said.error or _Error(said.state, detail)
        words = f"{error.type}: {error.message}" if error.message else detail
        return TaskFailed(words, kind=error.type, traceback=error.traceback)
    if status == 406:
        return NotInThisForm(detail, said.available)
    return RequestError(detail, status=status, retry_after_s=int(retry_after) if retry_after.isdigit() else None)


# --- reading ----------------------------------------------------------------------------------------------------


def _json(kind: type[V]) -> Callable[[Answer], V]:
    decoder = msgspec.json.Decoder(kind)
    return lambda answer: decoder.decode(answer.body)


class _Resources(Struct):
    resources: list[ResourceView]


class _Neighbours(Struct):
    neighbours: list[NeighbourView]


class _Tasks(Struct):
    tasks: list[TaskView]


class _Item(Struct):
    status: int
    operation: OperationView | None = None
    problem: Problem | None = None


class _Batch(Struct):
    operations: list[_Item]


class Blob(Struct, frozen=True):
    """A large value in the agent's object store."""

    id: str
    bytes: int

    @property
    def argument(self) -> dict[str, str]:
        """What stands for it among the arguments of an operation."""
        return {"$blob": self.id}


class Health(Struct, frozen=True):
    """That the agent is alive, and what its operator should know."""

    status: str
    warnings: list[str] = []


_operation = _json(OperationView)
_page = _json(Page)
_agent = _json(AgentView)
_health = _json(Health)
_blob = _json(Blob)
_resource = _json(ResourceView)
_resources, _neighbours, _tasks, _batch = _json(_Resources), _json(_Neighbours), _json(_Tasks), _json(_Batch)


def _value(answer: Answer) -> Any:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind == PICKLE:
        import pickle

        return pickle.loads(answer.body)
    return answer.body if kind == BYTES else msgspec.json.decode(answer.body)


def _text(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")


def _rows_of_batch(answer: Answer) -> list[OperationView | AgentdError]:
    rows: list[OperationView | AgentdError] = []
    for item in _batch(answer).operations:
        if item.operation is not None:
            rows.append(item.operation)
        else:
            rows.append(_as_error(item.problem or Problem(), item.status))
    return rows


# --- routes -----------------------------------------------------------------------------------------------------


def _post(path: str, body: Any, read: Callable[[Answer], V], *, wait_s: float = 0.0, **headers: str) -> Request[V]:
    headers = {"content-type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", path, read, msgspec.json.encode(body), headers, wait_s)


def _at(path: str, **query: Any) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _of(operation: str | OperationView, rest: str = "") -> str:
    identifier = operation if isinstance(operation, str) else operation.id
    return f"/v1/operations/{quote(identifier, safe='')}{rest}"


def submit(body: Mapping[str, Any], wait_s: float = 0.0) -> Request[OperationView]:
    """Submit one operation; waits up to `wait_s` seconds for its end."""
    return _post(_at("/v1/operations", wait_s=wait_s or None), body, _operation, wait_s=wait_s)


def batch(bodies: Sequence[Mapping[str, Any]]) -> Request[list[OperationView | AgentdError]]:
    """Submit up to 1,000 operations in one commit, each with an answer of its own."""
    return _post("/v1/operations:batch", {"operations": list(bodies)}, _rows_of_batch)


def operation(identifier: str | OperationView, wait_s: float = 0.0) -> Request[OperationView]:
    """Look at an operation, waiting up to `wait_s` seconds for its end."""
    return Request("GET", _at(_of(identifier), wait_s=wait_s or None), _operation, wait_s=wait_s)


def operations(
    state: str | None, limit: int, cursor: str | None, function: str | None = None, name: str | None = None
) -> Request[Page]:
    """List operations, newest first."""
    wishes = {"state": state, "function": function, "name": name}
    return Request("GET", _at("/v1/operations", **wishes, limit=limit, cursor=cursor), _page)


def result(identifier: str | OperationView, wait_s: float = 0.0, accept: str = f"{JSON}, {BYTES}") -> Request[Any]:
    """Read the value of an operation in the first of the media types that is to be had."""
    path = _at(_of(identifier, "/result"), wait_s=wait_s or None)
    return Request("GET", path, _value, headers={"accept": accept}, wait_s=wait_s)


def pickled_result(identifier: str, wait_s: float) -> Request[bytes]:
    """Read the pickle of an operation's value, which is for the caller to load."""
    return Request(
        "GET",
        _at(_of(identifier, "/result"), wait_s=wait_s),
        lambda answer: answer.body,
        headers={"accept": PICKLE},
        wait_s=wait_s,
    )


def raw_result(identifier: str) -> Request[bytes]:
    """Read the bytes that say an operation's value: itself if it is bytes, else JSON, else its pickle."""
    accept = f"{BYTES}, {JSON};q=0.9, {PICKLE};q=0.5"
    return Request("GET", _of(identifier, "/result"), lambda answer: answer.body, headers={"accept": accept})


def tasks(identifier: str | OperationView) -> Request[Rows[TaskView]]:
    """List the tasks of an operation."""
    return Request("GET", _of(identifier, "/tasks"), lambda answer: Rows(_tasks(answer).tasks))


def logs(identifier: str | OperationView, *, follow: bool) -> Request[None]:
    """Read what users' code wrote; a stream of lines for `streams.log_line`."""
    path = _at(_of(identifier, "/logs"), follow="true" if follow else None)
    return Request("GET", path, lambda _: None, headers={"accept": LINES}, wait_s=math.inf if follow else 0.0)


def cancel(identifier: str | OperationView) -> Request[OperationView]:
    """Cancel an operation."""
    return Request("DELETE", _of(identifier), _operation)


def agent() -> Request[AgentView]:
    """Show the agent."""
    return Request("GET", "/v1/agent", _agent)


def resources() -> Request[Rows[ResourceView]]:
    """List the pool."""
    return Request("GET", "/v1/resources", lambda answer: Rows(_resources(answer).resources))


def add_resource(
    name: str, capacity: Mapping[str, Any], adaptor: str, properties: Mapping[str, str], *, is_parent: bool
) -> Request[ResourceView]:
    """Add a host, or let a known one grow."""
    body = {"name": name, "capacity": capacity, "adaptor": adaptor, "properties": properties, "is_parent": is_parent}
    return _post("/v1/resources", body, _resource)


def reduce_resource(name: str, capacity: Mapping[str, Any]) -> Request[ResourceView]:
    """Take capacity away."""
    return _post(f"/v1/resources/{quote(name, safe='')}/reduce", {"capacity": capacity}, _resource)


def remove_resource(name: str, *, lost: bool) -> Request[ResourceView]:
    """Remove a host, drained or lost."""
    return Request("DELETE", _at(f"/v1/resources/{quote(name, safe='')}", lost="true" if lost else None), _resource)


def neighbours() -> Request[Rows[NeighbourView]]:
    """List the links."""
    return Request("GET", "/v1/neighbours", lambda answer: Rows(_neighbours(answer).neighbours))


def events(last_id: int | None) -> Request[None]:
    """Follow what happens; a stream of lines for `streams.EventReader`."""
    headers = {"accept": "text/event-stream"} | ({} if last_id is None else {"last-event-id": str(last_id)})
    return Request("GET", "/v1/events", lambda _: None, headers=headers, wait_s=math.inf)


def shutdown(drain_s: float | None) -> Request[None]:
    """Drain and stop."""
    return Request("POST", _at("/v1/shutdown", drain_s=drain_s), lambda _: None)


def blob() -> Request[Blob]:
    """Store a large value; the client streams it."""
    return Request("PUT", "/v1/blobs", _blob, headers={"content-type": BYTES}, wait_s=math.inf)


def health() -> Request[Health]:
    """Ask whether it is alive."""
    return Request("GET", "/health", _health)


def ready() -> Request[None]:
    """Ask whether it takes work; a refusal says why not."""
    return Request("GET", "/ready", lambda _: None)


def metrics() -> Request[str]:
    """Read its figures, as Prometheus text."""
    return Request("GET", "/metrics", _text)


def seconds_left(end_s: float | None, now_s: float, longest_s: float = 60.0) -> float:
    """Say how long to wait in one request when the whole wait ends at `end_s`; None: never."""
    return longest_s if end_s is None else max(0.0, min(longest_s, end_s - now_s))
