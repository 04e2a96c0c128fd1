"""Tasks on each host, on one host after the other, done in the way that suits a host, and on several nodes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from agentd.api import Agent, connect
from agentd.model.errors import TaskFailed
from tests.conftest import RunningAgent, StartAgent
from tests.integration.daemon_rig import WITH_APPS, Door, door_of, until


def _home(start_agent: StartAgent, *options: str, neighbours: dict[str, dict[str, int]]) -> RunningAgent:
    """Start an agent with neighbours, each with so many units of each kind."""
    return _net(start_agent, *options, neighbours=neighbours)["home"]


def _net(
    start_agent: StartAgent, *options: str, neighbours: dict[str, dict[str, int]], **more: dict[str, str]
) -> dict[str, RunningAgent]:
    """Start an agent with neighbours; gives all of them by name."""
    home = start_agent("--hostname", "home", *options, *WITH_APPS, **more)
    agents = {"home": home}
    door = door_of(home)
    for name, units in neighbours.items():
        cores = [word for kind, number in units.items() for word in (f"--{kind}", str(number))]
        other = agents[name] = start_agent("--hostname", name, *cores, *WITH_APPS)
        door.lend_from(name, other.comm, **units)
    return agents


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
    """With what is asked for, what each agent could give, and what to do."""
    home = _home(start_agent, *ONE, neighbours={"left": {"cpu": 3}})
    with connect(home.state) as client, pytest.raises(TaskFailed) as caught:
        _call(client, "nodes", 2)
    said = str(caught.value)
    for words in ("wants 2 nodes of 2 cores at once, one of them on home", "home: needs 2", "left: 1", "ask for fewer"):
        assert words in said, said


def test_nodes_of_several_agents_are_held_together(start_agent: StartAgent, tmp_path: Path) -> None:
    """The task runs on the agent that asks, knows the others, and leaves them free for other work."""
    home = _home(start_agent, *ONE, neighbours={"left": ONE_CORE, "right": ONE_CORE})
    with connect(home.state) as client:
        for _ in range(3):
            assert _call(client, "over_hosts", str(tmp_path)) == ["3", "home,left,right", "1"]
        assert {"home", "left", "right"} >= set(_call(client, "many", 60))  # type: ignore[call-overload]


def test_the_loss_of_an_agent_that_holds_a_node_is_another_attempt(start_agent: StartAgent, tmp_path: Path) -> None:
    """It runs on the agents that are left."""
    hosts = dict.fromkeys(("east", "north", "west"), ONE_CORE)
    agents = _net(start_agent, *ONE, neighbours=hosts)
    home = Door(agents["home"].rest, agents["home"].state)
    operation = home.submit("placed_tasks:over_hosts", str(tmp_path), 6.0)["id"]
    until(lambda: any(tmp_path.iterdir()))
    agents["east"].kill()
    until(lambda: len(list(tmp_path.iterdir())) > 1)
    found = home.wait(operation)
    assert found["state"] == "done", found
    assert found["result"][1] == "home,north,west"


def test_two_agents_that_need_each_other_do_not_wait_for_ever(start_agent: StartAgent, tmp_path: Path) -> None:
    """Each asks for tasks over both of them, at once and again and again."""
    agents = _net(start_agent, *ONE, neighbours={"left": {"cpu": 2}})
    doors = [Door(agent.rest, agent.state) for agent in agents.values()]
    doors[1].lend_from("home", agents["home"].comm, 1)
    asked = [(door, door.submit("placed_tasks:over_hosts", str(tmp_path), 0.05)["id"]) for door in doors * 4]
    ended = [door.wait(operation) for door, operation in asked]
    assert {found["state"] for found in ended} == {"done"}, ended
    assert {found["result"][1] for found in ended} == {"home,left,left", "left,left,home"}


MPIRUN = """#!/bin/sh
exec > "${0%/*}/said"
test "$1" = -machinefile && { cat "$2"; shift 2; }
printf '%s ' "$@"
"""


def test_mpirun_is_told_of_the_hosts(start_agent: StartAgent, tmp_path: Path) -> None:
    """One line for each process; starting it there is its own business. Without it nothing runs, and it is said."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("mpirun", "hello"):
        (folder / name).write_text(MPIRUN)
        (folder / name).chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    home = _net(start_agent, *ONE, "--allow-binary", "*", neighbours={"left": {"cpu": 2}}, env=path)["home"]
    door = Door(home.rest, home.state)
    found = door.submit("placed_tasks:mpi_over_hosts", wait_s=60)
    assert found["result"] == 0, found
    said = (folder / "said").read_text()
    assert said.startswith("home\nleft\nleft\n-n 3 "), said
    (folder / "mpirun").unlink()
    failed = door.submit("placed_tasks:mpi_over_hosts", wait_s=60)
    assert "mpirun is not on agent home" in str(failed["error"]), failed
