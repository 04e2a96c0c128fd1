"""Clients that leave without a word, and a neighbour that comes and goes, leave nothing behind in an agent.

AGENTD_VISITS says how often (`make soak`: 100).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agentd.api import AgentExecutor
from tests.conftest import RunningAgent, agent_environment
from tests.integration.daemon_rig import APPS, WITH_APPS, Door, free_port, until

VISITS = int(os.environ.get("AGENTD_VISITS", "6"))
SLACK = 3
"""Descriptors that may be open at one moment and not at another: a segment that is kept for the next value, a link."""
LEFT_OPEN = """
import sys, time
import numpy, sums
from agentd.api import AgentExecutor

executor = AgentExecutor(sys.argv[1])
calls = [executor.submit(sums.nap, 0.2) for _ in range(8)]
calls += [executor.submit(numpy.sum, numpy.arange(400_000)) for _ in range(2)]
print("asked", flush=True)
time.sleep(60)
"""


def held(agent: RunningAgent) -> tuple[int, int]:
    """Count the open descriptors and the threads of a daemon."""
    return len(os.listdir(f"/proc/{agent.pid}/fd")), len(os.listdir(f"/proc/{agent.pid}/task"))


def settled(agent: RunningAgent, most: tuple[int, int]) -> None:
    """Wait until an agent holds no more than that."""
    until(lambda: all(now <= then for now, then in zip(held(agent), most, strict=True)), f"{held(agent)} <= {most}")


def killed_in_its_calls(state: Path) -> None:
    """Let a program ask for work, and kill it."""
    path = os.pathsep.join((agent_environment()["PYTHONPATH"], str(APPS)))
    command = [sys.executable, "-c", LEFT_OPEN, str(state)]
    with subprocess.Popen(command, env=agent_environment(PYTHONPATH=path), stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"asked\n"
        program.kill()


def gone_in_the_middle(agent: RunningAgent) -> None:
    """Leave requests of each kind half way: a stream that is not read, an upload, a wait, and what is no request."""
    token = (agent.state / "token").read_text().strip()
    head = f"HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    nap = '{"function": "sums:nap", "args": [0.2]}'
    body = f"Content-Type: application/json\r\nContent-Length: {len(nap)}\r\n\r\n{nap}"
    upload = f"Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n{'x' * 50_000}"
    address = agent.rest.removeprefix("http://")
    for where, text in (
        (address, f"GET /v1/events {head}Accept: text/event-stream\r\n\r\n"),
        (address, f"POST /v1/blobs {head}{upload}"),
        (address, f"POST /v1/operations?wait_s=30 {head}{body}"),
        (address, "rubbish\r\n\r\n"),
        (agent.comm, "rubbish, and more of it"),
        (agent.comm, ""),
    ):
        host, _, port = where.rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(text.encode())


@pytest.mark.timeout(60 + 20 * VISITS)
def test_clients_that_leave_without_a_word_leave_nothing(start_agent):
    """Descriptors and threads are after many visits what they were after the first ones; it serves as before."""
    agent = start_agent(*WITH_APPS, "--cpu", "2")
    large = np.arange(500_000)

    def visit() -> None:
        killed_in_its_calls(agent.state)
        gone_in_the_middle(agent)
        with AgentExecutor(agent.state) as executor:
            assert executor.submit(np.sum, large).result() == large.sum()

    visit()
    visit()
    door = Door(agent.rest, agent.state)
    until(lambda: not door.get("/v1/agent")["running"], "its tasks have ended")
    descriptors, threads = held(agent)
    for _ in range(VISITS):
        visit()
    until(lambda: not door.get("/v1/agent")["running"], "its tasks have ended")
    settled(agent, (descriptors + SLACK, threads))


@pytest.mark.timeout(60 + 20 * VISITS)
def test_a_neighbour_that_comes_and_goes_leaves_nothing(start_agent, tmp_path):
    """Whether it stops or is killed, over the same state folder or another, its links, tasks and timers are let go."""
    port = free_port()
    lease = ("--lease-s", "1.5", "--heartbeat-s", "0.3")
    agent = start_agent(*WITH_APPS, "--cpu", "1", "--neighbour", f"helper=127.0.0.1:{port}", *lease)
    door = Door(agent.rest, agent.state)
    before: tuple[int, int] | None = None
    for number in range(2 + VISITS):
        helper = start_agent(
            *WITH_APPS, "--hostname", "helper", "--cpu", "2", "--comm-port", str(port), state=tmp_path / str(number % 2)
        )
        door.until_connected("helper")
        with AgentExecutor(agent.state) as executor:
            calls = [executor.submit(os.getpid) for _ in range(20)]
            assert len({call.result() for call in calls}) >= 1
        if number % 3:
            helper.stop()
        else:
            helper.kill()
        if number == 1:
            before = held(agent)
    assert before is not None
    settled(agent, (before[0] + SLACK, before[1]))
