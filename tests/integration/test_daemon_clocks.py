"""Wall clocks that jump, forwards and backwards, while an agent works: nothing ends early, late, or twice.

AGENTD_CLOCK_JUMPS says how often (500 is for the long run). libfaketime is taken from where packages put it, or from
AGENTD_FAKETIME.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import PATIENCE_S, WITH_APPS, Door, until

from agentd.wire import invitation
from tests.conftest import RunningAgent, StartAgent

JUMPS = int(os.environ.get("AGENTD_CLOCK_JUMPS", "10"))
LIBRARY = "libfaketime.so.1"
PLACES = ("usr/lib/*/faketime", "usr/lib/faketime", "usr/lib64/faketime", "usr/local/lib/faketime")
HOUR_S, YEAR_S = 3600, 365 * 24 * 3600
JUMPS_S = (-90.0, 90.0, -HOUR_S, HOUR_S, 26 * HOUR_S, -YEAR_S, 3 * YEAR_S, 30 * YEAR_S, -50 * YEAR_S)
"""From what time servers correct, over summer time, to a device without a battery that begins in 1976."""
QUICK = ("--heartbeat-s", "0.4", "--lease-s", "2")
TASKS = 4
INVITED_S = 600
NEAR_S = 30.0
"""By so much two readings may differ: less than any jump that is waited for."""


def library() -> Path:
    """Find libfaketime, or skip."""
    named = os.environ.get("AGENTD_FAKETIME")
    found = [Path(named)] if named else [path for place in PLACES for path in Path("/").glob(f"{place}/{LIBRARY}")]
    if not found or not found[0].exists():
        pytest.skip(f"{LIBRARY} is not here: install the package libfaketime, or set AGENTD_FAKETIME to its path")
    return found[0]


class Skewed:
    """An agent whose wall clock is set from outside, and a paired one with the right time that helps it."""

    def __init__(self, start_agent: StartAgent, folder: Path) -> None:
        self._start_agent, self._folder = start_agent, folder
        self._offset = folder / "offset"
        self.set_clock(0.0)
        self._environment = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.helper = start_agent(*WITH_APPS, "--hostname", "helper", "--cpu", "1", *QUICK)
        self.agent = self.started()
        self.pair()

    def set_clock(self, seconds: float) -> None:
        """Let the agent's wall clock be so far ahead of the machine's."""
        other = self._offset.with_suffix(".new")
        other.write_text(f"{seconds:+f}\n")
        other.replace(self._offset)

    def started(self) -> RunningAgent:
        """Start the agent, anew or again."""
        options = ("--hostname", "own", "--cpu", "1", *QUICK)
        self.agent = self._start_agent(*WITH_APPS, *options, state=self._folder / "state", env=self._environment)
        self.door = Door(self.agent.rest, self.agent.state)
        return self.agent

    def pair(self) -> None:
        """Let the two trust each other, and the agent use its helper."""
        there = Door(self.helper.rest, self.helper.state)  # kept: a door closes with its last name
        made = there.client.post("/v1/invitations", json={"role": "peer"}).raise_for_status().json()
        self.door.client.post("/v1/peers", json={"invitation": made["invitation"]}).raise_for_status()
        self.door.until_connected("helper")

    def until_it_jumped(self) -> None:
        """Wait until the agent's processes read the clock that was set: the library looks once a second."""
        offset_s = float(self._offset.read_text())
        until(lambda: abs(self.clock_s() - time.time() - offset_s) <= NEAR_S, "the other time")

    def clock_s(self) -> float:
        """Read the clock as the agent itself does: it says when an invitation ends, for people."""
        asked = {"role": "peer", "expires_s": INVITED_S, "addresses": ["127.0.0.1"]}
        made = self.door.client.post("/v1/invitations", json=asked).raise_for_status().json()
        self.door.client.delete(f"/v1/invitations/{made['id']}").raise_for_status()
        return float(invitation.read(made["invitation"]).expires_at) - INVITED_S


@pytest.fixture
def skewed(start_agent: Callable[..., Any], tmp_path: Path) -> Skewed:
    """The two of them."""
    return Skewed(start_agent, tmp_path)


def test_clocks_that_jump_end_nothing(skewed: Skewed) -> None:
    """Work runs through each jump: none times out, the link stays, and results and keys are what they were."""
    chance, offset = random.Random(5), 0.0
    asked: dict[int, str] = {}
    for number in range(JUMPS):
        door = skewed.door
        items = [
            {"function": "sums:nap", "args": [0.1 * each], "timeout_s": 50.0, "key": f"{number}-{each}"}
            for each in range(TASKS)
        ]
        fresh = [one["operation"]["id"] for one in door.batch(items)]
        offset = 0.0 if offset else chance.choice(JUMPS_S)
        skewed.set_clock(offset)
        skewed.until_it_jumped()
        ended = [door.wait(one) for one in fresh]
        assert [(one["state"], one["attempts"]) for one in ended] == [("done", 1)] * TASKS, ended
        assert [one["operation"]["id"] for one in door.batch(items)] == fresh
        asked |= {number: fresh[-1]}
        assert [door.wait(one, 0)["result"] for one in asked.values()] == [0.1 * (TASKS - 1)] * len(asked)
    assert skewed.door.is_connected("helper")
    for told in (skewed.agent.stderr, skewed.helper.stderr):
        assert "lost" not in told
        assert "Traceback" not in told


@pytest.mark.parametrize("offset", [30 * YEAR_S, -50 * YEAR_S], ids=["30 years ahead", "in 1976"])
def test_a_restart_under_another_clock_changes_nothing(skewed: Skewed, offset: float) -> None:
    """A device whose clock lost its battery: results, keys and the pinned neighbour are there after its reboot."""
    door = skewed.door
    done = door.submit("sums:increment", 1, wait_s=PATIENCE_S, key="kept")
    skewed.agent.kill()
    skewed.set_clock(offset)
    skewed.started()
    door = skewed.door
    assert door.submit("sums:increment", 1, key="kept")["id"] == done["id"]
    assert door.get(f"/v1/operations/{done['id']}/result") == 2
    door.until_connected("helper")
    there = [door.submit("sums:nap", 0.3)["id"] for _ in range(2 * TASKS)]
    ended = [door.wait(one) for one in there]
    assert {(one["state"], one["ran_on"]) for one in ended} == {("done", "own"), ("done", "helper")}, ended
    assert skewed.agent.stop() == 0
    assert f"{time.gmtime(time.time() + offset).tm_year}-" in skewed.agent.stderr, "the agent itself reads that clock"
