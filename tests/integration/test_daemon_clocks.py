"""Wall clocks that jump, forwards and backwards, while an agent works: nothing ends early, late, or twice.

AGENTD_CLOCK_JUMPS says how often (500 is for the long run). The clock is a few lines of C between the agent and its C
library, which are compiled here (`CC` says by what).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.wire import invitation
from tests.conftest import RunningAgent, StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

JUMPS = int(os.environ.get("AGENTD_CLOCK_JUMPS", "10"))
CLOCK = Path(__file__).parents[1] / "fakes" / "wall_clock.c"
HOUR_S, YEAR_S = 3600, 365 * 24 * 3600
JUMPS_S = (-90.0, 90.0, -HOUR_S, HOUR_S, 26 * HOUR_S, -YEAR_S, 3 * YEAR_S, 30 * YEAR_S, -50 * YEAR_S)
"""From what time servers correct, over summer time, to a device without a battery that begins in 1976."""
QUICK = ("--heartbeat-s", "0.4", "--lease-s", "30")
TASKS = 4
INVITED_S = 600
NEAR_S = 30.0
"""By so much two readings may differ: less than any jump that is waited for."""


@pytest.fixture(scope="module")
def wall_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the clock, or skip."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler is here, which makes the clock that is set: install gcc, or name one in CC")
    made = tmp_path_factory.mktemp("clock") / "wall_clock.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made), str(CLOCK)]
    compiled = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if compiled.returncode and "-W" not in compiled.stderr:
        pytest.skip(f"{compiler} makes no libraries here: {compiled.stderr.strip().splitlines()[-1:]}")
    assert not compiled.returncode, compiled.stderr
    return made


class Skewed:
    """An agent whose wall clock is set from outside, and a paired one with the right time that helps it."""

    def __init__(self, start_agent: StartAgent, folder: Path, wall_clock: Path) -> None:
        self._start_agent, self._folder = start_agent, folder
        self._offset = folder / "offset"
        self._offset.write_bytes(bytes(8))
        self._seconds = 0.0
        self._environment = {"LD_PRELOAD": str(wall_clock), "WALL_CLOCK_FILE": str(self._offset)}
        self.helper = start_agent(*WITH_APPS, "--hostname", "helper", "--cpu", "1", *QUICK)
        self.agent = self.started()
        self.pair()

    def set_clock(self, seconds: float) -> None:
        """Let the agent's wall clock be so far ahead of the machine's, from now on."""
        with self._offset.open("r+b") as file:
            file.write(int(seconds * 1e9).to_bytes(8, sys.byteorder, signed=True))
        self._seconds = seconds

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

    def assert_it_jumped(self) -> None:
        """The agent reads the clock that was set, or nothing is shown here."""
        assert abs(self.clock_s() - time.time() - self._seconds) <= NEAR_S

    def clock_s(self) -> float:
        """Read the clock as the agent itself does: it says when an invitation ends, for people."""
        asked = {"role": "peer", "expires_s": INVITED_S, "addresses": ["127.0.0.1"]}
        made = self.door.client.post("/v1/invitations", json=asked).raise_for_status().json()
        self.door.client.delete(f"/v1/invitations/{made['id']}").raise_for_status()
        return float(invitation.read(made["invitation"]).expires_at) - INVITED_S


@pytest.fixture
def skewed(start_agent: Callable[..., Any], tmp_path: Path, wall_clock: Path) -> Skewed:
    """The two of them."""
    return Skewed(start_agent, tmp_path, wall_clock)


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
        skewed.assert_it_jumped()
        ended = [door.wait(one) for one in fresh]
        assert [(one["state"], one["attempts"]) for one in ended] == [("done", 1)] * TASKS, ended
        assert [one["operation"]["id"] for one in door.batch(items)] == fresh
        asked |= {number: fresh[-1]}
        assert [door.wait(one, 0)["result"] for one in asked.values()] == [0.1 * (TASKS - 1)] * len(asked)
    skewed.door.until_connected("helper")
    for told in (skewed.agent.stderr, skewed.helper.stderr):
        assert "lost" not in told
        assert "Traceback" not in told


@pytest.mark.parametrize("offset", [30 * YEAR_S, -50 * YEAR_S], ids=["30 years ahead", "in 1976"])
def test_a_restart_under_another_clock_changes_nothing(skewed: Skewed, tmp_path: Path, offset: float) -> None:
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
    ended = door.at_once(tmp_path, 2)
    assert {(one["state"], one["ran_on"]) for one in ended} == {("done", "own"), ("done", "helper")}, ended
    assert skewed.agent.stop() == 0
    assert f"{time.gmtime(time.time() + offset).tm_year}-" in skewed.agent.stderr, "the agent itself reads that clock"
