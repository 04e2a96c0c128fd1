"""An agent from its start to its end, as whoever starts it sees it."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import RunningAgent, StartAgent


def _get(url: str) -> dict[str, object]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_an_agent_that_says_ready_answers(agent: RunningAgent) -> None:
    """When the ready file is there, both doors are open and the agent says that it is well."""
    assert agent.comm.startswith("127.0.0.1:")
    assert _get(f"{agent.rest}/health")
    assert _get(f"{agent.rest}/v1/agent")["pid"] == agent.pid


def test_an_agent_that_is_asked_to_ends_well(agent: RunningAgent) -> None:
    """SIGTERM ends an agent that has nothing to do at once and with 0."""
    assert agent.stop() == 0


def test_a_crash_leaves_a_state_that_can_be_taken_up(start_agent: StartAgent) -> None:
    """After a kill the same state folder starts again: the same agent in another boot."""
    first = start_agent("--hostname", "kitchen")
    before = _get(f"{first.rest}/v1/agent")
    first.kill()
    second = start_agent("--hostname", "kitchen", state=first.state)
    after = _get(f"{second.rest}/v1/agent")
    assert after["id"] == before["id"]
    assert second.boot != first.boot
