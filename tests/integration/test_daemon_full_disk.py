"""A real agent whose state folder is on a file system that is really full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.api import connect
from agentd.model.errors import RequestError
from tests.conftest import StartAgent

CALL = "math:sqrt"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of 6 MiB: the agent cannot even hold back what it keeps for such times."""
    command = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can be mounted by root only, and not in every container")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill(folder: Path) -> None:
    """Leave not one byte."""
    with (folder / "hog").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_an_agent_that_starts_on_a_disk_that_is_nearly_full_says_so_from_the_start(
    tiny_disk: Path, start_agent: StartAgent
) -> None:
    """It takes no work that it might not be able to keep, and names the disk: nobody waits for a commit in vain."""
    agent = start_agent("--allow", "math", state=tiny_disk / "state")
    with connect(agent.state) as client:
        assert not client.ready()
        with pytest.raises(RequestError, match=r"the disk of .* is nearly full: free some space there") as refused:
            client.call(CALL, 4)
    assert refused.value.status == 507
    assert "journal's disk is full" in agent.stderr


def test_a_full_disk_leaves_no_tracebacks_of_the_log_on_stderr(tiny_disk: Path, start_agent: StartAgent) -> None:
    """The log is on that disk too: what it cannot take stands on stderr, in one line."""
    agent = start_agent("--allow", "math", "--log-level", "debug", state=tiny_disk / "state")
    fill(tiny_disk)
    with connect(agent.state) as client:
        for _ in range(40):  # debugging has a line for each, more than fits into what the log's last page had left
            with pytest.raises(RequestError):
                client.call(CALL, 4)
        client.shutdown(0)
    agent.process.wait(60)
    assert "Traceback" not in agent.stderr
