"""Lines to a neighbour on a real network: through a router, over a long way, and cut in the middle of a call."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from network.site_rig import Site

from agentd.api import AgentExecutor
from tests.integration.line_rig import LONG_S, called_on_a_line, direct_of, on_a_line, until

LEASE_S = 2.0
QUICK = ("--heartbeat-s", "0.4", "--lease-s", str(LEASE_S))


def asking_far(make_site: Callable[..., Site], *options: str) -> Site:
    """Two agents, of which near has no cores, and dials far."""
    site = make_site("near", "far")
    site.start("far", 2, *options)
    site.start("near", 0, *options, dials=("far",))
    site.connect(("near", "far"))
    return site


def directly(site: Site, name: str) -> int:
    """Tell how many calls were made directly at an agent, which is asked within its network."""
    text = site.doors[name].client.get("/metrics").text
    found = re.search(r"^agentd_direct_calls_total (\S+)$", text, re.MULTILINE)
    assert found, text[:200]
    return int(found[1])


def test_a_neighbour_behind_a_router_makes_the_line_itself(make_site: Callable[..., Site], functions: Any) -> None:
    """It lets nobody in, and dialled the link: so it dials the line, and the loop goes directly."""
    site = make_site("phone", "server")
    site.start("server", 0)
    site.start("phone", 1, "--comm-port", "0")
    site.join("server", "phone", is_parent=True)
    site.doors["server"].client.post(
        "/v1/resources", json={"name": "phone", "capacity": {"processors": [{"units": 1}]}}
    ).raise_for_status()
    site.until("server", "phone", "connected")
    with AgentExecutor(site.agents["server"].state) as executor:
        on_a_line(executor, functions)
    assert directly(site, "phone") > 0


def test_a_call_on_a_line_that_is_cut_runs_again_when_the_network_is_back(
    make_site: Callable[..., Site], functions: Any, tmp_path: Path
) -> None:
    """The cut is found within the lease, as for any call; what had begun there is stopped there."""
    site = asking_far(make_site, *QUICK)
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    with AgentExecutor(site.agents["near"].state) as executor:
        future = called_on_a_line(executor, functions, functions.await_file, str(begun), str(gate))
        until(begun.exists)
        site.net.cut("near", "far")
        site.until("near", "far", "lost")
        site.until("far", "near", "lost")
        begun.unlink()
        gate.touch()
        site.net.heal("near", "far")
        assert future.result(2 * LONG_S) == str(gate)
        assert begun.exists()


def test_a_way_that_is_long_has_no_lines(make_site: Callable[..., Site], functions: Any) -> None:
    """The way is most of such a call: it goes by the daemons, which are asked for nothing else."""
    site = make_site("near", "far")
    site.net.between("near", "far", delay_s=0.002)
    site.start("far", 2)
    site.start("near", 0, dials=("far",))
    site.connect(("near", "far"))
    with AgentExecutor(site.agents["near"].state) as executor:
        for number in range(100):
            direct_of(executor)._wanted = 3
            assert executor.submit(functions.double, number).result(LONG_S) == 2 * number
    assert directly(site, "far") == 0
