"""What was accepted survives kill -9, of this agent and of the one that helps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from integration.daemon_rig import WITH_APPS, Door

OPERATIONS = 2000
PER_BATCH = 50


def test_kill_9_amid_two_thousand_operations_loses_none(start_agent: Callable[..., Any], tmp_path: Path) -> None:
    """Every accepted operation ends with its one right result, and a key always stands for the same operation."""
    state = tmp_path / "state"
    running = {"agent": start_agent(*WITH_APPS, state=state)}
    accepted: dict[int, str] = {}
    is_up = threading.Event()
    is_up.set()

    def submit() -> None:
        for first in range(0, OPERATIONS, PER_BATCH):
            _submit_until_taken(first, running, is_up, accepted)

    submitter = threading.Thread(target=submit)
    submitter.start()
    for share in (0.2, 0.5, 0.8):
        while len(accepted) < OPERATIONS * share and submitter.is_alive():
            submitter.join(0.002)
        is_up.clear()
        running["agent"].kill()
        running["agent"] = start_agent(*WITH_APPS, state=state)
        is_up.set()
    submitter.join(120)
    assert len(accepted) == OPERATIONS
    door = Door(running["agent"].rest, state)
    for number, operation in accepted.items():
        found = door.wait(operation)
        assert (found["state"], found["result"]) == ("done", number + 1)
    again = door.batch([_item(number) for number in range(PER_BATCH)])
    assert [one["operation"]["id"] for one in again] == [accepted[number] for number in range(PER_BATCH)]


def _item(number: int) -> dict[str, Any]:
    return {"function": "sums:increment", "args": [number], "key": f"key-{number}"}


def _submit_until_taken(first: int, running: dict[str, Any], is_up: threading.Event, accepted: dict[int, str]) -> None:
    numbers = range(first, first + PER_BATCH)
    while True:
        is_up.wait(60)
        agent = running["agent"]
        try:
            answers = Door(agent.rest, agent.state).batch([_item(number) for number in numbers])
        except httpx.TransportError:
            continue
        for number, answer in zip(numbers, answers, strict=True):
            operation = answer["operation"]["id"]
            assert accepted.setdefault(number, operation) == operation
        return


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
    helper = start_agent(*WITH_APPS, "--hostname", "helper", "--cpu", "2", "--lease-s", "5")
    home = start_agent(*WITH_APPS, "--hostname", "home", "--cpu", "1")
    door = Door(home.rest, home.state)
    door.lend_from("helper", helper.comm, 2)
    door.until_connected("helper")
    notes = [tmp_path / f"note-{number}" for number in range(3)]
    operations = [door.submit("sums:note", str(path), 2.0) for path in notes]
    there = Door(helper.rest, helper.state)
    while len(there.get("/v1/operations")["operations"]) < 2:
        door.wait(operations[0]["id"], 0.05)
    helper.kill()
    found = [door.wait(operation["id"]) for operation in operations]
    assert [one["state"] for one in found] == ["done"] * 3
    assert all(one["ran_on"] == "home" for one in found)
    assert sorted(one["attempts"] for one in found) == [1, 2, 2]
