"""An agent of this device that is gone: what the commands say of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli import checks
from cli.app import main


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder of an agent whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    ready = {"name": "phone", "pid": ended.pid, "rest": f"http://127.0.0.1:{port}", "comm": None}
    (tmp_path / "agent.json").write_text(json.dumps(ready))
    (tmp_path / "announced").mkdir()
    (tmp_path / "announced" / "agent.sock").touch()  # what users' code could see stays in any case
    return tmp_path


@pytest.mark.parametrize(("is_left", "words"), [(True, "was killed, or the device went down"), (False, "was stopped")])
def test_an_agent_that_is_gone_is_told_from_one_that_was_stopped(
    state: Path, is_left: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its socket, which it takes away when it stops in order; and what to do is said."""
    if is_left:
        (state / "agent.sock").touch()
    assert main(["agentd", "status", "--state", str(state)]) == 4
    told = capsys.readouterr().err
    assert words in told
    assert "`agentd start` starts it again" in told


@pytest.mark.parametrize(("is_left", "verdict"), [(True, "warn"), (False, "ok")])
def test_the_check_of_the_device_says_so_too(state: Path, is_left: bool, verdict: str) -> None:
    """Only an end that was not in order is to be looked at."""
    if is_left:
        (state / "agent.sock").touch()
    (row,) = checks.agent(state)
    assert row.verdict == verdict
