"""Tasks on each host, on one host after the other, done in the way that suits a host, and on several nodes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import RunningAgent, StartAgent
from daemon_rig import WITH_APPS, Door

from agentd.api import Agent, connect
from agentd.model.errors import TaskFailed


def _home(start_agent: StartAgent, *options: str, neighbours: dict[str, dict[str, int]]) -> RunningAgent:
    """Start an agent with neighbours, each with so many units of each kind."""
    home = start_agent("--hostname", "home", *options, *WITH_APPS)
    door = Door(home.rest, home.state)
    for name, units in neighbours.items():
        more = [word for kind, number in units.items() for word in (f"--{kind}", str(number))]
        other = start_agent("--hostname", name, *more, *WITH_APPS)
        host, _, port = other.comm.rpartition(":")
        processors = [{"kind": kind.upper(), "units": number} for kind, number in units.items() if number]
        body = {
            "name": name,
            "properties": {"Host": host, "Port": port},
            "capacity": {"processors": processors},
        }
        answer = door.client.post("/v1/resources", json=body)
        assert answer.status_code in {200, 201}, answer.text
        door.until_connected(name)
    return home


def _call(client: Agent, name: str, *args: object) -> object:
    return client.call(f"placed_tasks:{name}", *args)


ONE = ("--cpu", "1")
ONE_CORE = {"cpu": 1}


def test_a_replicated_task_runs_once_on_each_host_and_counts_once(start_agent: StartAgent, tmp_path: Path) -> None:
    """What needs it runs after all of them; its value, and what it writes, is that of one run."""
    home = _home(start_agent, *ONE, neighbours={"left": ONE_CORE, "right": ONE_CORE})
    with connect(home.state) as client:
        seen, first, number = _call(client, "on_each", str(tmp_path))  # type: ignore[misc]
        assert seen == ["home", "left", "right"]
        assert (first, number) == ("home", 12)
        with pytest.raises(TaskFailed, match="not on right"):
            _call(client, "one_fails", "right")


def test_distributed_tasks_go_from_host_to_host(start_agent: StartAgent, tmp_path: Path) -> None:
    """Round and round, whoever is idle."""
    home = _home(start_agent, *ONE, neighbours={"left": ONE_CORE, "right": ONE_CORE})
    with connect(home.state) as client:
        found = _call(client, "round_robin", str(tmp_path), 9)
    assert found == ["home", "left", "right"] * 3


def test_spread_tasks_without_neighbours_run_here(start_agent: StartAgent, tmp_path: Path) -> None:
    """One host is all hosts."""
    home = start_agent("--hostname", "home", *ONE, *WITH_APPS)
    with connect(home.state) as client:
        assert _call(client, "on_each", str(tmp_path)) == [["home"], "home", 12]
        assert _call(client, "round_robin", str(tmp_path), 3) == ["home"] * 3


def test_the_way_that_a_host_has_room_for_is_taken(start_agent: StartAgent) -> None:
    """Special ones first, where they fit: a GPU here has its task, the other cores do it without, nobody is idle."""
    home = start_agent("--hostname", "home", "--cpu", "2", "--gpu", "1", *WITH_APPS)
    with connect(home.state) as client:
        found = _call(client, "ways", 2, 0.3)
        assert sorted(found) == [["gpu", "home", "0"], ["plain", "home", ""]]  # type: ignore[call-overload]
        assert _call(client, "called_directly") == "gpu"


def test_a_neighbour_chooses_its_own_way(start_agent: StartAgent) -> None:
    """An agent without a GPU hands the task over as it is; the neighbour that has one uses it."""
    home = _home(start_agent, *ONE, neighbours={"giant": {"cpu": 1, "gpu": 1}})
    with connect(home.state) as client:
        found = _call(client, "ways", 8, 0.2)
    counts = Counter((kind, host) for kind, host, _ in found)  # type: ignore[attr-defined]
    assert set(counts) == {("plain", "home"), ("gpu", "giant")}


def test_a_task_of_several_nodes_has_all_their_cores(start_agent: StartAgent) -> None:
    """It reserves them together and is told of them; a plain task behind it is told of its own again."""
    home = start_agent("--hostname", "home", "--cpu", "4", *WITH_APPS)
    with connect(home.state) as client:
        found, after = _call(client, "nodes", 2)  # type: ignore[misc]
        assert found.pop("COMPSS_BINDED_CPUS").count(",") == 3
        assert found == {
            "COMPSS_NUM_NODES": "2",
            "COMPSS_HOSTNAMES": "home,home",
            "COMPSS_NUM_THREADS": "2",
            "OMP_NUM_THREADS": "2",
        }
        assert after == "11"


def test_nodes_that_nobody_has_are_refused_before_the_task_waits(start_agent: StartAgent) -> None:
    """With what is asked for, what each agent has, and what to do."""
    home = _home(start_agent, *ONE, neighbours={"left": {"cpu": 3}})
    with connect(home.state) as client, pytest.raises(TaskFailed) as caught:
        _call(client, "nodes", 2)
    said = str(caught.value)
    for words in ("wants 2 nodes at once, which are 4 cores of one agent", "home: needs 4", "left: needs 4", "fewer"):
        assert words in said, said
