"""Tasks that take all memory there is, in a group of processes that has little: the kernel kills, and it is told."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door
from tests.integration.memory_rig import little_memory


def test_a_task_that_takes_all_memory_fails_once_with_that_reason(start_agent: StartAgent, tmp_path: Path) -> None:
    """It is a failure of the task, told as what it is, and does not run again; the agent and other tasks go on."""
    with little_memory() as prefix:
        agent = start_agent(*WITH_APPS, "--cpu", "2", prefix=prefix)
        door, runs = Door(agent.rest, agent.state), tmp_path / "runs"
        ended = door.submit("direct_calls:devour", str(runs), wait_s=PATIENCE_S)
        assert (ended["state"], ended["error"]["type"]) == ("failed", "OutOfMemory"), ended
        assert "no memory left" in ended["error"]["message"]
        assert runs.read_text() == "x"
        assert door.submit("sums:increment", 1, wait_s=PATIENCE_S)["result"] == 2
