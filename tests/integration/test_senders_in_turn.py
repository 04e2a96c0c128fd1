"""Several senders at a real agent: one with many tasks does not delay another's one, and people read why it waits."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

from agentd.api import AgentExecutor
from agentd.daemon.trust.tokens import TokenBook
from tests.conftest import RunningAgent, StartAgent, agent_environment
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, until

MANY = 200


def _door_of_ann(agent: RunningAgent) -> Door:
    """Give the user port to somebody with a token of her own."""
    door = Door(agent.rest, agent.state)
    door.client.headers["authorization"] = f"Bearer {TokenBook(agent.state).add('ann', 'submit')}"
    return door


def test_one_task_waits_for_a_turn_and_not_for_all_others(start_agent: StartAgent, tmp_path: Path) -> None:
    """The owner's one call is next behind what runs, however many a token's owner has waiting; both are named."""
    agent = start_agent(*WITH_APPS, "--cpu", "1")
    door, gate = _door_of_ann(agent), tmp_path / "gate"
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


def test_sessions_are_their_users(start_agent: StartAgent, tmp_path: Path) -> None:
    """What programs ask for over connections of their own, and over REST, is one user's; a token's owner is another."""
    agent = start_agent(*WITH_APPS, "--cpu", "1")
    door, note, gate = _door_of_ann(agent), tmp_path / "note", tmp_path / "gate"
    with httpx.Client(base_url=agent.rest, timeout=PATIENCE_S, trust_env=False) as local, ExitStack() as programs:
        held = local.post("/v1/operations", json={"function": "sums:held", "args": [str(note), str(gate)]}).json()["id"]
        until(note.exists, "the first task's begin")
        sessions = [programs.enter_context(AgentExecutor(agent.state)) for _ in range(5)]
        calls = [session.submit(abs, -number) for session in sessions for number in range(3)]
        one = local.post("/v1/operations", json={"function": "sums:increment", "args": [1]}).json()["id"]
        other = door.submit("sums:increment", 2)["id"]
        until(lambda: door.get("/v1/agent")["waiting"] == 17, "all of them to wait")
        waiting = local.get("/v1/agent").json()["waiting_for"]
        assert waiting == {"user local": 16, "user ann": 1}
        reason = local.get(f"/v1/operations/{one}").json()["reason"]
        assert "it is one of 16 of its sender, which is served in turn with user ann (1)" in reason
        assert "its sender has 6 programs with tasks waiting, which are served in turn" in reason
        gate.touch()
        assert [call.result(PATIENCE_S) for call in calls] == [0, 1, 2] * 5
        assert door.wait(other)["result"] == 3
        assert door.wait(held)["state"] == "done"
