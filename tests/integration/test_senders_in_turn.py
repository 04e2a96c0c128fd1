"""Several senders at a real agent: one with many tasks does not delay another's one, and people read why it waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
from daemon_rig import PATIENCE_S, WITH_APPS, Door, until

from tests.conftest import StartAgent, agent_environment

MANY = 200


def test_one_task_waits_for_a_turn_and_not_for_all_others(start_agent: StartAgent, tmp_path: Path) -> None:
    """The owner's one call is next behind what runs, however many a token's owner has waiting; both are named."""
    agent = start_agent(*WITH_APPS, "--cpu", "1")
    door, gate = Door(agent.rest, agent.state), tmp_path / "gate"
    with httpx.Client(base_url=agent.rest, timeout=PATIENCE_S, trust_env=False) as local:
        held = {"function": "sums:held", "args": [str(tmp_path / "note"), str(gate)]}
        many = [held, *[{"function": "sums:nap", "args": [0.01]} for _ in range(MANY)]]
        numbers = [
            row["operation"]["id"]
            for row in door.client.post("/v1/operations:batch", json={"operations": many}).json()["operations"]
        ]
        until((tmp_path / "note").exists, "the first task's begin")
        one = local.post("/v1/operations", json={"function": "sums:increment", "args": [1]}).json()["id"]

        reason = local.get(f"/v1/operations/{one}").json()["reason"]
        assert "one of 1 of its sender, which is served in turn with user " in reason
        assert f"({MANY})" in reason
        waiting = local.get("/v1/agent").json()["waiting_for"]
        assert sorted(waiting.values()) == [1, MANY]
        assert waiting["user local"] == 1
        status = subprocess.run(
            [sys.executable, "-m", "agentd", "status", "--agent", agent.rest],
            env=agent_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        assert "in turn: " in status.stdout
        assert "1 of user local" in status.stdout

        gate.touch()
        ended = local.get(f"/v1/operations/{one}", params={"wait_s": PATIENCE_S}).json()
        assert ended["result"] == 2
        last = local.get(f"/v1/operations/{numbers[-1]}", params={"wait_s": PATIENCE_S}).json()
        rows = [local.get(f"/v1/operations/{number}").json() for number in numbers[1:]]
        before = sum(row["started_at"] < ended["started_at"] for row in rows)
        assert before <= MANY // 10, before
        assert last["state"] == "done"
