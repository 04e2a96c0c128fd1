"""Who may ask what: every route, by every way in; and which requests are not even heard."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from agentd.rest.app import ROUTES as OWN
from agentd.rest.compss.routes import ROUTES as OF_COMPSS
from agentd.rest.port import SCOPES
from agentd.rest.settings import RestSettings
from tests.fakes.doors import TOKENS, drained, open_door

ROUTES = (*OWN, *OF_COMPSS)
RANK = {scope: rank for rank, scope in enumerate(SCOPES)}
LET_IN = "let in"
"""What a route answered that the guard let through, whatever that was."""


@pytest.fixture(scope="module")
def strangers():
    """A door whose loopback peers are other users' processes."""
    with open_door(same_user=False) as door:
        yield door


@pytest.fixture(scope="module")
def friends():
    """A door whose loopback peers are processes of the agent's own user."""
    with open_door() as door:
        yield door


def verdict(client: httpx.Client, route, **headers) -> int | str:
    """Ask for a route with a body that it takes, and say how the guard answered."""
    path = route.path.replace("{id}", "5").replace("{name}", "nobody")
    if route.accepts:
        headers["Content-Type"] = route.accepts[0].decode()
    with client.stream(route.method, path, headers=headers, content=b"{}" if route.accepts else None) as answer:
        return answer.status_code if answer.status_code in {401, 403, 421} else LET_IN


