"""A neighbour that stands still again and again, shorter and longer than it is believed in: every task has one result.

AGENTD_PAUSES sets how often (500 is for the long run).
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.daemon_rig import PATIENCE_S, door_of, star

PAUSES = int(os.environ.get("AGENTD_PAUSES", "20"))
PAUSES_S = (0.1, 0.1, 0.2, 0.5, 2.6)
"""The last one is longer than the lease."""
LONG_PAUSES_S = (6.0, 15.0, 60.0)
QUICK = ("--heartbeat-s", "0.4", "--lease-s", "2")
TASKS = 10


def test_pauses_of_a_neighbour_lose_nothing(start_agent: Callable[..., Any], tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT at any moment: all is done, and what was read once is read again."""
    chance = random.Random(7)
    agents = star(start_agent, *QUICK, own=1, helper=2)
    door, helper = door_of(agents["own"]), agents["helper"]
    asked: list[str] = []
    for number in range(PAUSES):
        items = [
            {"function": "sums:note", "args": [str(tmp_path / f"{number}-{each}"), chance.choice((0.0, 0.02, 0.1))]}
            for each in range(TASKS)
        ]
        asked += [one["operation"]["id"] for one in door.batch(items)]
        os.kill(helper.pid, signal.SIGSTOP)
        going_on = threading.Timer(chance.choice(PAUSES_S), os.kill, (helper.pid, signal.SIGCONT))
        going_on.start()
        door.wait(asked[-1])
        going_on.join()
    ended = [door.wait(one) for one in asked]
    assert [one["state"] for one in ended] == ["done"] * PAUSES * TASKS
    door.until_connected("helper")
    assert [door.wait(one, 0)["result"] for one in asked] == [one["result"] for one in ended]
    assert {one["ran_on"] for one in ended} == {"own", "helper"}
    assert door.submit("sums:increment", 1, wait_s=PATIENCE_S)["result"] == 2


@pytest.mark.timeout(240 + LONG_PAUSES_S[-1])
def test_neighbours_that_stand_still_for_long_are_taken_back(start_agent: Callable[..., Any], tmp_path: Path) -> None:
    """Several at once, for up to a minute: their work is done elsewhere meanwhile, and each is used again after."""
    names = {f"still_{length_s:g}": length_s for length_s in LONG_PAUSES_S}
    agents = star(start_agent, *QUICK, own=1, **dict.fromkeys(names, 1))
    door, asked = door_of(agents["own"]), []

    def ask() -> list[dict[str, Any]]:
        begun = len(asked)
        items = [{"function": "sums:note", "args": [str(tmp_path / str(begun + each)), 0.1]} for each in range(TASKS)]
        asked.extend(one["operation"]["id"] for one in door.batch(items))
        return [door.wait(one) for one in asked[begun:]]

    ended = ask()
    timers = []
    for name, length_s in names.items():
        helper = agents[name].pid
        os.kill(helper, signal.SIGSTOP)
        timers.append(threading.Timer(length_s, os.kill, (helper, signal.SIGCONT)))
        timers[-1].start()
    try:
        for timer in timers:
            ended += ask()
            timer.join()
    finally:
        for name, timer in zip(names, timers, strict=True):
            timer.cancel()
            os.kill(agents[name].pid, signal.SIGCONT)
    for name in names:
        door.until_connected(name)
    used: set[str] = set()
    while not used >= names.keys():
        ended += (back := ask())
        used |= {one["ran_on"] for one in back}
    assert {one["state"] for one in ended} == {"done"}
    assert [door.wait(one, 0)["result"] for one in asked] == [one["result"] for one in ended]
