"""What stands before every route: host, site, identity, scope, content type, and the size of what is read.

Law: a request that reaches a route was let through here, by the record of the table that the route was made from. It is
plain ASGI and the outermost layer, so nothing that a route does or leaves out can go around it.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentd.model.addresses import is_loopback
from agentd.model.errors import RequestError
from agentd.model.users import BY_TOKEN, LOCAL
from agentd.rest.answering.answers import Answer
from agentd.rest.answering.problems import Problem, broken, refusal
from agentd.rest.call import CALL, CONNECTION, RANK, Call, Caller, Connection, too_little
from agentd.rest.gate.depth import is_deeper
from agentd.rest.gate.hosts import Hosts, check_site, looks_forwarded
from agentd.rest.port import AgentPort
from agentd.rest.routes import Route, RouteTable
from agentd.rest.settings import RestSettings

log = logging.getLogger("agentd.rest")

NOBODY = Caller("nobody", "none")
ONCE = frozenset({b"host", b"origin", b"authorization", b"content-type", b"content-encoding", b"idempotency-key"})
"""Headers that decide something and so may stand only once."""

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
HOW_TO_SHOW = "send the header 'Authorization: Bearer TOKEN'; `agentd token add NAME --scope {scope}` makes a token"


class Guard:
    """The outermost ASGI application: refuses, or hands a `Call` on to the inner one."""

    def __init__(self, app: ASGIApp, table: RouteTable, port: AgentPort, settings: RestSettings) -> None:
        self.table = table
        self._app = app
        self._port = port
        self._settings = settings
        self._hosts = Hosts(settings)
        self._local = Caller(LOCAL, settings.local_access)
        self._streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        connection: Connection = scope.get(CONNECTION) or Connection()
        try:
            await self._serve(scope, receive, _secured(send), connection)
        except asyncio.CancelledError:
            if not connection.is_lost:
                raise
        finally:
            connection.task = None
            connection.is_streamed = connection.is_endless = False

    async def _serve(self, scope: Scope, receive: Receive, send: Send, connection: Connection) -> None:
        try:
            call = self._admit(scope, connection)
            if call.route.is_streamed:
                connection.is_streamed = True
            elif call.route.accepts:
                call.body = await self._read(call, receive)
        except _Answered as early:
            await early.answer(scope, receive, send)
            return
        except _Left:
            return
        except RequestError as error:
            await _refuse(scope, receive, send, error)
            return
        if call.route.method == "GET":
            connection.task = asyncio.current_task()
        if call.route.is_hot:
            await (await _answer(call))(scope, receive, send)
            return
        if call.route.accepts and not call.route.is_streamed:
            receive = _replay(call.body, receive)
        inner = {**scope, CALL: call, "method": call.route.method}
        if call.route.is_endless:
            connection.is_endless = True
            await self._stream(inner, receive, self._watched(call, send))
        else:
            await self._app(inner, receive, send)

    def _watched(self, call: Call, send: Send) -> Send:
        """Cut a stream off as soon as it would say something to who may not hear it any more."""
        bearer = call.headers.get(b"authorization")
        if bearer is None:
            return send

        async def watched(message: Message) -> None:
            try:
                is_known = self._by_token(bearer, call.route) == call.caller
            except Problem:
                is_known = False
            if is_known:
                await send(message)
            else:
                call.connection.cut()

        return watched

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._streams >= self._settings.streams:
            error = Problem(503, "as many streams are open as this agent allows: close one", retry_after_s=5)
            await _refuse(scope, receive, send, error)
            return
        self._streams += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._streams -= 1

    def _admit(self, scope: Scope, connection: Connection) -> Call:
        headers = _single(scope["headers"])
        server = scope.get("server")
        self._hosts.check(headers.get(b"host"), server[0] if server else None)
        check_site(headers)
        route, params = self._route(scope)
        call = Call(route, params, headers, scope["query_string"], self._port, self._settings, connection)
        call.caller = self._identify(scope, headers, connection, route)
        if not call.caller.may(route.scope):
            raise too_little(call.caller, route.scope, f"{route.method} {route.path}")
        if route.accepts:
            _check_content(headers, route)
            self._check_length(headers, route)
        return call

    def _route(self, scope: Scope) -> tuple[Route, dict[str, str]]:
        found = self.table.find(scope["path"])
        if found is None:
            raise Problem(
                404, f"there is nothing at {scope['path'][:200]}: GET / lists what there is, /docs explains it"
            )
        methods, params = found
        method = scope["method"]
        route = methods.get("GET" if method == "HEAD" else method)
        if route is not None and not (method == "HEAD" and route.is_endless):
            return route, params
        allowed = ", ".join(sorted(methods | {"OPTIONS": route}) + ["HEAD"] * ("GET" in methods))
        if method == "OPTIONS":
            raise _Answered(Answer(200, headers=[(b"allow", allowed.encode())]))
        raise Problem(405, f"{method} is not possible here, only {allowed}", headers=[(b"allow", allowed.encode())])

    def _identify(self, scope: Scope, headers: dict[bytes, bytes], connection: Connection, route: Route) -> Caller:
        if route.scope == "none":
            return NOBODY
        bearer = headers.get(b"authorization")
        if bearer is not None:
            return self._by_token(bearer, route)
        if not looks_forwarded(headers) and self._is_same_user(scope, connection):
            return self._local
        raise _unknown("this needs a token: " + HOW_TO_SHOW.format(scope=route.scope), b"Bearer")

    def _by_token(self, bearer: bytes, route: Route) -> Caller:
        scheme, _, token = bearer.partition(b" ")
        if scheme.lower() != b"bearer":
            raise _unknown("the only kind of authorization here is Bearer: " + HOW_TO_SHOW.format(scope=route.scope))
        found = self._port.identify(token.strip().decode("latin-1"))
        if found is None or found[1] not in RANK:
            raise _unknown(
                f"this token is not known here, or was revoked: {HOW_TO_SHOW.format(scope=route.scope)}, and "
                "`agentd invite --user NAME` a string for `agentd login`",
                b'Bearer error="invalid_token"',
            )
        return Caller(BY_TOKEN + found[0], found[1])

    def _is_same_user(self, scope: Scope, connection: Connection) -> bool:
        if self._local.scope == "none":
            return False
        if connection.is_same_user is None:
            client, server = scope.get("client"), scope.get("server")
            connection.is_same_user = bool(
                client and server and is_loopback(client[0]) and self._port.is_same_user(tuple(client), tuple(server))
            )
        return connection.is_same_user

    def _check_length(self, headers: dict[bytes, bytes], route: Route) -> None:
        length = headers.get(b"content-length", b"0")
        cap = self._settings.blob_cap_bytes if route.is_streamed else self._settings.body_cap_bytes
        if not length.isdigit():
            raise Problem(400, "Content-Length is not a number")
        if len(length) > 18 or int(length) > cap:
            raise too_large(cap, is_blob=route.is_streamed)

    async def _read(self, call: Call, receive: Receive) -> bytes:
        """Read a whole body, never holding more than the cap and one piece.

        Raises:
            Problem: 413 above the cap, 422 nested too deep.
            _Left: the client went away.
        """
        cap = self._settings.body_cap_bytes
        message = await receive()
        pieces: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise _Left
            piece = message.get("body", b"")
            size += len(piece)
            if size > cap:
                raise too_large(cap)
            pieces.append(piece)
            if not message.get("more_body", False):
                break
            message = await receive()
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if call.route.takes_json and is_deeper(body, self._settings.depth_cap):
            raise Problem(422, f"the JSON is nested more than {self._settings.depth_cap} deep: send it flatter")
        return body


async def _answer(call: Call) -> Response:
    """Have a hot route answer, with nothing of FastAPI before or after it."""
    try:
        response: Response = await call.route.endpoint(call)
    except RequestError as error:
        return refusal(error)
    except Exception:
        log.exception("a request failed by a fault of ours: %s %s", call.route.method, call.route.path)
        return refusal(broken())
    return response


def too_large(cap: int, *, is_blob: bool = False) -> Problem:
    """Refuse a body for its size."""
    around = (
        "split it, or put it where users' code can fetch it"
        if is_blob
        else 'send large values with PUT /v1/blobs and put {"$blob": id} in their place'
    )
    return Problem(413, f"a body may have {cap} bytes here: {around}", members={"cap_bytes": cap})


class _Answered(Exception):
    """The guard answers by itself, and well."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class _Left(Exception):
    """The client went away while it was sending."""