def named(route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=named)
class TestEveryRoute:
    """The table of routes against every way of asking."""

    @pytest.mark.parametrize("scope", SCOPES[1:])
    def test_a_token_opens_what_its_scope_includes(self, strangers, route, scope):
        """A token opens the routes of its scope and of those before it, and no other."""
        with strangers.client(scope) as client:
            assert verdict(client, route) == (LET_IN if RANK[scope] >= RANK[route.scope] else 403)

    def test_no_token_opens_nothing(self, strangers, route):
        """Another user's process without a token is let in only where nobody needs one."""
        with strangers.client() as client:
            assert verdict(client, route) == (LET_IN if route.scope == "none" else 401)

    @pytest.mark.parametrize(
        "header", ["Bearer wrong", "Bearer", "Basic YTpi", "admin-token", "Bearer\tadmin-token", "Bearer é"]
    )
    def test_a_wrong_token_opens_nothing(self, friends, route, header):
        """A wrong token is no better than none, and it loses what the same user would have without one."""
        with friends.client() as client:
            found = verdict(client, route, Authorization=header.encode("latin-1"))
            assert found == (LET_IN if route.scope == "none" else 401)

    def test_the_same_user_has_up_to_local_access(self, friends, route):
        """A process of the agent's own user needs no token up to scope code."""
        with friends.client() as client:
            if route.scope == "none" or RANK[route.scope] <= RANK["code"]:
                assert verdict(client, route) == LET_IN
            else:
                assert verdict(client, route) == 403

    @pytest.mark.parametrize(
        "header",
        [
            ("Origin", "http://127.0.0.1:{port}"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Site", "none"),
            ("Forwarded", "for=192.0.2.1"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Host", "127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("Via", "1.1 proxy"),
        ],
        ids="-".join,
    )
    def test_what_a_browser_or_a_proxy_sends_is_nobodys(self, friends, route, header):
        """A request that came through something else does not profit from who that is."""
        name, value = header
        with friends.client() as client:
            found = verdict(client, route, **{name: value.format(port=friends.port)})
            assert found == (LET_IN if route.scope == "none" else 401)

    @pytest.mark.parametrize(
        "header",
        [
            ("Origin", "http://example.org"),
            ("Origin", "null"),
            ("Origin", "http://127.0.0.1:1"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ],
        ids="-".join,
    )
    def test_pages_of_other_sites_are_refused(self, friends, route, header):
        """Not even a right token lets another site's page in."""
        with friends.client("admin") as client:
            assert verdict(client, route, **{header[0]: header[1]}) == 403

    @pytest.mark.parametrize(
        "host", ["example.org", "example.org:46101", "127.0.0.1.example.org", "localhost.evil", "8.8.8.8"]
    )
    def test_another_host_is_misdirected(self, friends, route, host):
        """A name that was made to point here is not ours."""
        with friends.client("admin") as client:
            assert verdict(client, route, Host=host) == 421

    def test_security_headers_are_everywhere(self, friends, route):
        """Nothing that is answered may be sniffed, kept, or framed."""
        path = route.path.replace("{id}", "5").replace("{name}", "nobody")
        with friends.client() as client, client.stream(route.method, path) as answer:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers

    def test_other_methods_are_refused_with_those_that_work(self, friends, route):
        """405 names what is possible, and OPTIONS says the same."""
        path = route.path.replace("{id}", "5").replace("{name}", "nobody")
        with friends.client("admin") as client:
            refused = client.request("PATCH", path)
            assert refused.status_code == 405
            assert route.method in refused.headers["allow"].split(", ")
            asked = client.request("OPTIONS", path)
            assert asked.status_code == 200
            assert asked.headers["allow"] == refused.headers["allow"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.accepts], ids=named)
class TestEveryBody:
    """The routes that read a body."""

    def test_the_content_type_is_exact(self, friends, route):
        """A body is read only as what it is said to be, by a type that no form of a page can send."""
        path = route.path.replace("{name}", "nobody")
        with friends.client("admin") as client:
            for kind in (
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data",
                "",
                "application/jsonx",
            ):
                answer = client.request(route.method, path, content=b"{}", headers={"Content-Type": kind})
                assert answer.status_code == 415
                assert route.accepts[0].decode() in answer.json()["detail"]
            kind = route.accepts[0].decode() + "; charset=utf-8"
            answer = client.request(route.method, path, content=b"{}", headers={"Content-Type": kind})
            assert answer.status_code != 415

    def test_compressed_bodies_are_refused(self, friends, route):
        """What unpacks to more than it weighs is not unpacked."""
        headers = {"Content-Type": route.accepts[0].decode(), "Content-Encoding": "gzip"}
        with friends.client("admin") as client:
            answer = client.request(route.method, route.path, content=b"\x1f\x8b", headers=headers)
            assert answer.status_code == 415
            assert answer.headers["accept-encoding"] == "identity"

    def test_a_declared_length_above_the_cap_is_refused_unread(self, friends, route):
        """413 comes before the body."""
        head = (
            f"{route.method} {route.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-token\r\n"
            f"Content-Type: {route.accepts[0].decode()}\r\nContent-Length: {1 << 50}\r\nExpect: 100-continue\r\n\r\n"
        )
        with friends.socket() as connection:
            connection.sendall(head.encode())
            answer = drained(connection)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"cap_bytes" in answer


def test_no_route_is_forgotten(friends):
    """What the agent says that it serves is what is asked for above, and nothing else is."""
    with friends.client("admin") as client:
        paths = client.get("/openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods if method != "parameters"}
    assert served == {(route.method, route.path) for route in ROUTES}


def test_an_unknown_path_is_404_for_everybody(strangers):
    """There is nothing to learn from a path that is not there; the answer shows the way."""
    with strangers.client() as client:
        for path in ("/nope", "/v1/operations/", "/v1//operations", "/v1/operations/5/", "/V1/operations"):
            answer = client.get(path)
            assert answer.status_code == 404, path
            assert "/docs" in answer.json()["detail"]
    for path in ("/../v1/agent", "//v1/agent", "/%2e%2e/v1/agent", "/v1/agent%00", "/v1%2fagents"):
        answer = strangers.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404"), path


def test_the_own_names_are_served():
    """The agent's name, further names, loopback in any spelling: any port, any case."""
    settings = RestSettings(names=("Alpha",), rest_names=("agents.example.org",))
    with open_door(settings) as door, door.client() as client:
        for host in (
            "alpha",
            "ALPHA:1",
            "agents.example.org",
            "localhost",
            "localhost.",
            "127.0.0.1:9",
            "[::1]:80",
            "127.8.8.8",
        ):
            assert client.get("/health", headers={"Host": host}).status_code == 200, host
        assert client.get("/health", headers={"Host": "beta"}).status_code == 421
        assert "--rest-name beta" in client.get("/health", headers={"Host": "beta"}).json()["detail"]


@pytest.mark.parametrize(
    "head",
    [
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: example.org\r\n\r\n",
        "GET /v1/agent HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\nOrigin: http://localhost\r\n\r\n",
    ],
)
def test_headers_that_decide_stand_once(friends, head):
    """No host, or two of what decides, is a 400."""
    with friends.socket() as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_a_same_origin_page_with_a_token_is_served(strangers):
    """The agent's own pages may use it, with a token."""
    with strangers.client("read") as client:
        headers = {"Origin": strangers.url, "Sec-Fetch-Site": "same-origin"}
        assert client.get("/v1/agent", headers=headers).status_code == 200


def test_401_shows_the_header_to_send(strangers):
    """Who has no token is told how to send one and how to get one."""
    with strangers.client() as client:
        answer = client.get("/v1/agent")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "Authorization: Bearer TOKEN" in answer.json()["detail"]
        assert "agentd token add" in answer.json()["detail"]
        wrong = client.get("/v1/agent", headers={"Authorization": "Bearer nonsense"})
        assert "invalid_token" in wrong.headers["www-authenticate"]
        assert "nonsense" not in wrong.text


@pytest.mark.parametrize("scope", SCOPES)
def test_local_access_is_what_the_operator_sets(scope):
    """From nothing to everything."""
    with open_door(RestSettings(local_access=scope)) as door, door.client() as client:
        for route in ROUTES:
            if route.scope != "none":
                with contextlib.suppress(httpx.ReadTimeout):
                    found = verdict(client, route)
                    assert (found == LET_IN) == (RANK[scope] >= RANK[route.scope]), named(route)


def test_the_same_user_is_asked_for_once_a_connection():
    """The look into the kernel's tables is not repeated for each request."""
    asked = []

    def is_same_user(host, port):
        asked.append((host, port))
        return True

    with open_door(is_same_user=is_same_user) as door:
        with door.client() as client:
            for _ in range(5):
                assert client.get("/v1/agent").status_code == 200
        with door.client() as client:
            assert client.get("/v1/agent").status_code == 200
    assert len(asked) == 2
    assert len(set(asked)) == 2


def test_revoking_acts_at_once(strangers):
    """A token that is gone opens nothing, also on a connection on which it did."""
    strangers.do(lambda: strangers.agent.tokens.update(passing=("passing", "read")))
    with strangers.client() as client:
        client.headers["Authorization"] = "Bearer passing"
        assert client.get("/v1/agent").status_code == 200
        strangers.do(lambda: strangers.agent.tokens.pop("passing"))
        assert client.get("/v1/agent").status_code == 401


def test_a_peer_token_is_of_no_use_here(strangers):
    """The scope of other agents is none of this door's."""
    strangers.do(lambda: strangers.agent.tokens.update(other=("other", "peer")))
    with strangers.client() as client:
        assert client.get("/v1/agent", headers={"Authorization": "Bearer other"}).status_code == 401


def test_head_is_get_without_a_body(friends):
    """HEAD has the headers of GET; of a stream it cannot have any."""
    with friends.client("read") as client:
        for path in ("/", "/health", "/v1/agent", "/v1/operations", "/openapi.json"):
            head, get = client.head(path), client.get(path)
            assert head.status_code == get.status_code == 200
            assert head.content == b""
            assert head.headers["content-type"] == get.headers["content-type"]
        assert client.head("/v1/events").status_code == 405
        assert client.head("/v1/operations/5").status_code == 404


def test_every_token_of_these_tests_is_known():
    """The tests above ask with tokens that exist."""
    assert {scope for _, scope in TOKENS.values()} == set(SCOPES[1:])
