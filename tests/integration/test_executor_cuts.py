"""Large arguments and results over a line that is cut in the middle of them: they go on where they stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.cut_rig import CutLine
from integration.daemon_rig import until

from agentd.api import AgentExecutor, connect
from agentd.api.routes.trust import login
from tests.conftest import RunningAgent, StartAgent

LONG_S = 60.0
MIB = 1 << 20
IN_FLIGHT_BYTES = 6 * MIB
"""What a cut may cost at most: a chunk of 1 MiB that has come in part, and what the kernels of both ends hold of a
connection on loopback, which is never lost anywhere else (`net.ipv4.tcp_rmem` and `tcp_wmem` go up to 4 and 6 MiB)."""


@pytest.fixture
def agent(start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningAgent:
    """Start an agent that is reached at its user port directly, and at its Comm port by the line that is cut alone."""
    monkeypatch.setenv("AGENTD_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("AGENTD_STATE", str(tmp_path / "no-agent-here"))
    agent = start_agent("--rest-tls", "--local-access", "none", "--cpu", "2", "--comm-host", "127.0.0.2")
    with connect(agent.state) as owner:
        login(owner.invite("ann", scope="code").invitation)
    return agent


@pytest.fixture
def lines(agent: RunningAgent) -> Iterator[Callable[..., CutLine]]:
    """Make the line to the agent."""
    made: list[CutLine] = []

    def make(**how: Any) -> CutLine:
        host, _, port = agent.comm.rpartition(":")
        made.append(CutLine(("127.0.0.1", int(port)), (host, int(port)), **how))
        return made[-1]

    yield make
    for line in made:
        line.__exit__(None, None, None)


def figure(agent: RunningAgent, name: str) -> float:
    """Read a metric of the agent, by its name without `agentd_`."""
    with connect(agent.state) as owner:
        rows = (line.partition(" ") for line in owner.metrics().splitlines())
    return next(float(value) for key, _, value in rows if key == f"agentd_{name}")


def total(*values: Any) -> int:
    """Add up what lies in arrays."""
    return sum(int(value.sum()) for value in values)


@pytest.mark.parametrize("is_half", [False, True], ids=["both ends know", "the agent does not know"])
def test_an_argument_goes_on_where_it_stopped(
    agent: RunningAgent, lines: Callable[..., CutLine], is_half: bool
) -> None:
    """Over six cuts, each before the half of it has come, it arrives once, but for what was on its way at a cut."""
    large = np.arange(6 * MIB)  # of 8 bytes
    line = lines(up=[8 * MIB, 9 * MIB, 1000, 10 * MIB, 7 * MIB, 8 * MIB], is_half=is_half)
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents:
        assert agents.submit(total, large).result(LONG_S) == int(large.sum())
    assert len(line.up) == 7
    assert large.nbytes <= figure(agent, "fetched_bytes") < large.nbytes + MIB
    assert sum(line.up) < large.nbytes + len(line.up) * IN_FLIGHT_BYTES


def test_an_argument_whose_call_ran_at_the_cut_is_not_sent_again(
    agent: RunningAgent, lines: Callable[..., CutLine], tmp_path: Path
) -> None:
    """The call runs anew, as any whose program was cut off, with what it had."""
    large, begun = np.ones(2 * MIB), tmp_path / "begun"
    line = lines()
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents:
        asked = agents.submit(waiting_total, large, str(begun), str(tmp_path / "go"))
        until(begun.exists)
        line.cut()
        (tmp_path / "go").touch()
        assert asked.result(LONG_S) == 2 * MIB
    assert len(line.up) == 2
    assert figure(agent, "fetched_bytes") == pytest.approx(large.nbytes, abs=1000)


def waiting_total(large: Any, begun: str, go: str) -> int:
    """Add up what lies in an array once a file is there."""
    Path(begun).touch()
    while not Path(go).exists():
        threading.Event().wait(0.01)
    return int(large.sum())


def marked(size: int, mark: str) -> np.ndarray:
    """Make a large result, and a mark for each time that this is called."""
    with Path(mark).open("a") as file:
        file.write("x")
    return np.arange(size)


def test_a_result_goes_on_where_it_stopped(agent: RunningAgent, lines: Callable[..., CutLine], tmp_path: Path) -> None:
    """Over six cuts, and its call is not made again: it has ended."""
    size, mark = 6 * MIB, tmp_path / "mark"
    line = lines(down=[8 * MIB, 9 * MIB, 10 * MIB, 7 * MIB, 8 * MIB, 8 * MIB])
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents:
        result = agents.submit(marked, size, str(mark)).result(LONG_S)
    assert (result == np.arange(size)).all()
    assert (mark.read_text(), len(line.down)) == ("x", 7)
    assert sum(line.down) < result.nbytes + len(line.down) * IN_FLIGHT_BYTES


def test_a_result_that_is_not_kept_any_more_is_made_again(
    agent: RunningAgent, lines: Callable[..., CutLine], tmp_path: Path
) -> None:
    """The agent keeps it for a session, and the program comes back as another one: its call is made again."""
    size, mark = 3 * MIB, tmp_path / "mark"
    line = lines(down=[8 * MIB])
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents:
        agents._way._dial_again = agents._way._dial  # type: ignore[union-attr]
        result = agents.submit(marked, size, str(mark)).result(LONG_S)
    assert (result == np.arange(size)).all()
    assert (mark.read_text(), len(line.down)) == ("xx", 2)


def test_what_is_kept_does_not_stay(agent: RunningAgent, lines: Callable[..., CutLine]) -> None:
    """A program that gives its calls up when it is back leaves nothing at the agent."""
    line = lines(up=[8 * MIB])
    with AgentExecutor(agent.rest, reconnect_s=LONG_S) as agents:
        asked = agents.submit(total, np.arange(6 * MIB))
        until(lambda: len(line.up) == 2)
        asked.result(LONG_S)
    until(lambda: figure(agent, "kept_bytes") == 0)
