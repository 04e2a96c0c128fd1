"""Lines to a paired neighbour, over TLS, with real daemons: as any line, and only as long as the pairing is."""

from __future__ import annotations

import re
import threading

import pytest

from agentd.api import AgentExecutor, TaskFailed, connect
from agentd.model.errors import AgentdError
from tests.integration.line_rig import (
    LONG_S,
    called_on_a_line,
    called_until,
    direct_of,
    directly,
    far_agent,
    figure,
    near_agent,
    on_a_line,
    paired,
    until,
)


@pytest.fixture
def far(start_agent):
    return far_agent(start_agent)


@pytest.fixture
def near(start_agent, far):
    near = near_agent(start_agent)
    paired(far, near)
    return near


def test_a_loop_goes_directly_and_each_call_is_what_it_would_be(near, far, functions):
    """Values, exceptions and what is large, over lines that are TLS; and a session whose own line is nobody else's."""
    with AgentExecutor(near.state) as executor:
        direct = on_a_line(executor, functions)
        assert direct.line._tls is not None
        given = []
        calls = called_until(far, 500, lambda n: given.append(executor.submit(functions.double, n).result(LONG_S)))
        assert given == [2 * n for n in range(calls)]
        with pytest.raises(ValueError, match="not 3") as caught:
            called_on_a_line(executor, functions, functions.refuse, 3).result(LONG_S)
        assert re.match(r"Raised on agent far, attempt 1\.", caught.value.__notes__[0])
        for size in (10, 30_000, 60_000, 1_000_000):
            assert len(called_on_a_line(executor, functions, functions.large, size).result(LONG_S)) == size
            direct._fits.clear()
        assert called_on_a_line(executor, functions, functions.squares, 10).result(LONG_S) == 285


def test_one_core_there_serves_a_loop_directly(start_agent, functions):
    """The keys are agreed on while the next call waits for the line, so it is not wanted back for that call."""
    far = far_agent(start_agent, cpu=1)
    near = near_agent(start_agent)
    paired(far, near)
    with AgentExecutor(near.state) as executor:
        on_a_line(executor, functions)
        given = []
        calls = called_until(far, 500, lambda n: given.append(executor.submit(functions.double, n).result(LONG_S)))
        assert given == [2 * n for n in range(calls)]


def test_a_revoked_agent_has_no_more_calls_run(near, far, functions, tmp_path):
    """The call at hand is stopped, and no other is begun, however long the line would have had."""
    with AgentExecutor(near.state, idempotent=False) as executor:
        runs = tmp_path / "runs"
        begun = tmp_path / "begun"
        future = called_on_a_line(executor, functions, functions.sleep, str(begun), 1000.0)
        until(begun.exists)
        with connect(far.state) as client:
            client.revoke_peer("near", "it was lost")
        with pytest.raises(TaskFailed, match="revoked"):
            future.result(LONG_S)
        until(lambda: figure(far, "busy_workers") == 0)
        waiting = executor.submit(functions.mark, str(runs))
        with connect(near.state) as client:
            until(lambda: all(row.state != "connected" for row in client.neighbours()))
        assert not runs.exists()
        assert waiting.cancel()


def test_a_loop_stops_with_the_pairing(near, far, functions, tmp_path):
    """Revoked in the middle of a loop: not one call runs after the word is there that it is."""
    runs = tmp_path / "runs"
    with AgentExecutor(near.state, idempotent=False) as executor:
        on_a_line(executor, functions)
        over = threading.Event()

        def revoke():
            with connect(far.state) as client:
                client.revoke_peer("near", "it was lost")
            over.set()

        revoking = threading.Thread(target=revoke)
        revoking.start()
        last = executor.submit(functions.mark, str(runs))
        while not over.is_set():
            try:
                last.result(0.2)
            except (TimeoutError, AgentdError):
                break
            last = executor.submit(functions.mark, str(runs))
        revoking.join(LONG_S)
        until(lambda: figure(far, "busy_workers") == 0)
        count = len(runs.read_text()) if runs.exists() else 0
        last.cancel()
        after = executor.submit(functions.mark, str(runs))
        with pytest.raises(TimeoutError):
            after.result(0.3)
        after.cancel()
        assert (len(runs.read_text()) if runs.exists() else 0) == count


def test_a_neighbour_with_limits_gives_no_line(near, far, functions):
    """It would not see what is called; calls go on by the daemons."""
    with connect(far.state) as client:
        client.change_peer("near", limits={"max_tasks": 100})
    with AgentExecutor(near.state) as executor:
        for number in range(50):
            direct_of(executor)._wanted = 3
            assert executor.submit(functions.double, number).result(LONG_S) == 2 * number
    assert directly(far) == 0
