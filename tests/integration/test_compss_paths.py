"""The paths below `/COMPSs`: who may ask what, in which form, and in which words they are answered."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from agentd.rest.compss.hooks import Hooks, read
from agentd.rest.compss.routes import ROUTES
from agentd.rest.settings import RestSettings
from tests.fakes.compss_samples import ENDED, added, array, node, parameter, reduced, start, value
from tests.fakes.doors import Door, open_door

XML = {"Content-Type": "application/xml"}
BODIES = {
    "/startApplication": start(parameter("STRING_64_T", value("Izc="))),
    "/endApplication": ENDED,
    "/addResources": added(),
    "/removeResources": reduced(),
    "/removeNode": node("removeNode"),
    "/lostNode": node("lostNode"),
}


@pytest.fixture
def door() -> Iterator[Door]:
    """A door of which one host may be called back."""
    with open_door(RestSettings(callback_hosts=("friend.example",))) as opened:
        yield opened


def put(door: Door, path: str, body: str, scope: str | None = "admin", **headers: str) -> httpx.Response:
    """Send a document."""
    with door.client(scope, **{**XML, **headers}) as user:
        return user.put(f"/COMPSs{path}", content=body.encode())


def test_the_agent_says_that_it_is_there(door: Door) -> None:
    """Without any identity, with and without the slash that is in the declarations of the field."""
    for path in ("/COMPSs/test", "/COMPSs/test/"):
        with httpx.Client(base_url=door.url) as user:
            answer = user.get(path)
        assert (answer.status_code, answer.content) == (200, b"")
    assert door.agent.said == ["test invoked", "test invoked"]


def test_other_paths_have_no_slash_at_their_end(door: Door) -> None:
    """The leniency is that of this door alone."""
    with door.client("read") as user:
        assert user.get("/v1/resources/").status_code == 404
        assert user.get("/COMPSs/").status_code == 405
        assert user.get("/COMPSs/nothing").status_code == 404


def test_the_pool_is_listed_as_the_field_does(door: Door) -> None:
    """JSON that says that it is text; `jq` finds names, units and how each is reached."""
    assert put(door, "/addResources", added()).status_code == 200
    with door.client("read") as user:
        answer = user.get("/COMPSs/resources")
    assert answer.headers["content-type"] == "text/plain"
    own, beta = answer.json()["resources"]
    assert answer.json()["time"] > 1e12
    assert (own["name"], own["adaptor"]) == ("here", "es.bsc.compss.types.COMPSsMaster")
    assert own["description"]["processors"][0]["units"] == 4
    assert own["description"]["memory_size"] == -1.0
    assert beta["adaptor"] == "es.bsc.compss.agent.comm.CommAgentWorker"
    assert set(beta["description"]) == {
        *("processors", "memory_size", "memory_type", "storage_size", "storage_type", "storage_bandwidth")
    }
    assert door.agent.said == ["Requested current resource configuraction"]


def test_the_pool_is_printed_for_people(door: Door) -> None:
    """On the agent's stdout, with the units of each kind."""
    with door.client("read") as user:
        assert user.get("/COMPSs/printResources").content == b""
    (said,) = door.agent.said
    lines = [line.strip() for line in said.splitlines()]
    assert lines[1] == "RESOURCES = ["
    assert {"NAME = here", "CPU_COMPUTING_UNITS = 4", "OTHER_COMPUTING_UNITS = 0", "SET = Critical"} <= set(lines)


def test_an_operation_starts_and_is_found_at_v1(door: Door) -> None:
    """The answer is its number and nothing else; the value is there for who asks for it."""
    answer = put(door, "/startApplication", start(parameter("OBJECT_T", array(value("a")))), "submit")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    with door.client("read") as user:
        shown = user.get(f"/v1/operations/{answer.text}", params={"wait_s": 30}).json()
    assert shown["result"] == {"args": [["a"]], "kwargs": {}}
    assert door.agent.said == ["Received REST call to run a PYTHON method"]
    assert door.agent.jobs == [int(answer.text)]
    assert read(door.agent.asked[0].callback) == Hooks()


@pytest.mark.parametrize(("lang", "shown"), [("JAVA", "JAVA"), ("c", "C"), ("COBOL", "COBOL"), ("", "JAVA")])
def test_a_language_that_is_not_run_is_named(door: Door, lang: str, shown: str) -> None:
    """In the words of the field, and with what there is."""
    answer = put(door, "/startApplication", start(lang=lang))
    assert answer.status_code == 406
    assert answer.text == f"Unsupported language. {shown} is not run here: this agent runs PYTHON"
    assert door.agent.said == [f"Received REST call to run a {shown} method"]
    assert door.agent.asked == []


def test_a_function_that_is_not_there_is_refused_before_anything_is_queued(door: Door) -> None:
    """The reason is the body of a 500; that of the module comes before that of the class."""
    answer = put(door, "/startApplication", start(module="shop.prices"))
    assert answer.status_code == 500
    assert "shop.prices:echo" in answer.text
    assert door.agent.asked == []


def test_a_busy_agent_says_so_as_everywhere(door: Door) -> None:
    """What passes by itself keeps its status, so that clients that know it come again."""
    door.do(lambda: setattr(door.agent, "queue_cap", 0))
    answer = put(door, "/startApplication", start())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")


