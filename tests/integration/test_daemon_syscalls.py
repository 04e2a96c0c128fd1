"""A daemon that is killed at one of the system calls with which it accepts and completes: nothing is lost or doubled.

AGENTD_FAULT_SYSCALLS says at how many (1,000 reaches every one of an operation many times over).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import RunningAgent, StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

KILLS = int(os.environ.get("AGENTD_FAULT_SYSCALLS", "100"))
CALLS = (
    *("pwrite64", "fdatasync", "sendto", "write", "read", "recvmsg", "futex", "epoll_pwait", "sendmsg", "close"),
    *("unlink", "ftruncate", "openat", "newfstatat", "mmap", "epoll_ctl"),
)
"""What a daemon makes of them for one operation (seen with strace)."""
PARTS = 4
"""In which the calls are tried side by side."""


def refusal() -> str:
    """Say why processes cannot be traced here; empty when they can."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        try:
            with traced(idle.pid, "-e", "trace=close") as strace:
                return "" if strace.poll() is None else "strace may not trace processes here"
        except (OSError, AssertionError) as error:
            return f"strace cannot be had here: {error}"
        finally:
            idle.communicate(b"\n")


@contextmanager
def traced(pid: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Trace a process and its threads; begins when it is traced."""
    command = ["strace", "-f", "-o", os.devnull, *options, "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        try:
            assert b"attached" in said, said.decode().strip()
            yield strace
        finally:
            strace.terminate()
            strace.stderr.read()


class History:
    """What was asked of an agent that is killed again and again, and what it said."""

    def __init__(self, start_agent: StartAgent, folder: Path) -> None:
        self._start_agent, self._folder = start_agent, folder
        self._state = folder / "state"
        self.agent = self._started()

    def _started(self) -> RunningAgent:
        return self._start_agent(*WITH_APPS, "--cpu", "1", state=self._state)

    def is_killed_at(self, call: str, number: int, turn: int) -> bool:
        """Have an operation accepted and completed by an agent that is killed meanwhile, and look what came of it.

        Tells whether the call was made so often; if not, the agent is killed after all.
        """
        options = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
        note = self._folder / f"note-{turn}"
        asked: dict[str, Any] = {"key": f"key-{turn}", "idempotent": turn % 3 != 0}
        door = Door(self.agent.rest, self._state)
        door.get("/v1/agent")
        told, is_killed = None, True
        with traced(self.agent.pid, *options):
            try:
                told = door.submit("sums:note", str(note), 0.0, wait_s=PATIENCE_S * (turn % 2), **asked)
                told = door.wait(told["id"])
                is_killed = False
                self.agent.kill()
            except httpx.TransportError:
                self.agent.process.wait(PATIENCE_S)
        self.agent = self._started()
        self._check(told, note, asked, (call, number, turn))
        return is_killed

    def _check(self, told: dict[str, Any] | None, note: Path, asked: dict[str, Any], at: object) -> None:
        door = Door(self.agent.rest, self._state)
        again = door.submit("sums:note", str(note), 0.0, **asked)
        assert told is None or told["id"] == again["id"], at
        ended = door.wait(again["id"])
        runs = note.read_text().count("begin") if note.exists() else 0
        if asked["idempotent"]:
            assert (ended["state"], runs >= 1) == ("done", True), (at, ended)
        else:
            assert runs <= 1, (at, ended)
            assert ended["state"] in {"done", "lost_unknown"}, (at, ended)
        if told is not None and told.get("ended_at"):
            assert (ended["state"], ended["result"], ended["attempts"]) == ("done", told["result"], told["attempts"])


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_system_call_nothing_is_lost_or_doubled(
    start_agent: Callable[..., Any], tmp_path: Path, part: int
) -> None:
    """A hundred kills, each at another call: the same key is the same operation, and what was told stays true."""
    reason = refusal()
    if reason:
        pytest.skip(reason)
    history = History(start_agent, tmp_path)
    killed = turn = 0
    kills = (part + 1) * KILLS // PARTS - part * KILLS // PARTS
    while killed < kills:
        before, made, number = killed, list(CALLS[part::PARTS]), 0
        while made and killed < kills:
            number += 1
            for call in made.copy():
                turn += 1
                if history.is_killed_at(call, number, turn):
                    killed += 1
                else:
                    made.remove(call)
        assert killed > before, "none of these calls is made at all"
