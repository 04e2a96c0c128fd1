"""A state folder, or one for temporary files, may lie as deep as the file system lets it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.api import AgentExecutor
from agentd.socket_path import ADDRESS_BYTES, fitting
from tests.conftest import ROOT, StartAgent, agent_environment
from tests.fakes.descriptors import open_files

DEEP_BYTES = 220
"""Twice what the address of a Unix socket holds."""
PATIENCE_S = 90.0


def deep(folder: Path) -> Path:
    """Give a path of so many bytes, letters that take two among them, below a folder."""
    name = "ö" * ((DEEP_BYTES - len(os.fsencode(folder)) - 2) // 4)
    return folder / name / name


def agentd(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "agentd", *map(str, words)],
        env=agent_environment(**environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("size", [1, ADDRESS_BYTES - 1, ADDRESS_BYTES, ADDRESS_BYTES + 1, 200])
def test_sockets_meet_under_paths_of_any_length(tmp_path: Path, size: int) -> None:
    """What one binds, another reaches under the same path, on either side of the limit; no descriptor stays open."""
    path = tmp_path / ("d" * max(1, size - len(os.fsencode(tmp_path)) - len("//s"))) / "s"
    path.parent.mkdir()
    before = open_files()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        with fitting(path) as name:
            listener.bind(name)
        listener.listen()
        with fitting(path) as name:
            caller.connect(name)
        assert path.is_socket()
    assert open_files() <= before


def test_an_agent_is_reached_where_its_state_lies_deep(tmp_path: Path, start_agent: StartAgent) -> None:
    """It starts, is found by programs and commands, keeps a second one out, and starts again after a crash."""
    state = deep(tmp_path)
    first = start_agent("--allow", "math", state=state)
    assert (state / "agent.sock").is_socket()
    with AgentExecutor(state) as executor:
        assert executor.submit(sum, (1, 2)).result(PATIENCE_S) == 3
    assert agentd("call", "--state", state, "math:sqrt", 16).stdout == "4.0\n"
    second = agentd("start", "--state", state, "--rest-port", "auto", "--comm-port", "auto")
    assert (second.returncode, f"pid {first.process.pid}" in second.stderr) == (5, True), second.stderr
    first.kill()
    start_agent("--allow", "math", state=state)
    assert agentd("call", "--state", state, "math:sqrt", 25).stdout == "5.0\n"


def test_a_program_runs_where_temporary_files_lie_deep(tmp_path: Path) -> None:
    """The agent that is there for it alone has its state and its sockets down there, and leaves nothing."""
    temporary = deep(tmp_path)
    temporary.mkdir(parents=True)
    program = tmp_path / "program.py"
    program.write_text(
        "from agentd.api import task, wait_on\n\n"
        "@task(returns=1)\ndef double(value): return 2 * value\n\n"
        "if __name__ == '__main__': print(wait_on(double(21)))\n"
    )
    ended = agentd("run", "--cpu", "1", "--pythonpath", ROOT, program, TMPDIR=str(temporary))
    assert (ended.stdout, ended.returncode) == ("42\n", 0), ended.stderr
    assert list(temporary.iterdir()) == []