STOP = "<action><actionName>Stop</actionName><forwardTo><agent>http://{host}:1/</agent></forwardTo></action>"
TELL = "<orchestrator><host>http://{host}:1</host><operation>/ended</operation></orchestrator>"


def test_hooks_are_kept_with_the_operation(door: Door) -> None:
    """Where an operation has the address that is called back."""
    for more in (STOP, TELL, "<action><actionName>stop</actionName></action>"):
        answer = put(door, "/startApplication", start(more=more.format(host="friend.example")))
        assert answer.status_code == 200, answer.text
    stop, tell, alone = (read(asked.callback) for asked in door.agent.asked)
    assert stop == Hooks(stops=True, agents=("http://friend.example:1",))
    assert tell == Hooks(notify="http://friend.example:1/ended")
    assert alone == Hooks(stops=True)


@pytest.mark.parametrize("more", [STOP, TELL])
def test_hooks_need_the_operator(door: Door, more: str) -> None:
    """They are for admin, and lead only where the operator allows it."""
    body = start(more=more.format(host="friend.example"))
    assert put(door, "/startApplication", body, "code").status_code == 403
    answer = put(door, "/startApplication", start(more=more.format(host="evil.example")))
    assert answer.status_code == 500
    assert "--callback-host evil.example" in answer.text
    assert door.agent.asked == []


def test_an_action_that_nobody_knows_is_refused(door: Door) -> None:
    """Only stop has an effect in the field; another would be passed over there."""
    answer = put(door, "/startApplication", start(more="<action><actionName>dance</actionName></action>"))
    assert (answer.status_code, "only stop" in answer.text) == (500, True)


def test_the_pool_is_reshaped(door: Door) -> None:
    """Added, reduced, removed, lost: each is taken with an empty answer."""
    for path, body in (
        ("/addResources", added()),
        ("/removeResources", reduced(units=3)),
        ("/removeNode", node("removeNode")),
        ("/addResources/", added()),
        ("/lostNode/", node("lostNode")),
    ):
        answer = put(door, path, body)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/removeResources", "/removeNode", "/lostNode"])
def test_a_host_that_is_not_there_is_named_in_the_words_of_the_field(door: Door, path: str) -> None:
    """Programs compare that text."""
    answer = put(door, path, BODIES[path])
    assert answer.status_code == 500
    assert answer.text == "Resource beta was not set up for this agent. Ignoring request."


def test_what_the_agent_refuses_is_said(door: Door) -> None:
    """An unknown adaptor, more than there is."""
    assert "no-such" in put(door, "/addResources", added(adaptor="no-such")).text
    answer = put(door, "/removeResources", reduced("here", 100))
    assert (answer.status_code, "4 CPU" in answer.text) == (500, True)


def test_nobody_ends_what_we_did_not_ask_for(door: Door) -> None:
    """A forged notice changes nothing."""
    answer = put(door, "/endApplication", ENDED)
    assert (answer.status_code, answer.text) == (500, "Job 17 was not submitted by this agent. Ignoring request.")


def test_the_agent_is_stopped(door: Door) -> None:
    """DELETE answers when all has ended."""
    with door.client("admin") as user:
        answer = user.delete("/COMPSs/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert door.agent.stopped == [None]


@pytest.mark.parametrize("path", sorted(BODIES))
def test_bodies_are_xml(door: Door, path: str) -> None:
    """Another type is a 415, none that is XML a 400 with its place, too much a 413."""
    with door.client("admin") as user:
        assert (
            user.put(f"/COMPSs{path}", content=b"{}", headers={"Content-Type": "application/json"}).status_code == 415
        )
    answer = put(door, path, "<startApplication>\n<oops")
    assert answer.status_code == 400
    assert answer.text.startswith("the body:2:")
    assert put(door, path, "<!--" + "x" * (1 << 20) + "-->").status_code == 413


ORDER = ("read", "submit", "code", "admin")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_path_has_its_scope(route) -> None:
    """Who has less is told so, and nothing has happened; a foreign page never gets in."""
    body = BODIES.get(route.path.removeprefix("/COMPSs"), "").encode()
    with open_door(same_user=False) as door:
        for scope in (None, *ORDER):
            with door.client(scope, **(XML if body else {})) as user:
                status = user.request(route.method, route.path, content=body).status_code
            if route.scope == "none" or (scope is not None and ORDER.index(scope) >= ORDER.index(route.scope)):
                assert status in {200, 500}
                break
            assert status == (401 if scope is None else 403)
            assert (door.agent.said, door.agent.asked, door.agent.stopped) == ([], [], [])
        with door.client("admin", Origin="http://evil.example", **(XML if body else {})) as user:
            assert user.request(route.method, route.path, content=body).status_code == 403


def test_the_openapi_has_the_door_with_its_type() -> None:
    """Generated clients send XML to it."""
    with open_door() as door, door.client("read") as user:
        paths = user.get("/openapi.json").json()["paths"]
    assert list(paths["/COMPSs/startApplication"]["put"]["requestBody"]["content"]) == ["application/xml"]
    assert "delete" in paths["/COMPSs"]
