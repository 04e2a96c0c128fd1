"""Large files as parameters of tasks at neighbours: they go from disk to disk, and nobody has them in memory."""

from __future__ import annotations

from tests.conftest import StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of, star
from tests.integration.files_rig import BLOCKS, MIB, digest, peak_bytes, processes

MOST_BYTES = 200 * MIB


def test_a_large_file_is_in_nobodys_memory(start_agent: StartAgent) -> None:
    """Written, changed and read at a neighbour and brought home: no process ever has more than a part of it."""
    agents = star(start_agent, "--reuse-resources-on-block", "false", near=1, far=1)
    door = door_of(agents["near"])
    found = door.submit("large_files:through", BLOCKS, wait_s=PATIENCE_S)
    content = digest(b"signed by a task")
    assert found["result"] == {"there": ["far", BLOCKS * MIB, content], "here": content}, found
    peaks = {pid: peak_bytes(pid) for agent in agents.values() for pid in processes(agent)}
    assert len(peaks) >= 4, "both daemons and a worker of each are among them"
    assert max(peaks.values()) < MOST_BYTES, peaks


def test_a_file_is_read_as_it_was_when_the_task_was_called(start_agent: StartAgent) -> None:
    """What tasks change is another version: who was called before reads the one from before."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    found = Door(agent.rest, agent.state).submit("large_files:given", 3, wait_s=PATIENCE_S)
    assert found["result"] == [digest(b"", 3), digest(b"signed by a task", 3), "signed by a task"], found
