"""What an operation wrote before its agent was killed is there afterwards, and is told from what it wrote then."""

from __future__ import annotations

from pathlib import Path

from agentd.api import Agent, connect
from tests.conftest import StartAgent
from tests.integration.daemon_rig import WITH_APPS, until


def _written(client: Agent, operation: str) -> dict[str, str]:
    found = {"stdout": "", "stderr": ""}
    for line in client.logs(operation):
        found[line.stream] += line.text
    return found


def test_the_output_of_both_attempts_is_kept(start_agent: StartAgent, tmp_path: Path) -> None:
    """Also where the agent was killed while the first one ran; stderr says where the second one begins."""
    state, go_on = tmp_path / "state", tmp_path / "go on"
    agent = start_agent("--cpu", "1", *WITH_APPS, state=state)
    with connect(agent.state) as client:
        operation = client.submit("talking_tasks:twice", [str(go_on)]).id
        kept = state / "log" / "operations" / f"{operation}.out"
        until(lambda: kept.exists() and kept.read_text() == "began\n", "what it wrote is on the disk while it runs")
    agent.kill()
    go_on.touch()
    agent = start_agent("--cpu", "1", *WITH_APPS, state=state)
    with connect(agent.state) as client:
        assert client.wait(operation).state == "done"
        found = _written(client, operation)
    assert found == {"stdout": "began\nbegan\nended\n", "stderr": "[attempt 2 begins here]\n"}
