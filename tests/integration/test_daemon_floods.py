"""More than an agent gets through: it holds what it said that it would, loses nothing, and others are served."""

from __future__ import annotations

import os
from pathlib import Path

from daemon_rig import WITH_APPS, Door

from agentd.api import AgentExecutor
from tests.conftest import StartAgent

QUEUE_MIB = 24
LOAD_MIB = 10 * QUEUE_MIB
BLOCK = b"x" * 200_000
"""Too small for shared memory, so that it is the agent's own memory that it fills."""
PATIENCE_S = 120.0
SLACK_MIB = 80.0
"""What an interpreter under load takes beside its queue: buffers, results, fragments (chosen: a third of the load;
measured 15 to 25 on an idle machine, up to 67 on one with ten times its cores at work, where more is read at once)."""


def resident_mib(pid: int) -> float:
    """Measure a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_program_that_sends_ten_times_what_may_wait_has_to_wait(start_agent: StartAgent) -> None:
    """No call of it is refused, memory stays within the limit and a fifth, and another program is served meanwhile."""
    agent = start_agent(*WITH_APPS, "--cpu", "1", "--queue-mib", str(QUEUE_MIB))
    start_agent_mib = resident_mib(agent.pid)
    peak_mib, light = start_agent_mib, []
    with AgentExecutor(agent.state) as heavy, AgentExecutor(agent.state) as other:
        futures = []
        for number in range(LOAD_MIB * 2**20 // len(BLOCK)):
            futures.append(heavy.submit(len, BLOCK))
            if number % 50 == 0:
                peak_mib = max(peak_mib, resident_mib(agent.pid))
                light.append(other.submit(abs, -number))
        assert {future.result(PATIENCE_S) for future in futures} == {len(BLOCK)}
        assert [future.result(PATIENCE_S) for future in light] == [50 * number for number in range(len(light))]
    assert peak_mib - start_agent_mib < 1.2 * QUEUE_MIB + SLACK_MIB


def test_requests_beyond_what_may_wait_are_told_when_to_come_back(start_agent: StartAgent) -> None:
    """429 with Retry-After as soon as the queue holds its bytes; memory stays near them, and what was taken is done."""
    agent = start_agent(*WITH_APPS, "--cpu", "1", "--queue-mib", str(QUEUE_MIB))
    before_mib = resident_mib(agent.pid)
    door = Door(agent.rest, agent.state)
    first = door.submit("sums:nap", PATIENCE_S)["id"]
    text, taken, refused = "x" * 900_000, [], []
    for _ in range(LOAD_MIB * 2**20 // len(text)):
        answer = door.post("sums:count_bytes", text)
        (taken if answer.status_code == 202 else refused).append(answer)
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert f"{QUEUE_MIB} MiB of arguments" in refused[0].json()["detail"]
    assert QUEUE_MIB - 2 <= len(taken) * len(text) / 2**20 <= QUEUE_MIB + 2
    assert resident_mib(agent.pid) - before_mib < 1.2 * QUEUE_MIB + SLACK_MIB
    assert door.client.delete(f"/v1/operations/{first}").status_code < 300
    assert {door.wait(answer.json()["id"])["result"] for answer in taken} == {len(text)}
