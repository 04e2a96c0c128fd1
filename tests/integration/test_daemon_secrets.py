"""No token, key, invitation or argument is in a log, in the arguments or the environment of a process that we start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from agentd.api import AgentExecutor
from tests.conftest import RunningAgent, StartAgent, agent_environment
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

CANARY = "canary-4711"
"""Given as argument, token, key, password, variable: wherever something secret may be."""


def command(agent: RunningAgent, *words: str) -> str:
    """Type a command for an agent; gives what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "agentd", *words],
        env=agent_environment(AGENTD_STATE=str(agent.state)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stdout


def descendants(pid: int) -> Iterator[int]:
    """List all processes below one."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from descendants(int(child))


def told(agent: RunningAgent) -> dict[str, bytes]:
    """Gather all that others may come to see: logs, terminal, process lists; not what users' code says of itself."""
    found = {"stderr": agent.log.read_bytes(), "stdout": agent.out.read_bytes()}
    files = [path for path in (agent.state / "log").rglob("*") if path.is_file() and path.parent.name != "jobs"]
    found |= {str(path): path.read_bytes() for path in files}
    for pid in (agent.pid, *descendants(agent.pid)):
        found[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
    for pid in descendants(agent.pid):
        found[f"environment of {pid}"] = Path(f"/proc/{pid}/environ").read_bytes()
    return found


def use_it(agent: RunningAgent) -> None:
    """Do with secrets what people and attackers do: rightly, wrongly, by each door."""
    door = Door(agent.rest, agent.state)
    door.submit("sums:count_bytes", CANARY, wait_s=PATIENCE_S, name="n", key=CANARY)
    door.submit("sums:increment", CANARY, wait_s=PATIENCE_S)  # fails: it is no number
    door.post("sums:increment", 1, constraints={CANARY: CANARY})
    door.client.post("/v1/operations", content=f'{{"function": "{CANARY}'.encode(), headers={"content-type": "text/x"})
    door.client.post("/v1/login", json={"secret": CANARY.encode().hex() * 2})
    door.client.post("/v1/peers", json={"invitation": f"agentd1_{CANARY}"})
    door.client.get("/v1/operations", params={"cursor": CANARY})
    for value in (f"Bearer {CANARY}", f"Basic {CANARY}"):
        httpx.get(f"{agent.rest}/v1/operations", headers={"authorization": value})
    with AgentExecutor(agent.state) as executor:
        executor.submit(len, CANARY).result(PATIENCE_S)
        executor.submit(int, CANARY).exception(PATIENCE_S)


def test_nothing_secret_is_told(start_agent: StartAgent) -> None:
    """At the most talkative level, after all of that; and what was looked through is where it would have been."""
    environment = {"AGENTD_TOKEN": CANARY, "MY_PASSWORD": CANARY}
    agent = start_agent(*WITH_APPS, "--log-level", "trace", env=environment, prefix=("env",))
    token = json.loads(command(agent, "token", "add", "guest", "--scope", "read", "--json"))["token"]
    invitation = json.loads(command(agent, "invite", "--json"))["invitation"]
    use_it(agent)
    secrets = [CANARY, CANARY.encode().hex(), token, invitation, (agent.state / "token").read_text().strip()]
    secrets += (agent.state / "identity.pem").read_text().splitlines()[1:3]
    seen = told(agent)
    assert sum(name.startswith("environment") for name in seen) >= 2, "spawner and workers"
    assert any(b"invitation" in data for data in seen.values()), "what happened is told"
    leaks = {(name, secret) for name, data in seen.items() for secret in secrets if secret.encode() in data}
    assert leaks == set()
