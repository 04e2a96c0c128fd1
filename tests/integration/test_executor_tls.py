"""The executor with an agent that gave this person a login: over its Comm port and TLS, or not at all that way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.daemon_rig import until

from agentd.api import AgentExecutor, connect
from agentd.api.routes.trust import login
from agentd.daemon.trust.tokens import TokenBook
from agentd.model.errors import RequestError, Unreachable
from tests.conftest import RunningAgent, StartAgent

LONG_S = 60.0


@pytest.fixture
def reach(start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunningAgent]:
    """Start an agent that only a login leads to, and log in."""
    monkeypatch.setenv("AGENTD_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("AGENTD_STATE", str(tmp_path / "no-agent-here"))

    def start(*options: str, scope: str = "code", is_new: bool = True, **more: Any) -> RunningAgent:
        words = ("--rest-tls", "--local-access", "none", "--cpu", "2", *options)
        agent = start_agent(*words, **more)
        if is_new:
            with connect(agent.state) as owner:
                login(owner.invite("ann", scope=scope).invitation)
        return agent

    return start


def operations(agent: RunningAgent) -> int:
    """Count what came in over HTTP: calls over Comm are no operations."""
    with connect(agent.state) as owner:
        return len(list(owner.operations()))


def fail() -> None:
    raise LookupError("on purpose")


def test_calls_go_over_tls_in_frames(reach: Callable[..., RunningAgent]) -> None:
    """Values of all kinds there and back, in order; nothing of it was a request to the user port."""
    agent = reach()
    with AgentExecutor(agent.rest) as agents:
        assert list(agents.map(abs, range(-2000, 0))) == list(range(2000, 0, -1))
        assert list(agents.map(abs, range(-500, 0), chunksize=50)) == list(range(500, 0, -1))
        large = np.arange(500_000)
        assert (agents.submit(np.negative, large).result(LONG_S) == -large).all()
        with pytest.raises(LookupError, match="on purpose"):
            agents.submit(fail).result(LONG_S)
    assert operations(agent) == 0


def striped(size: int, first: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Make a value of two large buffers, which lie in one segment, and something small."""
    return "small", np.arange(first, first + size, dtype=np.int64), np.full(size, first, dtype=np.int8)


def test_results_that_no_frame_holds_come_in_chunks(reach: Callable[..., RunningAgent]) -> None:
    """Many at once, larger than a message, among small ones: each is what it was, and can only be read."""
    agent = reach()
    with AgentExecutor(agent.rest) as agents:
        asked = [(agents.submit(striped, 3_000_000, number), agents.submit(abs, -number)) for number in range(12)]
        for number, (large, small) in enumerate(asked):
            words, ramp, flat = large.result(LONG_S)
            assert (words, ramp[0], ramp[-1], len(ramp)) == ("small", number, number + 2_999_999, 3_000_000)
            assert (flat == number).all()
            assert not ramp.flags.writeable
            assert small.result(LONG_S) == number
        assert len(agents.submit(bytes, 20 << 20).result(LONG_S)) == 20 << 20
        dropped = agents.submit(bytes, 20 << 20)
        dropped.cancel()
        assert agents.submit(abs, -1).result(LONG_S) == 1
    assert operations(agent) == 0


def total(*values: Any) -> int:
    """Add up what lies in arrays, and in lists of them."""
    return sum(total(*value) if isinstance(value, list) else int(value.sum()) for value in values)


def test_arguments_that_no_frame_holds_are_fetched(reach: Callable[..., RunningAgent]) -> None:
    """One of 100 MB, many at once, and many in one list, among small ones: each is as it was when it was submitted."""
    agent = reach()
    with AgentExecutor(agent.rest) as agents:
        large = np.arange(12_500_000)
        expected = int(large.sum())
        asked = agents.submit(total, large)
        large[:] = 0
        assert asked.result(LONG_S) == expected
        many = [(agents.submit(total, np.full(1_500_000, number)), agents.submit(abs, -number)) for number in range(20)]
        for number, (fetched, small) in enumerate(many):
            assert (fetched.result(LONG_S), small.result(LONG_S)) == (1_500_000 * number, number)
        parts = [np.full(100_000 + number, number, dtype=np.int64) for number in range(64)]
        assert agents.submit(total, parts, large).result(LONG_S) == sum(
            number * len(part) for number, part in enumerate(parts)
        )
        assert agents.submit(len, bytes(20 << 20)).result(LONG_S) == 20 << 20
    assert operations(agent) == 0


