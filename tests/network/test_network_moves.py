"""Paired devices that get other addresses: they find each other by their certificates."""

from __future__ import annotations

import time
from collections.abc import Callable

from integration.daemon_rig import PATIENCE_S
from network.site_rig import COMM_PORT, LOOK_S, Site

OLD, NEW = "10.77.0.2", "10.77.0.77"
QUICK = ("--heartbeat-s", "0.4", "--lease-s", "2")
ANYWHERE = ("--comm-host", "0.0.0.0", *QUICK)


def two(make_site: Callable[..., Site]) -> Site:
    """Agents a and b, of which b listens at whatever address its device has; they are not paired yet."""
    site = make_site("a", "b")
    site.start("b", 1, *ANYWHERE)
    site.start("a", 1, *QUICK)
    return site


def addresses(site: Site) -> list[str]:
    """Tell where a looks for b, the likeliest first, as `agentd peers` has it."""
    (row,) = site.doors["a"].get("/v1/peers")["peers"]
    found: list[str] = row["addresses"]
    return found


def until_looked_for(site: Site, address: str) -> None:
    """Wait until a has noted an address of b."""
    end_s = time.monotonic() + PATIENCE_S
    while (found := addresses(site))[0] != address:
        assert time.monotonic() < end_s, found
        time.sleep(LOOK_S)


def test_a_peer_that_comes_from_another_address_is_dialled_there(make_site: Callable[..., Site]) -> None:
    """It comes by itself, and says where it listens; when it is silent for once, it is found there."""
    site = two(make_site)
    site.pair("b", "a")
    assert addresses(site) == [f"{OLD}:{COMM_PORT}"]
    site.net.move("b", NEW)
    until_looked_for(site, f"{NEW}:{COMM_PORT}")
    site.connect(("a", "b"))
    assert site.agents["a"].stop() == 0
    site.doors["b"].client.delete("/v1/resources/a").raise_for_status()  # b does not dial any more
    site.start("a", 1, *QUICK)
    site.connect(("a", "b"))
    assert site.link("a", "b")["address"] == f"{NEW}:{COMM_PORT}"


def test_joining_again_follows_a_peer_to_its_new_address(make_site: Callable[..., Site]) -> None:
    """One that only waits to be dialled: its next invitation says where it is, and the link is there again."""
    site = two(make_site)
    site.join("b", "a")
    limits = {"limits": {"functions": [], "max_tasks": 3, "submit_upward": True}}
    site.doors["a"].client.post("/v1/peers/b", json=limits).raise_for_status()
    site.net.move("b", NEW)
    site.until("a", "b", "lost")
    site.join("b", "a")
    assert site.link("a", "b")["address"] == f"{NEW}:{COMM_PORT}"
    (row,) = site.doors["a"].get("/v1/peers")["peers"]
    assert (row["state"], row["max_tasks"], row["addresses"][:2]) == (
        "connected",
        3,
        [f"{NEW}:{COMM_PORT}", f"{OLD}:{COMM_PORT}"],
    )


def test_a_neighbour_named_at_its_new_address_is_the_peer_that_it_is(make_site: Callable[..., Site]) -> None:
    """`--neighbour HOST:PORT`, with or without its name: it is linked by its name, and found there from then on."""
    for option in (f"--neighbour=b={NEW}:{COMM_PORT}", f"--neighbour={NEW}:{COMM_PORT}"):
        site = two(make_site)
        site.join("b", "a")
        site.net.move("b", NEW)
        assert site.agents["a"].stop() == 0
        site.start("a", 1, *QUICK, option)
        site.connect(("a", "b"))
        until_looked_for(site, f"{NEW}:{COMM_PORT}")
        assert [row["name"] for row in site.doors["a"].get("/v1/resources")["resources"]] == ["a", "b"]
        assert site.link("a", "b")["address"] == f"{NEW}:{COMM_PORT}"


def test_adding_a_known_neighbour_at_another_address_moves_it(make_site: Callable[..., Site]) -> None:
    """What it was granted stays, and so does a link that works."""
    site = two(make_site)
    site.join("b", "a")
    site.net.move("b", NEW)
    body = {"name": "b", "capacity": {}, "properties": {"Host": NEW, "Port": str(COMM_PORT)}}
    site.doors["a"].client.post("/v1/resources", json=body).raise_for_status()
    until_looked_for(site, f"{NEW}:{COMM_PORT}")
    site.connect(("a", "b"))
