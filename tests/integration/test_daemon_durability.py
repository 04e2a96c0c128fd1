"""What was accepted survives kill -9, of this agent and of the one that helps.

AGENTD_FAULT_KILLS says how often it is killed under load, a hundred operations each time (1,000 is the long run).
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of, star

KILLS = int(os.environ.get("AGENTD_FAULT_KILLS", "50"))
PER_KILL = 100
"""Operations that are accepted between two kills."""
PER_BATCH = 50
DUPLICATES = 0.05


@pytest.mark.timeout(90 + 4 * KILLS)
def test_kill_9_under_load_loses_none_and_doubles_none(start_agent: Callable[..., Any], tmp_path: Path) -> None:
    """Every accepted operation ends with its one right result, and a key always stands for the same operation."""
    load = Load(start_agent, tmp_path / "state")
    submitter = threading.Thread(target=load.submit_all)
    submitter.start()
    for number in range(KILLS):
        while len(load.accepted) < number * PER_KILL + PER_KILL // 2 and submitter.is_alive():
            submitter.join(0.002)
        load.kill()
    submitter.join(KILLS + 120)
    assert sorted(load.accepted) == list(range(KILLS * PER_KILL))
    assert len(set(load.accepted.values())) == len(load.accepted)
    assert load.repeated > KILLS * PER_KILL * DUPLICATES / 2
    door = Door(load.agent.rest, load.state)
    door.wait(load.accepted[KILLS * PER_KILL - 1])
    for number, operation in load.accepted.items():
        answer = door.client.get(f"/v1/operations/{operation}/result", params={"wait_s": PATIENCE_S})
        assert (answer.status_code, answer.content) == (200, b"%d" % (number + 1)), answer.text


class Load:
    """An agent that is killed and started again, and a user who submits until each operation was accepted."""

    def __init__(self, start_agent: Callable[..., Any], state: Path) -> None:
        self._start_agent, self.state = start_agent, state
        self.agent = self._started()
        self.accepted: dict[int, str] = {}
        self.repeated = 0
        self._chance = random.Random(11)
        self._is_up = threading.Event()
        self._is_up.set()

    def _started(self) -> Any:
        return self._start_agent(*WITH_APPS, state=self.state)

    def kill(self) -> None:
        """End it without a word, and start it again."""
        self._is_up.clear()
        self.agent.kill()
        self.agent = self._started()
        self._is_up.set()

    def submit_all(self) -> None:
        """Submit in batches; one of twenty is repeated later, under its key."""
        for first in range(0, KILLS * PER_KILL, PER_BATCH):
            again = [number for number in self.accepted if self._chance.random() < PER_BATCH * DUPLICATES / (first + 1)]
            self._submit([*range(first, first + PER_BATCH), *again])
            self.repeated += len(again)

    def _submit(self, numbers: list[int]) -> None:
        while True:
            self._is_up.wait(PATIENCE_S)
            agent = self.agent
            try:
                answers = Door(agent.rest, agent.state).batch([_item(number) for number in numbers])
            except httpx.TransportError:
                continue
            for number, answer in zip(numbers, answers, strict=True):
                operation = answer["operation"]["id"]
                assert self.accepted.setdefault(number, operation) == operation
            return


def _item(number: int) -> dict[str, Any]:
    """Ask for a sum, as often as it takes: on a slow machine the same one may be running at each of many kills."""
    return {"function": "sums:increment", "args": [number], "key": f"key-{number}", "max_attempts": 100}


def test_results_are_still_there_after_a_restart(start_agent: Callable[..., Any], tmp_path: Path) -> None:
    """A recorded result, a failure and a queued operation are each what they were after kill -9."""
    state = tmp_path / "state"
    agent = start_agent(*WITH_APPS, state=state)
    door = Door(agent.rest, state)
    done = door.submit("sums:greet", "you", wait_s=30)
    failed = door.submit("sums:fail", wait_s=30)
    queued = door.submit("sums:increment", 1, constraints={"computing_units": 4096})
    agent.kill()
    door = Door(start_agent(*WITH_APPS, state=state).rest, state)
    assert door.get(f"/v1/operations/{done['id']}/result") == {"hello": "you"}
    after = door.wait(failed["id"], 0)
    assert (after["state"], after["error"]["message"]) == ("failed", "on purpose")
    assert "4096" in door.wait(queued["id"], 0)["reason"]


def test_what_may_run_only_once_is_not_run_again(start_agent: Callable[..., Any], tmp_path: Path) -> None:
    """After a crash while it ran, an operation that is not idempotent ends as lost_unknown and was begun once."""
    state, notes = tmp_path / "state", tmp_path / "notes"
    agent = start_agent(*WITH_APPS, state=state)
    door = Door(agent.rest, state)
    once = door.submit("sums:note", str(notes), 600.0, idempotent=False)
    twice = door.submit("sums:note", str(tmp_path / "other"), 0.0)
    door.wait(twice["id"])
    while not notes.exists():
        door.wait(once["id"], 0.05)
    agent.kill()
    door = Door(start_agent(*WITH_APPS, state=state).rest, state)
    assert door.wait(once["id"])["state"] == "lost_unknown"
    assert notes.read_text().count("begin") == 1


def test_the_tasks_of_a_killed_helper_run_elsewhere(start_agent: Callable[..., Any], tmp_path: Path) -> None:
    """Kill -9 of a neighbour that runs our tasks: each ends well at home, under a second attempt."""
    agents = star(start_agent, "--lease-s", "5", home=1, helper=2)
    door, helper = door_of(agents["home"]), agents["helper"]
    notes = [tmp_path / f"note-{number}" for number in range(3)]
    gate = tmp_path / "gate"
    operations = [door.submit("sums:held", str(path), str(gate)) for path in notes]
    there = Door(helper.rest, helper.state)
    while len(there.get("/v1/operations")["operations"]) < 2:
        door.wait(operations[0]["id"], 0.05)
    helper.kill()
    gate.touch()
    found = [door.wait(operation["id"]) for operation in operations]
    assert [one["state"] for one in found] == ["done"] * 3
    assert all(one["ran_on"] == "home" for one in found)
    assert sorted(one["attempts"] for one in found) == [1, 2, 2]
