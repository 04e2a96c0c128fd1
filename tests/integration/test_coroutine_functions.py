"""Functions that are coroutine functions: called as any function, by every way there is, and stopped as any."""

from __future__ import annotations

import asyncio
import time

import pytest

from agentd.api import AgentExecutor
from tests.conftest import StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door


def test_they_are_operations_and_calls(start_agent: StartAgent) -> None:
    """By name, by value, in chunks, in a loop; what they raise is raised."""
    agent = start_agent(*WITH_APPS, "--cpu", "2")
    door = Door(agent.rest, agent.state)
    assert door.submit("coroutine_calls:increment_soon", 1, wait_s=PATIENCE_S)["result"] == 2
    ended = door.submit("coroutine_calls:increment_soon", "x", wait_s=PATIENCE_S)
    assert (ended["state"], ended["error"]["type"]) == ("failed", "TypeError")
    assert "increment_soon" in ended["error"]["traceback"]

    async def by_value(number: int) -> int:
        await asyncio.sleep(0)
        return -number

    with AgentExecutor(agent.state) as executor:
        assert [executor.submit(by_value, number).result(PATIENCE_S) for number in range(50)] == [-n for n in range(50)]
        assert list(executor.map(by_value, range(10), chunksize=4)) == [-n for n in range(10)]


def test_one_that_sleeps_is_stopped(start_agent: StartAgent) -> None:
    """Out of time, or cancelled, it ends at once, and its worker goes on."""
    agent = start_agent(*WITH_APPS, "--cpu", "1")
    door = Door(agent.rest, agent.state)
    begun = time.monotonic()
    ended = door.submit("coroutine_calls:sleep_soundly", 600, wait_s=PATIENCE_S, timeout_s=0.1)
    assert (ended["state"], ended["error"]["type"]) == ("failed", "TimeoutError")
    sleeping = door.submit("coroutine_calls:sleep_soundly", 600)["id"]
    door.client.delete(f"/v1/operations/{sleeping}")
    assert door.wait(sleeping)["state"] == "cancelled"
    assert door.submit("sums:increment", 1, wait_s=PATIENCE_S)["result"] == 2
    assert time.monotonic() - begun < PATIENCE_S


def test_what_is_no_coroutine_function_is_called_as_it_is(start_agent: StartAgent) -> None:
    """A coroutine that a plain function returns is its result, which cannot travel, and is told so."""
    agent = start_agent(*WITH_APPS, "--cpu", "1")
    with AgentExecutor(agent.state) as executor, pytest.raises(Exception, match="coroutine"):
        executor.submit(lambda: asyncio.sleep(0)).result(PATIENCE_S)
