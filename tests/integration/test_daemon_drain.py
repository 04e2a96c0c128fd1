"""Agents that leave while they are at work: what they run ends, what waits goes elsewhere at once, nothing is lost.

AGENTD_DRAINS sets how often (1,000 is a night's work).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, until

from tests.conftest import agent_environment

DRAINS = int(os.environ.get("AGENTD_DRAINS", "20"))
TASKS = 12
LENGTHS_S = (0.0, 0.01, 0.05, 0.2)
LONG_GRACE = {"AGENTD_GRACE_S": "60"}
LOOK_S = 0.01


class Pair:
    """An agent with one core, and a helper with two that leaves and comes back."""

    def __init__(self, start_agent: Callable[..., Any], folder: Path) -> None:
        self._start_agent = start_agent
        self.folder = folder
        self.helper = self.start_helper("auto")
        self.port = self.helper.comm.rpartition(":")[2]
        own = start_agent(*WITH_APPS, "--hostname", "own", "--cpu", "1", env=LONG_GRACE)
        self.state = own.state
        self.own = Door(own.rest, own.state)
        self.own.lend_from("helper", self.helper.comm, 2)

    def start_helper(self, port: str, state: Path | None = None) -> Any:
        options = ("--hostname", "helper", "--cpu", "2", "--comm-port", port)
        return self._start_agent(*WITH_APPS, *options, state=state, env=LONG_GRACE)

    def come_back(self) -> None:
        """Let the helper start again, where it was."""
        self.helper = self.start_helper(self.port, self.helper.state)
        self.own.until_connected("helper")

    def submit(self, name: str, seconds: list[float]) -> list[str]:
        """Ask for tasks that note when they begin and end."""
        items = [
            {"function": "sums:note", "args": [str(self.folder / f"{name}-{number}"), length]}
            for number, length in enumerate(seconds)
        ]
        return [one["operation"]["id"] for one in self.own.batch(items)]

    def until_it_works(self, asked: list[str]) -> None:
        """Wait until the helper runs something of ours, or has: who looks too late finds nothing left to run."""
        until(lambda: self.held() or self.are_done(asked), "work for the helper")

    def are_done(self, asked: list[str]) -> bool:
        """Tell whether all that was asked for has ended."""
        return all(self.own.wait(one, 0)["state"] == "done" for one in asked)

    def held(self) -> int:
        """Count what the helper holds of ours."""
        rows = self.own.get("/v1/neighbours")["neighbours"]
        return sum(row["running"] for row in rows if row["name"] == "helper")

    def runs(self) -> dict[str, int]:
        """Count how often each task was begun."""
        return {path.name: path.read_text().count("begin") for path in self.folder.iterdir()}


@pytest.fixture
def pair(start_agent: Callable[..., Any], tmp_path: Path) -> Pair:
    """Two agents on this device."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return Pair(start_agent, folder)


def test_draining_under_load_loses_nothing_and_begins_nothing_twice(pair: Pair) -> None:
    """Asked by signal and over REST in turn: exit 0, each operation done in its first attempt."""
    chance, hosts = random.Random(1), set()
    for number in range(DRAINS):
        asked = pair.submit(str(number), [chance.choice(LENGTHS_S) for _ in range(TASKS)])
        pair.until_it_works(asked)
        if number % 2:
            door = Door(pair.helper.rest, pair.helper.state)
            door.client.post("/v1/shutdown").raise_for_status()
        else:
            pair.helper.process.send_signal(signal.SIGTERM)
        assert pair.helper.process.wait(PATIENCE_S) == 0, pair.helper.stderr
        ended = [pair.own.wait(one) for one in asked]
        assert [(one["state"], one["attempts"]) for one in ended] == [("done", 1)] * TASKS
        hosts |= {one["ran_on"] for one in ended}
        pair.come_back()
    assert hosts == {"own", "helper"}
    assert set(pair.runs().values()) == {1}


def test_what_a_draining_agent_has_not_begun_runs_elsewhere_at_once(pair: Pair) -> None:
    """Its neighbour does not wait for what it still runs; whoever asks it directly is told that it is stopping."""
    far = pair.submit("long", [6.0] * 3)
    pair.until_it_works(far)
    door = Door(pair.helper.rest, pair.helper.state)
    queued = [door.submit("sums:nap", 0.01)["id"] for _ in range(2)]
    pair.helper.process.send_signal(signal.SIGTERM)
    try:
        while (answer := door.post("sums:nap", 0.0)).status_code != 503:
            time.sleep(LOOK_S)
        assert "retry-after" in answer.headers
    except httpx.TransportError:
        pass  # it had nothing to wait for
    short = pair.submit("short", [0.01] * 5)
    assert {pair.own.wait(one)["ran_on"] for one in short} == {"own"}
    assert [pair.own.wait(one)["state"] for one in far] == ["done"] * 3
    assert pair.helper.process.wait(PATIENCE_S) == 0
    assert set(pair.runs().values()) == {1}
    pair.come_back()
    back = Door(pair.helper.rest, pair.helper.state)
    assert [back.wait(one)["state"] for one in queued] == ["done"] * 2


def test_a_neighbour_that_is_taken_out_of_the_pool_ends_what_it_runs(pair: Pair, tmp_path: Path) -> None:
    """`agentd resources remove`: it gets nothing more, what it has not begun comes back, what it runs is delivered."""
    gate = tmp_path / "gate"
    asked = [pair.own.submit("sums:held", str(pair.folder / f"{number}"), str(gate))["id"] for number in range(12)]
    until(lambda: len(pair.runs()) == 3, "a task on each core")
    done = subprocess.run(
        [sys.executable, "-m", "agentd", "resources", "remove", "helper"],
        env=agent_environment(AGENTD_STATE=str(pair.state)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    until(lambda: pair.held() == 2, "what it had not begun")
    gate.touch()
    ended = [pair.own.wait(one) for one in asked]
    assert [(one["state"], one["attempts"]) for one in ended] == [("done", 1)] * 12
    assert set(pair.runs().values()) == {1}
    assert sum(one["ran_on"] == "helper" for one in ended) == 2
    until(lambda: "helper" not in [row["name"] for row in pair.own.get("/v1/neighbours")["neighbours"]])
    assert [row["name"] for row in pair.own.get("/v1/resources")["resources"]] == ["own"]
