"""Links between agents on a real network: cut, half open, flapping, one way, slow."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from network.site_rig import Site, runs

LEASE_S = 2.0
QUICK = ("--heartbeat-s", "0.4", "--lease-s", str(LEASE_S))
"""Less than the defaults, for tests that wait for it; others need a lease above their cut."""
SLACK = 5
"""On a busy machine everything may take so many times as long as promised; TCP by itself would take minutes."""


def two(make_site: Callable[..., Site], *options: str, cores: tuple[int, int] = (1, 2)) -> Site:
    """Two agents, of which a dials b."""
    site = make_site("a", "b")
    site.start("b", cores[1], *options)
    site.start("a", cores[0], *options, dials=("b",))
    site.connect(("a", "b"))
    return site


def submit(site: Site, folder: Path, seconds: list[float]) -> list[str]:
    """Ask a for tasks that note when they begin and end, each in a file of its own."""
    return [
        site.doors["a"].submit("sums:note", str(folder / str(number)), length)["id"]
        for number, length in enumerate(seconds)
    ]


def test_work_goes_on_through_a_short_cut(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """A cut shorter than the lease costs nothing: everything is done, and nothing ran twice."""
    site = two(make_site)
    asked = submit(site, tmp_path, [0.2] * 20)
    site.net.cut("a", "b", for_s=1.0)
    ended = [site.doors["a"].wait(one) for one in asked]
    assert {one["state"] for one in ended} == {"done"}
    assert set(runs(tmp_path).values()) == {1}
    assert {one["ran_on"] for one in ended} == {"a", "b"}


def test_a_half_open_connection_is_found_within_the_lease(make_site: Callable[..., Site]) -> None:
    """The other device is gone without a word: its neighbour believes in it for one lease and no longer."""
    site = two(make_site, *QUICK)
    site.net.cut("a", "b")
    took_s = site.until("a", "b", "lost", within_s=SLACK * LEASE_S)
    assert took_s >= 0.5 * LEASE_S
    site.until("b", "a", "lost", within_s=SLACK * LEASE_S)
    site.net.heal("a", "b")
    site.connect(("a", "b"))


def test_what_a_lost_neighbour_held_runs_elsewhere(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """A neighbour that is cut off for longer than the lease: its tasks are done here, each with one result."""
    site = two(make_site, *QUICK, cores=(2, 2))
    asked = submit(site, tmp_path, [0.5] * 8)
    site.doors["a"].wait(asked[0])
    site.net.cut("a", "b")
    ended = [site.doors["a"].wait(one, 8 * LEASE_S) for one in asked]
    assert {one["state"] for one in ended} == {"done"}
    assert max(one["attempts"] for one in ended) <= 2
    site.net.heal("a", "b")
    site.connect(("a", "b"))
    assert [site.doors["a"].wait(one)["result"] for one in asked] == [one["result"] for one in ended]


def test_a_link_that_flaps_loses_nothing(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Ten short cuts, one after the other, with loss and delay: every task is done, once."""
    site = two(make_site)
    site.net.between("a", "b", loss=0.02, delay_s=0.01, jitter_s=0.01)
    asked = submit(site, tmp_path, [0.1] * 30)
    site.net.flap("a", "b", times=10, cut_s=0.1, whole_s=0.1)
    ended = [site.doors["a"].wait(one) for one in asked]
    assert {one["state"] for one in ended} == {"done"}
    assert set(runs(tmp_path).values()) == {1}


def test_who_cannot_be_dialled_is_used_all_the_same(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """A device behind a router that lets nobody in dials out: work goes both ways over that one connection."""
    site = make_site("phone", "server")
    site.start("server", 1)
    site.start("phone", 1, "--comm-port", "0")
    site.join("server", "phone", is_parent=True)
    site.doors["server"].client.post(
        "/v1/resources", json={"name": "phone", "capacity": {"processors": [{"units": 1}]}}
    ).raise_for_status()
    site.until("server", "phone", "connected")
    for asked in ("phone", "server"):
        assert {one["ran_on"] for one in site.doors[asked].at_once(tmp_path, 2)} == {"phone", "server"}


def test_a_stopped_neighbour_is_left_and_taken_back(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """A daemon that stands still (SIGSTOP) is lost after the lease; when it goes on, it is a neighbour again."""
    site = two(make_site, *QUICK)
    os.kill(site.agents["b"].pid, signal.SIGSTOP)
    site.until("a", "b", "lost", within_s=SLACK * LEASE_S)
    os.kill(site.agents["b"].pid, signal.SIGCONT)
    site.connect(("a", "b"))
    asked = submit(site, tmp_path, [0.1] * 6)
    assert {site.doors["a"].wait(one)["state"] for one in asked} == {"done"}
