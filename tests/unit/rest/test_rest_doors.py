"""Hosts, callbacks, content negotiation, and the table of routes."""

from __future__ import annotations

import pytest

from agentd.model.errors import ConfigError, RequestError
from agentd.rest.answering.accept import choose
from agentd.rest.answering.problems import KINDS, Problem, document, refusal
from agentd.rest.app import ROUTES
from agentd.rest.bodies.callbacks import check_callback
from agentd.rest.call import RANK, Caller
from agentd.rest.gate.hosts import Hosts, bare, looks_forwarded
from agentd.rest.routes import RouteTable
from agentd.rest.settings import RestSettings


@pytest.mark.parametrize(
    ("header", "name"),
    [("A.B:80", "a.b"), ("a.b.", "a.b"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", ""), ("[", ""), (":80", "")],
)
def test_the_bare_name_of_a_host(header, name):
    """Port, brackets, case and the dot at the end do not count."""
    assert bare(header) == name


def test_an_own_address_is_one_of_the_connection():
    """An address is ours when the connection came in on it; the same header on another is not."""
    hosts = Hosts(RestSettings())
    hosts.check(b"192.0.2.7:46101", "192.0.2.7")
    hosts.check(b"192.0.2.7:46101", "192.0.2.7")
    hosts.check(b"192.0.2.7:46101", "::ffff:192.0.2.7")
    with pytest.raises(Problem) as caught:
        hosts.check(b"192.0.2.7:46101", "192.0.2.8")
    assert caught.value.status == 421


def test_made_up_hosts_are_not_collected():
    """Spellings without end leave no trace without end."""
    hosts = Hosts(RestSettings())
    for number in range(3000):
        hosts.check(b"localhost:%d" % number, None)
    assert len(hosts._known) <= 1000


def test_every_forwarding_header_counts():
    """Whoever stands between shows it in one of many ways."""
    assert looks_forwarded({b"x-forwarded-anything": b""})
    assert not looks_forwarded({b"host": b"", b"authorization": b"", b"user-agent": b""})


ALLOWED = ("hooks.example.org", "other.example.org:8443", "192.0.2.1", "169.254.169.254", "fe80::1", "metadata")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/x?y=z",
        "https://HOOKS.example.org:9/x",
        "https://other.example.org:8443/",
        "http://192.0.2.1/",
    ],
)
def test_callbacks_that_may_be(url):
    """Allowed hosts, on any port or on theirs."""
    assert check_callback(url, ALLOWED) == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.org/",
        "file:///etc/passwd",
        "hooks.example.org",
        "//hooks.example.org/",
        "http://",
        "http:///x",
        "http://user@hooks.example.org/",
        "http://hooks.example.org@evil.org/",
        "http://evil.org/#@hooks.example.org",
        "http://evil.org\\@hooks.example.org/",
        "http://other.example.org/",
        "http://other.example.org:8444/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://metadata/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://hooks.example.org:99999/",
        "http://[::1/",
        "http://hooks.example.org/\r\nX: y",
        "http://hooks.example.org /",
        "http://hööks.example.org/",
        "http://2130706433/",
    ],
)
def test_callbacks_that_may_not_be(url):
    """Everything else, link-local and metadata addresses even where somebody allowed them."""
    with pytest.raises(Problem) as caught:
        check_callback(url, ALLOWED)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "a/json"),
        ("*/*", "a/json"),
        ("b/bytes", "b/bytes"),
        ("b/bytes, a/json", "a/json"),
        ("b/bytes, a/json;q=0.5", "b/bytes"),
        ("a/json;q=0, */*", "b/bytes"),
        ("a/*;q=0.1, b/*;q=0.2", "b/bytes"),
        ("c/pickle", "c/pickle"),
        ("c/pickle, */*;q=0.1", "c/pickle"),
        ("c/*", None),
        ("text/csv", None),
        ("A/JSON ; Q=1", "a/json"),
        ("a/json;q=nonsense", None),
        ("", "a/json"),
        (",,;;q", None),
    ],
)
def test_negotiation(accept, chosen):
    """The most wanted form; of equals the first; a pickle only by its name."""
    assert choose(("a/json", "b/bytes", "c/pickle"), accept, frozenset({"c/pickle"})) == chosen


class TestTable:
    """The routes as a table."""

    def test_scopes_exist(self):
        """Each route demands a scope that there is."""
        assert {route.scope for route in ROUTES} <= set(RANK)

    def test_what_changes_something_is_no_get(self):
        """A GET that is more than read, or anything else that is less than submit, would be a mistake.

        But for the one by which somebody comes to have a token: it demands the secret of an invitation.
        """
        for route in ROUTES:
            if route.path == "/v1/login":
                continue
            assert (route.method == "GET") == (route.scope in {"none", "read"}), route.path

    def test_endpoints_are_used_once(self):
        """Routes are told apart by their endpoint, and operation ids come from its name."""
        assert len({route.endpoint for route in ROUTES}) == len(ROUTES)
        assert len({route.endpoint.__name__ for route in ROUTES}) == len(ROUTES)

    def test_every_path_leads_to_its_route(self):
        """No route hides another."""
        table = RouteTable(ROUTES)
        for route in ROUTES:
            found = table.find(route.path.replace("{id}", "5").replace("{name}", "n"))
            assert found is not None
            assert found[0][route.method] is route

    def test_a_route_stands_once(self):
        """Two records for one method and path are a mistake that is noticed at the start."""
        with pytest.raises(AssertionError, match="twice"):
            RouteTable((ROUTES[0], ROUTES[0]))


def test_every_status_has_its_kind():
    """A problem's type is of the list, or is said by who raises it."""
    assert document(Problem(413, "x"))["type"] == "urn:agentd:problem:too-large"
    assert document(RequestError("x", status=507))["type"] == "urn:agentd:problem:disk-full"
    assert document(Problem(403, "x", kind="scope"))["type"] == "urn:agentd:problem:scope"
    assert all(400 <= status < 600 for status in KINDS)


def test_a_refusal_says_when_to_come_back():
    """Retry-After is whole seconds."""
    answer = refusal(RequestError("full", status=429, retry_after_s=7))
    assert (b"retry-after", b"7") in answer.raw_headers
    assert (b"content-type", b"application/problem+json") in answer.raw_headers


def test_scopes_include_those_before_them():
    """Each scope includes the smaller ones: read, submit, code, admin."""
    assert Caller("x", "admin").may("read")
    assert not Caller("x", "read").may("submit")


def test_a_wrong_local_access_stops_the_start():
    """The operator's mistake is named."""
    with pytest.raises(ConfigError, match="--local-access"):
        RestSettings(local_access="root")
