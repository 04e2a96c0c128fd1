"""What `agentd doctor` calls bad keeps an agent from running; an agent that runs, and a slow device, are not bad."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.daemon.settings import Settings, resolve
from cli import checks


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def settings_for(folder: Path, **flags: object) -> Settings:
    """Give the settings of an agent on loopback."""
    return resolve({"state": str(folder), "rest_host": "127.0.0.1", "comm_port": "0", **flags})


def test_a_port_that_somebody_else_holds_is_bad(tmp_path: Path, taken: int) -> None:
    """An agent could not start; the row says with which option it can."""
    row, closed = checks.ports(settings_for(tmp_path, rest_port=str(taken)), tmp_path)
    assert (row.verdict, closed.verdict) == (checks.BAD, checks.OK)
    assert "--rest-port auto" in row.remedy


def test_an_agent_that_runs_holds_what_it_says(tmp_path: Path, taken: int) -> None:
    """It was started with ports of its own: who holds those that are set for the next start is nobody's trouble."""
    (tmp_path / "agent.json").write_text(
        json.dumps({"pid": os.getpid(), "rest": "http://127.0.0.1:4711", "comm": None})
    )
    row, closed = checks.ports(settings_for(tmp_path, rest_port=str(taken)), tmp_path)
    assert (row.verdict, row.found) == (checks.OK, "4711, held by the agent that runs here")
    assert (closed.verdict, closed.found) == (checks.OK, "closed by the agent that runs here")


def test_a_python_that_starts_slowly_is_not_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small device takes long when it is busy; nothing has to be changed."""
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o700)
    monkeypatch.setattr(checks, "WORKER_START_S", 0.05)
    (row,) = checks.worker(settings_for(tmp_path, python_interpreter=str(slow)))
    assert row.verdict == checks.WARN, row
    assert "look again" in row.remedy


def test_a_python_without_what_workers_need_is_bad(tmp_path: Path) -> None:
    """The row has its last words."""
    lacking = tmp_path / "python"
    lacking.write_text("#!/bin/sh\necho no module named msgspec >&2\nexit 1\n")
    lacking.chmod(0o700)
    (row,) = checks.worker(settings_for(tmp_path, python_interpreter=str(lacking)))
    assert row.verdict == checks.BAD, row
    assert "no module named msgspec" in row.found


def test_settings_that_cannot_hold_together_are_told(tmp_path: Path) -> None:
    """Strict confinement keeps users' code from the very folder that it is to run in."""
    asked = settings_for(tmp_path, confine="strict", pythonpath=str(tmp_path))
    (row,) = checks.confined(asked)
    assert row.verdict == checks.BAD, row
    assert "--confine strict" in row.found
