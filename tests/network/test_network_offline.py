"""A device that is cut off goes on by itself, also through its own reboot, and brings what it did when it is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.daemon_rig import PATIENCE_S
from network.site_rig import LOOK_S, Site, runs

QUICK = ("--heartbeat-s", "0.4", "--lease-s", "2")


def two(make_site: Callable[..., Site], *, cores: tuple[int, int]) -> Site:
    """Agents a and b, each of which lends from the other."""
    site = make_site("a", "b")
    site.start("b", cores[1], *QUICK)
    site.start("a", cores[0], *QUICK)
    site.pair("b", "a")
    return site


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that shows in files."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(LOOK_S)


def held(folder: Path, name: str) -> tuple[str, str]:
    """Give the arguments of a task that notes when it begins and ends, which is when `let_go` is called."""
    return str(folder / name), str(gate_of(folder, name))


def gate_of(folder: Path, name: str) -> Path:
    """Name what a task waits for."""
    return folder.with_name(f"{folder.name}-{name}-gate")


def let_go(folder: Path, *names: str) -> None:
    """Let tasks end, and those of that name that begin from now on at once."""
    for name in names:
        gate_of(folder, name).touch()


def note(folder: Path, name: str, seconds: float) -> tuple[str, float]:
    """Give the arguments of a task that notes when it begins and ends."""
    return str(folder / name), seconds


def test_what_a_device_did_while_it_was_cut_off_is_delivered_after_its_reboot(
    make_site: Callable[..., Site], tmp_path: Path
) -> None:
    """It ends a neighbour's task, takes operations of its own, is killed, goes on: all is done when it is back."""
    site = two(make_site, cores=(1, 2))
    busy = site.doors["a"].submit("sums:held", *held(tmp_path, "busy"))["id"]
    asked = site.doors["a"].submit("sums:held", *held(tmp_path, "given"))["id"]
    until((tmp_path / "given").exists, "it runs at b")
    until(lambda: site.doors["a"].wait(asked, 0)["state"] == "forwarded", "a knows that b has it")
    site.net.cut("a", "b")
    let_go(tmp_path, "busy", "given")
    assert site.doors["b"].wait(asked)["state"] == "done"
    own = site.doors["b"].submit("sums:note", *note(tmp_path, "own", 0.1), wait_s=PATIENCE_S)
    assert own["state"] == "done"
    waits = site.doors["b"].submit("sums:held", *held(tmp_path, "waits"))["id"]
    until((tmp_path / "waits").exists, "its own work runs")
    site.agents["b"].kill()
    let_go(tmp_path, "waits")
    site.start("b", 2, *QUICK)
    assert site.doors["b"].wait(waits)["state"] == "done"
    after = site.doors["b"].submit("sums:note", *note(tmp_path, "after", 0.1), wait_s=PATIENCE_S)
    assert (after["state"], after["ran_on"]) == ("done", "b")
    assert site.doors["b"].wait(own["id"], 0)["result"] == own["result"]
    site.net.heal("a", "b")
    site.connect(("a", "b"))
    found = site.doors["a"].wait(asked)
    assert (found["state"], site.doors["a"].wait(busy)["state"]) == ("done", "done")
    assert site.doors["a"].wait(asked, 0) == found
    again = {name: count for name, count in runs(tmp_path).items() if count > 1}
    # What ran in the moment of the crash is another attempt; what a gave up it has done itself.
    assert set(again) <= {"waits", "given"}


@pytest.mark.parametrize("is_within", [True, False], ids=["within the lease", "after the lease"])
def test_an_end_that_nobody_heard_is_delivered_by_who_rebooted(
    make_site: Callable[..., Site], tmp_path: Path, is_within: bool
) -> None:
    """Within the lease the task has run once, at the device that was away; after it, here too, with one result."""
    site = make_site("a", "b")
    lease = ("--heartbeat-s", "0.5", "--lease-s", "60" if is_within else "2")
    site.start("b", 1, *lease)
    site.start("a", 1, *lease)
    site.pair("b", "a")
    here = site.doors["a"].submit("sums:held", *held(tmp_path, "here"))["id"]
    asked = site.doors["a"].submit("sums:held", *held(tmp_path, "away"))["id"]
    until((tmp_path / "away").exists, "it runs at b")
    site.net.cut("a", "b")
    let_go(tmp_path, "here", "away")
    assert site.doors["b"].wait(asked)["state"] == "done"  # b has written it down
    site.agents["b"].kill()
    site.start("b", 1, *lease)
    if not is_within:
        site.until("a", "b", "lost")
        assert site.doors["a"].wait(asked)["ran_on"] == "a"
    site.net.heal("a", "b")
    site.connect(("a", "b"))
    found = site.doors["a"].wait(asked)
    assert (found["state"], found["ran_on"]) == ("done", "b" if is_within else "a")
    assert site.doors["a"].wait(here)["state"] == "done"
    assert runs(tmp_path) == {"here": 1, "away": 1 if is_within else 2}


def test_the_origin_may_reboot_while_it_is_cut_off(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Its neighbour keeps the end for it: the agent that asks again is told, and nothing runs twice."""
    site = two(make_site, cores=(1, 1))
    site.doors["a"].submit("sums:held", *held(tmp_path, "here"))
    asked = site.doors["a"].submit("sums:held", *held(tmp_path, "away"))["id"]
    until((tmp_path / "away").exists, "it runs at b")
    site.net.cut("a", "b")
    site.agents["a"].kill()
    let_go(tmp_path, "here", "away")
    assert site.doors["b"].wait(asked)["state"] == "done"
    site.net.heal("a", "b")
    site.start("a", 1, *QUICK)
    found = site.doors["a"].wait(asked)
    assert (found["state"], found["ran_on"]) == ("done", "b")
    assert runs(tmp_path)["away"] == 1
