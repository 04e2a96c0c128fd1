"""The main job: three agents in a chain, asked at one end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.daemon_rig import WITH_APPS, Door, until


@pytest.fixture
def chain(start_agent: Callable[..., Any]) -> dict[str, Door]:
    """A phone with one core knows a Raspberry Pi with one, which knows a server with two."""
    agents = {
        name: start_agent(*WITH_APPS, "--hostname", name, "--cpu", str(cores))
        for name, cores in (("phone", 1), ("rpi", 1), ("server", 2))
    }
    doors = {name: Door(agent.rest, agent.state) for name, agent in agents.items()}
    doors["rpi"].lend_from("server", agents["server"].comm, 2)
    doors["phone"].lend_from("rpi", agents["rpi"].comm, 3)
    return doors


def test_work_flows_down_the_chain_and_results_flow_back(chain: dict[str, Door], tmp_path: Path) -> None:
    """Operations asked at the phone run on all three, none on more than it has, and each result is right."""
    ended = chain["phone"].at_once(tmp_path, 4)
    hops = {one["ran_on"]: one["hops"] for one in ended}
    assert hops == {"phone": 0, "rpi": 1, "server": 2}
    assert Counter(one["ran_on"] for one in ended) == {"phone": 1, "rpi": 1, "server": 2}
    asked = chain["phone"].batch([{"function": "sums:nap", "args": [0.01 * number]} for number in range(12)])
    results = [chain["phone"].wait(one["operation"]["id"])["result"] for one in asked]
    assert results == [0.01 * number for number in range(12)]


def test_output_and_failures_travel_back(chain: dict[str, Door]) -> None:
    """What users' code printed two hops away, and its traceback, are read at the agent that was asked."""
    busy = [chain["phone"].submit("sums:nap", 1.0) for _ in range(2)]
    far = [chain["phone"].submit("sums:fail") for _ in range(2)]
    for one in (chain["phone"].wait(each["id"]) for each in far):
        assert one["state"] == "failed"
        assert "on purpose" in one["error"]["traceback"]
    for each in busy:
        chain["phone"].wait(each["id"])


def test_a_cancelled_operation_stops_where_it_runs(chain: dict[str, Door]) -> None:
    """Cancelling at the phone frees the cores of the agents that run it."""
    asked = [chain["phone"].submit("sums:nap", 600.0) for _ in range(4)]
    while any(chain["phone"].wait(one["id"], 0.05)["state"] == "queued" for one in asked):
        pass
    for one in asked:
        chain["phone"].client.delete(f"/v1/operations/{one['id']}")
    assert {chain["phone"].wait(one["id"])["state"] for one in asked} == {"cancelled"}
    free = {"phone": 1, "rpi": 1, "server": 2}
    until(lambda: {name: chain[name].get("/v1/agent")["cores_free"] for name in free} == free, "all cores")


def test_waiting_says_why(chain: dict[str, Door]) -> None:
    """An operation that nobody can run says for each host what is missing."""
    asked = chain["phone"].submit("sums:increment", 1, constraints={"computing_units": 64, "memory_mib": 10**9})
    reason = chain["phone"].wait(asked["id"], 0)["reason"]
    assert "this agent: needs 64 CPU units" in reason
    assert "rpi: needs 64 CPU units" in reason