def test_a_large_result_is_asked_for_again_when_the_agent_comes_back(reach: Callable[..., RunningAgent]) -> None:
    """What was on its way when the agent died is gone with it: the call runs again, and its result comes whole."""
    agent = reach()
    rest, comm = (address.rpartition(":")[2] for address in (agent.rest, agent.comm))
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents:
        asked = [agents.submit(striped, 4_000_000, number) for number in range(4)]
        assert asked[0].result(LONG_S)[1][0] == 0
        agent.kill()
        reach("--rest-port", rest, "--comm-port", comm, state=agent.state, is_new=False)
        assert [future.result(LONG_S)[1][0] for future in asked] == [0, 1, 2, 3]


def test_calls_go_on_when_the_agent_comes_back(reach: Callable[..., RunningAgent]) -> None:
    """After `kill -9` the line is dialled anew, and what had not ended is asked for again."""
    agent = reach()
    rest, comm = (address.rpartition(":")[2] for address in (agent.rest, agent.comm))
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents:
        assert agents.submit(abs, -1).result(LONG_S) == 1
        agent.kill()
        asked = [agents.submit(abs, -number) for number in range(10)]
        reach("--rest-port", rest, "--comm-port", comm, state=agent.state, is_new=False)
        assert [future.result(LONG_S) for future in asked] == list(range(10))


def test_where_comm_is_closed_calls_go_over_http(reach: Callable[..., RunningAgent]) -> None:
    """The user port alone suffices, only slower."""
    agent = reach("--comm-port", "0")
    with AgentExecutor(agent.rest) as agents:
        assert list(agents.map(abs, [-1, 2])) == [1, 2]
    assert operations(agent) == 2


def test_a_login_that_may_not_send_code_is_told(reach: Callable[..., RunningAgent]) -> None:
    """An executor sends pickles; the scope that is missing is named before the first call."""
    agent = reach(scope="submit")
    with pytest.raises(RequestError, match=r"'submit'.* needs 'code': `agentd invite --user"):
        AgentExecutor(agent.rest)


def test_a_token_that_was_revoked_opens_no_line(reach: Callable[..., RunningAgent]) -> None:
    """An open one ends while its calls run, and neither way in is left: the reason is the agent's."""
    agent = reach()
    with AgentExecutor(agent.rest) as agents:
        held = agents.submit(time.sleep, 600)
        agents.submit(abs, -1).result(LONG_S)
        TokenBook(agent.state).revoke("ann")
        with pytest.raises(Unreachable, match="token is not known here, or was revoked: `agentd invite --user"):
            held.result(LONG_S)
    with pytest.raises(RequestError, match="token"):
        AgentExecutor(agent.rest)


def test_a_large_argument_is_fetched_anew_when_the_agent_comes_back(reach: Callable[..., RunningAgent]) -> None:
    """What had come is gone with the agent that died: the call is sent again, as it was at first."""
    agent = reach()
    rest, comm = (address.rpartition(":")[2] for address in (agent.rest, agent.comm))
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents, connect(agent.state) as owner:
        large = np.arange(20_000_000)
        expected = int(large.sum())
        asked = [agents.submit(total, large) for _ in range(3)]
        large[:] = 0
        until(lambda: "agentd_fetched_bytes 0\n" not in owner.metrics())
        agent.kill()
        reach("--rest-port", rest, "--comm-port", comm, state=agent.state, is_new=False)
        assert [future.result(LONG_S) for future in asked] == [expected] * 3


def test_a_cancelled_upload_leaves_the_line_as_it_was(reach: Callable[..., RunningAgent]) -> None:
    """What was on its way is dropped at both ends, and the next call goes on."""
    agent = reach()
    with AgentExecutor(agent.rest) as agents, connect(agent.state) as owner:
        for _ in range(5):
            dropped = agents.submit(total, np.zeros(10_000_000))
            dropped.cancel()
        assert agents.submit(total, np.ones(1_000_000)).result(LONG_S) == 1_000_000
        until(lambda: "agentd_transfers 0\n" in owner.metrics())
