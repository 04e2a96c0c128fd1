"""Tasks inside an operation go to neighbours that have room, with their data, and what they change comes back."""

from __future__ import annotations

from agentd.api import attach, connect, number_of_resources
from tests.conftest import StartAgent
from tests.integration.daemon_rig import WITH_APPS, Door, star, until


def test_tasks_of_one_operation_run_on_three_agents(start_agent: StartAgent) -> None:
    """All three take part, and every call is counted once, wherever its object was changed."""
    home = star(start_agent, home=1, left=1, right=1)["home"]
    with connect(home.state) as client:
        found = client.call("spread_tasks:spread", 9, 0.3)
    assert sum(found["changed"].values()) == 9
    assert {*found["changed"], *found["returned"]} == {"home", "left", "right"}


def test_a_program_knows_how_many_agents_there_are(start_agent: StartAgent) -> None:
    """Tasks and attached programs are told how many agents can take tasks now; one that leaves counts no more."""
    home = start_agent("--cpu", "1", "--hostname", "home", *WITH_APPS)
    door = Door(home.rest, home.state)
    with connect(home.state) as client:
        assert client.call("spread_tasks:resources") == 1
        other = start_agent("--cpu", "1", "--hostname", "other", *WITH_APPS)
        door.lend_from("other", other.comm, 1)
        assert client.call("spread_tasks:resources") == 2
        with attach(home.state):
            assert number_of_resources() == 2
        other.stop()
        until(lambda: not door.is_connected("other"))
        assert client.call("spread_tasks:resources") == 1
