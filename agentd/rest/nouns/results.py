"""Results: the recorded value of an operation in the form that its reader asks for, or why there is none."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import asdict
from starlette.responses import Response

from agentd.model.views import TERMINAL
from agentd.rest.answering.accept import choose
from agentd.rest.answering.answers import BYTES, JSON, PICKLE, Answer
from agentd.rest.answering.problems import Problem
from agentd.rest.nouns.operations import PATH_ID, PREFER, WAIT, Current, parameter, wait_of, wanted
from agentd.rest.port import ResultView
from agentd.rest.routes import Route


async def show_result(call: Current) -> Response:
    """Give the value of an operation that is done.

    As JSON, or as `application/octet-stream` when it is bytes; its pickle with `Accept: application/x-python-pickle`.
    409 while it runs, 406 when it cannot be said in the form that is asked for, and 424 with the remote traceback when
    the operation did not end well.
    """
    number, wait_s = wanted(call.params["id"]), wait_of(call)
    if wait_s:
        await call.port.operation(number, wait_s)
    result = await call.port.result(number)
    state = result.operation.state
    if state not in TERMINAL:
        raise Problem(409, f"operation {number} is {state}: ask again, or wait for it with ?wait_s=")
    if state != "done":
        raise _not_done(result)
    return _value(result, call.headers.get(b"accept"))


def _not_done(result: ResultView) -> Problem:
    operation = result.operation
    said = operation.error.message if operation.error else operation.reason
    return Problem(
        424,
        f"operation {operation.id} ended as {operation.state}: {said or 'no reason was recorded'}",
        members={
            "state": operation.state,
            "operation": operation.id,
            "error": asdict(operation.error) if operation.error else None,
        },
    )


def _value(result: ResultView, accept: bytes | None) -> Answer:
    forms: dict[str, bytes | Callable[[], bytes]] = {
        media.decode(): data
        for media, data in ((JSON, result.json), (BYTES, result.raw), (PICKLE, result.pickle))
        if data is not None
    }
    asked = None if accept is None else accept.decode("latin-1")
    chosen = choose(tuple(forms), asked, by_name_only=frozenset({PICKLE.decode()}))
    if chosen is None:
        raise Problem(
            406,
            f"this result is not to be had as {asked or 'JSON'}. What works: "
            + (" or ".join(f"'Accept: {media}'" for media in forms) or "nothing, its value cannot be sent"),
            members={"available": list(forms)},
        )
    form = forms[chosen]
    data = form if isinstance(form, bytes) else form()
    return Answer(200, data, chosen.encode(), [(b"vary", b"accept")])


ACCEPT = parameter("Accept", "header", {"type": "string"}, "The form of the value.")

ROUTES = (
    Route(
        method="GET",
        path="/v1/operations/{id}/result",
        scope="read",
        endpoint=show_result,
        tag="operations",
        is_hot=True,
        answers={200: None},
        media=("application/json", "application/octet-stream", "application/x-python-pickle"),
        problems=(404, 406, 409, 422, 424),
        parameters=(PATH_ID, WAIT, PREFER, ACCEPT),
    ),
)
