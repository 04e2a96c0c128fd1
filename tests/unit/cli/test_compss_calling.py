"""What `agentd call` makes of a wish for the end of an operation, and what a service is made of."""

from __future__ import annotations

import pytest

from agentd.api.routes.requests import Answer
from agentd.model.errors import AgentdError
from agentd.rest.compss.documents import Action, Orchestrator, StartApplication, read_start
from cli.call import _hooked
from cli.parsing import UsageError, parse
from cli.resources import capacity_of
from cli.service import _base, _limit_s
from cli.service.plan import Link, links, members


def asked(*words: str, is_compss: bool = False) -> StartApplication:
    """Read what the words make a request of, as the door would."""
    request = _hooked(parse(list(words), command="call", is_compss=is_compss))
    assert (request.method, request.path) == ("PUT", "/COMPSs/startApplication")
    return read_start(request.body or b"")


def test_what_is_written_is_read_as_it_was_meant() -> None:
    """Text of any kind, one by one or as a list; the agents that are to stop; the function by module and name."""
    found = asked("--stop", "--forward_to=h1:1;http://h2:2", "shop.prices:total", "<&'\">", "", "ü", is_compss=True)
    assert found == StartApplication(
        "PYTHON", "shop.prices", "total", ("<&'\">", "", "ü"), Action("stop", ("http://h1:1", "http://h2:2"))
    )
    found = asked("--action=STOP", "--array", "--method_name=go", "shop.py", "a", "1", is_compss=True)
    assert (found.module, found.method, found.arguments) == ("shop", "go", (["a", "1"],))
    assert asked("--orchestrator", "h:1/x", "shop").orchestrator == Orchestrator("http://h:1/x")
    assert asked("--stop", "shop").method == "main"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--stop", "--lang=JAVA", "m"], "--lang JAVA is not supported: operations are functions in PYTHON"),
        (["--stop", "--lang=c", "m"], "--lang C is not supported"),
        (["--forward-to", "a:1", "m:f"], "goes with --stop"),
        (["--action", "dance", "m:f"], "the one action is stop"),
        (["--stop", "--orchestrator=http://a", "m:f"], "exclude each other"),
        (["--stop", "--kwargs", "m:f", "a=1"], "--kwargs cannot be combined"),
        (["--orchestrator=a:1", "--priority=2", "m:f"], "--priority cannot be combined"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(words: list[str], why: str) -> None:
    """Before anything is sent, with what to do."""
    with pytest.raises(UsageError, match=why):
        asked(*words)


def test_an_answer_that_is_no_number_is_not_taken_for_one() -> None:
    """Something else may listen there."""
    request = _hooked(parse(["--stop", "m"], command="call"))
    assert request.outcome(Answer(200, {}, b"123")) == "123"
    with pytest.raises(AgentdError, match="number of an operation"):
        request.outcome(Answer(200, {}, b"<html>"))


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        ("plain", [("1", "4", 1), ("1", "3", 1), ("1", "2", 1)]),
        ("chain", [("3", "4", 1), ("2", "3", 2), ("1", "2", 3)]),
        ("tree", [("2", "4", 1), ("1", "3", 1), ("1", "2", 2)]),
    ],
)
def test_links_lend_what_lies_behind_them(topology: str, expected: list[tuple[str, str, int]]) -> None:
    """The first may use the cores of all, each once, in every topology."""
    agents = members(4, "a")
    found = links(topology, agents, {agent.name: 1 for agent in agents})
    assert found == [Link(f"a0{owner}", f"a0{neighbour}", cores) for owner, neighbour, cores in expected]
    assert sum(link.cores for link in found if link.owner == "a01") == 3


def test_agents_have_the_names_and_ports_of_the_field() -> None:
    """Two digits; 46101 and 46102 for the first, a hundred more for each further; or any that are free."""
    first, second = members(2, "127.0.0.")
    assert (first.name, first.rest_port, first.comm_port) == ("127.0.0.01", "46101", "46102")
    assert (second.name, second.rest_port, second.comm_port) == ("127.0.0.02", "46201", "46202")
    assert members(1, "a", None)[0].comm_port == "auto"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0)])
def test_times_have_units(text: str, seconds: float) -> None:
    """Seconds where none is said."""
    assert _limit_s(parse([f"--exec_time={text}"], command="start-service")) == seconds


@pytest.mark.parametrize("words", ["--exec-time=soon", "--exec-time=-1", "--base-port=65000", "--base-port=x"])
def test_a_service_that_cannot_be_is_refused(words: str) -> None:
    """With what may be given."""
    line = parse([words], command="start-service")
    with pytest.raises(UsageError, match=words.partition("=")[0]):
        (_base if "port" in words else _limit_s)(line)


def test_amounts_that_are_not_given_are_those_of_the_field_or_none() -> None:
    """One CPU unit where nothing is said; under the old name always, and with the names that scripts look for."""

    def processors(*words: str, command: str = "resources add", is_compss: bool = False) -> list[dict[str, object]]:
        return capacity_of(parse([*words, "n"], command=command, is_compss=is_compss))["processors"]

    assert processors() == [{"units": 1, "kind": "CPU"}]
    assert processors("--gpu=2") == [{"units": 2, "kind": "GPU"}]
    assert processors("--gpu=2", is_compss=True) == [
        {"units": 1, "kind": "CPU", "name": "MainProcessor"},
        {"units": 2, "kind": "GPU", "name": "gpu"},
    ]
    assert processors("--cpu_name=x", "--fpga=1", "--cpu=2", is_compss=True) == [
        {"units": 2, "kind": "CPU", "name": "x"},
        {"units": 1, "kind": "FPGA", "name": "FPGA"},
    ]
    assert processors(command="resources reduce", is_compss=True) == [{"units": 1, "kind": "CPU"}]
