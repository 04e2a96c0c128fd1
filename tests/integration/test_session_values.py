"""Programs in a session: large values go by memory that is mapped, and whatever ends the session ends its tasks."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.api import attach, connect, wait_on
from agentd.model.errors import AgentdError
from tests.conftest import ROOT, StartAgent, agent_environment
from tests.integration.daemon_rig import APPS, PATIENCE_S, WITH_APPS

sys.path.insert(0, str(APPS))
import session_values as program


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(APPS / "session_values.py"), *words],
        env=agent_environment(PYTHONPATH=f"{ROOT}:{APPS}"),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def test_large_values_are_mapped_in_the_program(start_agent: StartAgent) -> None:
    """Both ways and right, its own to change, beyond the end of the session too; none of them holds a file open."""
    agent = start_agent("--cpu", "2", *WITH_APPS)
    ended = _run("values", str(agent.state))
    assert ended.stdout.splitlines() == [
        "True",
        "8.0 2.0 True [3000000]",
        "True False",
        "True True",
        "2.0 8.0",
        "session_values.py:session done 305",
    ], ended.stderr


def test_a_program_that_is_gone_has_no_tasks_left(start_agent: StartAgent, tmp_path: Path) -> None:
    """Also when the agent's end of the session was waiting for one of them; the operation says why it ended."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    ended = _run("ends", str(agent.state), str(tmp_path / "began"))
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with connect(agent.state) as client:
        view = client.wait(ended.stdout.strip(), timeout=PATIENCE_S)
        assert view.state == "failed"
        assert "without closing its session" in str(view.error)
        states = [task.state for task in client.tasks(view)]
    assert states == ["failed", "cancelled", "cancelled"]


def test_a_session_whose_worker_dies_says_so(start_agent: StartAgent) -> None:
    """An error of ours that tells what became of the worker, not the end of a stream."""
    agent = start_agent("--cpu", "1", *WITH_APPS)
    session = attach(agent.state)
    try:
        peer = session._line._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        os.kill(struct.unpack("3i", peer)[0], signal.SIGKILL)
        with pytest.raises(AgentdError, match=r"the session with the agent has ended: .*SIGKILL"):
            wait_on(program.made(2))
    finally:
        session.abandon()