def _unknown(detail: str, challenge: bytes = b"Bearer") -> Problem:
    return Problem(401, detail, headers=[(b"www-authenticate", challenge)])


def _single(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Give the headers by name.

    Raises:
        Problem: 400, one that decides something stands twice.
    """
    by_name = dict(headers)
    if len(by_name) != len(headers):
        names = [name for name, _ in headers]
        for name in ONCE & by_name.keys():
            if names.count(name) > 1:
                raise Problem(400, f"the header {name.decode()} stands more than once: send it once")
    return by_name


def _check_content(headers: dict[bytes, bytes], route: Route) -> None:
    """Insist on a content type that no foreign page can send, and on plain bytes.

    Raises:
        Problem: 415.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem(
            415, "compressed bodies are not read: send it as it is", headers=[(b"accept-encoding", b"identity")]
        )
    kind = headers.get(b"content-type", b"")
    if kind not in route.accepts and kind.partition(b";")[0].strip().lower() not in route.accepts:
        wanted = b" or ".join(route.accepts).decode()
        raise Problem(415, f"send the body with the header 'Content-Type: {wanted}'", members={"accepts": wanted})


def _secured(send: Send) -> Send:
    """Put the security headers on whatever is answered."""

    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            headers += SECURITY
            if not any(name == POLICY[0] for name, _ in headers):
                headers.append(POLICY)
        await send(message)

    return secured


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read to whoever reads it next."""
    is_given = False

    async def replayed() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _refuse(scope: Scope, receive: Receive, send: Send, error: RequestError) -> None:
    answer = refusal(error)
    if any(name == b"expect" for name, _ in scope["headers"]):
        # Nobody knows whether a body will follow that was asked for permission first.
        answer.raw_headers.append((b"connection", b"close"))
    await answer(scope, receive, send)


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
