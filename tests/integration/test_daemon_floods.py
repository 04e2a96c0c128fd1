"""More than an agent gets through: it holds what it said that it would, loses nothing, and others are served."""

from __future__ import annotations

from agentd.api import AgentExecutor
from tests.conftest import StartAgent
from tests.integration.daemon_rig import WITH_APPS, Door
from tests.integration.files_rig import MIB, peak_bytes, resident_bytes

QUEUE_MIB = 24
LOAD_BYTES = 10 * QUEUE_MIB * MIB
BLOCK = b"x" * 200_000
"""Too small for shared memory, so that it is the agent's own memory that it fills."""
PATIENCE_S = 120.0
MOST_BYTES = (1.2 * QUEUE_MIB + 40) * MIB
"""The queue and a fifth, and what an interpreter under load takes: buffers, fragments (5 to 25 MiB measured)."""


def test_a_program_that_sends_ten_times_what_may_wait_has_to_wait(start_agent: StartAgent) -> None:
    """No call of it is refused, memory stays within the limit and a fifth, and another program is served meanwhile."""
    agent = start_agent(*WITH_APPS, "--cpu", "1", "--queue-mib", str(QUEUE_MIB))
    before, light = resident_bytes(agent.pid), []
    with AgentExecutor(agent.state) as heavy, AgentExecutor(agent.state) as other:
        futures = []
        for number in range(LOAD_BYTES // len(BLOCK)):
            futures.append(heavy.submit(len, BLOCK))
            if number % 50 == 0:
                light.append(other.submit(abs, -number))
        assert {future.result(PATIENCE_S) for future in futures} == {len(BLOCK)}
        assert [future.result(PATIENCE_S) for future in light] == [50 * number for number in range(len(light))]
    assert peak_bytes(agent.pid) - before < MOST_BYTES


def test_requests_beyond_what_may_wait_are_told_when_to_come_back(start_agent: StartAgent) -> None:
    """429 with Retry-After as soon as the queue holds its bytes; memory stays near them, and what was taken is done."""
    agent = start_agent(*WITH_APPS, "--cpu", "1", "--queue-mib", str(QUEUE_MIB))
    before = resident_bytes(agent.pid)
    door = Door(agent.rest, agent.state)
    first = door.submit("sums:nap", PATIENCE_S)["id"]
    text, taken, refused = "x" * 900_000, [], []
    for _ in range(LOAD_BYTES // len(text)):
        answer = door.post("sums:count_bytes", text)
        (taken if answer.status_code == 202 else refused).append(answer)
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert f"{QUEUE_MIB} MiB of arguments" in refused[0].json()["detail"]
    assert QUEUE_MIB - 2 <= len(taken) * len(text) / MIB <= QUEUE_MIB + 2
    assert peak_bytes(agent.pid) - before < MOST_BYTES
    assert door.client.delete(f"/v1/operations/{first}").status_code < 300
    assert {door.wait(answer.json()["id"])["result"] for answer in taken} == {len(text)}
