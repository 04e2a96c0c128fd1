"""Chains of tasks on real agents: the next task stands behind the one that makes what it reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.api import AgentExecutor
from tests.conftest import ROOT, StartAgent

APPS = ROOT / "tests" / "integration" / "apps"
sys.path.insert(0, str(APPS))
import chained_tasks as apps  # noqa: E402 - the same module that the agent's workers import

LONG_S = 60.0
"""No operation takes so long unless something is broken."""


@pytest.fixture(params=["1", "2"])
def agents(start_agent: StartAgent, request: pytest.FixtureRequest) -> Iterator[AgentExecutor]:
    """A way to an agent whose tasks stand in each other's way, and to one with two cores."""
    home = start_agent("--cpu", request.param, "--pythonpath", os.pathsep.join((str(APPS), str(ROOT))))
    with AgentExecutor(home.state) as executor:
        call(executor, apps.mixed, 0, 60)  # what it learns of the tasks lets the next ones stand in lines
        yield executor


def call(agents: AgentExecutor, function: Any, *args: Any) -> Any:
    """Run one operation and give its value."""
    return agents.submit(function, *args).result(LONG_S)


def test_a_chain_gives_what_it_gives_in_place(agents: AgentExecutor) -> None:
    """Values of every size, several at once, written objects, tasks with tasks of their own: all as in one process."""
    for seed in range(12):
        assert call(agents, apps.mixed, seed, 60) == apps.mixed(seed, 60), seed


def test_nothing_behind_a_failure_runs(agents: AgentExecutor, tmp_path: Path) -> None:
    """Of a chain all run up to the one that fails, once each, and none behind it; who waits is told why."""
    for number, fails_at in enumerate((1, 40, 99)):
        words, ran = call(agents, apps.failing, str(tmp_path / str(number)), 100, fails_at)
        assert f"step {fails_at} fails on purpose" in words
        assert ran == list(range(fails_at + 1))


def test_a_chain_is_cancelled_as_one(agents: AgentExecutor, tmp_path: Path) -> None:
    """What stands in a line is taken back when its group is cancelled, and another chain is not touched."""
    assert call(agents, apps.cancelled, str(tmp_path / "steps"), 300) == (True, True)


def test_a_chain_outlives_its_worker(agents: AgentExecutor, tmp_path: Path) -> None:
    """When a worker dies, what stood in its line runs elsewhere, with the values that it is to read."""
    assert call(agents, apps.killed, str(tmp_path / "steps"), 100, 50) == 100
