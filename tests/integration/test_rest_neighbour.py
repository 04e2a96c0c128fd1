"""A neighbour behind its user port: real agents of which one has no port for other agents."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from agentd.api import AgentExecutor
from tests.conftest import READY_S, RunningAgent, StartAgent
from tests.fakes.compss_samples import added
from tests.integration.daemon_rig import WITH_APPS, Door, until

REST = "es.bsc.compss.agent.rest.master.Adaptor"
ADMIN = ("--local-access", "admin")


def port_of(agent: RunningAgent) -> str:
    return agent.rest.rpartition(":")[2]


def lend(door: Door, port: str, units: int = 1, **more: str) -> None:
    """Let an agent use another by its user port."""
    body = {
        "name": "beta",
        "adaptor": "rest",
        "properties": {"Host": "127.0.0.1", "Port": port, **more},
        "capacity": {"processors": [{"units": units}]},
    }
    answer = door.client.post("/v1/resources", json=body)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def pair(start_agent: StartAgent) -> tuple[Door, RunningAgent]:
    """An agent without cores, and the neighbour that does its work."""
    beta = start_agent(*WITH_APPS, "--hostname", "beta", "--cpu", "2", "--comm-port", "0")
    alpha = start_agent(*WITH_APPS, *ADMIN, "--hostname", "alpha", "--cpu", "0")
    door = Door(alpha.rest, alpha.state)
    lend(door, port_of(beta))
    door.until_connected("beta")
    return door, beta


def test_work_is_done_there_and_comes_back(pair: tuple[Door, RunningAgent]) -> None:
    """Values with both of their forms, failures with their traceback, who ran it, and one operation there for each."""
    door, beta = pair
    done = door.submit("sums:increment", 2, wait_s=60)
    assert (done["state"], done["result"], done["ran_on"], done["hops"]) == ("done", 3, "beta", 1)
    failed = door.submit("sums:fail", wait_s=60)
    assert (failed["state"], failed["ran_on"]) == ("failed", "beta")
    assert "Traceback" in failed["error"]["traceback"]
    there = Door(beta.rest, beta.state).get("/v1/operations")["operations"]
    assert sorted(row["state"] for row in there) == ["done", "failed"]


def test_what_it_prints_is_read_here(pair: tuple[Door, RunningAgent]) -> None:
    """Both streams, each as its own."""
    door, _ = pair
    operation = door.submit("sums:greet", "Ada", wait_s=60)["id"]
    lines = door.client.get(f"/v1/operations/{operation}/logs", headers={"accept": "application/x-ndjson"}).text
    told = [json.loads(line) for line in lines.splitlines()]
    assert {"stream": "stdout", "text": "hello Ada\n"} in told
    assert {"stream": "stderr", "text": "to stderr\n"} in told


def test_what_is_cancelled_here_is_cancelled_there(pair: tuple[Door, RunningAgent]) -> None:
    """And ends here as cancelled once it has really ended."""
    door, beta = pair
    there = Door(beta.rest, beta.state)
    operation = door.submit("sums:nap", 600)["id"]
    until(lambda: there.get("/v1/operations?state=running")["operations"], "the run")
    door.client.delete(f"/v1/operations/{operation}")
    assert door.wait(operation)["state"] == "cancelled"
    (row,) = there.get("/v1/operations")["operations"]
    assert row["state"] == "cancelled"


def test_a_function_that_it_does_not_have_is_declined_with_its_words(start_agent: StartAgent, tmp_path: Path) -> None:
    """The reason of the refusal is the reason to wait."""
    beta = start_agent("--pythonpath", str(tmp_path), "--hostname", "beta", "--comm-port", "0")
    alpha = start_agent(*WITH_APPS, *ADMIN, "--hostname", "alpha", "--cpu", "0")
    door = Door(alpha.rest, alpha.state)
    lend(door, port_of(beta))
    door.until_connected("beta")
    operation = door.submit("sums:increment", 1)["id"]
    until(lambda: "no module 'sums'" in door.wait(operation, 0)["reason"], "the reason")


def test_an_executors_calls_go_there_too(start_agent: StartAgent) -> None:
    """By value, with arguments and values pickled."""
    beta = start_agent(*WITH_APPS, "--hostname", "beta", "--cpu", "2", "--comm-port", "0")
    alpha = start_agent(*WITH_APPS, *ADMIN, "--hostname", "alpha", "--cpu", "0")
    door = Door(alpha.rest, alpha.state)
    lend(door, port_of(beta), 2)
    door.until_connected("beta")
    with AgentExecutor(alpha.state) as agents:
        assert agents.submit(lambda number: {number}, 42).result(READY_S) == {42}


def test_after_a_crash_of_who_asked_the_same_operation_is_taken_up(start_agent: StartAgent, tmp_path: Path) -> None:
    """It runs once there, and its end is had by the next run."""
    beta = start_agent(*WITH_APPS, "--hostname", "beta", "--comm-port", "0")
    options = (*WITH_APPS, *ADMIN, "--hostname", "alpha", "--cpu", "0")
    alpha = start_agent(*options)
    door, there = Door(alpha.rest, alpha.state), Door(beta.rest, beta.state)
    lend(door, port_of(beta))
    door.until_connected("beta")
    note, gate = tmp_path / "note", tmp_path / "gate"
    operation = door.submit("sums:held", str(note), str(gate))["id"]
    until(note.exists, "the run")
    alpha.kill()
    again = start_agent(*options, state=alpha.state)
    gate.touch()
    done = Door(again.rest, again.state).wait(operation)
    assert (done["state"], done["attempts"], done["ran_on"]) == ("done", 1, "beta")
    assert len(there.get("/v1/operations")["operations"]) == 1


def test_a_neighbour_that_is_away_is_tried_again(start_agent: StartAgent, tmp_path: Path) -> None:
    """Its work waits, saying why, and is done when it is there; what ran as it died runs again."""
    state, port = None, "0"
    options = (*WITH_APPS, "--hostname", "beta", "--comm-port", "0")
    beta = start_agent(*options)
    state, port = beta.state, port_of(beta)
    beta.kill()
    alpha = start_agent(*WITH_APPS, *ADMIN, "--hostname", "alpha", "--cpu", "0", "--lease-s", "3")
    door = Door(alpha.rest, alpha.state)
    lend(door, port)
    operation = door.submit("sums:increment", 1)["id"]
    until(lambda: "cannot be reached" in door.wait(operation, 0)["reason"], "the reason")
    beta = start_agent(*options, "--rest-port", port, state=state)
    assert door.wait(operation)["result"] == 2
    note, gate = tmp_path / "note", tmp_path / "gate"
    operation = door.submit("sums:held", str(note), str(gate))["id"]
    until(note.exists, "the run")
    beta.kill()
    gate.touch()
    start_agent(*options, "--rest-port", port, state=state)
    assert door.wait(operation)["state"] == "done"


def test_compss_name_for_the_adaptor_and_its_name_for_the_neighbour(start_agent: StartAgent) -> None:
    """Added by its XML under its address, and shown as the field shows such a neighbour; removed again."""
    beta = start_agent(*WITH_APPS, "--hostname", "beta", "--comm-port", "0")
    alpha = start_agent(*WITH_APPS, *ADMIN, "--hostname", "alpha", "--cpu", "0")
    door = Door(alpha.rest, alpha.state)
    headers = {"content-type": "application/xml"}
    one = "<processors><processor><computingUnits>1</computingUnits></processor></processors>"
    body = added(beta.rest, REST, "<Property><Name>Port</Name><Value>1</Value></Property>", one)
    assert door.client.put("/COMPSs/addResources", content=body, headers=headers).status_code == 200
    door.until_connected(beta.rest)
    (row,) = door.get("/COMPSs/resources")["resources"]
    assert (row["name"], row["adaptor"]) == (beta.rest, "es.bsc.compss.agent.rest.master.RemoteRESTAgent")
    assert door.submit("sums:increment", 2, wait_s=60)["result"] == 3
    one_unit = {"processors": [{"units": 1}]}
    more = door.client.post("/v1/resources", json={"name": beta.rest, "capacity": one_unit})
    assert more.json()["total"]["CPU"] == 2
    at = f"/v1/resources/{quote(beta.rest, safe='')}"
    assert door.client.post(f"{at}/reduce", json={"capacity": one_unit}).json()["total"]["CPU"] == 1
    gone = f"<removeNode><workerName>{beta.rest}</workerName></removeNode>"
    assert door.client.put("/COMPSs/removeNode", content=gone, headers=headers).status_code == 200
    until(lambda: len(door.get("/v1/resources")["resources"]) == 1, "its end")
