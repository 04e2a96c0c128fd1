"""Workers that die in every way while others work: who is to blame ends as such, everybody else is done.

AGENTD_FAULT_DEATHS sets how many (10,000 is a night's work).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

DEATHS = int(os.environ.get("AGENTD_FAULT_DEATHS", "100"))
AGENTS = 5
"""Side by side, since each of them waits longer and longer before it starts workers anew that die."""
PER_ROUND = 5
INNOCENT = 10
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "segfault": ({"function": "sums:crash"}, "SIGSEGV"),
    "killed": ({"function": "sums:vanish"}, "SIGKILL"),
    "exit": ({"function": "sums:leave", "args": [3]}, "exit code 3"),
    "hang": ({"function": "sums:nap", "args": [600.0], "timeout_s": 0.2}, "time"),
}
"""Each with a word of what is said of it."""


@pytest.mark.timeout(120 + DEATHS)
def test_workers_that_die_harm_nobody_else(start_agent: Callable[..., Any]) -> None:
    """A hundred deaths: each is told apart and blamed on its task alone; what ran beside and behind it is done."""
    agents = [start_agent(*WITH_APPS, "--cpu", "2") for _ in range(AGENTS)]
    doors, chance = [Door(agent.rest, agent.state) for agent in agents], random.Random(4)
    for _ in range(DEATHS // PER_ROUND // AGENTS):
        rounds = [(door, *_asked(door, chance)) for door in doors]
        for door, items, asked in rounds:
            for (way, item), operation in zip(items, asked, strict=True):
                _check(way, item, door.wait(operation))
    for agent, door in zip(agents, doors, strict=True):
        assert door.submit("sums:increment", 1, wait_s=PATIENCE_S)["result"] == 2
        assert "Traceback" not in agent.stderr


def _asked(door: Door, chance: random.Random) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Ask for a few that kill their workers among many that do not."""
    guilty = [chance.choice(list(WAYS)) for _ in range(PER_ROUND)]
    items = [(way, {**WAYS[way][0], "max_attempts": 1}) for way in guilty]
    items += [("", {"function": "sums:increment", "args": [number]}) for number in range(INNOCENT)]
    chance.shuffle(items)
    return items, [row["operation"]["id"] for row in door.batch([item for _, item in items])]


def _check(way: str, item: dict[str, Any], ended: dict[str, Any]) -> None:
    if way:
        assert ended["state"] in {"failed", "quarantined"}, ended
        assert WAYS[way][1] in str(ended["error"]), (way, ended)
    else:
        assert (ended["state"], ended["result"]) == ("done", item["args"][0] + 1), ended
