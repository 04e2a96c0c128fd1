"""Commands and agents that are asked to end at any moment: nothing of theirs is left, and no traceback is shown."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.conftest import READY_S, ROOT, agent_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartAgent

PROGRAM = """
import os, signal
print(os.getpid(), flush=True)
signal.pause()
"""
SCHEDULER = """
import os, signal
from schedulers.fifo import Fifo as Asked
os.kill(os.getpid(), signal.SIGTERM)
"""
IN_THE_MIDST_OF_LOADING = """
import os, signal, sys
from agentd.__main__ import main
class AsModulesAreLoaded:
    def find_spec(self, name, path, target=None):
        if name == "cli.parsing":
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, AsModulesAreLoaded())
main()
"""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Give a folder for temporary files, and nothing else."""
    (tmp_path / "temporary").mkdir()
    return tmp_path


def _program(room: Path) -> tuple[subprocess.Popen[str], int]:
    """Run a program that stands still with an agent of its own; gives the command, and a handle of the program."""
    (room / "still.py").write_text(PROGRAM)
    command = subprocess.Popen(
        [sys.executable, "-m", "agentd", "run", "--cpu", "1", str(room / "still.py")],
        env=agent_environment(TMPDIR=str(room / "temporary")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    return command, os.pidfd_open(int(command.stdout.readline()))


def _await_end(process: int) -> None:
    """Wait until the process of a handle has ended (pidfd_open(2))."""
    assert select.select([process], [], [], READY_S)[0], "the program outlives who ran it"
    os.close(process)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_program_ends_with_the_command_that_runs_it(room: Path, number: signal.Signals, code: int) -> None:
    """A request to end, or the end of the terminal, goes to the program, and the agent's folder is removed."""
    command, program = _program(room)
    command.send_signal(number)
    _, said = command.communicate(timeout=READY_S)
    _await_end(program)
    assert (command.returncode, said) == (code, "")
    assert list((room / "temporary").glob("agentd-run-*")) == []


def test_a_program_does_not_outlive_a_command_that_is_killed(room: Path) -> None:
    """Not even a kill that cannot be caught leaves a program without its agent."""
    command, program = _program(room)
    command.kill()
    command.communicate(timeout=READY_S)
    _await_end(program)


def test_an_agent_that_is_asked_to_end_while_it_starts_leaves_nothing(room: Path) -> None:
    """What it has made by then goes, and it ends as asked, not as killed."""
    (room / "midway.py").write_text(SCHEDULER)
    ended = subprocess.run(
        [sys.executable, "-m", "agentd", "start", "--state", str(room / "state"), "--scheduler", "midway:Asked"],
        env=agent_environment(TMPDIR=str(room / "temporary")) | {"PYTHONPATH": f"{room}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert list((room / "temporary").iterdir()) == []
    assert not (room / "state" / "agent.json").exists()


def test_the_end_of_the_terminal_is_a_request_to_end(start_agent: StartAgent) -> None:
    """An agent in a window that is closed takes its leave as after Ctrl-C."""
    agent = start_agent()
    agent.process.send_signal(signal.SIGHUP)
    assert agent.process.wait(READY_S) == 0
    assert "Agent was shutdown" in agent.stderr


def test_an_agent_under_nohup_outlives_its_terminal(start_agent: StartAgent) -> None:
    """Whoever has the signal ignored, as nohup(1) does, is obeyed; another request still ends it."""
    agent = start_agent(prefix=["env", "--ignore-signal=HUP"])
    agent.process.send_signal(signal.SIGHUP)
    assert httpx.get(f"{agent.rest}/health", trust_env=False).status_code == 200
    assert agent.stop() == 0


def test_a_command_that_is_broken_off_while_it_is_loaded_says_nothing() -> None:
    """From a slow card loading takes seconds: Ctrl-C then is no fault of the program, to be shown with a traceback."""
    ended = subprocess.run(
        [sys.executable, "-c", IN_THE_MIDST_OF_LOADING, "status"],
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
