"""Sessions that call over direct lines: here, and from an agent that has no cores of its own to one that has."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentd.api import AgentExecutor, connect
from agentd.api.calls import direct
from tests.conftest import RunningAgent

LONG_S = 60.0
"""No test waits so long unless something is broken."""
APPS = Path(__file__).parent / "apps"
WITH_APPS = ("--pythonpath", str(APPS))


def figure(agent: RunningAgent, name: str) -> int:
    """Read one of an agent's metrics."""
    with connect(agent.state) as client:
        found = re.search(rf"^agentd_{name} (\S+)$", client.metrics(), re.MULTILINE)
    assert found
    return int(float(found[1]))


def directly(agent: RunningAgent) -> int:
    """Tell how many calls were made directly at an agent."""
    return figure(agent, "direct_calls_total")


def is_idle(agent: RunningAgent) -> bool:
    """Tell whether none of an agent's cores is taken."""
    return figure(agent, "busy_workers") == 0


@contextmanager
def unhurried() -> Iterator[None]:
    """Take no call for too slow to be of a loop, and none for the last: on a busy machine many would be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "QUICK_S", LONG_S)
        patch.setattr(direct, "PAUSE_S", LONG_S)
        patch.setattr(direct, "LOOP_MOST", direct.LOOP_LEAST)
        yield


def called_until(agent: RunningAgent, wanted: int, call: Callable[[int], Any]) -> int:
    """Call in a loop until so many more calls went directly, however slow the machine; gives how many there were."""
    deadline, before = time.monotonic() + 4 * LONG_S, directly(agent)
    calls = 0
    with unhurried():
        while directly(agent) - before < wanted:
            assert time.monotonic() < deadline, "too few calls went directly"
            for _ in range(100):
                call(calls)
                calls += 1
    return calls


def until(condition: Callable[[], Any]) -> None:
    """Wait for something elsewhere to have happened."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def far_agent(start_agent: Callable[..., RunningAgent], *options: str, cpu: int = 2, **more: Any) -> RunningAgent:
    """Start the agent at which all runs."""
    return start_agent(*WITH_APPS, "--hostname", "far", "--cpu", str(cpu), *options, **more)


def near_agent(start_agent: Callable[..., RunningAgent], *options: str, **more: Any) -> RunningAgent:
    """Start the agent of the sessions, which has no cores."""
    return start_agent(*WITH_APPS, "--hostname", "near", "--cpu", "0", *options, **more)


def direct_of(executor: AgentExecutor) -> Any:
    """Give what an executor knows of direct lines."""
    return executor._way.mailbox.direct


def _is_open(line: Any) -> bool:
    return line is not None and line.is_ready and line.current is None and line.sent >= 3


def on_a_line(executor: AgentExecutor, functions: Any) -> Any:
    """Call in a loop until a call goes over a line, which then is open: so the next one does too."""
    deadline = time.monotonic() + LONG_S
    known, number = direct_of(executor), 0
    with unhurried():
        while not _is_open(known.line):
            assert time.monotonic() < deadline, "no line was given"
            known._wanted = direct.LOOP_LEAST  # however little the lines of this test are used
            assert executor.submit(functions.double, number).result(LONG_S) == 2 * number
            number += 1
    return known


def called_on_a_line(executor: AgentExecutor, functions: Any, function: Any, *args: Any) -> Any:
    """Submit one call that really goes over a line; an argument that is a function is asked for that of each try."""
    for number in range(1000):
        known = on_a_line(executor, functions)
        line, sent = known.line, known.line.sent
        with unhurried():
            future = executor.submit(function, *(arg(number) if callable(arg) else arg for arg in args))
            executor._way.flush()
        if _went_over(line, sent) or _is_on(known.line, future):
            return future
        try:
            future.result(LONG_S / 10)
        except TimeoutError:
            future.cancel()
    raise AssertionError("the line was always given back just before")


def _went_over(line: Any, sent: int) -> bool:
    """Tell whether a line took one call more, which its worker began as far as is known; it may be dead by now."""
    return line.sent == sent + 1 and (line.begun is None or line.begun > sent)


def _is_on(line: Any, future: Any) -> bool:
    """Tell whether a call is the one that is on a line, which may be another one: the last was given back."""
    call, current = future.submission, None if line is None else line.current
    return call is not None and current is not None and current.ref == call.ref


def held_on_a_line(executor: AgentExecutor, functions: Any, gate: Path) -> tuple[Any, Any]:
    """Have a call run over a line, until a file is there; gives its future and the line."""
    while True:
        begun = gate.with_name("begun")
        future = called_on_a_line(executor, functions, functions.await_file, str(begun), str(gate))
        until(begun.exists)
        line = direct_of(executor).line
        if line is not None and line.current is not None:
            return future, line
        gate.touch()  # the worker had just left: it runs by the daemon
        future.result(LONG_S)
        gate.unlink()
        begun.unlink()


def paired(far: RunningAgent, near: RunningAgent) -> None:
    """Pair two agents, so that near lends from far, and dials it, over TLS."""
    with connect(far.state) as inviting, connect(near.state) as joining:
        joining.join(inviting.invite().invitation)
        until(lambda: any(row.state == "connected" for row in joining.neighbours()))
